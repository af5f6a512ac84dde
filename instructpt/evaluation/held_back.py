"""An exam from a corpus' own pairs: those that it asks are held back from training.

groups that a reader confirmed --+--> HeldBack --> exam: a group a passage, with the pairs that are held back
                                 |        |
                                 +--> Remainder --> the groups without these pairs, and without some passages

Passages that are left out as a whole are the control set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.errors import InputError
from instructpt.evaluation.exam import CONTROL_SET, CORPUS_SET, check_enough, is_control
from instructpt.records import Group, Pair, Shot
from instructpt.seeds import digest, rng
from instructpt.words.overlap import words

MIN_AGREEMENT = 0.8
"""Of a reader's answer with that of a pair that is held back for an exam; pairs are kept for training from 0.5 on."""
MAX_ANSWER_WORDS = 8
"""Of such a pair: what is longer can be right in too many ways."""


def is_confirmed(pair: Pair, *, min_agreement: float) -> bool:
    """Whether a pair that a model wrote is good enough to examine with: a short answer that a reader gives, too."""
    return (
        pair.agreement is not None
        and pair.agreement >= min_agreement
        and 0 < len(words(pair.answer)) <= MAX_ANSWER_WORDS
        and (not pair.options or pair.answer in pair.options)
    )


@dataclass(frozen=True, kw_only=True)
class HeldBack(Stage[Group]):
    """An exam from a corpus' own pairs: some of each passage that a reader confirmed, and all such of some passages.

    A group a passage; those of the control set are passages of which nothing is to be trained on.
    """

    takes: ClassVar[str] = "pairs"
    is_single = True

    groups: Stage[Group]
    """With `Pair.agreement`, as `Consistency` leaves it."""
    min_agreement: float = MIN_AGREEMENT
    per_passage: int = 1
    """Pairs that are held back; a passage keeps at least one."""
    control_share: float = 0.1
    """Of the passages, drawn for the control set."""
    seed: int = 0

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """A group a passage, in order. Raises InputError for too few, and for groups that no reader has looked at."""
        found: dict[str, Group] = {}
        num_read, times_asked = 0, Counter(spelled(pair) for shot in _shots(self.groups, run) for pair in shot.pairs)
        for shot in _shots(self.groups, run):
            run.tally.take(len(shot.pairs))
            num_read += sum(pair.agreement is not None for pair in shot.pairs)
            exam = None if passage_key(shot) in found else self._exam(shot, times_asked)
            held = exam.shots[0].pairs if exam is not None else ()
            for pair in shot.pairs:
                if pair not in held:
                    run.tally.drop("not_held_back")
            if exam is not None:
                found[passage_key(shot)] = exam
        if not num_read:
            raise InputError(
                f"no pair of {self.groups.name} was asked again by a reader: run instructpt verify ARTIFACT "
                "--consistency READER first, or give a file of questions"
            )
        num_control = sum(map(is_control, found.values()))
        asked = [group for group in found.values() if not is_control(group)]
        check_enough(sum(len(group.shots[0].pairs) for group in asked), len(asked))
        for group in found.values():
            run.tally.keep(len(group.shots[0].pairs))
            yield group
        run.tally.count("passages_of_the_control_set", num_control)

    def _exam(self, shot: Shot, times_asked: Mapping[str, int]) -> Group | None:
        """The exam's part of one passage; None where no pair may be held back.

        A question that is asked of several passages makes no sense without them.
        """
        key = passage_key(shot)
        confirmed = tuple(
            pair
            for pair in shot.pairs
            if is_confirmed(pair, min_agreement=self.min_agreement) and times_asked[spelled(pair)] == 1
        )
        stream = rng(self.seed, "held back", key)
        if stream.random() < self.control_share:
            source, chosen = CONTROL_SET, confirmed
        else:
            source, most = CORPUS_SET, min(self.per_passage, len(shot.pairs) - 1, len(confirmed))
            chosen = tuple(stream.sample(confirmed, max(0, most)))
        if not chosen:
            return None
        return Group(shot.document.id, (Shot(replace(shot.document, source=source), chosen),))


@dataclass(frozen=True, kw_only=True)
class Remainder(Stage[Group]):
    """What is left to train on beside an exam from the same groups."""

    groups: Stage[Group]
    exam: Stage[Group]

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """The groups without passages of the control set, and without any pair that asks what the exam asks."""
        exam = list(run.records(self.exam))
        control = {passage_key(group.shots[0]) for group in exam if is_control(group)}
        asked = {spelled(pair) for group in exam for pair in group.shots[0].pairs}
        for group in run.take(self.groups, index):
            shots = []
            for shot in group.shots:
                if passage_key(shot) in control:
                    run.tally.drop("control_set", shot.document.text)
                    continue
                pairs = tuple(pair for pair in shot.pairs if spelled(pair) not in asked)
                run.tally.count("pairs_held_back", len(shot.pairs) - len(pairs))
                shots.append(replace(shot, pairs=pairs))
            if shots:
                yield replace(group, shots=tuple(shots))


def passage_key(shot: Shot) -> str:
    """The same for passages of one text, whatever their ids."""
    return digest("passage", shot.document.text).hex()


def spelled(pair: Pair) -> str:
    """A question by its words alone."""
    return " ".join(words(pair.question))


def _shots(groups: Stage[Group], run: Run) -> Iterator[Shot]:
    for group in run.records(groups):
        yield from group.shots
