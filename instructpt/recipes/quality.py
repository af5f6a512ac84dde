"""How good a synthesizer is: its pairs and answers on annotated sets that it saw and did not see, and on raw text.

task data  -> seen sets    -> exam -> pairs, answers   zero-shot and few-shot  -.
           -> unseen sets  -> exam -> pairs, answers   zero-shot and few-shot  --> scores, for the model
raw text   -> passages     -> exam -> pairs   (-> judge)                       -'   and the base beside it
                                   -> pairs asked for by category
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from instructpt.artifacts import Stage
from instructpt.collection.stages import Convert
from instructpt.corpus.stages import Split
from instructpt.engines.models import DESCRIPTION, Model, Prompting, model_name, read_prompting
from instructpt.errors import RecipeError
from instructpt.evaluation.attempts import Attempt, Judge, Quality, Trial
from instructpt.evaluation.drawing import Draw
from instructpt.models.folders import local_folder
from instructpt.recipes.flags import SAMPLE_TASKS, Asking, Catalog, Reading, Seed, recipe
from instructpt.records import Document, Group
from instructpt.synthesis.mix import mix_of
from instructpt.verification.consistency import Consistency

PARTS: tuple[Literal["seen", "unseen"], ...] = ("seen", "unseen")


@recipe
def quality(
    model: Annotated[str, Positional, arg(metavar="MODEL")],
    /,
    *,
    base: str | None = None,
    tasks_data: tuple[str, ...] = (SAMPLE_TASKS,),
    passages: tuple[str, ...] = ("sample:held_out.jsonl.zst",),
    catalog: Catalog = None,
    max_contexts: int = 20,
    max_questions: int = 4,
    num_passages: int = 500,
    examples: int = 3,
    categories: str | None = None,
    reader: str | None = None,
    asking: Asking = Asking(pairs=5),
    answer_tokens: int = 64,
    judge: str | None = None,
    judge_model: str = "",
    judge_pairs: int = 200,
    reading: Reading = Reading(),
    seed: Seed = 0,
) -> Quality:
    """Measure the pairs that a synthesizer writes, on annotated sets and on raw text, with standard errors.

    Args:
        model: Folder or Hub id of a synthesizer.
        base: The model that it was tuned from. It is measured in the same way, for comparison.
        tasks_data: Annotated task data in the neutral layout; the catalog says which sets are seen and unseen.
        passages: Files of raw text that was not used for tuning. A row's "domain", or the file's name, is its domain.
        max_contexts: The most contexts per set, evenly spaced.
        max_questions: The most gold questions per context for the model to answer.
        num_passages: Raw passages, the same number from each domain.
        examples: Contexts with gold pairs to show before each context in the few-shot measurements; 0 skips these.
        categories: A mix to ask for as well, such as "summarization=1,numerical reasoning=2"; the report compares it
            with what is written. By default the model's own mix, if it has one; "" for none.
        reader: A model that answers each question about the raw passages again. By default the one that the model
            names; "" for none.
        answer_tokens: Length limit of an answer to a gold question.
        judge: URL of an OpenAI-compatible server (http://localhost:8000/v1) with a model that judges pairs about raw
            passages, or several URLs with commas. The key is read from INSTRUCTPT_JUDGE_KEY and sent only over https
            or to this machine.
        judge_model: The judge's name on that server.
        judge_pairs: How many pairs to judge.
    """
    if base == model:
        raise RecipeError(f"the base is {base}, the model itself: give the model that it was tuned from")
    folder = local_folder(model, files=DESCRIPTION)
    prompting = asking.prompting(read_prompting(folder), mix=categories, reader=reader)
    mix_of(prompting)  # refuses now what cannot be asked for
    examination = Examination(
        prompting=prompting, answer_tokens=answer_tokens, max_questions=max_questions, examples=examples, seed=seed
    )
    gold: dict[str, Stage[Group]] = {
        part: Convert(
            name=f"{part}-tasks",
            files=tasks_data,
            catalog=catalog,
            part=part,
            shots=1,
            vocabulary=model,
            dialect=prompting.dialect,
            context_tokens=prompting.passage_tokens,
            group_tokens=prompting.window_tokens,
            seed=seed,
        )
        for part in PARTS
    }
    documents = reading.read(passages)
    split = Split(name="passages", documents=documents, vocabulary=model, budget_tokens=prompting.passage_tokens)
    judged = partial(Judge, url=judge, model=judge_model, num_pairs=judge_pairs, seed=seed) if judge else None
    return examined(
        model,
        base=base,
        gold=gold,
        passages=split,
        examination=examination,
        max_contexts=max_contexts,
        num_passages=num_passages,
        judged=judged,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """How all models of an examination are asked."""

    prompting: Prompting
    answer_tokens: int = 64
    max_questions: int = 4
    examples: int = 3
    seed: int = 0

    def attempt(
        self, name: str, *, exam: Stage[Group], model: Model, examples: int = 0, steered: bool = False
    ) -> Attempt:
        """The model writes pairs."""
        return Attempt(
            name=name,
            exam=exam,
            model=model,
            examples=examples,
            dialect=self.prompting.dialect,
            categories=self.prompting.mix if steered else "",
            pairs=self.prompting.pairs,
            window_tokens=self.prompting.window_tokens,
            max_new_tokens=self.prompting.max_new_tokens,
            seed=self.seed,
        )

    def read(self, name: str, written: Attempt) -> Consistency | None:
        """The pairs with their questions asked again, if there is somebody to ask."""
        reader = self.prompting.reader
        return Consistency(name=name, groups=written, model=reader) if reader else None

    def answers(self, name: str, *, exam: Stage[Group], model: Model, examples: int = 0) -> Attempt:
        """The model answers gold questions."""
        return Attempt(
            name=name,
            exam=exam,
            model=model,
            mode="answers",
            examples=examples,
            max_questions=self.max_questions,
            dialect=self.prompting.dialect,
            window_tokens=self.prompting.window_tokens,
            max_new_tokens=self.answer_tokens,
            seed=self.seed,
        )


def examined(
    model: Model,
    *,
    base: Model | None,
    gold: Mapping[str, Stage[Group]],
    passages: Stage[Document],
    examination: Examination,
    max_contexts: int,
    num_passages: int,
    judged: Callable[..., Judge] | None = None,
) -> Quality:
    """Every exam for `model` and, if there is one, `base`. gold: part ("seen") -> annotated contexts of that part.

    judged: makes the stage that judges an attempt, given its name and outputs; None = no judge.
    """
    models = {"": model} | ({} if base is None else {"base-": base})
    trials = [
        *_on_passages(models, passages, examination=examination, num_passages=num_passages, judged=judged),
        *_on_gold(models, gold, examination=examination, max_contexts=max_contexts),
    ]
    return Quality(name="quality", trials=tuple(trials), synthesizer=model, seed=examination.seed)


def _on_gold(
    models: Mapping[str, Model], gold: Mapping[str, Stage[Group]], *, examination: Examination, max_contexts: int
) -> Iterator[Trial]:
    kinds = {"zero-shot": 0} | ({"few-shot": examination.examples} if examination.examples else {})
    for part, contexts in gold.items():
        exam = Draw(
            name=f"{part}-exam",
            contexts=contexts,
            examples=examination.examples,
            contexts_per_set=max_contexts,
            seed=examination.seed,
        )
        for kind, examples in kinds.items():
            for prefix, model in models.items():
                name = f"{prefix}{part}-{kind}"
                yield Trial(
                    task=f"{part}/{kind}",
                    model=model_name(model),
                    exam=exam,
                    pairs=examination.attempt(f"{name}-pairs", exam=exam, model=model, examples=examples),
                    answers=examination.answers(f"{name}-answers", exam=exam, model=model, examples=examples),
                )


def _on_passages(
    models: Mapping[str, Model],
    passages: Stage[Document],
    *,
    examination: Examination,
    num_passages: int,
    judged: Callable[..., Judge] | None,
) -> Iterator[Trial]:
    exam = Draw(name="passages-exam", contexts=passages, num_contexts=num_passages, seed=examination.seed)
    for prefix, model in models.items():
        written = examination.attempt(f"{prefix}passages-pairs", exam=exam, model=model)
        yield Trial(
            task="passages",
            model=model_name(model),
            exam=exam,
            pairs=written,
            read=examination.read(f"{prefix}passages-read", written),
            judged=judged(name=f"{prefix}passages-judged", outputs=written) if judged else None,
            by_domain=True,
        )
    if examination.prompting.mix:
        model = models[""]
        written = examination.attempt("steered-pairs", exam=exam, model=model, steered=True)
        read = examination.read("steered-read", written)
        yield Trial(task="steered", model=model_name(model), exam=exam, pairs=written, read=read)
