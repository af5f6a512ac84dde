"""A record as JSON for the page: short for a list, whole for the reader. Texts leave as they are; the page makes them
harmless.

    pieces of a passage     [["The bridge was ", []], ["built in 1843", [0, 2]], [".", []]]     marks 0 and 2 cover it
    pieces of a text        [["Question: who?", true], [" Mary", false]]                        whether it carries loss

A passage holds an answer where the words are that `overlap.supported` counts:

passage    The bridge over the Cole was built in 1843.
answer     built in 1843                       ~~~~~~~~~~~~~   in a row: "span"
answer     the Cole bridge    ~~~~~~      ~~~~                 nearly all of its words somewhere: "words"
answer     a wooden pier                                       neither: ""
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from instructpt.records import Document, Group, Item, Match, Pair, Score, Shot, Text, from_row
from instructpt.words import overlap


@dataclass(frozen=True, slots=True)
class Support:
    """What of a passage bears out an answer."""

    how: Literal["span", "words", ""]
    ranges: tuple[tuple[int, int], ...]
    """Half-open character ranges of the passage, ascending."""


def support(answer: str, passage: Sequence[overlap.Word]) -> Support:
    """Where the passage (`located_words`) holds the answer: its first such place, or else nearly all of its words."""
    sought = overlap.words(answer)
    if not sought:
        return Support("", ())
    held = [word.word for word in passage]
    for place in range(len(held) - len(sought) + 1):
        if held[place] == sought[0] and held[place : place + len(sought)] == sought:
            return Support("span", ((passage[place].start, passage[place + len(sought) - 1].stop),))
    if overlap.share_found(answer, held) < overlap.MIN_SUPPORTED_SHARE:
        return Support("", ())
    left, ranges = Counter(overlap.content_words(answer)), []
    for word in passage:
        if left[word.word] > 0:
            left[word.word] -= 1
            ranges.append((word.start, word.stop))
    return Support("words", tuple(ranges))


def cut_at(text: str, marks: Sequence[Sequence[tuple[int, int]]]) -> list[tuple[str, list[int]]]:
    """The text in pieces, each with the numbers of the marks that cover it: what a page sets one after the other."""
    edges = {0, len(text), *(edge for ranges in marks for both in ranges for edge in both if edge <= len(text))}
    bounds = sorted(edges)
    pieces = []
    for start, stop in pairwise(bounds):
        over = [n for n, ranges in enumerate(marks) if any(a <= start and stop <= b for a, b in ranges)]
        pieces.append((text[start:stop], over))
    return pieces


PREVIEW_CHARACTERS = 260
MAX_CHARACTERS = 200_000
"""Of one text, unless all of it is asked for."""


def preview(kind: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    """A line or two of a stored row: its name, what it is, how its text begins."""
    record = from_row(kind, row)
    name, tags, text = _gist(record)
    return {"id": name, "tags": tags, "text": text}


def _gist(record: Any) -> tuple[str, list[str], str]:
    match record:
        case Document():
            return record.id, [_short(record.source)], _start(record.text)
        case Text():
            return record.id, [*filter(None, (record.kind, record.layout)), _short(record.source)], _start(record.text)
        case Group():
            names = ("pairs", "rejects", "writings")
            pairs, rejects, writings = (sum(len(getattr(shot, name)) for shot in record.shots) for name in names)
            tags = [_count(len(record.shots), "passage"), _count(pairs, "pair")]
            tags += [_count(writings, "writing")] if writings else []
            tags += [f"{rejects} left out"] if rejects else []
            return record.id, tags, _start(record.shots[0].document.text) if record.shots else ""
        case Item():
            values = [f"{name} {value:.3g}" for name, value in record.values.items()]
            name = f"{record.task} {record.place}{record.part and f' {record.part}'}"
            return name, values, f"gold: {_start(record.gold)}\nanswer: {_start(record.answer)}"
        case Score():
            error = "" if record.stderr is None else f" ± {record.stderr:.4f}"
            tags = [record.metric, _count(record.count, "item")]
            return record.task, tags, f"{record.value:.4f}{error}  {record.model}"
        case Match():
            tags = [record.field, f"{record.num_ngrams:,} of its {_count(record.num_item_ngrams, 'n-gram')}"]
            text = f"item: {_start(record.item)}\ntext: {_start(record.text)}"
            return f"{record.task} in {record.id}", tags, text
        case _:
            raise AssertionError(type(record))


def whole(kind: Any, row: Mapping[str, Any], *, max_characters: int | None = MAX_CHARACTERS) -> dict[str, Any]:
    """All of a stored row. max_characters: of each text; None for all."""
    record = from_row(kind, row)
    match record:
        case Document():
            return {
                "id": record.id,
                "source": record.source,
                "meta": dict(record.meta),
                "pieces": [[record.text[:max_characters], []]],
                "characters": len(record.text),
                "cut": _is_cut(record.text, max_characters),
            }
        case Text():
            return _text(record, max_characters)
        case Group():
            shots = [_shot(shot, max_characters) for shot in record.shots]
            return {"id": record.id, "shots": shots, "cut": any(shot["cut"] for shot in shots)}
        case _:
            return {"id": _gist(record)[0], "fields": dict(row), "cut": False}


def _text(record: Text, max_characters: int | None) -> dict[str, Any]:
    """Pieces that carry loss or do not, and parts: after which pieces a new sequence begins."""
    shown = record.text[:max_characters]
    spans = [(0, len(record.text))] if record.spans is None else list(record.spans)
    edges = {0, len(shown), *(edge for span in spans for edge in span), *record.breaks}
    bounds = sorted(edge for edge in edges if 0 <= edge <= len(shown))
    starts, breaks = [start for start, _ in spans], set(record.breaks)
    pieces: list[list[Any]] = []
    parts: list[int] = []
    for start, stop in pairwise(bounds):
        place = bisect_right(starts, start) - 1
        if start in breaks:
            parts.append(len(pieces))
        pieces.append([shown[start:stop], place >= 0 and stop <= spans[place][1]])
    return {
        "id": record.id,
        "source": record.source,
        "kind": record.kind,
        "layout": record.layout,
        "all_loss": record.spans is None,
        "text_pieces": pieces,
        "parts": parts,
        "characters": len(record.text),
        "cut": _is_cut(record.text, max_characters),
    }


def _shot(shot: Shot, max_characters: int | None) -> dict[str, Any]:
    text = shot.document.text[:max_characters]
    words = overlap.located_words(text)
    found = [support(pair.answer, words) for pair in shot.pairs]
    pieces = cut_at(text, [one.ranges for one in found])
    return {
        "id": shot.document.id,
        "source": shot.document.source,
        "meta": dict(shot.document.meta),
        "pieces": pieces,
        "characters": len(shot.document.text),
        "cut": _is_cut(shot.document.text, max_characters),
        "follows": shot.follows,
        "pairs": [_pair(pair, one) for pair, one in zip(shot.pairs, found, strict=True)],
        "rejects": [{"text": reject.text, "reason": reject.reason} for reject in shot.rejects],
        "writings": [{"form": w.form, "variant": w.variant, "text": w.text} for w in shot.writings],
    }


def _pair(pair: Pair, found: Support) -> dict[str, Any]:
    """support: span or words as in `support`, option, missing (it reads as if taken from the passage), or own words."""
    is_extractive = overlap.looks_extractive(pair.answer, pair.options)
    return {
        "question": pair.question,
        "options": list(pair.options),
        "answer": pair.answer,
        "rationale": pair.rationale,
        "category": pair.category,
        "support": found.how or ("option" if pair.options else "missing" if is_extractive else "own"),
    }


def _is_cut(text: str, max_characters: int | None) -> bool:
    return max_characters is not None and len(text) > max_characters


def _start(text: str) -> str:
    start = " ".join(text[: 2 * PREVIEW_CHARACTERS].split(" "))
    return start[:PREVIEW_CHARACTERS] + (" …" if len(text) > PREVIEW_CHARACTERS else "")


def _short(source: str) -> str:
    """The end of a file's name: what tells sources apart."""
    return source.rstrip("/").rpartition("/")[2] or source


def _count(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def sources_of(row: Mapping[str, Any]) -> Sequence[str]:
    """The sources that a stored row names."""
    if "shots" in row:
        return [shot["document"]["source"] for shot in row["shots"]]
    return [row["source"]] if "source" in row else []
