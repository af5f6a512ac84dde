"""Annotated task data to shots: rows that ask something about a text become that text with all its pairs.

    rows --choose--> rows of the sets wanted --gather--> contexts --(test items, fullest)--> contexts worth having
         --cut--> contexts of a length --pairs--> shots --fit--> shots within the limits

                    dataset A                   dataset B
    rows        a1   a2   a3   a4              b1      b2
    contexts    X    X    Y    Z               X       Y         X, Y and Z are texts
                 \\   |    |    |               /       |
    shots       [X: a2 b1 a1]   [Y: a3 b2]   [Z: a4]             all pairs of one text in ONE shot, whatever their set
    sources      A+B             A+B          A

All pairs of a text stay in one shot because a synthesizer writes as many pairs for a text as it was shown (the paper,
section 1); their order is drawn, so that no set always comes first. A row that cannot be used comes out as a `Reject`
with its reason, inside its shot if that has other pairs: rows in = pairs + rejects.

Rows are gathered by the text they ask about, whatever their set:

    rows        a1   a2   a3   a4        b1   b2              a, b: data sets
    texts       X    X    Y    Z         X'   Y
    contexts    X: a1 a2 b1    Y: a3 b2    Z: a4              X' is X with headings, or with other blanks

Texts are one if they have the same words once blanks are made equal and the headings of a structured abstract taken
away ("Methods: We asked ..."): one source prints an abstract with them, the next without. The shortest spelling stands.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from instructpt.collection import windows
from instructpt.collection.catalog import Catalog, Choice
from instructpt.collection.converters import CONVERTERS, unframed
from instructpt.collection.neutral import TaskRecord, pair_of, reject
from instructpt.collection.windows import LengthLimits
from instructpt.records import Document, Pair, Reject, Shot
from instructpt.seeds import digest, rng
from instructpt.words.evidence import sentence_starts
from instructpt.words.ngrams import Index

MIN_HEADINGS = 2
"""A single line that begins with a word and a colon may be anything."""

_HEADING = re.compile(r"^[A-Z][A-Za-z /&,-]{2,40}:[ \t]+", re.MULTILINE)
_BATCH_CONTEXTS = 2048
_META_KEYS = ("licence", "unanswerable")

Contexts = dict[str, list[TaskRecord]]
"""Key of a text -> its rows, in the order in which texts first appear."""


class Gathering:
    """Rows by context, as they come in."""

    def __init__(self) -> None:
        self.contexts: Contexts = {}
        self._options: dict[tuple[str, ...], tuple[str, ...]] = {}

    def add(self, record: TaskRecord) -> Reject | None:
        """Take a row in; a Reject `no_context` if it has no text.

        What many rows share (a text, a set of labels) is kept once: 340,000 rows of 80 sets take half a GB.
        """
        key = context_key(record.context)
        if not key:
            return reject(record, "no_context")
        members = self.contexts.setdefault(key, [])
        text = record.context.strip()
        members.append(
            replace(
                record,
                context=members[-1].context if members and members[-1].context == text else text,
                options=self._options.setdefault(record.options, record.options),
                meta={name: record.meta[name] for name in _META_KEYS if name in record.meta},
            )
        )
        return None


def context_key(text: str) -> str:
    """What two texts share if they count as one."""
    if len(_HEADING.findall(text)) >= MIN_HEADINGS:
        text = _HEADING.sub("", text)
    return " ".join(text.split())


def spelling(members: list[TaskRecord]) -> str:
    """The text that stands for a context: its shortest spelling, the first of several."""
    return min((record.context for record in members), key=len)


def without_test_items(contexts: Contexts, items: Index) -> Iterator[Reject]:
    """Take out the rows whose context, question or all that they say holds a test item (`contaminated`).

    When a text holds one `words.ngrams` says; short items only where they are all of it: so questions are looked into
    by themselves.
    """
    keys = iter(list(contexts))
    while batch := list(islice(keys, _BATCH_CONTEXTS)):
        rows = [(key, record) for key in batch for record in contexts[key]]
        texts = [spelling(contexts[key]) for key in batch]
        texts += [record.question for _, record in rows]
        texts += ["\n".join([r.question, *r.options, r.rationale or "", r.answer]) for _, r in rows]
        found = {hit.text for hit in items.search(texts)}
        left_out = {key for place, key in enumerate(batch) if place in found}
        for key in batch:
            contexts[key] = []
        for place, (key, record) in enumerate(rows, len(batch)):
            if key in left_out or place in found or place + len(rows) in found:
                yield reject(record, "contaminated")
            else:
                contexts[key].append(record)
    remove_empty(contexts)


def keep_fullest(contexts: Contexts, limit: int) -> Iterator[Reject]:
    """Take the rows of each set beyond its `limit` fullest contexts out (`over_max_contexts`); of equals, earlier stay.

    The paper takes 10,000 contexts of a set, those with the most pairs (its section 1).
    """
    rows: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for context, members in contexts.items():
        for record in members:
            rows[record.dataset][context] += 1
    for dataset, counts in rows.items():
        for context, _ in counts.most_common()[limit:]:
            members = contexts[context]
            yield from (reject(record, "over_max_contexts") for record in members if record.dataset == dataset)
            contexts[context] = [record for record in members if record.dataset != dataset]
    remove_empty(contexts)


def remove_empty(contexts: Contexts) -> None:
    """Forget the contexts without rows."""
    for context in [context for context, members in contexts.items() if not members]:
        del contexts[context]


_BATCH_SHOTS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """Everything that decides what becomes of a row."""

    catalog: Catalog
    limits: LengthLimits
    choice: Choice = field(default_factory=Choice)
    test_items: Index | None = None
    unanswerable_share: float = 0.0
    """Which part of the rows without an answer is kept."""
    unanswerable: str = ""
    """Their answer; "" leaves the words to the catalog."""
    max_contexts: int | None = None
    """Of a set, those with the most rows."""
    seed: int


def convert(records: Iterable[TaskRecord | Reject], how: Conversion) -> Iterator[Shot | Reject]:
    """Gather the rows of each context into one shot, in the order in which contexts first appear.

    Reasons, besides those of `read_records`, `Choice.reasons` and `pair_of`: no_context, contaminated,
    over_max_contexts, context_too_long, answer_outside_split, duplicate_question, over_budget.
    Raises RecipeError for a set, category or group that the catalog does not know.
    """
    gathering = Gathering()
    reasons, unknown = how.choice.reasons(how.catalog), how.choice.unknown_set()
    for item in records:
        if isinstance(item, Reject):
            yield item
        elif reason := reasons.get(item.dataset, None if item.dataset in how.catalog.entries else unknown):
            yield reject(item, reason)
        elif refused := gathering.add(_converted(item, how.catalog)):
            yield refused
    contexts = gathering.contexts
    if how.test_items is not None:
        yield from without_test_items(contexts, how.test_items)
    if how.max_contexts is not None:
        yield from keep_fullest(contexts, how.max_contexts)
    for shot in _shots(contexts, how):
        if shot.pairs:
            yield shot
        else:
            yield from shot.rejects


def _converted(record: TaskRecord, catalog: Catalog) -> TaskRecord:
    entry = catalog.entries.get(record.dataset)
    if entry and entry.frame:
        record = unframed(record, entry.frame)
    return CONVERTERS[entry.converter](record) if entry and entry.converter else record


def _shots(contexts: Contexts, how: Conversion) -> Iterator[Shot]:
    """A shot a context, or a window of it, also for those without pairs left."""
    members = iter(contexts.values())
    while batch := list(islice(members, _BATCH_SHOTS)):
        texts = [spelling(records) for records in batch]
        lengths = how.limits.lengths(texts)
        long = [place for place, length in enumerate(lengths) if length > how.limits.context]
        cuts = windows.cut(
            [texts[place] for place in long],
            limit=how.limits.context,
            lengths=how.limits.lengths,
            sentence_starts=sentence_starts,
        )
        split = dict(zip(long, cuts, strict=True))
        drafts: list[_Draft] = []
        for place, (text, records) in enumerate(zip(texts, batch, strict=True)):
            if place in split:
                drafts += _split(text, split[place], records, how)
            else:
                drafts.append(_draft(text, records, how))
        yield from _fitted(drafts, how.limits)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A text with all its pairs, of which some may be too many."""

    text: str
    asked: list[tuple[Pair, str, str]]
    """Each pair with its set and the licence of its row."""
    rejects: list[Reject]

    def shot(self, numbers: Sequence[int] | None = None) -> Shot:
        """The text with these of its pairs, the others as rejects (`over_budget`); None: with all."""
        chosen = range(len(self.asked)) if numbers is None else numbers
        licences = {name: licence for _, name, licence in reversed(self.asked)}
        datasets = [self.asked[number][1] for number in chosen]
        names = sorted(set(datasets))
        meta = {"datasets": names, "licences": [licences[name] for name in names], "pair_datasets": datasets}
        left_out = [pair for number, (pair, _, _) in enumerate(self.asked) if number not in chosen]
        rejects = [Reject(f"{pair.question}\n{pair.answer}"[:200], "over_budget") for pair in left_out]
        document = Document(digest(self.text).hex()[:16], self.text, "+".join(names), meta)
        return Shot(document, tuple(self.asked[number][0] for number in chosen), rejects=(*self.rejects, *rejects))


def _split(text: str, parts: Sequence[str] | None, records: Sequence[TaskRecord], how: Conversion) -> Iterator[_Draft]:
    """A draft a window that answers something, and one without pairs for the rows that no window answers."""
    if parts is None:
        yield _Draft(text, [], [reject(record, "context_too_long") for record in records])
        return
    entries = how.catalog.entries
    kinds = [entries[record.dataset].answers if record.dataset in entries else "free" for record in records]
    places = windows.assign(records, parts, kinds)
    for place, part in enumerate(parts):
        if answered := [record for record, where in zip(records, places, strict=True) if where == place]:
            yield _draft(part, answered, how)
    outside = [record for record, where in zip(records, places, strict=True) if where is None]
    yield _Draft(text, [], [reject(record, "answer_outside_split") for record in outside])


def _draft(text: str, records: Sequence[TaskRecord], how: Conversion) -> _Draft:
    """The text with the pairs of its rows in drawn order, whatever their length."""
    draft = _Draft(text, [], [])
    seen: set[tuple[str, tuple[str, ...]]] = set()
    drawn = list(records)
    rng(how.seed, "pair_order", text).shuffle(drawn)
    for record in drawn:
        pair = pair_of(
            record,
            catalog=how.catalog,
            seed=how.seed,
            unanswerable_share=how.unanswerable_share,
            unanswerable=how.unanswerable,
        )
        if isinstance(pair, str):
            draft.rejects.append(reject(record, pair))
            continue
        key = (" ".join(pair.question.casefold().split()), tuple(sorted(pair.options)))
        if key in seen:
            draft.rejects.append(reject(record, "duplicate_question"))
            continue
        seen.add(key)
        entry = how.catalog.entries.get(record.dataset)
        licence = str(record.meta.get("licence") or (entry.licence if entry else "unknown"))
        draft.asked.append((pair, record.dataset, licence))
    return draft


def _fitted(drafts: Sequence[_Draft], limits: LengthLimits) -> Iterator[Shot]:
    """The shots without pairs beyond the limit: each is tried in turn, those that fit stay.

    What a shot costs is measured whole, never summed up: a dialect may write more for a group than for its pairs.
    """
    costs = limits.costs([draft.shot() for draft in drafts])
    kept: dict[int, list[int]] = {place: [] for place, cost in enumerate(costs) if cost > limits.shot}
    for number in range(max((len(drafts[place].asked) for place in kept), default=0)):
        tried = [place for place in kept if number < len(drafts[place].asked)]
        measured = limits.costs([drafts[place].shot([*kept[place], number]) for place in tried])
        for place, cost in zip(tried, measured, strict=True):
            if cost <= limits.shot:
                kept[place].append(number)
    return (draft.shot(kept.get(place)) for place, draft in enumerate(drafts))
