"""Some documents of a corpus that stand for all of it: from places all over its files, on the road that all will go.

files --> some documents of every part --> filter, split --> passages a document
bytes of all files / bytes of the sample  -----------------> passages in all, and how well that is known
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import orjson

from instructpt.artifacts import Run, Stage
from instructpt.corpus import readers, splitting
from instructpt.corpus.filters import first_reason
from instructpt.corpus.parts import Part
from instructpt.corpus.stages import Distinct, Filter, Portion, Read, Split, Subset
from instructpt.engines.models import description_folder
from instructpt.errors import RecipeError
from instructpt.records import Document, Reject
from instructpt.words import vocabulary

PARTS_SAMPLED = 32
_MIN_PART_BYTES = 1 << 16
_ROWS_LOOKED_AT = 8


@dataclass(frozen=True, slots=True)
class Sampled:
    """What some documents of a corpus say of all."""

    num_documents: int
    """Looked into."""
    share: float
    """Of the corpus that was looked into, by bytes; 1 is all of it."""
    passages: list[Document]
    by_place: list[tuple[int, float]]
    """Passages and bytes of each place that documents were taken from."""
    portion: float = 1.0
    """Of these documents, drawn to be used."""

    @property
    def scale(self) -> float:
        """How many passages of the whole corpus one of these stands for."""
        return self.portion / self.share

    @property
    def num_passages(self) -> float:
        """In the whole corpus."""
        return len(self.passages) * self.scale

    @property
    def relative_error(self) -> float:
        """Standard error of `num_passages` as a share of it, from how much places differ; 0 if all was read.

        Places, not documents: those that stand together are alike. The usual error of a ratio (Cochran, Sampling
        Techniques, section 6.4).
        """
        return relative_error(self.by_place, share=self.share) if len(self.by_place) > 1 else 0.0


def relative_error(counts: Sequence[tuple[float, float]], *, share: float) -> float:
    """Standard error of a total that is scaled up from a sample, as a share of it; infinite if one part says it all.

    counts: of each part of the sample, what is counted and its size. share: of everything that was looked at.
    """
    number, counted, size = len(counts), sum(count for count, _ in counts), sum(size for _, size in counts)
    if share >= 1 or not counted:
        return 0.0
    if number < 2:
        return math.inf
    squares = sum((count - counted / size * of) ** 2 for count, of in counts)
    return math.sqrt((1 - share) * squares * number / (number - 1)) / counted


def sample(passages: Stage[Document], run: Run, *, num_documents: int) -> Sampled:
    """Documents from places all over the files of a road Read -> Filter -> Split, and the passages they become.

    Portions may be drawn on the way: all documents are looked into, and their passages count for as many as are drawn.
    Of a subset that is not known yet, all passages count.

    Raises RecipeError for passages that come about otherwise.
    """
    while isinstance(passages, Subset):
        passages = passages.documents
    documents, portion = passages.documents if isinstance(passages, Split) else passages, 1.0
    while isinstance(documents, Portion | Distinct):
        if isinstance(documents, Portion):
            portion *= documents.stop - documents.start
        documents = documents.documents  # near duplicates cannot be told from a sample: they count as kept
    if not isinstance(passages, Split) or not isinstance(documents, Filter):
        raise RecipeError(
            f"{passages.name} is no split of filtered documents: its size cannot be told before it is made"
        )
    reading, thresholds = documents.documents, documents.thresholds
    if not isinstance(reading, Read):
        raise RecipeError(f"{reading.name} does not read files: its size cannot be told before it is made")
    places, share = _places(reading, num_documents)
    words = vocabulary.load(description_folder(passages.vocabulary, run))
    found: list[Document] = []
    by_place = []
    for place in places:
        kept = (document for document in place.documents if not first_reason(document, thresholds))
        split = splitting.split_many(kept, vocabulary=words, budget_tokens=passages.budget_tokens)
        own = [passage for pieces in split for passage in pieces]
        by_place.append((len(own), place.num_bytes))
        found += own
    return Sampled(sum(len(place.documents) for place in places), share, found, by_place, portion)


@dataclass(frozen=True, slots=True)
class _Place:
    """Documents that stand together in a file, and the bytes that they take there."""

    documents: list[Document]
    num_bytes: float


def _places(reading: Read, wanted: int) -> tuple[list[_Place], float]:
    """Documents from places that are spread evenly over all files, and their share of the corpus."""
    if reading.limit:
        parts = [part for shard in readers.shards(reading.files, shard_bytes=2**30) for part in shard]
        found = _read(reading, parts, skip=reading.skip, most=min(wanted, reading.limit))
        return [_Place([row for row in found if isinstance(row, Document)], len(found))], len(found) / reading.limit
    parts = [part for shard in readers.shards(reading.files, shard_bytes=reading.shard_bytes) for part in shard]
    total_bytes = sum(part.num_bytes for part in parts) or 1
    if len(parts) < PARTS_SAMPLED:
        finer = max(_MIN_PART_BYTES, total_bytes // PARTS_SAMPLED)
        parts = [part for shard in readers.shards(reading.files, shard_bytes=finer) for part in shard]
    chosen = [parts[len(parts) * (2 * i + 1) // (2 * PARTS_SAMPLED)] for i in range(PARTS_SAMPLED)]
    chosen = list(dict.fromkeys(chosen))
    each = max(1, -(-wanted // len(chosen)))
    looked_at = [row for part in chosen for row in _read(reading, [part], most=_ROWS_LOOKED_AT)]
    # Of one size everywhere: a byte of a place with long rows must not count more than one of a place with short rows.
    range_bytes = each * sum(map(_row_bytes, looked_at)) // max(1, len(looked_at)) + 1
    places = [_place(reading, part, each, range_bytes) for part in chosen]
    return places, min(1.0, max(1e-12, sum(place.num_bytes for place in places) / total_bytes))


def _place(reading: Read, part: Part, wanted: int, range_bytes: int) -> _Place:
    """About `wanted` documents out of a part, or all of them where it has no more.

    Of JSON lines all that begin in a range of bytes: rows there are longer than what stands in them (a Chinese
    character may be written as six), and no row is likelier to be met for its length. Of others the first ones.
    """
    if part.format == "jsonl" and part.num_bytes > range_bytes:
        start = part.start + (part.num_bytes - range_bytes) // 2
        rows = _read(reading, [replace(part, start=start, stop=start + range_bytes)])
        return _Place([row for row in rows if isinstance(row, Document)], range_bytes)
    rows = _read(reading, [part], most=None if part.format == "jsonl" else wanted + 1)
    if part.format == "jsonl" or len(rows) <= wanted:
        return _Place([row for row in rows if isinstance(row, Document)], part.num_bytes)
    num_bytes = min(part.num_bytes, sum(map(_row_bytes, rows[:wanted])))
    return _Place([row for row in rows[:wanted] if isinstance(row, Document)], num_bytes)


def _read(reading: Read, parts: Sequence[Part], *, skip: int = 0, most: int | None = None) -> list[Document | Reject]:
    rows = readers.read(tuple(parts), text_field=reading.text_field, id_field=reading.id_field, skip=skip)
    return list(islice(rows, most))


def _row_bytes(row: Document | Reject) -> int:
    """What a row takes in its file, about."""
    fields = {"id": row.id, "text": row.text, **row.meta} if isinstance(row, Document) else {"text": row.text}
    return len(orjson.dumps(fields)) + 1
