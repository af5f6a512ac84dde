"""The keys and values of the sequences that decode together, in buffers that rows join and leave.

Rows end in the same column, so that a step writes one column for all; a row of n tokens fills the n columns before it:

    column      0 1 2 3 4 5 6 7 8 9         . never read   0 masked   # a key and value
    row 0       . . 0 0 # # # # . .
    row 1       . . # # # # # # . .         begin = 2: where the longest row starts
    row 2       . . 0 # # # # # . .         end   = 8: the column the next step writes

A row that leaves is replaced by the last row; `begin` moves right when the longest leaves. A new row goes in before
`end`. Only when a side has no free column left is everything copied into new buffers: about once in 64 steps, where
transformers' own DynamicCache copies all of it in each (a fifth of the time of a step on a CPU, batch 64).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

_HEADROOM_COLUMNS = 64
"""Free columns after a rearrangement. With 8 a step takes 14 % longer (batch 64 on a CPU), 256 gain nothing over 64."""


class RowCache:
    """Keys and values of the rows of one batch, given to the model as its `past_key_values`.

    Shapes: R rows, H heads of keys and values, T columns, D width of a head; buffers are [R, H, T, D].
    """

    def __init__(self, *, device: torch.device, max_rows: int) -> None:
        self.device = device
        self.max_rows = max_rows
        self.past = DynamicCache()
        self.starts: list[int] = []
        """The first column of each row."""
        self.begin = 0
        self.end = 0
        # On a CPU one masked column keeps attention off the unmasked kernel, which is four times slower in bfloat16
        # with grouped heads (10.4 against 2.8 ms for 64 rows of 250 tokens).
        self._num_masked = 1 if device.type == "cpu" else 0
        self._starts_R1 = torch.zeros(0, 1, dtype=torch.long, device=device)
        self._columns_T = torch.zeros(0, dtype=torch.long, device=device)

    def __len__(self) -> int:
        return len(self.starts)

    def add(self, prefilled: DynamicCache, *, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """Let `rows` of a prefilled, left-padded cache join; lengths: tokens of each of them, [num_rows]."""
        old, new, longest = len(self.starts), len(self.starts) + len(rows), prefilled.get_seq_length()
        if not self.past.layers:
            self.past.layers = [_RowLayer(self) for _ in prefilled.layers]
        room = self._room()[0]
        if new > room or longest + self._num_masked > self.end:
            # Rows double, so that a batch that fills one by one is copied a few times only.
            num_rows = room if new <= room else max(new, min(2 * old, self.max_rows))
            self._rearrange(num_rows=num_rows, num_before=longest, like=prefilled)
        self.starts += [self.end - length for length in lengths]
        index = torch.tensor(rows, device=self.device)
        for layer, source in zip(self.past.layers, prefilled.layers, strict=True):
            for buffer, part in ((layer.keys, source.keys), (layer.values, source.values)):
                # Zeros, since a masked value still counts as 0 * value: what was here may have been no number.
                buffer[old:new, :, : self.end - longest] = 0
                buffer[old:new, :, self.end - longest : self.end] = part[index]
        self._moved()

    def remove(self, rows: Sequence[int]) -> list[int]:
        """Let `rows` leave. Returns the order of those that stay: the row that is now number i was number order[i]."""
        leaving = set(rows)
        num_left = len(self.starts) - len(leaving)
        tail = [row for row in range(num_left, len(self.starts)) if row not in leaving]
        order = [row if row not in leaving else tail.pop() for row in range(num_left)]
        holes = [row for row, source in enumerate(order) if row != source]
        if holes:
            sources = torch.tensor([order[row] for row in holes], device=self.device)
            targets = torch.tensor(holes, device=self.device)
            for layer in self.past.layers:
                for buffer in (layer.keys, layer.values):
                    buffer[targets, :, : self.end] = buffer[sources, :, : self.end]
        self.starts = [self.starts[row] for row in order]
        if self.starts:
            self._moved()
        else:
            self.clear()
        return order

    def clear(self) -> None:
        """Drop all rows and give their memory back."""
        self.past.layers, self.starts, self.begin, self.end = [], [], 0, 0

    def prepare(self) -> tuple[Tensor, Tensor]:
        """Make room for one more column. Returns its attention mask [R, T], bool, and its positions [R, 1]."""
        if self.end == self._room()[1]:
            self._rearrange(num_rows=len(self.starts), num_before=0, like=self.past)
        attended_RT = self._columns_T[self.begin : self.end + 1] >= self._starts_R1
        return attended_RT, self.end - self._starts_R1

    def advance(self) -> None:
        """The step that `prepare` made room for is done: its column belongs to the rows from now on."""
        self.end += 1

    def _room(self) -> tuple[int, int]:
        """Rows and columns that the buffers hold."""
        layers = self.past.layers
        return (layers[0].keys.shape[0], layers[0].keys.shape[2]) if layers and layers[0].is_initialized else (0, 0)

    def _moved(self) -> None:
        self.begin = max(0, min(self.starts) - self._num_masked)
        self._starts_R1 = torch.tensor(self.starts, device=self.device)[:, None]

    def _rearrange(self, *, num_rows: int, num_before: int, like: DynamicCache) -> None:
        """Copy the rows into new buffers, a layer after the other, with at least `num_before` columns before `end`."""
        num_kept, begin = len(self.starts), min(self.starts, default=self.end)
        width = self.end - begin
        end = max(width, num_before) + self._num_masked
        num_columns = end + _HEADROOM_COLUMNS
        for layer, shape in zip(self.past.layers, like.layers, strict=True):
            for name in ("keys", "values"):
                old, model = getattr(layer, name), getattr(shape, name)
                new = model.new_zeros(num_rows, model.shape[1], num_columns, model.shape[3])
                if num_kept:
                    new[:num_kept, :, end - width : end] = old[:num_kept, :, begin : self.end]
                setattr(layer, name, new)
            layer.is_initialized = True
        self.starts = [start - self.end + end for start in self.starts]
        self.end = end
        self._columns_T = torch.arange(num_columns, device=self.device)
        if self.starts:
            self._moved()


class _RowLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's buffers, as a model's attention sees them: what was before, and the column of this step.

    A layer with a sliding window keeps all columns too; the model's own mask hides those outside of the window.
    """

    def __init__(self, rows: RowCache) -> None:
        super().__init__()
        self._rows = rows

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write column `end` ([R, H, 1, D]) and return all columns up to it."""
        num_rows, begin, end = len(self._rows.starts), self._rows.begin, self._rows.end
        self.keys[:num_rows, :, end : end + 1] = key_states
        self.values[:num_rows, :, end : end + 1] = value_states
        return self.keys[:num_rows, :, begin : end + 1], self.values[:num_rows, :, begin : end + 1]

    def get_seq_length(self) -> int:
        """Columns that a query sees before its own."""
        return self._rows.end - self._rows.begin

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns of the mask, and the number of its first one."""
        return self.get_seq_length() + query_length, 0
