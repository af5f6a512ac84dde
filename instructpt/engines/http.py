"""The HTTP engine: a model behind any OpenAI-compatible server, one or many: vLLM, SGLang, llama.cpp, hosted ones.

    complete --> endpoints.acquire --> calls.post --> Completion
                  ^                        |
                  '----- again, elsewhere -'-- or what its failure means (`calls`)

What a server may not know of a request (a form, ids) is left out once it refuses it.

Prompts are token ids: what the model reads is exactly what was counted, with one begin of text. A server that takes
none gets text (`prompts="text"`), and then three things may go wrong that nobody notices: it may add a begin of text
(so the prompt's own is left out where the tokenizer adds one), special tokens inside are read from their spelling, and
a text may be cut into other tokens than it was written with. It is the last resort.
"""

from __future__ import annotations

import asyncio
import logging
import random
import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args

from instructpt.engines import Completion, Conversation, EngineState, Form, Prompt, Sampling
from instructpt.engines.addresses import read_addresses
from instructpt.engines.calls import LateError, MovedError, TooManyError, open_session, post
from instructpt.engines.endpoints import Endpoints
from instructpt.engines.health import Expected, watch
from instructpt.engines.openai_format import (
    Answer,
    FailureError,
    Manners,
    RefusalError,
    can_say,
    completion_body,
    identity,
    read_completion,
    read_scores,
    score_body,
    without,
)
from instructpt.engines.patience import Patience
from instructpt.engines.places import Place
from instructpt.errors import EngineError, EngineGoneError, PromptRefusedError, RecipeError
from instructpt.words import vocabulary

if TYPE_CHECKING:
    from aiohttp import ClientSession

Structured = Literal["auto", "vllm", "sglang", "llamacpp", "openai", "off"]
Prompts = Literal["auto", "ids", "text"]
T = TypeVar("T")

_REFUSABLE = {
    "regex": "forms (regex)",
    "json": "forms (JSON schema)",
    "grammar": "forms (grammar)",
    "ids": "token ids",
}
_log = logging.getLogger(__name__)

_MAX_BACKOFF_SECONDS = 30.0
_FILES_FOR_OTHERS = 128


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """What is asked, whichever endpoint answers it."""

    prefix: bytes
    path: str
    body: Callable[[Manners], dict[str, Any]]
    read: Callable[[bytes], T]
    max_new_tokens: int = 1
    form: Form | None = None


class HttpEngine:
    """The contract is `engines.Engine`. Constructed anywhere; used in one event loop, where it opens its connections.

    endpoints: addresses, a sequence or a text with commas; `/v1` may be left out.
    served_model: the name under which they serve the model; None = found out.
    prompts: "ids", "text" (see above), or "auto": ids, and text once a server says that it takes no ids.
    structured: how a `Form` is said, as one kind of server has it; "auto" asks the server what it is, "off" leaves it
    out. A form that a server refuses is left out from then on.
    timeout_seconds: for a whole answer; None = by how long the endpoint's answers take (`patience`).
    retries: of a request that failed, unless its endpoint was at fault for sure.
    retry_seconds: before the second try, doubled for each further one, with jitter.
    max_in_flight_per_endpoint: requests at once; None = as many as are asked for.
    api_key_variable: see `addresses.read_addresses`.
    health_seconds: between health checks of an endpoint. gone_seconds: how long all may be down before all is given up.

    Raises RecipeError for settings that cannot be.
    """

    def __init__(
        self,
        model: str,
        *,
        endpoints: Sequence[str] | str,
        served_model: str | None = None,
        prompts: Prompts = "auto",
        structured: Structured = "auto",
        timeout_seconds: float | None = None,
        retries: int = 8,
        retry_seconds: float = 0.5,
        max_in_flight_per_endpoint: int | None = None,
        api_key_variable: str | None = None,
        health_seconds: float = 5.0,
        gone_seconds: float = 60.0,
    ) -> None:
        for name, chosen, choices in (("prompts", prompts, Prompts), ("structured", structured, Structured)):
            if chosen not in get_args(choices):
                raise RecipeError(f"{name} is {chosen!r}: choose one of {', '.join(get_args(choices))}")
        if retries < 0:
            raise RecipeError(f"retries is {retries}: give at least 0")
        if max_in_flight_per_endpoint is not None and max_in_flight_per_endpoint < 1:
            raise RecipeError(f"max_in_flight_per_endpoint is {max_in_flight_per_endpoint}: give at least 1")
        for name, seconds in (("timeout", timeout_seconds), ("health", health_seconds), ("gone", gone_seconds)):
            if seconds is not None and seconds <= 0:
                raise RecipeError(f"{name}_seconds is {seconds}: give more than 0")
        addresses = read_addresses(endpoints, key_variable=api_key_variable)
        most = max_in_flight_per_endpoint or max(1, (_max_open_files() - _FILES_FOR_OTHERS) // len(addresses))
        is_bounded = max_in_flight_per_endpoint is not None
        places = [
            Place(address, max_in_flight=most, is_bounded=is_bounded, patience=Patience(timeout_seconds))
            for address in addresses
        ]
        self._endpoints = Endpoints(places, gone_seconds=gone_seconds)
        self._wanted = Expected(model, served_model, structured)
        self._prompts = prompts
        self._retries = retries
        self._retry_seconds = retry_seconds
        self._health_seconds = health_seconds
        self._jitter = random.Random()
        self._vocabulary: vocabulary.Vocabulary | None = None
        self._session: ClientSession | None = None
        self._watchers: list[asyncio.Task[None]] = []
        self._num_prompt_tokens = 0
        self._num_cached_tokens: int | None = None
        self._is_closed = False

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """See `Engine.complete`. Its answer is what the first endpoint said that gave one."""
        is_chat = isinstance(prompt, Conversation)
        prefix, seed = identity(prompt, sampling)

        def body(manners: Manners) -> dict[str, Any]:
            sent = prompt if isinstance(prompt, Conversation) else self._sendable(prompt, manners)
            return completion_body(sent, sampling, manners=manners, seed=seed)

        def read(data: bytes) -> Answer:
            return read_completion(data, max_new_tokens=sampling.max_new_tokens, is_chat=is_chat)

        path = "/chat/completions" if is_chat else "/completions"
        answer = await self._ask(Question(prefix, path, body, read, sampling.max_new_tokens, sampling.form))
        if answer.num_prompt_tokens is not None:
            self._num_prompt_tokens += answer.num_prompt_tokens
        elif not isinstance(prompt, Conversation):
            self._num_prompt_tokens += len(prompt)
        if answer.num_cached_tokens is not None:
            self._num_cached_tokens = (self._num_cached_tokens or 0) + answer.num_cached_tokens
        return answer.completion

    async def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Sequence[float]:
        """See `Engine.score`. Raises EngineError if the server gives no log-probabilities of prompts (llama.cpp)."""
        if not prompt:
            raise PromptRefusedError("nothing stands before what is to be scored: give at least one token")
        ids = [*prompt, *continuation]
        prefix, _ = identity(ids, Sampling())

        def read(data: bytes) -> list[float]:
            try:
                return read_scores(data, ids=ids, num_prompt_tokens=len(prompt))
            except FailureError as error:
                raise RefusalError(501, f"it {error}") from error

        return await self._ask(Question(prefix, "/completions", lambda manners: score_body(ids, manners=manners), read))

    def state(self) -> EngineState:
        """See `Engine.state`. Cached tokens are those that answers tell, else those of the servers' own counters."""
        places = self._endpoints.places
        capacities = [place.capacity() for place in places if place.is_usable]
        known = [capacity for capacity in capacities if capacity is not None]
        counted = [place.hits.num_tokens for place in places if place.hits.num_tokens is not None]
        cached = self._num_cached_tokens
        return EngineState(
            capacity=sum(known) if known and len(known) == len(capacities) else None,
            num_prompt_tokens=self._num_prompt_tokens,
            num_cached_tokens=cached if cached is not None else (sum(counted) if counted else None),
            endpoints=tuple(place.told() for place in places),
        )

    async def close(self) -> None:
        """See `Engine.close`."""
        self._is_closed = True
        self._endpoints.end(EngineError("the engine is closed: open another one"))
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(self, question: Question[T]) -> T:
        """Ask endpoints until one answers. Raises EngineError if the question fails too often, or all is over."""
        session = self._open()
        avoid: Place | None = None
        num_failures = 0
        while True:
            place = await self._endpoints.acquire(question.prefix, avoid=avoid)
            before, pause_seconds = place.state, 0.0
            try:
                answer = await self._ask_at(place, question, session)
            except RefusalError as refusal:
                place.answer()
                reason = place.address.blot(refusal.message)
                raise PromptRefusedError(f"{place.address.name} refuses the prompt: {reason}") from refusal
            except TooManyError as error:
                wait_seconds = self._backoff_seconds(place.num_pushed_back)
                place.push_back(wait_seconds if error.wait_seconds is None else error.wait_seconds)
                self._call_later(place.not_before)
            except MovedError:
                avoid = place
                place.num_failed += 1
            except FailureError as error:
                avoid = place
                place.fail(str(error), is_gone=error.is_gone)
                if error.wait_seconds is not None:
                    place.hold_back(error.wait_seconds)
                    self._call_later(place.not_before)
                num_failures += not error.is_gone  # else the request is not at fault for sure
                if num_failures > self._retries:
                    raise EngineError(
                        f"no answer after {num_failures} tries, at last from {place.address.name}: {place.last_error}"
                    ) from error
                pause_seconds = self._backoff_seconds(num_failures) if num_failures else 0.0
            except EngineGoneError as error:  # the key, the model or the address is wrong there, or all is over
                avoid = place
                place.num_failed += 1
                self._endpoints.take_out(place, error)
            else:
                place.answer()
                return answer
            finally:
                if place.state != before:
                    self._endpoints.wake_all()
                else:
                    self._endpoints.wake()
            await self._endpoints.wait_for_end(pause_seconds)

    async def _ask_at(self, place: Place, question: Question[T], session: ClientSession) -> T:
        """One endpoint's answer. What it may not know of the request is left out and the rest sent again."""
        assert place.manners is not None
        manners, form = place.manners, question.form
        if form is not None and not can_say(form, manners.form_kind):
            manners = replace(manners, refused=manners.refused | {form.kind})
        while True:
            body = question.body(manners)
            try:
                answer = question.read(await self._data(place, question, body, session))
            except RefusalError as refusal:
                fewer = without(manners, body, form, refusal)
                if fewer is None or (self._prompts == "ids" and "ids" in fewer.refused):
                    raise
                manners = fewer
                continue
            learned = manners.refused - place.manners.refused
            for name in sorted(learned):
                what = _REFUSABLE.get(name, name)
                _log.warning("%s takes no %s: it is not sent them any more", place.address.name, what)
            if learned:
                place.manners = replace(place.manners, refused=place.manners.refused | learned)
            return answer

    async def _data(
        self, place: Place, question: Question[T], body: Mapping[str, Any], session: ClientSession
    ) -> bytes:
        """What one endpoint answers, while there is patience with it; how long that took is learnt from."""
        patience, began = place.patience, monotonic()
        seconds = patience.seconds(question.max_new_tokens)
        try:
            data = await post(place, question.path, body, session=session, seconds=seconds)
        except LateError as error:
            reason = patience.reason(question.max_new_tokens)
            patience.expired()
            raise LateError(f"{error}, {reason}") from error
        patience.answered(monotonic() - began, question.max_new_tokens)
        return data

    def _sendable(self, prompt: Sequence[int], manners: Manners) -> Sequence[int] | str:
        """Ids as they are, or their text without the begin of text that the server's tokenizer adds."""
        ids = list(prompt)
        if self._prompts != "text" and "ids" not in manners.refused:
            return ids
        words = self._vocabulary = self._vocabulary or vocabulary.load(self._wanted.model)
        example = words.tokenizer.encode("a", add_special_tokens=True)
        added = example.ids[: example.special_tokens_mask.index(0)]
        if ids[: len(added)] == added:
            ids = ids[len(added) :]
        return words.tokenizer.decode(ids, skip_special_tokens=False)

    def _open(self) -> ClientSession:
        """The session; with the first request come the connections and the health checks."""
        if self._is_closed:
            raise EngineError("the engine is closed: open another one")
        if self._session is None:
            self._session = session = open_session()
            endpoints, wanted, seconds = self._endpoints, self._wanted, self._health_seconds
            for place in endpoints.places:
                watching = watch(place, endpoints=endpoints, session=session, wanted=wanted, seconds=seconds)
                self._watchers.append(asyncio.create_task(watching))
        return self._session

    def _backoff_seconds(self, num_failures: int) -> float:
        """Doubled for each failure, and never the same twice: what failed together is not to come back together."""
        seconds: float = self._retry_seconds * 2.0 ** min(num_failures - 1, 16)
        return min(seconds, _MAX_BACKOFF_SECONDS) * self._jitter.uniform(0.5, 1.5)

    def _call_later(self, when: float) -> None:
        """Let those that wait look again at a moment of the monotonic clock, which is the event loop's."""
        asyncio.get_running_loop().call_at(when, self._endpoints.wake_all)


def _max_open_files() -> int:
    """How many files and connections this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 16 if soft == resource.RLIM_INFINITY else soft
