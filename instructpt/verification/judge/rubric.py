"""A judge that scores: a rubric with the pair in it, a number in reply.

    pair --write_prompt(rubric)--> prompt --replies.ask_all--> {"score": 4} --read_score--> 4.0 | Reject

A rubric is a text with {passage}, {question} and {answer} that asks for one JSON object with a score. Its scale is its
own; the one that ships goes from 1 to 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from instructpt.errors import InputError, RecipeError
from instructpt.records import Document, Pair, Reject
from instructpt.verification.judge import objects, write_prompt
from instructpt.verification.judge.replies import Server, ask_all

SHIPPED = Path(__file__).parent / "rubrics" / "accuracy.md"


def rate(
    items: Sequence[tuple[Document, Pair]],
    *,
    server: Server,
    replies: Path,
    rubric: str,
) -> list[float | Reject]:
    """The score of each pair about its passage, in order; a Reject with a reason where there is none.

    replies: the ledger that keeps what the judge said. Raises what `ask_all` does.
    """
    prompts = [write_prompt(document, pair, template=rubric) for document, pair in items]
    answers = ask_all(prompts, server=server, replies=replies)
    return [answer if isinstance(answer, Reject) else read_score(answer) for answer in answers]


def load_rubric(path: str = "") -> str:
    """The rubric in a file, or the one that ships.

    Raises InputError if it cannot be read, RecipeError if it has no place for passage, question or answer.
    """
    file = Path(path) if path else SHIPPED
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the rubric {path} cannot be read ({error}): give a text file") from error
    missing = [name for name in ("{passage}", "{question}", "{answer}") if name not in text]
    if missing:
        raise RecipeError(f"the rubric {path} has no {', '.join(missing)}: write where it is to stand")
    return text


def read_score(reply: str) -> float | Reject:
    """The score in a reply: that of its last JSON object with one, whatever stands around it. Else `unparsable`."""
    for row in objects(reply):
        score = row.get("score")
        if isinstance(score, int | float) and not isinstance(score, bool):
            return float(score)
    return Reject(reply, "unparsable")
