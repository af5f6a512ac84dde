"""Which passages mean what a question means, by an encoder's vectors; and how that is put together with BM25.

    passages --encoder: mean over a text's tokens, length 1--> vectors.npy, a folder a shard
    query    --encoder--> its vector --times each passage's--> the nearest passages ----.
    query    --BM25 and best sentence (`index`)--> hits --1 / (60 + rank), both summed--+--> hits

Ranks are summed, not scores, which are not alike (reciprocal rank fusion, Cormack et al. 2009).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instructpt import devices
from instructpt.engines.models import quiet_loading
from instructpt.errors import InputError
from instructpt.models.folders import local_folder
from instructpt.queries.index import CANDIDATES, Hit

RANK_OFFSET = 60
AGREED_RANK, AGREED_SHARE = 10, 0.01
"""A passage that both find among their first ten, and the first hundredth of the corpus, is taken also where it has few
of the query's words."""
MAX_TOKENS = 512
"""Of a text that are looked at: what most encoders were trained on."""
_BATCH_TEXTS = 64
_FILE = "vectors.npy"

Vectors = NDArray[np.float32]
Place = tuple[int, int]
"""Shard and row of a passage."""


class Encoder:
    """A transformer that gives texts vectors: the mean of its last layer over a text's tokens."""

    def __init__(self, model: str, *, device: str) -> None:
        """Load a folder or a Hub model. Raises InputError if it is no encoder that transformers knows."""
        from transformers import AutoModel, AutoTokenizer

        folder = local_folder(model)
        quiet_loading()
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder)
            loaded = AutoModel.from_pretrained(folder, use_safetensors=True, dtype="float32")
        except (OSError, ValueError, KeyError) as error:
            said = str(error).partition("\n")[0]
            raise InputError(f"{model} cannot be loaded as an encoder ({said}): give one such as owner/name") from error
        self._device = devices.find(device)
        self._model = loaded.eval().to(self._device)
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token or self._tokenizer.unk_token
        seen = getattr(loaded.config, "max_position_embeddings", MAX_TOKENS)
        self._max_tokens = min(seen, self._tokenizer.model_max_length, MAX_TOKENS)

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """A row of length 1 for each text."""
        import torch

        given = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        ).to(self._device)
        with torch.inference_mode():
            states = self._model(**given).last_hidden_state
        mask = given["attention_mask"].unsqueeze(-1)
        means = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        found: Vectors = torch.nn.functional.normalize(means, dim=-1).cpu().numpy()
        return found

    def all_vectors(self, texts: Iterable[str]) -> Vectors:
        """The same for many texts, some at a time."""
        waiting = iter(texts)
        found = [self.vectors(some) for some in iter(lambda: list(islice(waiting, _BATCH_TEXTS)), [])]
        return np.concatenate(found) if found else np.zeros((0, 1), np.float32)


def embed(passages: Iterable[str], folder: Path, encoder: Encoder) -> int:
    """Write the passages' vectors into `folder`; how many there are."""
    found = encoder.all_vectors(passages)
    folder.mkdir(exist_ok=True)
    np.save(folder / _FILE, found)
    return len(found)


class Nearest:
    """The vectors of all shards, read from disk where they lie."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._shards = [np.load(folder / _FILE, mmap_mode="r") for folder in folders]

    def find(self, vector: Vectors, *, most: int = CANDIDATES) -> list[Place]:
        """The passages nearest to a query's vector, best first; of equals the first of the corpus."""
        found = list[tuple[float, int, int]]()
        for number, shard in enumerate(self._shards):
            if len(shard):
                scores = shard @ vector
                best = np.argsort(-scores, kind="stable")[:most]
                found += [(-float(scores[row]), number, int(row)) for row in best]
        return [(shard, row) for _, shard, row in sorted(found)[:most]]


def fused(hits: Sequence[Hit], nearest: Sequence[Place], *, num_passages: int) -> list[tuple[Hit, bool]]:
    """The passages of both, best first, each with whether both find it early (`AGREED_RANK`).

    The score of a hit is then what its ranks come to. `covered` stays: 0 of a passage that BM25 did not find.
    """
    known = {(hit.shard, hit.row): hit for hit in hits}
    early = min(AGREED_RANK, int(AGREED_SHARE * num_passages))
    ranks = [{place: rank for rank, place in enumerate(places, 1)} for places in (list(known), nearest)]
    scores = {
        place: sum(1 / (RANK_OFFSET + found[place]) for found in ranks if place in found)
        for place in dict.fromkeys([*known, *nearest])
    }
    return [
        (
            replace(known.get(place, Hit(*place, 0.0, 0.0)), score=round(score, 6)),
            all(place in found and found[place] <= early for found in ranks),
        )
        for place, score in sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    ]
