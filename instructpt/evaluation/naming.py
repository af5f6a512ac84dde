"""Which questions of an exam ask for a fact that some training pair names.

    passage     The bridge over the Cole was built in 1843. It is 212 metres long.
    pair        What was built, and when?      the bridge over the Cole, in 1843
    question    When was the bridge built?     accepted: 1843          named: "1843" stands in the pair's answer
    question    How long is the bridge?        accepted: 212 metres    named by no pair

The rule (`named_answer`): one of the question's accepted answers stands word for word in the answer of some pair about
its passage, that is a pair whose passage is the question's document or was cut from it. Facts that a pair puts in other
words are missed, and "yes" is named by any pair that says yes: a rule that can be checked, no judgement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.evaluation.overlap import pair_text
from instructpt.records import Document, Group, Match, Pair, Shot
from instructpt.words.overlap import is_span, words


def named_answer(question: Pair, pair: Pair) -> str | None:
    """The accepted answer of a question that stands in the answer of a pair; None if none does."""
    said = words(pair.answer)
    return next((right for right in (question.answer, *question.accepted) if is_span(right, said)), None)


@dataclass(frozen=True, kw_only=True)
class Named(Stage[Match]):
    """The questions of an exam that training pairs name: a match for each of a passage, with the first pair that does.

    `Match.places` holds the question's number in the exam.
    """

    takes: ClassVar[str] = "passages"

    groups: Stage[Group]
    """What is trained on."""
    exam: Stage[Group]

    def shard(self, index: int, run: Run) -> Iterator[Match]:
        """In the order of the groups."""
        asked = _questions(run.records(self.exam))
        for row, group in enumerate(run.take(self.groups, index)):
            run.tally.keep(len(group.shots))
            for place, shot in enumerate(group.shots):
                for number, question in _about(shot.document, asked):
                    yield from self._matches(number, question, shot, row=row, place=place)

    def join(self, run: Run, path: Path) -> bool:
        """Counts all questions, and those that some pair names; makes nothing."""
        shards = range(self.num_shards(run))  # not all at once: there is no manifest yet
        found = {match.places for index in shards for match in run.records(self, index)}
        run.tally.count("questions", sum(len(group.shots[-1].pairs) for group in run.records(self.exam)))
        run.tally.count("questions_named", len(found))
        return False

    def _matches(self, number: int, question: Pair, shot: Shot, *, row: int, place: int) -> Iterator[Match]:
        for pair_number, pair in enumerate(shot.pairs):
            if right := named_answer(question, pair):
                text = pair_text(pair)
                yield Match(
                    task=self.exam.name,
                    places=(number,),
                    field="answers",
                    num_ngrams=1,
                    num_item_ngrams=1,
                    item=right,
                    row=row,
                    id=shot.document.id,
                    source=shot.document.source,
                    shot=place,
                    pair=pair_number,
                    spans=((len(text) - len(pair.answer), len(text)),),
                    text=text,
                )
                return


Asked = dict[str, list[tuple[Document, list[tuple[int, Pair]]]]]
"""Id of a document -> documents of that id, each with its questions and their numbers in the exam."""


def _questions(exam: Iterator[Group]) -> Asked:
    found: Asked = {}
    number = 0
    for group in exam:
        shot = group.shots[-1]
        questions = list(enumerate(shot.pairs, number))
        number += len(questions)
        found.setdefault(shot.document.id, []).append((shot.document, questions))
    return found


def _about(passage: Document, asked: Asked) -> Iterator[tuple[int, Pair]]:
    """The questions on a passage or on the document that it was cut from; ids may repeat, texts tell."""
    for name in {passage.id: None, passage.id.rpartition("#")[0]: None}:
        for document, questions in asked.get(name, ()):
            if passage.text in document.text:
                yield from questions
