"""Training texts without the test items that stand in them.

matches    row 7, characters 120 to 210 of its text; row 9, pair 2 of passage 0
drop       row 7 is left out, row 9 loses that pair
mask       row 7 has "[...]" for these words, row 9 loses that pair
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Any, Literal

from instructpt.artifacts import Run, Stage
from instructpt.artifacts.tally import count_pairs
from instructpt.errors import RecipeError
from instructpt.evaluation.overlap import Overlap, pair_text
from instructpt.records import Document, Group, Match, Reject, Shot, Text

REASON = "test_item"
"""Why a text, passage or pair is left out."""
MASK = "[...]"
"""What stands for the words that are masked; it carries no loss."""

_SHOWN_CHARACTERS = 200

Ranges = Sequence[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Decontaminate(Stage[Any]):
    """The same records without the test items that `matches` found in them.

    Dropped are documents, texts, passages of groups with their pairs, and, where only a pair holds the item, the pair
    alone. Masked are the shared words; a pair is dropped then too, since half a question is none.
    """

    may_leave_nothing = True

    texts: Stage[Any]
    """What `matches` are of."""
    matches: Overlap
    action: Literal["drop", "mask"] = "drop"
    min_share: float = 0.0
    """Which part of an item's n-grams a text must hold to count; 0: a single one is enough."""

    def __post_init__(self) -> None:
        """Raises RecipeError for matches of other texts, or a share that is none."""
        if self.matches.texts != self.texts:
            raise RecipeError(f"{self.name}: {self.matches.name} are matches of {self.matches.texts.name}: give these")
        if not 0 <= self.min_share <= 1:
            raise RecipeError(f"{self.name}: min_share is {self.min_share:g}: give a share from 0 to 1")

    @property
    def record(self) -> Any:
        """That of the texts; so are the units."""
        return self.texts.record

    @property
    def takes(self) -> str:  # type: ignore[override]
        """What the texts are."""
        return self.texts.makes

    @property
    def makes(self) -> str:  # type: ignore[override]
        """What the texts are."""
        return self.texts.makes

    def shard(self, index: int, run: Run) -> Iterator[Any]:
        """The records of a shard, in order; what is dropped is counted as `test_item`, and by task."""
        wanted = (m for m in run.records(self.matches, index) if m.num_ngrams >= self.min_share * m.num_item_ngrams)
        by_row = groupby(wanted, key=lambda match: match.row)
        row_found, matches = next(by_row, (None, iter(())))
        for row, record in enumerate(run.take(self.texts, index)):
            if row != row_found:
                yield record
                continue
            held = list(matches)
            for task in sorted({match.task for match in held}):
                run.tally.count(f"{self.action}/{task}")
            yield from self._cleaned(record, held, run)
            row_found, matches = next(by_row, (None, iter(())))

    def _cleaned(self, record: Any, matches: Sequence[Match], run: Run) -> Iterator[Any]:
        if isinstance(record, Group):
            yield from self._cleaned_group(record, matches, run)
        elif self.action == "drop":
            run.tally.drop(REASON, record.text)
        elif isinstance(record, Document):
            yield replace(record, text=mask(record.text, _spans(matches)))
        else:
            yield masked(record, _spans(matches))

    def _cleaned_group(self, group: Group, matches: Sequence[Match], run: Run) -> Iterator[Group]:
        by_place: defaultdict[tuple[int | None, int | None], list[Match]] = defaultdict(list)
        for match in matches:
            by_place[match.shot, match.pair].append(match)
        shots: list[Shot] = []
        gone: set[int] = set()
        for number, shot in enumerate(group.shots):
            spans = _spans(by_place[number, None])
            if spans and self.action == "drop":
                gone.add(number)
                run.tally.drop(REASON, shot.document.text)
                continue
            said = [*map(pair_text, shot.pairs), *(writing.text for writing in shot.writings)]
            bad = {place for place in range(len(said)) if by_place[number, place]}
            left_out = tuple(Reject(said[place][:_SHOWN_CHARACTERS], REASON) for place in bad)
            # Of the shots that the model had before its eyes, only those that are still there can be counted.
            lost = len(gone.intersection(range(number - shot.follows, number)))
            shots.append(
                Shot(
                    replace(shot.document, text=mask(shot.document.text, spans)),
                    tuple(pair for place, pair in enumerate(shot.pairs) if place not in bad),
                    shot.follows - lost,
                    shot.rejects + left_out,
                    tuple(one for place, one in enumerate(shot.writings, len(shot.pairs)) if place not in bad),
                )
            )
        if shots:
            yield count_pairs(Group(group.id, tuple(shots)), run.tally)


def _spans(matches: Sequence[Match]) -> tuple[tuple[int, int], ...]:
    """The characters that any of the matches covers."""
    from instructpt.words.ngrams import union

    return union([span for match in matches for span in match.spans])


def mask(text: str, spans: Ranges) -> str:
    """The text with `MASK` for each of the ranges, which are in order and apart."""
    kept = pairwise([0, *(place for span in spans for place in span), len(text)])
    return MASK.join([text[start:stop] for start, stop in list(kept)[::2]])


def masked(text: Text, spans: Ranges) -> Text:
    """A training text with `MASK` for each of the ranges. Loss and breaks stay where they were in the rest."""
    bounds = [0, *text.breaks, len(text.text)]
    cuts = [
        (max(start, first), min(stop, last))
        for start, stop in spans
        for first, last in pairwise(bounds)
        if max(start, first) < min(stop, last)
    ]

    def moved(place: int) -> int:
        """Where a place outside the cuts, or at the edge of one, comes to lie."""
        return place + sum(len(MASK) - (stop - start) for start, stop in cuts if stop <= place)

    loss = []
    for start, stop in text.spans if text.spans is not None else [(0, len(text.text))]:
        inside = [(max(start, first), min(stop, last)) for first, last in cuts if first < stop and last > start]
        rest = list(pairwise([start, *(place for cut in inside for place in cut), stop]))[::2]
        loss += [(moved(first), moved(last)) for first, last in rest if first < last]
    return replace(text, text=mask(text.text, cuts), spans=tuple(loss), breaks=tuple(map(moved, text.breaks)))
