"""Where an exam comes from.

questions file ------------------------------.
corpus --------------------------------------+--> Questions --> a group a passage, its questions as pairs
documents that are not trained on (control) -'
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.corpus import readers
from instructpt.errors import InputError
from instructpt.evaluation.drawing import spread
from instructpt.evaluation.exam import CONTROL_SET, CORPUS_SET, MIN_PASSAGES, Question, check_enough, read_questions
from instructpt.records import Document, Group, Shot


@dataclass(frozen=True, kw_only=True)
class Questions(Stage[Group]):
    """An exam from a file of questions: the passages that they are about, each with its questions."""

    takes: ClassVar[str] = "questions"
    makes: ClassVar[str] = "passages"

    files: tuple[str, ...]
    """Of questions (docs/formats.md)."""
    documents: Stage[Document]
    """The corpus: a question names one of its documents by its id."""
    trained_on: Stage[Document] | None = None
    """Those of them that are trained on; None: all. Questions on others are left out and counted."""
    control: Stage[Document] | None = None
    """Documents that are not trained on, for the control set."""
    max_questions: int | None = None
    """A passage, evenly spaced."""

    def check(self, run: Run) -> None:
        """Raises InputError for a questions file that cannot be read."""
        del run
        read_questions(self.files)

    def sources(self, run: Run) -> Mapping[str, str]:
        """The questions by content."""
        del run
        return readers.sources(self.files)

    def num_shards(self, run: Run) -> int:
        """One."""
        del run
        return 1

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """A group a passage, in the order of the first question on each.

        Raises InputError for questions on passages that are not in the corpus, and for too few questions.
        """
        del index
        questions = read_questions(self.files)
        run.tally.take(len(questions))
        by_id: dict[str, list[Question]] = {}
        for question in questions:
            by_id.setdefault(question.passage_id, []).append(question)
        control = _documents(self.control, by_id, run)
        corpus = _documents(self.documents, by_id, run)
        if missing := [question for question in questions if question.passage_id not in corpus | control]:
            raise InputError(
                f"{len(missing):,} of {len(questions):,} questions are about passages that are not in the corpus, the "
                f"first about {missing[0].passage_id!r}: a passage_id is the id of a document; check the files and the "
                "field that holds its ids"
            )
        if self.trained_on is not None:
            trained_on = _documents(self.trained_on, by_id, run)
            for name in [name for name in corpus if name not in trained_on | control]:
                for question in by_id.pop(name):
                    run.tally.drop("passage_not_trained_on", question.pair.question)
        yield from self._groups(by_id, corpus, control, run)

    def _groups(
        self,
        by_id: Mapping[str, list[Question]],
        corpus: Mapping[str, Document],
        control: Mapping[str, Document],
        run: Run,
    ) -> Iterator[Group]:
        num_control = sum(name in control for name in by_id)
        asked = [found for name, found in by_id.items() if name not in control]
        check_enough(sum(map(len, asked)), len(asked))
        for name, found in by_id.items():
            if name in control and num_control < MIN_PASSAGES:
                for question in found:
                    run.tally.drop("too_few_for_a_control_set", question.pair.question)
                continue
            places = spread(len(found), number=self.max_questions or len(found))
            run.tally.keep(len(places))
            for _ in range(len(found) - len(places)):
                run.tally.drop("not_drawn")
            document, source = (control[name], CONTROL_SET) if name in control else (corpus[name], CORPUS_SET)
            pairs = tuple(found[place].pair for place in places)
            yield Group(name, (Shot(replace(document, source=source), pairs),))


def _documents(stage: Stage[Document] | None, wanted: Mapping[str, object], run: Run) -> dict[str, Document]:
    """The wanted documents by id. Raises InputError for two different ones of one id."""
    found: dict[str, Document] = {}
    for index in range(run.num_shards(stage) if stage is not None else 0):
        assert stage is not None
        for document in run.records(stage, index):
            if document.id in wanted and found.setdefault(document.id, document).text != document.text:
                raise InputError(
                    f"two documents have the id {document.id!r}, which questions are about: give each its own id"
                )
    return found
