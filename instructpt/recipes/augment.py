"""Raw text to an instruction-augmented corpus: the job most users come for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from instructpt.artifacts import Stage
from instructpt.errors import RecipeError
from instructpt.records import Document, Group
from instructpt.stages.corpus import BuildVocabulary, Duplicates, Filter, Read, Split
from instructpt.stages.models import Model, read_speech
from instructpt.stages.pairs import DEFAULT_CHECKS, Mine, Verify
from instructpt.stages.synthesis import AUTO, Synthesize, talk
from instructpt.stages.texts import Template


def augment(
    files: Annotated[tuple[str, ...], Positional, arg(metavar="FILES...")],
    /,
    *,
    model: str | None = None,
    categories: str = "",
    pairs: int = 5,
    shots: int = 2,
    passage_tokens: int = 512,
    window_tokens: int = 4096,
    max_new_tokens: int = 400,
    checks: tuple[str, ...] = DEFAULT_CHECKS,
    text_field: str = "text",
    id_field: str = "id",
    limit: int | None = None,
    language: str = "english",
    dialect: str = AUTO,
    seed: int = 0,
) -> Template:
    """Raw text files to an instruction-augmented corpus.

    Args:
        files: Files, folders, globs or URLs: .jsonl (.gz, .zst), .parquet, .txt, .md, hf://owner/name:split.
        model: A synthesizer, as a folder or Hub id. Without one, pairs are mined by rules, which needs no model.
        categories: What to ask for, as "summarization=1,numerical reasoning=2" (name and weight); empty leaves the
            choice to the model. The names are those in the model's synthesizer.json.
        pairs: How many to ask for a passage, where categories are given.
        shots: Passages a chain; each sees the passages and pairs before it.
        passage_tokens: The longest passage; longer documents are split at paragraphs, then sentences.
        window_tokens: Prompt and answer together; the model's context, where that is less.
        max_new_tokens: The longest answer a passage.
        checks: What a pair must pass, in order. Beside those that run anyway there is grounded: an answer that should
            stand in the passage does.
        text_field: Field or column that holds the text.
        id_field: Field or column that holds the id.
        limit: Only the first so many rows.
        language: Of the templates.
        dialect: How the model is talked with; auto is what its synthesizer.json says, else tags.
        seed: Of every draw.
    """
    if passage_tokens > window_tokens - max_new_tokens:
        raise RecipeError(
            f"a passage of {passage_tokens} tokens and an answer of {max_new_tokens} do not fit a window of "
            f"{window_tokens}: lower --passage-tokens or --max-new-tokens"
        )
    _check_asking(model, categories=categories, pairs=pairs, dialect=dialect)
    documents = clean(Read(name="documents", files=files, text_field=text_field, id_field=id_field, limit=limit))
    words: Model = model or BuildVocabulary(name="vocabulary", texts=(documents,))
    passages = Split(name="passages", documents=documents, vocabulary=words, budget_tokens=passage_tokens)
    groups: Stage[Group]
    if model is None:
        groups = Verify(
            name="groups", groups=Mine(name="mined", passages=passages, shots=shots, seed=seed), checks=checks
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
            checks=checks,
            window_tokens=window_tokens,
            max_new_tokens=max_new_tokens,
            seed=seed,
        )
    return Template(name="texts", groups=groups, language=language, seed=seed)


def _check_asking(model: str | None, *, categories: str, pairs: int, dialect: str) -> None:
    """Raise RecipeError for what can be told to go wrong now; of a Hub model the rest is told before it is loaded."""
    if model is None:
        if categories:
            raise RecipeError(
                f"categories are {categories!r} without a model: mined pairs cannot be asked for, give --model"
            )
        return
    folder = Path(model).expanduser()
    if folder.is_dir():
        talk(dialect=dialect, categories=categories, pairs=pairs, speech=read_speech(folder))
    elif dialect != AUTO:
        talk(dialect=dialect, categories=categories, pairs=pairs, speech=None)


def clean(documents: Stage[Document], *, prefix: str = "") -> Filter:
    """Documents without duplicates and without those that fail a filter. prefix: of the stages' names."""
    duplicates = Duplicates(name=f"{prefix}duplicates", documents=documents)
    return Filter(name=f"{prefix}filtered", documents=documents, duplicates=duplicates)
