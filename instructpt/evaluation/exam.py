"""A closed-book exam: what has a model learned from texts that it does not see while it is asked?

    questions file ------------------------------.
    corpus --------------------------------------+--> Questions --> a group a passage, its questions as pairs
    documents that are not trained on (control) -'

    passage        "The bridge over the Cole was built in 1843 ..."       title "Cole bridge"
    question       "When was the bridge over the Cole built?"             accepted "1843", "in the year 1843"

    closed book    title, question, "Answer:"             how likely is " 1843"? what does the model write?
    open book      title, passage, question, "Answer:"    the same: what could be reached at best

    written        "It was built in 1843."                exact_match 0    f1 0.33    containment 1

Of several accepted answers the best counts; bits are those of the first. Options, where a question has some, stand
below it, so such questions are a task of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.collection.questions import OfQuestions, Question, by_passage, documents_named, read_questions
from instructpt.errors import InputError
from instructpt.evaluation.answers import Answered, Reader, answer
from instructpt.evaluation.comparison import EXAMS
from instructpt.evaluation.drawing import spread
from instructpt.records import Document, Group, Item, Pair, Shot
from instructpt.words.overlap import exact_match, f1, is_span, words

if TYPE_CHECKING:
    import torch

CLOSED_BOOK, OPEN_BOOK = EXAMS
CONTROL, CHOICE = "/control", "/choice"
"""Ends of the names of tasks: questions about documents that were not trained on, questions with options."""
CORPUS_SET, CONTROL_SET = "corpus", "control"
"""What the source of an exam's passages is."""
_ROWS = 32
"""Answers that are written at once; all wait for the longest."""
MIN_PASSAGES = 20
"""Questions on one passage are alike, so an interval is one over passages. Over fewer it would be more than a tenth too
narrow: a bootstrap takes no account of how few there are (1.96 standard errors, where Student's t has 2.09 for 20)."""


def check_enough(num_questions: int, num_passages: int) -> None:
    """Raises InputError if there are too few passages with questions for an interval."""
    if num_passages < MIN_PASSAGES:
        raise InputError(
            f"the exam has {num_questions:,} questions on {num_passages:,} passages: an interval needs at least "
            f"{MIN_PASSAGES} passages with a question each, since those on one passage are alike; add questions on "
            f"{MIN_PASSAGES - num_passages} more"
        )


def is_control(group: Group) -> bool:
    """Whether the questions of an exam's group are about a document that was not trained on."""
    return group.shots[-1].document.source == CONTROL_SET


def ask(
    reader: Reader, shots: Sequence[tuple[int, Shot, bool]], *, max_new_tokens: int, has_open_book: bool
) -> Iterator[Answered]:
    """Ask the questions on passages, by closed and by open book, all that are given together; in order.

    shots: each behind the number of its passage in the exam, and before whether it is of the control set.
    """
    books = [CLOSED_BOOK, *([OPEN_BOOK] if has_open_book else [])]
    asked = [
        [_asked(reader, shot, book, place=place, is_control=is_control, spare_tokens=max_new_tokens) for book in books]
        for place, shot, is_control in shots
    ]
    prompts = [prompt for both in asked for answered in both for prompt in answered.prompts]
    written = iter(write(reader, prompts, max_new_tokens=max_new_tokens))
    for (_, shot, _), both in zip(shots, asked, strict=True):
        items = [
            marked(item, shot.pairs[int(item.part)], next(written)) for answered in both for item in answered.items
        ]
        yield replace(both[0], items=tuple(items), is_cut=any(answered.is_cut for answered in both))


def _asked(reader: Reader, shot: Shot, book: str, *, place: int, is_control: bool, spare_tokens: int) -> Answered:
    """The questions on a passage, with its title alone before them or the passage as well."""
    title = str(shot.document.meta.get("title") or "").strip()
    context = title if book == CLOSED_BOOK else "\n\n".join(filter(None, (title, shot.document.text)))
    return answer(
        reader,
        replace(shot, document=replace(shot.document, text=context)),
        task=book + (CONTROL if is_control else ""),
        place=place,
        spare_tokens=spare_tokens,
    )


def marked(item: Item, pair: Pair, written: str) -> Item:
    """An item with what was written for it, and how good that is."""
    right = (pair.answer, *pair.accepted)
    said = words(written)
    marks = {
        "exact_match": max(float(exact_match(written, text)) for text in right),
        "f1": max(f1(written, text) for text in right),
        "containment": max(float(is_span(text, said)) for text in right),
    }
    task = item.task + (CHOICE if pair.options else "")
    return replace(item, task=task, answer=written, values={**item.values, **marks})


def write(reader: Reader, prompts: Sequence[Sequence[int]], *, max_new_tokens: int) -> list[str]:
    """What the model writes after each prompt, the likeliest token each time: its first line that says anything.

    A prompt that fills all positions of the model gets "". Prompts of about one length are read together.
    """
    found = [""] * len(prompts)
    fitting = [place for place, prompt in enumerate(prompts) if len(prompt) < reader.positions]
    order = sorted(fitting, key=lambda place: -len(prompts[place]))
    for start in range(0, len(order), _ROWS):
        chosen = order[start : start + _ROWS]
        lines = _write(reader, [prompts[place] for place in chosen], max_new_tokens=max_new_tokens)
        for place, line in zip(chosen, lines, strict=True):
            found[place] = line
    return found


def _write(reader: Reader, prompts: Sequence[Sequence[int]], *, max_new_tokens: int) -> list[str]:
    """Of prompts that are read together, the longest first."""
    import torch

    device, words, longest = reader.model.device, reader.vocabulary, len(prompts[0])
    tokens_BT = torch.full((len(prompts), longest), words.eos)
    sees_BT = torch.zeros_like(tokens_BT)
    for row, prompt in enumerate(prompts):  # padding on the left: all rows end where the answer begins
        tokens_BT[row, longest - len(prompt) :] = torch.tensor(prompt)
        sees_BT[row, longest - len(prompt) :] = 1

    def has_line(ids_BT: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        del scores
        texts = [words.decode(ids[longest:]).lstrip() for ids in ids_BT.tolist()]
        return torch.tensor(["\n" in text for text in texts], device=ids_BT.device)

    with torch.inference_mode():
        ids_BT = reader.model.generate(
            input_ids=tokens_BT.to(device),
            attention_mask=sees_BT.to(device),
            do_sample=False,
            max_new_tokens=min(max_new_tokens, reader.positions - longest),
            stopping_criteria=[has_line],
        )
    texts = [words.decode(ids[longest:]).strip() for ids in ids_BT.tolist()]
    return [text.partition("\n")[0].strip() for text in texts]


@dataclass(frozen=True, kw_only=True)
class Questions(OfQuestions):
    """An exam from a file of questions: the passages that they are about, each with its questions."""

    takes: ClassVar[str] = "questions"

    trained_on: Stage[Document] | None = None
    """Those of the documents that are trained on; None: all. Questions on others are left out and counted."""
    control: Stage[Document] | None = None
    """Documents that are not trained on, for the control set."""
    max_questions: int | None = None
    """A passage, evenly spaced."""

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """A group a passage, in the order of the first question on each.

        Raises InputError for questions on passages that are not in the corpus, and for too few questions.
        """
        questions = read_questions(self.files)
        run.tally.take(len(questions))
        by_id = by_passage(questions)
        control = documents_named(by_id, self.control, run)
        corpus = documents_named(by_id, self.documents, run)
        if missing := [question for question in questions if question.passage_id not in corpus | control]:
            raise InputError(
                f"{len(missing):,} of {len(questions):,} questions are about passages that are not in the corpus, the "
                f"first about {missing[0].passage_id!r}: a passage_id is the id of a document; check the files and the "
                "field that holds its ids"
            )
        if self.trained_on is not None:
            trained_on = documents_named(by_id, self.trained_on, run)
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
