"""Who goes with whom: the best one-to-one assignment between two lists."""

from __future__ import annotations

import math
from collections.abc import Sequence


def best_assignment(gains: Sequence[Sequence[float]]) -> float:
    """The largest sum of gains when each row goes with one column at most and each column with one row at most.

    gains: [num_rows, num_columns], each 0 or more; rows beyond the columns (or columns beyond the rows) stay alone.
    The Hungarian method with potentials: row after row joins by the shortest augmenting path, O(rows^2 x columns).
    Source: Kuhn, "The Hungarian method for the assignment problem", 1955.
    """
    if not gains or not gains[0]:
        return 0.0
    if len(gains) > len(gains[0]):
        gains = list(zip(*gains, strict=True))
    num_rows, num_columns = len(gains), len(gains[0])
    row_potential, column_potential = [0.0] * (num_rows + 1), [0.0] * (num_columns + 1)
    row_of = [0] * (num_columns + 1)  # rows and columns are counted from 1; 0 = none
    for row in range(1, num_rows + 1):
        row_of[0], column = row, 0
        shortest, came_from = [math.inf] * (num_columns + 1), [0] * (num_columns + 1)
        visited = [False] * (num_columns + 1)
        while row_of[column]:
            visited[column] = True
            here, step, following = row_of[column], math.inf, 0
            for other in range(1, num_columns + 1):
                if visited[other]:
                    continue
                cost = -gains[here - 1][other - 1] - row_potential[here] - column_potential[other]
                if cost < shortest[other]:
                    shortest[other], came_from[other] = cost, column
                if shortest[other] < step:
                    step, following = shortest[other], other
            for other in range(num_columns + 1):
                if visited[other]:
                    row_potential[row_of[other]] += step
                    column_potential[other] -= step
                else:
                    shortest[other] -= step
            column = following
        while column:
            row_of[column] = row_of[came_from[column]]
            column = came_from[column]
    return math.fsum(gains[row_of[column] - 1][column - 1] for column in range(1, num_columns + 1) if row_of[column])
