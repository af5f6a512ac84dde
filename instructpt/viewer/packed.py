"""Packed rows for the page: which documents stand in a row, and token by token what the model sees.

place       0    1   2    3      4    5    6
document    0    0   0    0      1    1    -       coloured
position    0    1   2    3      0    1    -       restarts with each document
learned     no   yes yes  no     no   yes  -       faded: no loss on it
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from instructpt.assembly.rows import Rows
from instructpt.errors import InputError
from instructpt.report.artifacts import Artifact
from instructpt.words import vocabulary
from instructpt.words.vocabulary import Vocabulary

MAX_PLACES = 16_384
"""Of a longer row only so many are shown."""
_PREVIEW_TOKENS = 60
_loaded = lru_cache(maxsize=4)(vocabulary.load)


def previews(rows: Rows, numbers: Sequence[int], words: Vocabulary | None) -> list[dict[str, Any]]:
    """A line or two of each row."""
    batch, found = rows.batch(numbers), []
    for place, number in enumerate(numbers):
        documents = batch.documents[place]
        used, pieces = int((documents >= 0).sum()), int(documents.max(initial=-1)) + 1
        silent = used - int((batch.weights[place] > 0).sum())
        first = batch.inputs[place][:_PREVIEW_TOKENS].tolist()
        tags = [f"{pieces:,} document{'' if pieces == 1 else 's'}", f"{used:,} of {rows.row_tokens:,} places"]
        tags += [f"{silent:,} without loss"] if silent > pieces else []
        text = words.decode(first) if words else " ".join(map(str, first))
        found.append({"row": number, "id": f"row {number:,}", "tags": tags, "text": text})
    return found


def whole(rows: Rows, number: int, words: Vocabulary | None) -> dict[str, Any]:
    """A row, column by column over its places, and the documents in it."""
    batch = rows.batch([number])
    documents, weights = batch.documents[0], batch.weights[0]
    is_learned = np.zeros(rows.row_tokens, bool)
    is_learned[1:] = (weights[:-1] > 0) & (documents[1:] == documents[:-1])
    used = min(MAX_PLACES, int((documents >= 0).sum()))
    ids = batch.inputs[0][:used].tolist()
    lengths = np.bincount(documents[documents >= 0]).tolist()
    origins = rows.documents_in([number])
    return {
        "id": f"row {number:,}",
        "row_tokens": rows.row_tokens,
        "unused": int((documents < 0).sum()),
        "cut": used < int((documents >= 0).sum()),
        "pieces_of": [
            {"id": o.id, "source": o.source, "shard": int(o.shard), "document": o.document, "tokens": length}
            for o, length in zip(origins, lengths, strict=True)
        ],
        "ids": ids,
        "texts": spelled(ids, words) if words else None,
        "positions": batch.positions[0][:used].tolist(),
        "documents": documents[:used].tolist(),
        "learned": is_learned[:used].tolist(),
        "targets": np.where(weights[:used] > 0, batch.targets[0][:used], -1).tolist(),
    }


def spelled(ids: Sequence[int], words: Vocabulary) -> list[str]:
    """Each token as people read it; one that is a part of a character as the vocabulary spells it."""
    names: dict[int, str] = {}
    for token in set(ids):
        text = words.decode([token])
        names[token] = text if text and "\ufffd" not in text else str(words.tokenizer.id_to_token(token))
    return [names[token] for token in ids]


def vocabulary_of(rows: Rows, artifact: Artifact) -> Vocabulary | None:
    """The vocabulary that the rows of an artifact were packed with, if it is still on this machine."""
    named = artifact.settings["vocabulary"]  # a model's name, a folder, or an artifact beside this one
    if isinstance(named, dict):
        made = artifact.beside(named["artifact"])
        folder = Path(made.folder.join("00000")) if made else Path()
        named = str(folder / "model" if (folder / "model").is_dir() else folder)
    if not (named.startswith("shipped:") or Path(named).is_dir()):
        return None  # a Hub id: nothing is fetched to look at something
    try:
        words = _loaded(named)
    except InputError:
        return None  # gone, or no longer a vocabulary: the ids say it without words
    return words if words.fingerprint == rows.vocabulary_fingerprint else None
