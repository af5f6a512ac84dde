"""Instruction data as people have it, to the neutral layout: one row, its exchanges in order.

    neutral               {"dataset": ..., "context": ..., "question": ..., "answer": ...}
    question and answer   {"question": ..., "answer": ..., "context": ...}
    Alpaca                {"instruction": ..., "input": ..., "output": ...}
    prompt, completion    {"prompt": ..., "completion": ...}; also response
    messages              {"messages": [{"role": "user", "content": ...}, {"role": "assistant", ...}, ...]}
    ShareGPT              {"conversations": [{"from": "human", "value": ...}, {"from": "gpt", ...}, ...]}

What a system message says is the context of its conversation. A turn without an answer is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

WANTED = (
    "question and answer; instruction, input and output; prompt and completion; messages of role and content; or "
    "conversations of from and value"
)
_PAIRS = (
    ("question", "answer", "context"),
    ("instruction", "output", "input"),
    ("instruction", "response", "context"),
    ("prompt", "completion", "context"),
    ("prompt", "response", "context"),
)
"""Fields of question, answer and, where it is there, context."""
_TURNS = (("messages", "role", "content"), ("conversations", "from", "value"), ("conversations", "role", "content"))
_SPEAKERS = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}
_KEPT = ("options", "rationale", "meta")


def neutral_rows(row: Mapping[str, Any], *, dataset: str) -> list[dict[str, Any]] | None:
    """The row in the neutral layout, a dictionary an exchange; None if it has none of the layouts above.

    dataset: what the rows are called where they do not say.
    """
    common = {"dataset": row.get("dataset", dataset), "id": row.get("id", "")}
    for question, answer, context in _PAIRS:
        if question in row and answer in row:
            exchange = {"question": row[question], "answer": row[answer], "context": row.get(context) or ""}
            return [common | exchange | {name: row[name] for name in _KEPT if name in row}]
    for turns, speaker, said in _TURNS:
        listed = row.get(turns)
        if isinstance(listed, list) and all(
            isinstance(turn, dict) and {speaker, said} <= turn.keys() for turn in listed
        ):
            found = [(_SPEAKERS.get(str(turn[speaker]), ""), turn[said]) for turn in listed]
            return [common | exchange for exchange in _exchanges(found)]
    return None


def _exchanges(turns: list[tuple[str, Any]]) -> Iterator[dict[str, Any]]:
    context = "\n\n".join(str(said) for speaker, said in turns if speaker == "system")
    for (speaker, question), (next_speaker, answer) in pairwise(turns):
        if (speaker, next_speaker) == ("user", "assistant"):
            yield {"question": question, "answer": answer, "context": context}
