"""A language model as judge of pairs: is the answer right, and is the question about the passage?

    pair --write_prompt(english.md)--> prompt --replies.ask_all--> reply --read_verdict--> Verdict | Reject

    __init__.py   yes or no: is it accurate, is it relevant       replies.py   the server, replies kept
    rubric.py     a score, by a rubric of the user's

The prompt is a file beside this one. A judge's opinion is not the truth: read a sample of its verdicts before a number
is believed, and compare numbers of one judge and one prompt only. The paper asks GPT-4 in the same way (its table 6).

A pair that gets no verdict is counted under a reason (`unparsable`, `prompt_refused`, `engine_error`), never taken
for a yes or no.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from instructpt.errors import RecipeError
from instructpt.records import Document, Pair, Reject
from instructpt.verification.judge.replies import Server, ask_all

LANGUAGE = "english"
PROMPTS = Path(__file__).parent
_PLACEHOLDER = re.compile(r"\{(passage|question|answer)\}")
_OBJECT = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge says of a pair."""

    accurate: bool
    relevant: bool


def judge(
    items: Sequence[tuple[Document, Pair]],
    *,
    server: Server,
    replies: Path,
    language: str = LANGUAGE,
    on_progress: Callable[[int], None] | None = None,
) -> list[Verdict | Reject]:
    """The verdict on each pair about its passage, in order; a Reject with a reason where there is none.

    replies: the ledger that keeps what the judge said, read first; failed requests are not in it and are asked again.
    on_progress: called after each reply with the number of replies so far. Raises EngineError as `ask_all` does.
    """
    template = load_template(language)
    prompts = [write_prompt(document, pair, template=template) for document, pair in items]
    answers = ask_all(prompts, server=server, replies=replies, on_progress=on_progress)
    return [answer if isinstance(answer, Reject) else read_verdict(answer) for answer in answers]


def load_template(language: str) -> str:
    """The prompt in a language. Raises RecipeError if there is none."""
    path = PROMPTS / f"{language}.md"
    if not path.exists():
        shipped = ", ".join(sorted(file.stem for file in PROMPTS.glob("*.md")))
        raise RecipeError(f"the judge has no prompt in {language!r}: choose from {shipped}")
    return path.read_text("utf-8")


def write_prompt(document: Document, pair: Pair, *, template: str) -> str:
    """The template with passage, question and answer in their places, in one pass: their braces stay what they are."""
    options = "".join(f"\n- {option}" for option in pair.options)
    values = {
        "passage": document.text.strip(),
        "question": pair.question + (f"\nOptions:{options}" if options else ""),
        "answer": pair.answer if pair.rationale is None else f"{pair.rationale}\nConclusion: {pair.answer}",
    }
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


def read_verdict(reply: str) -> Verdict | Reject:
    """The verdict in a reply: its last JSON object, whatever stands around it. Else a Reject `unparsable`."""
    for row in objects(reply):
        opinions = [str(row.get(name, "")).strip().casefold() for name in ("accuracy", "relevance")]
        if all(opinion in ("yes", "no") for opinion in opinions):
            return Verdict(*(opinion == "yes" for opinion in opinions))
    return Reject(reply, "unparsable")


def objects(reply: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a reply that hold no others, the last one first."""
    for text in reversed(_OBJECT.findall(reply)):
        with suppress(orjson.JSONDecodeError):
            yield orjson.loads(text)
