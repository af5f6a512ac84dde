"""A language model as judge of pairs: is the answer right, and is the question about the passage?

    pair --write_prompt(english.md)--> prompt --endpoint.Endpoint--> reply --read_verdict--> Verdict | Reject

The prompt is a file beside this one. A judge's opinion is not the truth: read a sample of its verdicts before a number
is believed, and compare numbers of one judge and one prompt only. The paper asks GPT-4 in the same way (its table 6).

Replies are kept in a file, a line an item, as they come: a run that was killed asks only for the rest. A pair that gets
no verdict is counted under a reason (`unparsable`, `http_400`, `http_500`, `timeout`...), never taken for a yes or no.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import orjson

from instructpt.errors import EngineError, RecipeError
from instructpt.evaluation.judge.endpoint import Endpoint
from instructpt.records import Document, Pair, Reject
from instructpt.seeds import digest
from instructpt.storage import refusals_named

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
    endpoint: Endpoint,
    replies: Path,
    language: str = LANGUAGE,
    max_in_flight: int = 8,
    on_progress: Callable[[int], None] | None = None,
) -> list[Verdict | Reject]:
    """The verdict on each pair about its passage, in order; a Reject with a reason where there is none.

    replies: a file that keeps what the judge said, read first; failed requests are not in it and are asked again.
    max_in_flight: requests at a time. on_progress: called after each reply with the number of replies so far.
    Raises InputError if the endpoint refuses the key or does not know the model, EngineError if it answers nothing.
    """
    template = load_template(language)
    prompts = [write_prompt(document, pair, template=template) for document, pair in items]
    stopped = threading.Event()
    with _Replies(replies) as known, ThreadPoolExecutor(max_in_flight, thread_name_prefix="judge") as threads:
        keys = [digest("judge", endpoint.model, prompt).hex() for prompt in prompts]
        # Equal prompts are asked once; a dict keeps them in order.
        futures = {
            key: threads.submit(_ask, prompt, key=key, endpoint=endpoint, known=known, stopped=stopped)
            for key, prompt in dict(zip(keys, prompts, strict=True)).items()
        }
        found: dict[str, str | Reject] = {}
        try:
            for key, future in futures.items():
                found[key] = future.result()
                if on_progress is not None:
                    on_progress(len(found))
        except BaseException:
            stopped.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    failed = [reply for reply in found.values() if isinstance(reply, Reject)]
    if found and len(failed) == len(found):
        raise EngineError(
            f"the judge answered none of {len(failed)} requests: see that it works, then run again"
            f" (the last: {failed[-1].reason}, {failed[-1].text})"
        )
    return [reply if isinstance(reply, Reject) else read_verdict(reply) for reply in (found[key] for key in keys)]


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
    for text in reversed(_OBJECT.findall(reply)):
        try:
            row = orjson.loads(text)
        except orjson.JSONDecodeError:
            continue
        opinions = [str(row.get(name, "")).strip().casefold() for name in ("accuracy", "relevance")]
        if all(opinion in ("yes", "no") for opinion in opinions):
            return Verdict(*(opinion == "yes" for opinion in opinions))
    return Reject(reply, "unparsable")


def _ask(prompt: str, *, key: str, endpoint: Endpoint, known: _Replies, stopped: threading.Event) -> str | Reject:
    reply = known.get(key)
    if reply is None:
        answer = endpoint.ask(prompt, stopped=stopped)
        if isinstance(answer, Reject):
            return answer
        known.put(key, reply := answer)
    return reply


class _Replies:
    """Replies by key in a file of JSON lines, on disk before they are used; half a line, left by a kill, is skipped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with refusals_named(path):
            self._known = dict(_read_lines(path))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
            if self._file.tell():
                self._file.write(b"\n")  # whatever stands there last is a line of its own

    def __enter__(self) -> _Replies:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def get(self, key: str) -> str | None:
        """The reply under `key`, if it is known."""
        return self._known.get(key)

    def put(self, key: str, reply: str) -> None:
        """Keep a reply; returns once it would survive a power cut. Raises StorageError if the disk refuses it."""
        with self._lock, refusals_named(self._path):
            self._file.write(orjson.dumps([key, reply]) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self._known[key] = reply


def _read_lines(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            key, reply = orjson.loads(line)
        except ValueError:  # half a line
            continue
        yield key, reply
