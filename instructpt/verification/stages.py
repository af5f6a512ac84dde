"""Groups with fewer pairs, or more: checks take pairs out (`Verify`), and the best of each passage are kept (`Best`).

The best of those that a reader confirmed are so many as are wanted, spread over the passage:

    passage     [ The heron waits. ]  [ It eats fish, frogs and eels. ]  [ Its nest is made of sticks. ]
    pairs          a 0.9   b 1.0         c 0.8    d 0.6                       (none)
    best 2                 b             c                                    a sentence at a time, then what is left
    best 3         a       b             c

Writing more than is wanted and keeping the best is how a small model gives pairs that a large one would. Rules then
find pairs for the sentences that none of these is about (`mining.stages.Fill`).

Pairs that came about otherwise, for some of the passages, are put beside the others as they are (`Attach`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from instructpt.artifacts import Run, Stage, Table, is_finished
from instructpt.artifacts.tally import Tally, count_left_out, count_pairs
from instructpt.engines.models import Model, prompting_of
from instructpt.errors import RecipeError
from instructpt.records import Group, Pair, Reject, Shot
from instructpt.seeds import digest
from instructpt.synthesis.forms import by_label, form_sources
from instructpt.verification.checks import DEFAULT_CHECKS, question_key
from instructpt.verification.texts import checked_texts, count_parts
from instructpt.words.evidence import Span, count_covered, sentences


@dataclass(frozen=True, kw_only=True)
class Verify(Stage[Group]):
    """Groups without the pairs, and the texts in forms, that fail a check; no passage is lost.

    Counted are the pairs that were looked at ("checked"), how many failed each check ("failed/NAME", also where an
    earlier one had failed before), and how many were left out for each reason ("left_out/REASON").
    """

    version: ClassVar[int] = 3

    groups: Stage[Group]
    checks: tuple[str, ...] = DEFAULT_CHECKS
    synthesizer: Model | None = field(default=None, metadata={"later": True})
    """Who wrote the pairs: its `synthesizer.json` says in which categories answers are spans. None: short ones count
    as such."""
    forms: str = field(default="", metadata={"later": True})
    """Those whose texts are checked too, as `--forms` has them, each by the checks of its form; other texts stay."""

    def sources(self, run: Run) -> Mapping[str, str]:
        """What a synthesizer that no stage makes says of its categories, and what the forms say."""
        found = form_sources(self.forms)
        if isinstance(self.synthesizer, str):
            found["synthesizer/categories"] = digest(sorted(self._answers(run).items())).hex()[:32]
        return found

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """The same groups, failing pairs turned into rejects; near duplicates are looked for in the whole shard."""
        from instructpt.verification.checks import Seen, apply_checks

        answers, seen, failed, forms = self._answers(run), Seen(), Counter[str](), by_label(self.forms)
        for group in run.take(self.groups, index):
            shots = tuple(
                checked_texts(apply_checks(shot, self.checks, answers=answers, seen=seen, failed=failed), forms)
                for shot in group.shots
            )
            checked = Group(group.id, shots)
            count_left_out(group, checked, run.tally)
            count_parts(group, forms, run.tally)
            count_covered(checked, run.tally)
            yield count_pairs(checked, run.tally)
        for name, number in failed.items():
            run.tally.count(f"failed/{name}", number)

    def _answers(self, run: Run) -> Mapping[str, str]:
        return prompting_of(self.synthesizer, run).answers if self.synthesizer is not None else {}


SURPLUS = "surplus"
"""The reason of rejects that are right as far as anybody knows, but more than were wanted."""


@dataclass(frozen=True, kw_only=True)
class Best(Stage[Group]):
    """Groups with at most so many pairs a passage: those about sentences that no better pair is about come first."""

    groups: Stage[Group]
    pairs: int
    """A passage."""

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise RecipeError(f"{self.name}: {self.pairs} pairs a passage: give at least 1")

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """The same groups; pairs that are too many become rejects."""
        for group in run.take(self.groups, index):
            chosen = replace(group, shots=tuple(best(shot, most=self.pairs) for shot in group.shots))
            count_covered(chosen, run.tally)
            yield count_pairs(chosen, run.tally)


@dataclass(frozen=True, kw_only=True)
class Attach(Stage[Group]):
    """Groups with added pairs, each beside its passage and before those that were there.

    Counted are added pairs ("pairs_added"), pairs that asked the same as an added one and are gone ("asked_again"), and
    all pairs of passages to which some were added ("pairs_there").
    """

    groups: Stage[Group]
    added: Stage[Group]
    """Some of the same passages in the same order."""
    beside: tuple[Stage[Any], ...] = ()
    """What is made with them, to be looked at."""

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """The same groups, with more pairs."""
        added = (shot for group in run.records(self.added, index) for shot in group.shots if shot.pairs)
        waiting = next(added, None)
        for group in run.take(self.groups, index):
            shots = []
            for shot in group.shots:
                if waiting is not None and waiting.document == shot.document:
                    shot, waiting = _with_added(shot, waiting, run.tally), next(added, None)
                shots.append(shot)
            whole = replace(group, shots=tuple(shots))
            count_covered(whole, run.tally)
            yield count_pairs(whole, run.tally)
        assert waiting is None, f"{waiting.document.id if waiting else ''} is not among the passages of {self.name}"

    def outline(self, run: Run) -> Table | None:
        """How the share of pairs on the passages moved to which some were added, once they are."""
        if not is_finished(self, run):
            return None
        counts = run.manifest(self)["tally"]["counts"]
        total, there = counts.get("pairs", 0), counts.get("pairs_there", 0)
        more = counts.get("pairs_added", 0) - counts.get("asked_again", 0)
        rows = (
            ("pairs", f"{total - more:,}", f"{total:,}"),
            ("on these passages", f"{there - more:,}", f"{there:,}"),
            (
                "share",
                *(f"{part / max(1, whole):.1%}" for part, whole in ((there - more, total - more), (there, total))),
            ),
        )
        return Table(f"{self.name}: passages with pairs of {self.added.name}", ("", "before", "after"), rows)


def _with_added(shot: Shot, added: Shot, tally: Tally) -> Shot:
    asked = set(map(question_key, added.pairs))
    left = tuple(pair for pair in shot.pairs if question_key(pair) not in asked)
    tally.count("pairs_added", len(added.pairs))
    tally.count("asked_again", len(shot.pairs) - len(left))
    tally.count("pairs_there", len(added.pairs) + len(left))
    return replace(shot, pairs=(*added.pairs, *left))


def best(shot: Shot, *, most: int) -> Shot:
    """The shot with at most so many pairs, in their order; the others are rejects.

    One pair a sentence is chosen before any sentence gets a second one, and so on; among pairs of one turn those with
    the higher agreement come first, then those that stand earlier.
    """
    if len(shot.pairs) <= most:
        return shot
    turns, within = dict[int | None, int](), sentences(shot.document.text)
    ranked: list[tuple[int, float, int]] = []
    for number, pair in sorted(enumerate(shot.pairs), key=lambda item: (-(item[1].agreement or 0.0), item[0])):
        sentence = _sentence(pair, within)
        turns[sentence] = turns.get(sentence, 0) + 1
        ranked.append((turns[sentence], -(pair.agreement or 0.0), number))
    chosen = {number for _, _, number in sorted(ranked)[:most]}
    kept = tuple(pair for number, pair in enumerate(shot.pairs) if number in chosen)
    left = tuple(
        Reject(f"{pair.question}\n{pair.answer}", SURPLUS)
        for number, pair in enumerate(shot.pairs)
        if number not in chosen
    )
    return replace(shot, pairs=kept, rejects=(*shot.rejects, *left))


def _sentence(pair: Pair, within: Sequence[Span]) -> int | None:
    """Which sentence bears the pair's answer out; None if nobody looked, or none does."""
    if pair.span is None:
        return None
    return next((number for number, (_, stop) in enumerate(within) if pair.span[0] < stop), None)
