"""What a model has learned from a corpus: questions that it is asked without the text, and with it beside; and an exam
from a corpus' own pairs, with the corpus without them.

corpus, questions -> Questions -> Examine (closed book, open book) -> items -> Rate -> scores
                         '------> Overlap, with the training texts -> matches --^

verified groups --> HeldBack --> exam, for `instructpt exam MODEL --on DIR/exam`
       '----------> Remainder -> Template -> texts, to train on
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from tyro.conf import Positional, arg

from instructpt.artifacts import Stage
from instructpt.corpus.stages import Read
from instructpt.errors import RecipeError
from instructpt.evaluation.exam import Questions
from instructpt.evaluation.held_back import MIN_AGREEMENT, HeldBack, Remainder
from instructpt.evaluation.overlap import Overlap
from instructpt.evaluation.questioning import Examine
from instructpt.evaluation.stages import Rate
from instructpt.evaluation.stored import is_artifact, stored
from instructpt.recipes.flags import TEXT_LAYOUTS, Language, PairLayoutFlag, Reading, Seed, recipe
from instructpt.records import Group
from instructpt.templates.stages import Template

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
        if len(on) > 1 or not is_artifact(on[0]):
            raise RecipeError(
                f"there are no questions on {', '.join(on)}: give files with --questions, or as --on the exam that "
                "instructpt run hold-back made"
            )
        asked = replace(stored(on[0]), name="exam")
    items = Examine(name="items", model=model, exam=asked, has_open_book=open_book, max_new_tokens=max_new_tokens)
    seen = Overlap(name="matches", texts=Read(name="trained-on", files=trained_on), against=asked)
    return Rate(name="scores", items=items, overlaps=(seen,) if trained_on else (), seed=seed)


def hold_back(
    artifact: Annotated[str, Positional, arg(metavar="ARTIFACT")],
    /,
    *,
    min_agreement: float = MIN_AGREEMENT,
    per_passage: int = 1,
    control_share: float = 0.1,
    pair_layout: PairLayoutFlag = "beside",
    language: Language = "english",
    seed: Seed = 0,
) -> Template:
    """Hold pairs back for an exam: the exam, and the training texts without them.

    Args:
        artifact: A finished artifact of groups whose pairs a reader has confirmed: instructpt verify --consistency.
        min_agreement: How much the reader's answer must agree with the pair's, from 0 to 1.
        per_passage: Pairs to hold back per passage. At least one pair stays with the passage.
        control_share: Share of the passages that are left out of the texts entirely. Questions on them are the control
            set.
    """
    groups = stored(artifact)
    exam = HeldBack(
        name="exam",
        groups=groups,
        min_agreement=min_agreement,
        per_passage=per_passage,
        control_share=control_share,
        seed=seed,
    )
    left = Remainder(name="remainder", groups=groups, exam=exam)
    return Template(name="texts", groups=left, language=language, layout=TEXT_LAYOUTS[pair_layout], seed=seed)
