"""Raw text to an instruction-augmented corpus: the job most users come for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from instructpt.artifacts import Stage
from instructpt.corpus.stages import (
    SHARD_BYTES,
    BuildVocabulary,
    Distinct,
    Duplicates,
    Filter,
    NearDuplicates,
    Read,
    Split,
)
from instructpt.engines.models import REMOTE_SPEECH, SHIPPED, Model, Speech, read_speech
from instructpt.errors import RecipeError
from instructpt.mining.stages import Mine
from instructpt.models import is_remote
from instructpt.models.folders import is_local, local_folder
from instructpt.records import Document, Group
from instructpt.synthesis.stages import AUTO, Synthesize, default_checks, talk
from instructpt.templates.stages import Template
from instructpt.verification.checks import DEFAULT_CHECKS
from instructpt.verification.stages import Verify

USUAL_LENGTHS = (512, 4096, 400)
"""Tokens of passage, window and answer for a model that does not say; the last two are the paper's (section 2)."""

USUAL_PAIRS = 5
"""A passage; the paper's synthesizer writes about as many (section 2)."""


def augment(
    files: Annotated[tuple[str, ...], Positional, arg(metavar="FILES...")],
    /,
    *,
    model: str = SHIPPED,
    mine: bool = False,
    categories: str | None = None,
    pairs: int | None = None,
    shots: int = 2,
    passage_tokens: int | None = None,
    window_tokens: int | None = None,
    max_new_tokens: int | None = None,
    checks: tuple[str, ...] | None = None,
    text_field: str = "text",
    id_field: str = "id",
    limit: int | None = None,
    near_duplicates: float | None = None,
    shard_bytes: int = SHARD_BYTES,
    language: str = "english",
    dialect: str = AUTO,
    seed: int = 0,
) -> Template:
    """Raw text files to an instruction-augmented corpus.

    Args:
        files: Files, folders, globs or URLs: .jsonl (.gz, .zst), .parquet, .txt, .md, hf://owner/name:split.
        model: A synthesizer, as a folder or Hub id; by default the small one that ships. remote:NAME is an instruct
            model that the servers at --endpoints know by this name; any instruct model works with --dialect chat.
        mine: Let rules mine the pairs instead, which needs no model.
        categories: What to ask for, as "summarization=1,numerical reasoning=2" (name and weight). The model's
            synthesizer.json has the names, and what is asked for by default; "" leaves the choice to the model.
        pairs: How many to ask for a passage, where categories are asked for: what the model recommends, else 5.
        shots: Passages a chain; each sees the passages and pairs before it.
        passage_tokens: The longest passage; longer documents are split at paragraphs, then sentences. By default this
            and the next two are what the model was tuned on, 512, 4,096 and 400 where it does not say.
        window_tokens: Prompt and answer together; the model's context, where that is less.
        max_new_tokens: The longest answer a passage.
        checks: What a pair must pass, in order; see docs/adding.md. By default all of them, but grounded (what should
            stand in the passage does) only for a model that names its categories.
        text_field: Field or column that holds the text.
        id_field: Field or column that holds the id.
        limit: Only the first so many rows.
        near_duplicates: Drop a document that nearly repeats an earlier one: of the runs of five words that the two
            have, so large a share is in both (0.8, say). By default only copies are dropped.
        shard_bytes: Text a shard, the unit of resuming and of sharing work among machines.
        language: Of the templates: english, german... (docs/languages.md), or auto for each group's own.
        dialect: How the model is talked with: tags, steered, or chat (chat:german, chat:chinese, chat:my.toml) for
            instruct models; auto is what its synthesizer.json says, else tags, and chat for remote:NAME.
        seed: Of every draw.
    """
    speech = None if mine else told(model)
    if categories is None:
        categories = speech.mix if speech and dialect in (AUTO, speech.dialect) else ""
    if pairs is None:
        pairs = speech.pairs if speech and speech.pairs else USUAL_PAIRS
    if categories and mine:
        raise RecipeError(f"categories are {categories!r} for mined pairs, which cannot be asked for: leave --mine out")
    if not mine and (speech is not None or dialect != AUTO or is_local(model)):
        # Of a Hub model the rest is told before it is loaded.
        talk(dialect=dialect, categories=categories, pairs=pairs, speech=speech)
    lengths = _lengths(speech, passage=passage_tokens, window=window_tokens, new=max_new_tokens)
    documents = clean(
        Read(
            name="documents",
            files=files,
            text_field=text_field,
            id_field=id_field,
            limit=limit,
            shard_bytes=shard_bytes,
        ),
        near_duplicates=near_duplicates,
    )
    words: Model = BuildVocabulary(name="vocabulary", texts=(documents,)) if mine else model
    passages = Split(name="passages", documents=documents, vocabulary=words, budget_tokens=lengths.passage)
    groups: Stage[Group]
    if mine:
        groups = Verify(
            name="groups",
            groups=Mine(name="mined", passages=passages, shots=shots, seed=seed),
            checks=DEFAULT_CHECKS if checks is None else checks,
        )
    else:
        groups = Synthesize(
            name="groups",
            passages=passages,
            model=model,
            dialect=dialect,
            categories=categories,
            pairs=pairs,
            shots=shots,
            checks=default_checks(speech) if checks is None else checks,
            window_tokens=lengths.window,
            max_new_tokens=lengths.new,
            seed=seed,
        )
    return Template(name="texts", groups=groups, language=language, seed=seed)


def told(model: str) -> Speech | None:
    """How a model says that it is talked with; None for a Hub model, which is not here yet."""
    if is_remote(model):
        return REMOTE_SPEECH
    return read_speech(local_folder(model)) if is_local(model) else None


@dataclass(frozen=True, slots=True)
class _Lengths:
    passage: int
    window: int
    new: int


def _lengths(speech: Speech | None, *, passage: int | None, window: int | None, new: int | None) -> _Lengths:
    """Tokens of passages, prompts with answers, and answers: what was given, else what the model was tuned on.

    Raises RecipeError if they do not fit each other.
    """
    told = (speech.passage_tokens, speech.window_tokens, speech.max_new_tokens) if speech else (None, None, None)
    lengths = _Lengths(
        *(given or own or usual for given, own, usual in zip((passage, window, new), told, USUAL_LENGTHS, strict=True))
    )
    if lengths.passage > lengths.window - lengths.new:
        raise RecipeError(
            f"a passage of {lengths.passage} tokens and an answer of {lengths.new} do not fit a window of "
            f"{lengths.window}: lower --passage-tokens or --max-new-tokens"
        )
    return lengths


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
