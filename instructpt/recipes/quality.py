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

Models = Mapping[str, Model]
"""Beginning of the names of a model's artifacts -> the model."""
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

    def pairs(self, name: str, exam: Draw, model: Model, *, examples: int = 0, mix: str = "") -> Attempt:
        """The model writes pairs."""
        return Attempt(
            name=name,
            exam=exam,
            model=model,
            examples=examples,
            dialect=self.prompting.dialect,
            categories=mix,
            pairs=self.prompting.pairs,
            window_tokens=self.prompting.window_tokens,
            max_new_tokens=self.prompting.max_new_tokens,
            seed=self.seed,
        )

    def answers(self, name: str, exam: Draw, model: Model, *, examples: int) -> Attempt:
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

    def on_gold(self, part: str, contexts: Stage[Group], models: Models, *, max_contexts: int) -> Iterator[Trial]:
        """Pairs and answers on annotated contexts of a part, zero-shot and few-shot."""
        exam = Draw(
            name=f"{part}-exam",
            contexts=contexts,
            examples=self.examples,
            contexts_per_set=max_contexts,
            seed=self.seed,
        )
        for kind, examples in {"zero-shot": 0, "few-shot": self.examples}.items():
            for prefix, model in models.items() if examples or kind == "zero-shot" else ():
                name = f"{prefix}{part}-{kind}"
                yield Trial(
                    task=f"{part}/{kind}",
                    model=model_name(model),
                    exam=exam,
                    pairs=self.pairs(f"{name}-pairs", exam, model, examples=examples),
                    answers=self.answers(f"{name}-answers", exam, model, examples=examples),
                )

    def on_passages(
        self, passages: Stage[Document], models: Models, *, num_passages: int, judged: Callable[..., Judge] | None
    ) -> Iterator[Trial]:
        """Pairs on raw text, by domain; and those of the first model where kinds are asked for."""
        exam = Draw(name="passages-exam", contexts=passages, num_contexts=num_passages, seed=self.seed)
        for prefix, model in models.items():
            written = self.pairs(f"{prefix}passages-pairs", exam, model)
            yield Trial(
                task="passages",
                model=model_name(model),
                exam=exam,
                pairs=written,
                read=self._read(f"{prefix}passages-read", written),
                judged=judged(name=f"{prefix}passages-judged", outputs=written) if judged else None,
                by_domain=True,
            )
        if mix := self.prompting.mix:
            model = models[""]
            written = self.pairs("steered-pairs", exam, model, mix=mix)
            read = self._read("steered-read", written)
            yield Trial(task="steered", model=model_name(model), exam=exam, pairs=written, read=read)

    def _read(self, name: str, written: Attempt) -> Consistency | None:
        """The pairs with their questions asked again, if there is somebody to ask."""
        reader = self.prompting.reader
        return Consistency(name=name, groups=written, model=reader) if reader else None


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
    trials = [*examination.on_passages(passages, models, num_passages=num_passages, judged=judged)]
    for part, contexts in gold.items():
        trials += examination.on_gold(part, contexts, models, max_contexts=max_contexts)
    return Quality(name="quality", trials=tuple(trials), synthesizer=model, seed=examination.seed)
