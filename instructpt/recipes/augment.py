"""Raw text to an instruction-augmented corpus: the job most users come for."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from instructpt.artifacts import Stage
from instructpt.corpus.readers import NO_INPUT
from instructpt.corpus.stages import BuildVocabulary, Distinct, Duplicates, Filter, NearDuplicates, Split
from instructpt.engines.models import AUTO, SHIPPED, Model, Prompting
from instructpt.errors import InputError, RecipeError
from instructpt.mining.stages import Mine
from instructpt.recipes import flags
from instructpt.recipes.flags import recipe
from instructpt.recipes.writer import Writer, known_prompting
from instructpt.records import Document, Group
from instructpt.templates.stages import Template
from instructpt.verification.checks import DEFAULT_CHECKS
from instructpt.verification.stages import Verify


@recipe
def augment(
    files: Annotated[tuple[str, ...], Positional, arg(metavar="FILES...")],
    /,
    *,
    model: str = SHIPPED,
    mine: bool = False,
    categories: str | None = None,
    asking: flags.Asking = flags.Asking(),
    reader: str | None = None,
    forms: flags.Forms = "",
    variants: flags.Variants = 1,
    shots: int | None = None,
    checks: tuple[str, ...] | None = None,
    near_duplicates: float | None = None,
    queries: tuple[str, ...] = (),
    query_field: str = "query",
    query_templates: int = 0,
    query_embeddings: str = "",
    student: str | None = None,
    pair_layout: flags.PairLayoutFlag = "beside",
    reading: flags.Reading = flags.Reading(),
    language: flags.Language = "english",
    seed: flags.Seed = 0,
) -> Template:
    """Raw text files to an instruction-augmented corpus.

    Args:
        files: Files, folders, globs, URLs, or - for standard input: .jsonl, .json, .csv, .tsv, .parquet, .txt, .md,
            .tar (then .gz, .bz2, .xz or .zst), hf://owner/name:split; more formats: docs/own-corpus.md.
        model: The synthesizer: a folder or a Hub id. By default the small one in this package. Any instruct model
            works with --dialect chat. remote:NAME is an instruct model that the servers at --endpoints serve as NAME.
        mine: Find pairs by rules instead, without a model.
        categories: Kinds of pairs to ask for, with weights: "summarization=1,numerical reasoning=2". The model's
            synthesizer.json lists the kinds and the default; "" leaves the choice to the model.
        reader: A model that answers each question again from the passage; pairs whose answers differ are left out. By
            default the one that the model's synthesizer.json names; "" for none.
        shots: Passages per chain. The model sees the chain's earlier passages with their pairs. By default 2, and 1
            for a model that writes each pair by itself.
        checks: Checks that a pair must pass, in this order (docs/verification.md). By default all that suit the model.
        near_duplicates: Drop documents that share at least this much of their runs of five words with an earlier one,
            such as 0.8. By default only exact copies are dropped.
        queries: Files of questions that people ask (search logs, tickets): one question per line of text, or one per
            row of any format that FILES may have. Each is matched to a passage and answered from it. What could not
            be answered is listed in queries-unanswered.
        query_field: Field or column that holds the question.
        query_templates: Also put each question to up to so many other passages, with the names and numbers of these in
            place of its own. 0 for none.
        query_embeddings: An encoder (a folder or a Hub id) by which passages are found for questions, beside their
            words, such as sentence-transformers/all-MiniLM-L6-v2.
        student: The model that you will train, as a folder or Hub id. It is asked some of the pairs' questions without
            their passages, and more pairs are written about passages on which it fails.
    """
    _refuse(mine=mine, categories=categories, forms=forms, checks=checks, student=student, asking=asking)
    if not files:  # said before a model is made ready, which may take a minute
        raise InputError(NO_INPUT)
    is_without_model = mine and not queries
    own = Prompting() if is_without_model else known_prompting(model)
    writer = Writer(
        model=model,
        prompting=asking.prompting(own, mix=categories, reader=reader),
        dialect=asking.dialect,
        forms=forms,
        variants=variants,
        shots=2 if mine and shots is None else shots,
        checks=checks,
        seed=seed,
    )
    documents = clean(reading.read(files), near_duplicates=near_duplicates)
    words: Model = BuildVocabulary(name="vocabulary", texts=(documents,)) if is_without_model else model
    budget = writer.prompting.passage_tokens
    passages = Split(name="passages", documents=documents, vocabulary=words, budget_tokens=budget)
    name = "own" if queries or student else "groups"
    groups: Stage[Group]
    if mine:
        if reader and is_without_model:
            raise RecipeError(f"the reader is {reader} for mined pairs: leave --mine out, or use instructpt verify")
        mined = Mine(name="mined", passages=passages, shots=writer.num_shots, seed=seed)
        groups = Verify(name=name, groups=mined, checks=DEFAULT_CHECKS if checks is None else checks)
    else:
        groups = writer.groups(name, passages)
    if student:
        from instructpt.recipes.additions import with_more

        groups = with_more(groups, passages, student, name="taught" if queries else "groups", writer=writer)
    if queries:
        from instructpt.recipes.additions import with_queries

        groups = with_queries(
            groups,
            passages,
            queries,
            query_field=query_field,
            num_templates=query_templates,
            embeddings=query_embeddings,
            writer=writer,
        )
    return Template(name="texts", groups=groups, language=language, layout=flags.TEXT_LAYOUTS[pair_layout], seed=seed)


def _refuse(
    *,
    mine: bool,
    categories: str | None,
    forms: str,
    checks: tuple[str, ...] | None,
    student: str | None,
    asking: flags.Asking,
) -> None:
    """Raise RecipeError for flags that say two things about what is written."""
    if forms and (mine or categories or checks is not None or asking.pairs or asking.dialect != AUTO):
        raise RecipeError(
            f"the forms are {forms!r}, which say themselves what is asked and checked: leave out --mine, --categories, "
            "--checks, --pairs and --dialect"
        )
    if student and (mine or forms):
        raise RecipeError(
            f"the student is {student}, for whom more pairs are asked for, not more that rules find or forms say: "
            f"leave out {'--mine' if mine else '--forms'}"
        )
    if categories and mine:
        raise RecipeError(f"categories are {categories!r} for mined pairs, which cannot be asked for: leave --mine out")


def clean(documents: Stage[Document], *, prefix: str = "", near_duplicates: float | None = None) -> Stage[Document]:
    """Documents without duplicates and without those that fail a filter. prefix: of the stages' names.

    near_duplicates: as for `augment`. They are looked for last, so that the one that is kept has passed the filters.
    """
    duplicates = Duplicates(name=f"{prefix}duplicates", documents=documents)
    filtered = Filter(name=f"{prefix}filtered", documents=documents, duplicates=duplicates)
    if near_duplicates is None:
        return filtered
    near = NearDuplicates(name=f"{prefix}near-duplicates", documents=filtered, share=near_duplicates)
    return Distinct(name=f"{prefix}distinct", documents=filtered, duplicates=near)
