"""Questions that people asked about documents of a corpus, a row each: what an exam asks, or pairs to train on.

    {"passage_id": "doc-7", "question": "When was the bridge built?", "answers": ["1843", "in 1843"]}

The same file serves both: what the exam asks is left out of what is trained on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.artifacts.tally import count_pairs
from instructpt.corpus import readers
from instructpt.corpus.testitems import file_rows
from instructpt.errors import InputError
from instructpt.records import Document, Group, Pair, Shot


@dataclass(frozen=True, slots=True)
class Question:
    """A row of a questions file."""

    passage_id: str
    pair: Pair
    """Its first accepted answer is `answer`, of a choice the one that is among the options."""


def read_questions(files: Sequence[str]) -> list[Question]:
    """The questions of files in any format that corpora are read from, one a row, in order.

    Raises InputError for a row without passage_id, question or answers, and for a choice that lacks its answer.
    """
    found = [
        _question(row, f"question {number} of {', '.join(files)}") for number, row in enumerate(file_rows(files), 1)
    ]
    if not found:
        raise InputError(f"{', '.join(files)} holds no questions: give rows with passage_id, question and answers")
    return found


def _question(row: Mapping[str, Any], where: str) -> Question:
    passage_id, question = row.get("passage_id"), row.get("question")
    if not isinstance(passage_id, str | int) or not isinstance(question, str) or not question.strip():
        raise InputError(f"{where} has passage_id {passage_id!r} and question {question!r}: give both, as text")
    answers, options = (_texts(row.get(name)) for name in ("answers", "options"))
    answers = answers or _texts(row.get("answer"))
    if not answers:
        raise InputError(f"{where} has no accepted answer: give answers, a list of texts that are not empty")
    right = [text for text in answers if not options or text in options]
    if not right:
        raise InputError(
            f"{where} has the answer {answers[0]!r}, which is none of its options {list(options)}: mend it"
        )
    pair = Pair(question.strip(), right[0], options, accepted=tuple(text for text in answers if text != right[0]))
    return Question(str(passage_id), pair)


def _texts(value: Any) -> tuple[str, ...]:
    """A text or a list of texts; nothing that is empty."""
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(dict.fromkeys(text.strip() for text in values if isinstance(text, str) and text.strip()))


def by_passage(questions: Iterable[Question]) -> dict[str, list[Question]]:
    """Questions by the id of their document, in the order of the first question on each."""
    found: dict[str, list[Question]] = {}
    for question in questions:
        found.setdefault(question.passage_id, []).append(question)
    return found


def documents_named(names: Collection[str], stage: Stage[Document] | None, run: Run) -> dict[str, Document]:
    """The documents of a stage that are named, by id. Raises InputError for two different ones of one id."""
    found: dict[str, Document] = {}
    for document in run.records(stage) if stage is not None else ():
        if document.id in names and found.setdefault(document.id, document).text != document.text:
            raise InputError(
                f"two documents have the id {document.id!r}, which questions are about: give each its own id"
            )
    return found


@dataclass(frozen=True, kw_only=True)
class OfQuestions(Stage[Group]):
    """What stages have in common that read files of questions on documents: a group a document, its questions as
    pairs."""

    takes: ClassVar[str] = "documents"
    is_single = True

    files: tuple[str, ...]
    """Of questions (docs/formats.md)."""
    documents: Stage[Document]
    """A question names one of them by its id."""

    def check(self, run: Run) -> None:
        """Raises InputError for a questions file that cannot be read."""
        read_questions(self.files)

    def sources(self, run: Run) -> Mapping[str, str]:
        """The questions by content."""
        return readers.sources(self.files)


@dataclass(frozen=True, kw_only=True)
class GoldPairs(OfQuestions):
    """Documents with the pairs that people wrote about them, those without any too."""

    takes: ClassVar[str] = "passages"

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """A group a document, in order; pairs on documents that are not there are counted."""
        by_id = by_passage(read_questions(self.files))
        for document in run.take(self.documents):
            found = by_id.pop(document.id, [])
            shot = Shot(document, tuple(question.pair for question in found))
            yield count_pairs(Group(document.id, (shot,)), run.tally)
        run.tally.count("pairs_on_other_documents", sum(map(len, by_id.values())))
