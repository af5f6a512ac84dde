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
from instructpt.corpus.stages import Read, Split
from instructpt.engines.models import SPEECH_FILE, Model, Speech, model_name, read_speech
from instructpt.errors import RecipeError
from instructpt.evaluation.judging import Judge
from instructpt.evaluation.synthesizer_stages import Attempt, Draw, Quality, Trial
from instructpt.models.folders import local_folder
from instructpt.recipes.augment import USUAL_LENGTHS
from instructpt.records import Document, Group
from instructpt.synthesis.stages import AUTO, talk

PASSAGE_TOKENS, WINDOW_TOKENS, MAX_NEW_TOKENS = USUAL_LENGTHS
"""Of a model that says nothing of its own: what `augment` takes."""
PARTS: tuple[Literal["seen", "unseen"], ...] = ("seen", "unseen")


def quality(
    model: Annotated[str, Positional, arg(metavar="MODEL")],
    /,
    *,
    base: str | None = None,
    tasks_data: tuple[str, ...] = ("sample:tasks.jsonl.zst",),
    passages: tuple[str, ...] = ("sample:held_out.jsonl.zst",),
    catalog: str | None = None,
    max_contexts: int = 20,
    max_questions: int = 4,
    num_passages: int = 500,
    examples: int = 3,
    categories: str = "",
    pairs: int = 5,
    judge: str | None = None,
    judge_model: str = "",
    judge_pairs: int = 200,
    dialect: str = AUTO,
    passage_tokens: int | None = None,
    window_tokens: int | None = None,
    max_new_tokens: int | None = None,
    answer_tokens: int = 64,
    text_field: str = "text",
    seed: int = 0,
) -> Quality:
    """Measure the pairs that a synthesizer writes, on annotated sets and on raw text, with standard errors.

    Args:
        model: Folder or Hub id of a synthesizer.
        base: The model it was tuned from: asked in the same way, its numbers stand beside.
        tasks_data: Annotated task data, neutral JSON lines; the catalog says which sets are seen and unseen.
        passages: Raw text files that nothing was tuned on; a domain is a row's "domain", or a file's name.
        catalog: Path of a catalog of your own sets.
        max_contexts: Contexts a set, evenly spaced.
        max_questions: Gold questions a context that the model is to answer.
        num_passages: Raw passages, shared equally among domains.
        examples: Contexts with their gold pairs before each in few-shot exams; 0 leaves these exams out.
        categories: Also ask for a mix, "summarization=1,numerical reasoning=2", and set it beside what is written.
        pairs: How many to ask for a passage, where categories are given.
        judge: URL of an OpenAI-compatible endpoint (http://localhost:8000/v1) that judges pairs on raw passages; its
            key is read from the environment, INSTRUCTPT_JUDGE_KEY.
        judge_model: What that endpoint calls the judge.
        judge_pairs: How many pairs it judges.
        dialect: How the models are talked with; auto is what MODEL's synthesizer.json says, else tags.
        passage_tokens: The longest passage; what MODEL's synthesizer.json says, else 512.
        window_tokens: Prompt and answer together; what MODEL's synthesizer.json says, else 4096.
        max_new_tokens: The longest output; what MODEL's synthesizer.json says, else 400.
        answer_tokens: The longest answer to a gold question.
        text_field: Field or column of the raw text.
        seed: Of every draw.
    """
    if base == model:
        raise RecipeError(f"the base is {base}, the model itself: give the model that it was tuned from")
    folder = local_folder(model, files=(SPEECH_FILE, "config.json", "tokenizer.json", "tokenizer_config.json"))
    speech = read_speech(folder) or Speech("tags", {})
    name = speech.dialect if dialect == AUTO else dialect
    talk(dialect=name, categories=categories, pairs=pairs, speech=speech)  # refuses now what cannot be asked for
    asking = Asking(
        dialect=name,
        passage_tokens=passage_tokens or speech.passage_tokens or PASSAGE_TOKENS,
        window_tokens=window_tokens or speech.window_tokens or WINDOW_TOKENS,
        max_new_tokens=max_new_tokens or speech.max_new_tokens or MAX_NEW_TOKENS,
        answer_tokens=answer_tokens,
        max_questions=max_questions,
        examples=examples,
        categories=categories,
        pairs=pairs,
        seed=seed,
    )
    gold: dict[str, Stage[Group]] = {
        part: Convert(
            name=f"{part}-tasks",
            files=tasks_data,
            catalog=catalog,
            part=part,
            shots=1,
            vocabulary=model,
            dialect=name,
            context_tokens=asking.passage_tokens,
            group_tokens=asking.window_tokens,
            seed=seed,
        )
        for part in PARTS
    }
    documents = Read(name="documents", files=passages, text_field=text_field)
    split = Split(name="passages", documents=documents, vocabulary=model, budget_tokens=asking.passage_tokens)
    judged = partial(Judge, url=judge, model=judge_model, num_pairs=judge_pairs, seed=seed) if judge else None
    return examined(
        model,
        base=base,
        gold=gold,
        passages=split,
        asking=asking,
        max_contexts=max_contexts,
        num_passages=num_passages,
        judged=judged,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """How all models of an examination are asked."""

    dialect: str
    passage_tokens: int
    window_tokens: int
    max_new_tokens: int
    answer_tokens: int = 64
    max_questions: int = 4
    examples: int = 3
    categories: str = ""
    pairs: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.passage_tokens > self.window_tokens - self.max_new_tokens:
            raise RecipeError(
                f"a passage of {self.passage_tokens} tokens and an answer of {self.max_new_tokens} do not fit a window"
                f" of {self.window_tokens}: lower --passage-tokens or --max-new-tokens"
            )

    def attempt(
        self, name: str, *, exam: Stage[Group], model: Model, examples: int = 0, steered: bool = False
    ) -> Attempt:
        """The model writes pairs."""
        return Attempt(
            name=name,
            exam=exam,
            model=model,
            examples=examples,
            dialect=self.dialect,
            categories=self.categories if steered else "",
            pairs=self.pairs,
            window_tokens=self.window_tokens,
            max_new_tokens=self.max_new_tokens,
            seed=self.seed,
        )

    def answers(self, name: str, *, exam: Stage[Group], model: Model, examples: int = 0) -> Attempt:
        """The model answers gold questions."""
        return Attempt(
            name=name,
            exam=exam,
            model=model,
            mode="answers",
            examples=examples,
            max_questions=self.max_questions,
            dialect=self.dialect,
            window_tokens=self.window_tokens,
            max_new_tokens=self.answer_tokens,
            seed=self.seed,
        )


def examined(
    model: Model,
    *,
    base: Model | None,
    gold: Mapping[str, Stage[Group]],
    passages: Stage[Document],
    asking: Asking,
    max_contexts: int,
    num_passages: int,
    judged: Callable[..., Judge] | None = None,
) -> Quality:
    """Every exam for `model` and, if there is one, `base`. gold: part ("seen") -> annotated contexts of that part.

    judged: makes the stage that judges an attempt, given its name and outputs; None = no judge.
    """
    models = {"": model} | ({} if base is None else {"base-": base})
    trials = [
        *_on_passages(models, passages, asking=asking, num_passages=num_passages, judged=judged),
        *_on_gold(models, gold, asking=asking, max_contexts=max_contexts),
    ]
    return Quality(name="quality", trials=tuple(trials), synthesizer=model, seed=asking.seed)


def _on_gold(
    models: Mapping[str, Model], gold: Mapping[str, Stage[Group]], *, asking: Asking, max_contexts: int
) -> Iterator[Trial]:
    kinds = {"zero-shot": 0} | ({"few-shot": asking.examples} if asking.examples else {})
    for part, contexts in gold.items():
        exam = Draw(
            name=f"{part}-exam",
            contexts=contexts,
            examples=asking.examples,
            contexts_per_set=max_contexts,
            seed=asking.seed,
        )
        for kind, examples in kinds.items():
            for prefix, model in models.items():
                name = f"{prefix}{part}-{kind}"
                yield Trial(
                    task=f"{part}/{kind}",
                    model=model_name(model),
                    exam=exam,
                    pairs=asking.attempt(f"{name}-pairs", exam=exam, model=model, examples=examples),
                    answers=asking.answers(f"{name}-answers", exam=exam, model=model, examples=examples),
                )


def _on_passages(
    models: Mapping[str, Model],
    passages: Stage[Document],
    *,
    asking: Asking,
    num_passages: int,
    judged: Callable[..., Judge] | None,
) -> Iterator[Trial]:
    exam = Draw(name="passages-exam", contexts=passages, num_contexts=num_passages, seed=asking.seed)
    for prefix, model in models.items():
        written = asking.attempt(f"{prefix}passages-pairs", exam=exam, model=model)
        yield Trial(
            task="passages",
            model=model_name(model),
            exam=exam,
            pairs=written,
            judged=judged(name=f"{prefix}passages-judged", outputs=written) if judged else None,
            by_domain=True,
        )
    if asking.categories:
        model = models[""]
        written = asking.attempt("steered-pairs", exam=exam, model=model, steered=True)
        yield Trial(task="steered", model=model_name(model), exam=exam, pairs=written)
