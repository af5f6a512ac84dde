"""What is said to an OpenAI-compatible server and what it answers: bodies of requests and responses, as functions.

    prompt, Sampling --completion_body-->  POST  --read_completion-->  Answer
                                             '-----read_refusal---->  RefusalError --without--> fewer fields

Servers differ in what they add to OpenAI's fields; `Manners` is what is known of one. Sources: vLLM's
entrypoints/openai/completion/protocol.py, SGLang's entrypoints/openai/protocol.py, llama.cpp's tools/server/README.md.

* All three take a prompt as token ids and add no begin of text to ids. To a text they add one of their own.
* vLLM takes top_p, top_k, min_p and a repetition penalty from a model's generation_config.json, llama.cpp has its own:
  they are said explicitly, so that greedy and plain sampling mean the same everywhere.
* `usage.completion_tokens` counts the end of text. `return_token_ids` would say no more, but send the prompt back.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from instructpt.engines import Completion, Conversation, Form, Prompt, Sampling

Kind = Literal["vllm", "sglang", "llamacpp", "openai"]
"""How a server spells what OpenAI has no word for; "openai" is said nothing besides."""

OWNERS: Mapping[str, Kind] = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llamacpp"}
"""`owned_by` in /v1/models -> kind."""

_PLAIN: Mapping[Kind, Mapping[str, float]] = {
    "vllm": {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
    "sglang": {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
    "llamacpp": {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
    "openai": {},
}
_WANTS_TEXT = re.compile(r"\b(str|string|text)\b|\bids\b.*not supported", re.IGNORECASE)
_MESSAGE_CHARACTERS = 300
_PREFIX_TOKENS = 64
"""By which a prompt's home is known: more than any common opening, less than a passage."""


@dataclass(frozen=True, slots=True)
class Manners:
    """What is known of a server."""

    kind: Kind
    served_model: str
    form_kind: Kind | None
    """How forms are spelled; None: not at all."""
    refused: frozenset[str] = frozenset()
    """What it refused once and is not sent again: "regex", "json", "ids", or the name of a field."""


class RefusalError(Exception):
    """An answer of status 4xx: this request is at fault. message: one line. field: the one at fault, if it is said."""

    def __init__(self, status: int, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.field = status, message, field


@dataclass(frozen=True, slots=True)
class Answer:
    """A completion, and what it took."""

    completion: Completion
    num_prompt_tokens: int | None
    num_cached_tokens: int | None


class FailureError(Exception):
    """A request came to nothing and may be repeated. is_gone: nobody listens. wait_seconds: as the server asked."""

    def __init__(self, reason: str, *, is_gone: bool = False, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.is_gone, self.wait_seconds = is_gone, wait_seconds


def identity(prompt: Prompt, sampling: Sampling) -> tuple[bytes, int]:
    """A digest of what a prompt's chain has in common, and the request's own seed (31 bits: servers take no more).

    Of a conversation it is all up to the first user's turn: the system's is the same in every chain.
    """
    whole = hashlib.blake2b(str(sampling.seed).encode(), digest_size=16)
    if not isinstance(prompt, Conversation):
        ids = array("q", prompt)
        whole.update(ids.tobytes())
        prefix = hashlib.blake2b(ids[:_PREFIX_TOKENS].tobytes(), digest_size=16)
    else:
        prefix = hashlib.blake2b(digest_size=16)
        is_prefix = True
        for message in prompt.messages:
            data = f"{message.role}\0{message.content}\0".encode("utf-8", "surrogatepass")
            whole.update(data)
            if is_prefix:
                prefix.update(data)
            is_prefix = is_prefix and message.role != "user"
    return prefix.digest(), int.from_bytes(whole.digest()[:4], "little") >> 1


def completion_body(
    prompt: Sequence[int] | str | Conversation, sampling: Sampling, *, manners: Manners, seed: int
) -> dict[str, Any]:
    """For /v1/completions, or /v1/chat/completions. seed: of this request, used if the temperature is not 0."""
    refused, form, is_chat = manners.refused, sampling.form, isinstance(prompt, Conversation)
    body: dict[str, Any] = {"model": manners.served_model, "temperature": sampling.temperature}
    body["max_completion_tokens" if "max_tokens" in refused else "max_tokens"] = sampling.max_new_tokens
    body |= _PLAIN[manners.kind]
    if sampling.temperature > 0:
        body |= {"top_p": 1.0, "seed": seed}
    if form is not None and manners.form_kind is not None and form.kind not in refused:
        body |= form_fields(form, manners.form_kind, is_chat=is_chat)
    body = {name: value for name, value in body.items() if name not in refused}
    if isinstance(prompt, Conversation):
        return body | {"messages": [{"role": turn.role, "content": turn.content} for turn in prompt.messages]}
    return body | {"prompt": prompt}


def score_body(ids: Sequence[int], *, manners: Manners) -> dict[str, Any]:
    """For /v1/completions: the log-probabilities of the prompt itself. One token is written: none is not allowed."""
    body: dict[str, Any] = {"model": manners.served_model, "prompt": ids, "max_tokens": 1, "temperature": 0}
    return body | ({"prompt_logprobs": 0} if manners.kind == "vllm" else {"echo": True, "logprobs": 1})


def form_fields(form: Form, kind: Kind, *, is_chat: bool) -> dict[str, Any]:
    """The fields that hold an answer to `form`; none where the server has no word for it."""
    if kind == "vllm":
        return {"structured_outputs": {form.kind: orjson.loads(form.text) if form.kind == "json" else form.text}}
    if form.kind == "regex":
        return {"regex": form.text} if kind == "sglang" else {}
    if form.kind == "grammar":
        return {"sglang": {"ebnf": form.text}, "llamacpp": {"grammar": form.text}}.get(kind, {})
    if is_chat:
        schema = {"name": "answer", "schema": orjson.loads(form.text)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    if kind == "sglang":
        return {"json_schema": form.text}
    return {"json_schema": orjson.loads(form.text)} if kind == "llamacpp" else {}


def can_say(form: Form, kind: Kind | None) -> bool:
    """Whether a server of this kind has a word for such a form; where forms are off nothing is asked of it."""
    return kind is None or form.kind == "json" or bool(form_fields(form, kind, is_chat=False))


def without(manners: Manners, body: Mapping[str, Any], form: Form | None, refusal: RefusalError) -> Manners | None:
    """Manners that leave out what may have been at fault in `body`; None if nothing can be left out."""
    if refusal.status not in (400, 415, 422):
        return None
    leave: str | None = None
    if form is not None and manners.form_kind is not None and form.kind not in manners.refused:
        leave = form.kind
    elif "max_tokens" in body and "max_completion_tokens" in refusal.message:
        leave = "max_tokens"
    elif refusal.field in ("temperature", "seed", "top_p") and refusal.field in body:
        leave = refusal.field
    elif isinstance(body.get("prompt"), list) and refusal.field in ("prompt", "ids", None):
        leave = "ids" if _WANTS_TEXT.search(refusal.message) else None
    return None if leave is None else replace(manners, refused=manners.refused | {leave})


def read_completion(data: bytes, *, max_new_tokens: int, is_chat: bool) -> Answer:
    """What a server answered with status 200. Raises FailureError if that is not of OpenAI's form."""
    try:
        response = orjson.loads(data)
        choice = response["choices"][0]
        text = (choice["message"]["content"] if is_chat else choice["text"]) or ""
        usage = response.get("usage") or {}
        num_tokens = usage["completion_tokens"]
        finish, details = choice.get("finish_reason"), usage.get("prompt_tokens_details") or {}
        prompt_tokens, cached_tokens = usage.get("prompt_tokens"), details.get("cached_tokens")
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise FailureError(f"answered what is no completion: {first_line(data)!r}") from error
    counts = [number for number in (prompt_tokens, cached_tokens) if number is not None]
    if not isinstance(text, str) or not all(isinstance(number, int) for number in (num_tokens, *counts)):
        raise FailureError(f"answered a completion without text or counts: {first_line(data)!r}")
    if finish in ("abort", "error"):
        raise FailureError(f"broke its answer off ({finish})")
    if finish == "content_filter":
        raise RefusalError(451, "the server's content filter stopped the answer")
    is_cut = finish == "length" or (finish is None and num_tokens >= max_new_tokens)
    return Answer(Completion(text, num_tokens, "length" if is_cut else "stop"), prompt_tokens, cached_tokens)


def read_scores(data: bytes, *, ids: Sequence[int], num_prompt_tokens: int) -> list[float]:
    """Log-probabilities of ids[num_prompt_tokens:]. Raises FailureError if the answer does not hold them."""
    try:
        choice = orjson.loads(data)["choices"][0]
        tables = choice.get("prompt_logprobs")
        if tables is not None:
            pairs = zip(ids, tables, strict=True)
            values = [None if table is None else table[str(token)]["logprob"] for token, table in pairs]
        else:
            values = choice["logprobs"]["token_logprobs"][: len(ids)]
        scores = [float(value) for value in values[num_prompt_tokens:] if value is not None]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise FailureError("gives no log-probabilities of a prompt") from error
    if len(scores) != len(ids) - num_prompt_tokens:
        raise FailureError("gives log-probabilities of another number of tokens")
    return scores


def read_models(data: bytes) -> list[tuple[str, str]]:
    """Name and owner of each model that a server lists. Raises FailureError if it lists none."""
    try:
        return [(str(model["id"]), str(model.get("owned_by"))) for model in orjson.loads(data)["data"]]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise FailureError(f"lists no models but says {first_line(data)!r}") from error


def read_refusal(status: int, data: bytes) -> RefusalError:
    """What a server says is wrong, in any of the usual forms, on one line."""
    field, message = None, ""
    try:
        content = orjson.loads(data)
        error = content.get("error", content) if isinstance(content, dict) else content
        if isinstance(error, dict):
            message = str(error.get("message") or error.get("detail") or "")
            field = error.get("param") if isinstance(error.get("param"), str) else None
        elif isinstance(error, str):
            message = error
    except orjson.JSONDecodeError:
        message = ""
    return RefusalError(status, first_line(message.encode() or data) or "no reason given", field)


def first_line(data: bytes) -> str:
    """The first line of what a server sent, cut, for a message."""
    lines = data[: 8 * _MESSAGE_CHARACTERS].decode("utf-8", "replace").strip().splitlines()
    return "".join(filter(str.isprintable, lines[0] if lines else ""))[:_MESSAGE_CHARACTERS]
