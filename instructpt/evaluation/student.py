"""What a model knows already: the model that is to be trained is asked about the corpus without seeing it.

    groups --Quiz--> a passage's questions --Examine, closed book--> answers --Unknown--> the passages that it fails on
                                                                                              |
    groups <--Attach-- groups of these passages alone, with more pairs  <-- Synthesize ... <--'

A pair about what a model knows teaches it little. Right is an answer that holds the pair's own, or shares half of its
words with it; a passage is known if half of the questions asked about it are answered rightly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from instructpt.artifacts import Run, Stage, Table, is_finished
from instructpt.corpus.stages import Subset
from instructpt.evaluation.drawing import spread
from instructpt.evaluation.questioning import Examine
from instructpt.records import Document, Group, Item, Shot

MIN_F1 = 0.5
"""Of the student's answer with the pair's: half of the words."""
KNOWN_SHARE = 0.5
"""Of a passage's questions, that make it known."""
QUESTIONS_A_PASSAGE = 4


@dataclass(frozen=True, kw_only=True)
class Quiz(Stage[Group]):
    """Each passage with some of its pairs, a group each: what can be asked without it.

    A pair with options is left out: one in four is right by chance. So are, where a reader confirms pairs, those that
    it did not see: rules find gaps to fill, which nobody can without the sentence.
    """

    may_leave_nothing = True

    groups: Stage[Group]
    is_confirmed: bool = False
    """Only pairs that a reader has confirmed."""
    max_questions: int = QUESTIONS_A_PASSAGE
    """A passage, evenly spaced."""

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """The passages that have such pairs, in order."""
        number = 0
        for group in run.take(self.groups, index):
            for shot in group.shots:
                free = [pair for pair in shot.pairs if not pair.options]
                pairs = [pair for pair in free if pair.agreement is not None] if self.is_confirmed else free
                chosen = tuple(pairs[place] for place in spread(len(pairs), number=self.max_questions))
                if chosen:
                    run.tally.count("questions", len(chosen))
                    yield Group(f"{index:05d}-{number:08d}", (Shot(shot.document, chosen),))
                else:
                    run.tally.drop("not_asked")
                number += 1


@dataclass(frozen=True, kw_only=True)
class Unknown(Subset):
    """The passages on which a student fails.

    Counted are questions ("questions", "questions_known"), and by reason the passages that are not in it: `known`, and
    `not_asked`, for they have no pair that could be asked.
    """

    takes: ClassVar[str] = "passages"
    makes: ClassVar[str] = "passages"
    may_leave_nothing = True

    quiz: Quiz
    """Of the same passages."""
    student: Examine
    """What was answered to it."""

    def shard(self, index: int, run: Run) -> Iterator[Document]:
        """Some of the shard's passages, in their order."""
        first = sum(run.num_made(self.quiz, earlier) for earlier in range(index))
        known = _known(run.records(self.student), range(first, first + run.num_made(self.quiz, index)))
        asked = enumerate(run.records(self.quiz, index), first)
        place, waiting = next(asked, (first, None))
        for document in run.take(self.documents, index):
            if waiting is None or waiting.shots[0].document != document:
                run.tally.drop("not_asked")
                continue
            right = known.get(place, [])
            run.tally.count("questions", len(right))
            run.tally.count("questions_known", sum(right))
            if sum(right) >= KNOWN_SHARE * max(1, len(right)):
                run.tally.drop("known")
            else:
                yield document
            place, waiting = next(asked, (place, None))

    def outline(self, run: Run) -> Table | None:
        """What the student knew, once it was asked."""
        if not is_finished(self, run):
            return None
        tally = run.manifest(self)["tally"]
        counts, dropped = tally["counts"], tally["dropped"]
        total = counts.get("questions", 0)
        share = counts.get("questions_known", 0) / total if total else 0.0
        rows = (
            ("questions asked, closed book", f"{total:,}"),
            ("answered rightly", f"{share:.1%}"),
            ("passages that it fails on", f"{tally['made']:,}"),
            ("passages that it knows", f"{dropped.get('known', 0):,}"),
            ("passages without a question", f"{dropped.get('not_asked', 0):,}"),
        )
        return Table(f"{self.name}: what the student knows", ("", "number"), rows)


def _known(items: Iterator[Item], places: range) -> dict[int, list[bool]]:
    """Of each passage, whether each answer is right. places: of the passages that are wanted."""
    found: dict[int, list[bool]] = {}
    for item in items:
        if item.place in places:
            is_right = item.values["containment"] == 1 or item.values["f1"] >= MIN_F1
            found.setdefault(item.place, []).append(is_right)
    return found
