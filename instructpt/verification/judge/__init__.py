"""A language model as judge of pairs: is the answer right, and is the question about the passage?

    pair --write_prompt(english.md)--> prompt --ask_all--> "accuracy: yes ..."  --read_verdict--> Verdict | Reject
         --write_prompt(rubric)------> prompt --ask_all--> {"score": 4}         --read_score----> 4.0 | Reject

    ask_all    prompt --> in the ledger? --no--> engines.http (several endpoints, retries, 429) --> ledger --> reply

The prompt is a file beside this one. A judge's opinion is not the truth: read a sample of its verdicts before a number
is believed, and compare numbers of one judge and one prompt only. The paper asks GPT-4 in the same way (its table 6).

A pair that gets no verdict is counted under a reason (`unparsable`, `prompt_refused`, `engine_error`), never taken
for a yes or no.

A run that was killed asks only for the rest. Requests that failed are not in the ledger and are asked again.

A rubric is a text with {passage}, {question} and {answer} that asks for one JSON object with a score. Its scale is its
own; the one that ships goes from 1 to 5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from instructpt.engines import Conversation, Message, Sampling
from instructpt.engines.addresses import is_loopback, read_addresses
from instructpt.engines.event_loop import run_or_cancel
from instructpt.engines.http import HttpEngine
from instructpt.errors import EngineError, EngineGoneError, InputError, RecipeError
from instructpt.records import Document, Pair, Reject
from instructpt.synthesis import ledger as ledgers
from instructpt.synthesis.asking import refusal, together
from instructpt.synthesis.ledger import Ledger

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


KEY_VARIABLE = "INSTRUCTPT_JUDGE_KEY"
MAX_REPLY_TOKENS = 1_024
"""Room for a model that thinks aloud before it answers."""
SAMPLING = Sampling(MAX_REPLY_TOKENS)
_USUAL: Mapping[str, Any] = {"retries": 5, "max_in_flight_per_endpoint": 8}


@dataclass(frozen=True, slots=True)
class Server:
    """Where a judge answers. Its key comes from the environment alone and never crosses a network in the clear."""

    endpoints: str
    """Addresses, with commas between them: http://localhost:8000/v1."""
    model: str
    """What the servers call it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the HTTP engine, where they are to differ from the usual ones."""

    def __post_init__(self) -> None:
        """Raises RecipeError for an address that cannot be, or where the key would go unprotected."""
        if not self.model:
            raise RecipeError("the judge's model is not named: give the name that its server knows it by")
        for address in read_addresses(self.endpoints, key_variable=KEY_VARIABLE):
            if address.secrets and not address.name.startswith("https://") and not is_loopback(address.host):
                raise RecipeError(
                    f"the judge's key would go to {address.name} over plain http, where anybody on the way can read it:"
                    f" give an https address, or unset {KEY_VARIABLE}"
                )

    def open(self) -> HttpEngine:
        """An engine that asks it."""
        options = {**_USUAL, **self.options}
        return HttpEngine(
            self.model,
            endpoints=self.endpoints,
            served_model=self.model,
            structured="off",
            api_key_variable=KEY_VARIABLE,
            **options,
        )


def ask_all(
    prompts: Sequence[str], *, server: Server, replies: Path, on_progress: Callable[[int], None] | None = None
) -> list[str | Reject]:
    """The reply to each prompt, greedy, in order; a Reject `prompt_refused` or `engine_error` where there is none.

    Equal prompts are asked once. replies: the ledger's file. on_progress: called after each reply with the number of
    replies so far. Raises EngineError if no endpoint answers, whatever is asked.
    """
    with Ledger(replies) as ledger:
        found = run_or_cancel(_ask_all(set(prompts), server=server, ledger=ledger, on_progress=on_progress))
    failed = [reply for reply in found.values() if isinstance(reply, Reject)]
    if failed and len(failed) == len(found):
        raise EngineError(
            f"the judge answered none of {len(failed)} requests: see that it works, then run again"
            f" (the last: {failed[-1].text})"
        )
    return [found[prompt] for prompt in prompts]


async def _ask_all(
    prompts: set[str], *, server: Server, ledger: Ledger, on_progress: Callable[[int], None] | None
) -> dict[str, str | Reject]:
    found: dict[str, str | Reject] = {}
    engine = server.open()

    async def ask(prompt: str) -> None:
        question = Conversation((Message("user", prompt),))
        key = ledgers.key(question, model_identity=f"remote:{server.model}", sampling=SAMPLING)
        completion = ledger.get(key)
        try:
            if completion is None:
                completion = await engine.complete(question, SAMPLING)
                await ledger.put(key, completion)
            found[prompt] = completion.text
        except EngineGoneError:
            raise
        except EngineError as error:
            found[prompt] = refusal(error)
        if on_progress is not None:
            on_progress(len(found))

    try:
        await together(map(ask, sorted(prompts)))
    finally:
        await engine.close()
    return found


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
