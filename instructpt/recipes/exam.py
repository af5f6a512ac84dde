"""What a model has learned from a corpus: questions that it is asked without the text, and with it beside.

corpus, questions -> Questions -> Examine (closed book, open book) -> items -> Rate -> scores
                         '------> Overlap, with the training texts -> matches --^
"""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from instructpt.artifacts import Stage, read_manifest
from instructpt.artifacts.storage import Folder
from instructpt.corpus.stages import Read
from instructpt.errors import RecipeError
from instructpt.evaluation.exam import Questions
from instructpt.evaluation.overlap import Overlap, Stored
from instructpt.evaluation.questioning import Examine
from instructpt.evaluation.stages import Rate
from instructpt.recipes.flags import Reading, Seed, recipe
from instructpt.records import Group

MAX_NEW_TOKENS = 32
"""Most answers that people gave have at most eight words; more is only to be cut off."""


@recipe
def exam(
    model: Annotated[str, Positional, arg(metavar="MODEL")],
    /,
    *,
    on: tuple[str, ...],
    questions: tuple[str, ...] = (),
    control: tuple[str, ...] = (),
    trained_on: tuple[str, ...] = (),
    max_questions: int | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS,
    open_book: bool = True,
    reading: Reading = Reading(),
    seed: Seed = 0,
) -> Rate:
    """Ask a model questions about a corpus that it does not see: what has it learned from it?

    Scores of a model before and after training show what it learned; the open book shows what it could reach at best.

    Args:
        model: Folder or Hub id of a causal language model.
        on: The corpus: files, folders, globs or URLs, as for augment. A document's title is shown before each question.
            Or, without --questions, the exam that instructpt run hold-back made from an augmented corpus.
        questions: Files with one question per row: passage_id (the id of a document), question, answers (all that are
            right), and options if there are any (docs/formats.md).
        control: Documents that the model was not trained on, with questions in the same files. They show what it
            learned about answering, not about the corpus.
        trained_on: The texts that the model was trained on. Questions that occur there word for word are counted, and
            every score is also given without them.
        max_questions: Use only this many questions per passage, evenly spaced.
        max_new_tokens: Length limit of the answers that the model writes.
        open_book: Also ask each question with the passage in the prompt.
    """
    asked: Stage[Group]
    if questions:
        others = Read(name="control", files=control, text_field=reading.text_field, id_field=reading.id_field)
        asked = Questions(
            name="exam",
            files=questions,
            documents=reading.read(on),
            control=others if control else None,
            max_questions=max_questions,
        )
    else:
        if control or max_questions:
            raise RecipeError(
                "--control and --max-questions go with --questions: an exam that was held back has its own"
            )
        asked = Stored(name="exam", folder=_exam_folder(on), kind="Group")
    items = Examine(name="items", model=model, exam=asked, has_open_book=open_book, max_new_tokens=max_new_tokens)
    seen = Overlap(name="matches", texts=Read(name="trained-on", files=trained_on), against=asked)
    return Rate(name="scores", items=items, overlaps=(seen,) if trained_on else (), seed=seed)


def _exam_folder(on: tuple[str, ...]) -> str:
    """The one folder with an exam. Raises RecipeError for anything else."""
    for folder in on if len(on) == 1 else ():
        place = Folder.at(folder)
        if place.exists("manifest.json") and read_manifest(place)["record"] == "Group":
            return folder
    raise RecipeError(
        f"there are no questions on {', '.join(on)}: give files with --questions, or as --on the exam that instructpt "
        "run hold-back made"
    )
