"""Held-out perplexity: how many bits a model needs for a byte of text it never saw. Lower is better.

Bits per byte and not per token, so that models with different vocabularies compare. A document is cut into windows of
`row_tokens` tokens, without overlap; each begins anew with BOS (with EOS for models that have no BOS):

    document     t0 t1 t2 t3 t4 t5 t6 t7 t8          row_tokens = 4
    window 0     <s> t0 t1 t2  ->  t0 t1 t2 t3       every token of a document is predicted exactly once;
    window 1     <s> t4 t5 t6  ->  t4 t5 t6 t7       the end of text is not
    window 2     <s>           ->  t8

The overall value is total bits over total bytes, so long documents weigh more; `rating` says how far to trust it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from instructpt.errors import InputError
from instructpt.evaluation.rating import BITS, rate
from instructpt.models.loading import load_causal_model
from instructpt.records import Document, Item, Score
from instructpt.words import vocabulary

if TYPE_CHECKING:
    import torch

TASK = "held_out"


@dataclass(frozen=True, slots=True)
class _Window:
    document: int
    tokens: tuple[int, ...]
    """What is predicted, [<= row_tokens]."""


def perplexity(
    model_folder: Path,
    documents: Iterable[Document],
    *,
    row_tokens: int,
    device: str = "cpu",
    batch_rows: int = 8,
    model_name: str,
) -> list[Score]:
    """Bits per byte overall (task "held_out") and of each domain ("held_out/biomedical"), in order of appearance.

    A document's domain is its meta's "domain", or its source. Score.count is the number of documents.
    Raises InputError if there is no text or no model, or if row_tokens is more than the model's positions.
    """
    import torch

    documents = [document for document in documents if document.text]
    if not documents:
        raise InputError("no held-out text to measure on: give at least one document that is not empty")
    model = load_causal_model(model_folder, dtype=torch.float32 if device == "cpu" else "auto")
    words = vocabulary.load(model_folder)
    positions = getattr(model.config, "max_position_embeddings", row_tokens)
    if not 1 <= row_tokens <= positions:
        raise InputError(f"row_tokens is {row_tokens}, the model has {positions} positions: give 1 to {positions}")
    model.to(device).eval()
    windows = [
        _Window(i, tuple(tokens[start : start + row_tokens]))
        for i, tokens in enumerate(words.encode([document.text for document in documents]))
        for start in range(0, len(tokens), row_tokens)
    ]
    windows.sort(key=lambda window: -len(window.tokens))  # equal lengths side by side: little padding
    begin = words.eos if words.bos is None else words.bos
    bits = [0.0] * len(documents)
    for start in range(0, len(windows), batch_rows):
        batch = windows[start : start + batch_rows]
        for window, nats in zip(batch, _nats(model, batch, begin=begin, device=device), strict=True):
            bits[window.document] += nats / math.log(2)
    return _scores(documents, bits, model_name)


def _nats(model: torch.nn.Module, windows: Sequence[_Window], *, begin: int, device: str) -> list[float]:
    """The summed cross-entropy of each window. Padding stands after the text, where a causal model cannot see it."""
    import torch

    longest = max(len(window.tokens) for window in windows)
    targets_BT = torch.full((len(windows), longest), -100)
    for row, window in enumerate(windows):
        targets_BT[row, : len(window.tokens)] = torch.tensor(window.tokens)
    inputs_BT = torch.full_like(targets_BT, begin)
    inputs_BT[:, 1:] = targets_BT[:, :-1].clamp(min=0)
    with torch.inference_mode():
        logits_BTV = model(input_ids=inputs_BT.to(device), use_cache=False).logits
        losses_BT = torch.nn.functional.cross_entropy(
            logits_BTV.float().transpose(1, 2), targets_BT.to(device), reduction="none"
        )
    sums: list[float] = losses_BT.double().sum(dim=1).tolist()
    return sums


def _scores(documents: Sequence[Document], bits: Sequence[float], model_name: str) -> list[Score]:
    by_task: dict[str, list[Item]] = {TASK: []}
    for place, (document, number) in enumerate(zip(documents, bits, strict=True)):
        num_bytes = len(document.text.encode())
        item = Item(TASK, place, "", "", "", {BITS: number / num_bytes}, num_bytes)
        by_task[TASK].append(item)
        by_task.setdefault(f"{TASK}/{document.meta.get('domain', document.source)}", []).append(item)
    return [score for task, items in by_task.items() for score in rate(items, task=task, model_name=model_name)]
