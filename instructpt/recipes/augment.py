"""Raw text to an instruction-augmented corpus: the job most users come for."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from instructpt.artifacts import Stage
from instructpt.corpus.stages import BuildVocabulary, Distinct, Duplicates, Filter, NearDuplicates, Split
from instructpt.engines.models import AUTO, DESCRIPTION, SHIPPED, Model, Prompting, read_prompting, remote_prompting
from instructpt.errors import InputError, RecipeError
from instructpt.mining.stages import Mine
from instructpt.models import is_remote
from instructpt.models.folders import is_local, local_folder
from instructpt.recipes.flags import Asking, Forms, Language, PairLayoutFlag, Reading, Seed, Variants, recipe
from instructpt.recipes.queries import with_queries
from instructpt.recipes.student import with_more
from instructpt.records import Document, Group
from instructpt.synthesis.dialects import open_dialect
from instructpt.synthesis.mix import mix_of
from instructpt.synthesis.stages import Synthesize, Write, check_writes_forms, default_checks
from instructpt.templates.stages import Template
from instructpt.verification.checks import DEFAULT_CHECKS
from instructpt.verification.consistency import Consistency
from instructpt.verification.selection import Best
from instructpt.verification.stages import Verify

WRITTEN_PER_PAIR = 1.6
"""Pairs that are written for each that is wanted, where a reader leaves some out."""
MIN_AGREEMENT = 0.8
"""Of a reader's answer: of 26 pairs that a small one confirmed in full 13 were right, of 11 others 2 (docs/log.md)."""
MINED_PAIRS = 4
"""That rules may add to a passage, each of another kind."""
PAIRS_PER_SENTENCE = 1
"""More of them ask the same things again."""
MORE_TIMES, MORE_TEMPERATURE = 2, 0.7
"""So many times the usual pairs are asked for where a student fails, and not the likeliest words, which are there."""


@recipe
def augment(
    files: Annotated[tuple[str, ...], Positional, arg(metavar="FILES...")],
    /,
    *,
    model: str = SHIPPED,
    mine: bool = False,
    categories: str | None = None,
    asking: Asking = Asking(),
    reader: str | None = None,
    forms: Forms = "",
    variants: Variants = 1,
    shots: int | None = None,
    checks: tuple[str, ...] | None = None,
    near_duplicates: float | None = None,
    queries: tuple[str, ...] = (),
    query_field: str = "query",
    student: str | None = None,
    pair_layout: PairLayoutFlag = "beside",
    reading: Reading = Reading(),
    language: Language = "english",
    seed: Seed = 0,
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
        student: The model that you will train, as a folder or Hub id. It is asked some of the pairs' questions without
            their passages, and more pairs are written about passages on which it fails.
    """
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
    if not files:  # said before a model is made ready, which may take a minute
        raise InputError("no input is given: name files, folders or globs")
    if categories and mine:
        raise RecipeError(f"categories are {categories!r} for mined pairs, which cannot be asked for: leave --mine out")
    is_without_model = mine and not queries
    own = Prompting() if is_without_model else known_prompting(model)
    prompting = asking.prompting(own, mix=categories, reader=reader)
    if forms and is_known(model):
        check_writes_forms(model, prompting)
    elif not mine and (is_known(model) or asking.dialect != AUTO):
        mix_of(prompting)  # refuses now what cannot be asked for; a Hub model is asked once it is here
    if shots is None:
        shots = 1 if not mine and open_dialect(prompting.dialect).asks_apart else 2
    documents = clean(reading.read(files), near_duplicates=near_duplicates)
    words: Model = BuildVocabulary(name="vocabulary", texts=(documents,)) if is_without_model else model
    passages = Split(name="passages", documents=documents, vocabulary=words, budget_tokens=prompting.passage_tokens)
    groups: Stage[Group]
    name = "own" if queries or student else "groups"
    if forms:
        groups = written(name, passages, model, prompting, forms=forms, variants=variants, shots=shots, seed=seed)
    elif mine:
        if reader and is_without_model:
            raise RecipeError(f"the reader is {reader} for mined pairs: leave --mine out, or use instructpt verify")
        mined = Mine(name="mined", passages=passages, shots=shots, seed=seed)
        groups = Verify(name=name, groups=mined, checks=DEFAULT_CHECKS if checks is None else checks)
    else:
        groups = synthesized(
            name, passages, model, prompting, dialect=asking.dialect, shots=shots, checks=checks, seed=seed
        )
    if student:
        write = functools.partial(
            synthesized,
            "more",
            model=model,
            prompting=replace(prompting, pairs=MORE_TIMES * prompting.pairs),
            dialect=asking.dialect,
            shots=shots,
            checks=checks,
            temperature=MORE_TEMPERATURE,
            seed=seed + 1,
        )
        groups = with_more(
            groups,
            passages,
            student,
            name="taught" if queries else "groups",
            is_confirmed=bool(prompting.reader),
            write=write,
        )
    if queries:
        groups = with_queries(
            groups,
            passages,
            queries,
            query_field=query_field,
            model=model,
            prompting=prompting,
            dialect=asking.dialect,
            checks=checks,
        )
    layout: Literal["drawn", "apart"] = "apart" if pair_layout == "apart" else "drawn"
    return Template(name="texts", groups=groups, language=language, layout=layout, seed=seed)


def synthesized(
    name: str,
    passages: Stage[Document],
    model: str,
    prompting: Prompting,
    *,
    dialect: str = AUTO,
    shots: int,
    checks: tuple[str, ...] | None = None,
    temperature: float = 0.0,
    seed: int,
) -> Stage[Group]:
    """Passages with the pairs that a model writes, asked as `prompting` says.

    If it names a reader, more are written than are wanted, and the best of those that the reader confirms are kept;
    rules add pairs about what is left.
    dialect: as it is written down; AUTO for the model's own, which a Hub model that is not here yet names later.
    """
    wanted, reader = prompting.pairs, prompting.reader
    written = Synthesize(
        name=f"{name}-written" if reader else name,
        passages=passages,
        model=model,
        dialect=dialect,
        categories=prompting.mix,
        pairs=math.ceil(WRITTEN_PER_PAIR * wanted) if reader else wanted,
        pairs_per_sentence=PAIRS_PER_SENTENCE if reader else None,
        shots=shots,
        checks=default_checks(prompting) if checks is None else checks,
        window_tokens=prompting.window_tokens,
        max_new_tokens=prompting.max_new_tokens,
        temperature=temperature,
        seed=seed,
    )
    if not reader:
        return written
    read = Consistency(name=f"{name}-read", groups=written, model=reader, min_f1=MIN_AGREEMENT)
    mined = Mine(name=f"{name}-mined", passages=passages, shots=shots, max_pairs=MINED_PAIRS, max_per_kind=1, seed=seed)
    return Best(name=name, groups=read, mined=mined, pairs=wanted)


def written(
    name: str,
    passages: Stage[Document],
    model: str,
    prompting: Prompting,
    *,
    forms: str,
    variants: int,
    shots: int,
    seed: int,
) -> Stage[Group]:
    """Passages with what a model writes about them in forms; pairs among them are confirmed by a reader, if there is
    one."""
    reader = prompting.reader
    groups = Write(
        name=f"{name}-written" if reader else name,
        passages=passages,
        model=model,
        forms=forms,
        variants=variants,
        shots=shots,
        window_tokens=prompting.window_tokens,
        max_new_tokens=prompting.max_new_tokens,
        seed=seed,
    )
    if not reader:
        return groups
    return Consistency(name=name, groups=groups, model=reader, min_f1=MIN_AGREEMENT)


def is_known(model: str) -> bool:
    """Whether it can be told now how a model is asked: it lies here, or only on a server."""
    return is_remote(model) or is_local(model)


def known_prompting(model: str) -> Prompting:
    """How a model says that it is asked, as far as that can be told now; the usual for a Hub model."""
    if is_remote(model):
        return remote_prompting(model)
    return read_prompting(local_folder(model, files=DESCRIPTION)) if is_local(model) else Prompting()


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
