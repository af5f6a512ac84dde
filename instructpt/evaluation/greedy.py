"""Short answers in a model's own words, the likeliest token each time: what it says where nothing is offered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from instructpt.evaluation.answers import Reader

if TYPE_CHECKING:
    import torch

_ROWS = 32
"""Answers that are written at once; all wait for the longest."""


def write(reader: Reader, prompts: Sequence[Sequence[int]], *, max_new_tokens: int) -> list[str]:
    """What the model writes after each prompt, the likeliest token each time: its first line that says anything.

    A prompt that fills all positions of the model gets "". Prompts of about one length are read together.
    """
    found = [""] * len(prompts)
    fitting = [place for place, prompt in enumerate(prompts) if len(prompt) < reader.positions]
    order = sorted(fitting, key=lambda place: -len(prompts[place]))
    for start in range(0, len(order), _ROWS):
        chosen = order[start : start + _ROWS]
        lines = _write(reader, [prompts[place] for place in chosen], max_new_tokens=max_new_tokens)
        for place, line in zip(chosen, lines, strict=True):
            found[place] = line
    return found


def _write(reader: Reader, prompts: Sequence[Sequence[int]], *, max_new_tokens: int) -> list[str]:
    """Of prompts that are read together, the longest first."""
    import torch

    device, words, longest = reader.model.device, reader.vocabulary, len(prompts[0])
    tokens_BT = torch.full((len(prompts), longest), words.eos)
    sees_BT = torch.zeros_like(tokens_BT)
    for row, prompt in enumerate(prompts):  # padding on the left: all rows end where the answer begins
        tokens_BT[row, longest - len(prompt) :] = torch.tensor(prompt)
        sees_BT[row, longest - len(prompt) :] = 1

    def has_line(ids_BT: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        del scores
        texts = [words.decode(ids[longest:]).lstrip() for ids in ids_BT.tolist()]
        return torch.tensor(["\n" in text for text in texts], device=ids_BT.device)

    with torch.inference_mode():
        ids_BT = reader.model.generate(
            input_ids=tokens_BT.to(device),
            attention_mask=sees_BT.to(device),
            do_sample=False,
            max_new_tokens=min(max_new_tokens, reader.positions - longest),
            stopping_criteria=[has_line],
        )
    texts = [words.decode(ids[longest:]).strip() for ids in ids_BT.tolist()]
    return [text.partition("\n")[0].strip() for text in texts]
