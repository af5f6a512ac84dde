"""The thread that owns the model: what waits joins the batch when there is room, and everybody gets a token a step.

    submit --> arrived --> waiting --> batch --> future
               (any thread)      (this thread)

A future is resolved whatever happens: with a result or with an EngineError, also when the worker is closed or fails.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import math
from collections import deque
from concurrent.futures import Future, InvalidStateError
from threading import Condition, Thread
from typing import Any, TypeVar

import torch

from instructpt.engines.batching import (
    DecodingBatch,
    Forward,
    Request,
    ScoreRequest,
    group_to_read,
    score,
)
from instructpt.engines.forms import Forms
from instructpt.errors import EngineError

_GATHER_SECONDS = 0.002
"""An idle worker starts when nothing more arrived for so long: a caller that asks for many is heard out first, and
one that asks for a single answer waits no longer than a step of a small model takes."""

_log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Worker:
    """Answers requests with continuous batching.

    max_rows: sequences that decode at once. max_tokens: room for their keys and values, in tokens, counted with the
    padding and at their full length; one sequence alone may exceed it. max_prefill_tokens: tokens of prompts read at
    once; max_scored_tokens: the same for scoring, where each token costs logits over the vocabulary.
    """

    def __init__(
        self,
        forward: Forward,
        *,
        forms: Forms,
        ends: frozenset[int],
        max_rows: int,
        max_tokens: int,
        max_prefill_tokens: int,
        max_scored_tokens: int,
    ) -> None:
        self._forward = forward
        self._batch = DecodingBatch(forward, forms=forms, ends=ends, max_rows=max_rows)
        self._max_rows, self._max_tokens = max_rows, max_tokens
        self._max_prefill_tokens, self._max_scored_tokens = max_prefill_tokens, max_scored_tokens
        self._row_limit = max_rows
        self._waiting: deque[Request] = deque()
        self._joining: list[Request] = []
        self._scorings: list[ScoreRequest] = []
        self._groups: deque[list[ScoreRequest]] = deque()
        self._arrived: list[Request | ScoreRequest] = []
        self._closed = False
        self._failure: Exception | None = None
        self._wake = Condition()
        self._thread = Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request | ScoreRequest) -> None:
        """Queue `request`; its future will tell. Raises EngineError if the worker is closed or has failed."""
        with self._wake:
            if self._closed:
                raise _stopped(self._failure)
            self._arrived.append(request)
            self._wake.notify()

    def close(self) -> None:
        """End what waits or is under way with an EngineError, and wait for the thread to end. May be called again."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _work(self) -> None:
        try:
            with torch.inference_mode():
                while self._collect():
                    self._score()
                    self._decode()
        except Exception as error:
            # All that wait are told; the whole story goes to the log once.
            _log.exception("the engine's worker failed")
            self._failure = error
        finally:
            self._stop()

    def _collect(self) -> bool:
        """Take in what arrived; wait for it if there is nothing else to do. False once closed."""
        with self._wake:
            if not (self._batch or self._waiting or self._scorings or self._groups):
                self._wake.wait_for(lambda: self._arrived or self._closed)
                num_known = 0
                while num_known < len(self._arrived) < self._max_rows and not self._closed:
                    num_known = len(self._arrived)
                    self._wake.wait(_GATHER_SECONDS)
            arrived, self._arrived = self._arrived, []
            closed = self._closed
        self._waiting += [one for one in arrived if isinstance(one, Request)]
        self._scorings += [one for one in arrived if isinstance(one, ScoreRequest)]
        return not closed

    def _decode(self) -> None:
        try:
            self._batch.drop_cancelled()
            self._admit()
            if self._batch:
                for request in self._batch.step():
                    _answer(request)
            return
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        # Outside of the handler: the error holds the tensors of the frames it went through.
        self._halve()

    def _admit(self) -> None:
        """Let those that wait join, in the order they came, as far as there is room."""
        num_free = self._row_limit - len(self._batch)
        # Prompts are read together: one by one, as rows get free, costs a pass over the weights each.
        if num_free < min(len(self._waiting), max(1, self._row_limit // 8)):
            return
        longest = max((request.most_tokens for request in self._batch.requests), default=0)
        while self._waiting and len(self._joining) < num_free:
            request = self._waiting[0]
            longest = max(longest, request.most_tokens)
            num_rows = len(self._batch) + len(self._joining) + 1
            if num_rows > 1 and num_rows * longest > self._max_tokens:
                break
            self._waiting.popleft()
            if not request.future.cancelled():
                self._joining.append(request)
        for group in group_to_read(self._joining, max_tokens=self._max_prefill_tokens):
            for request in self._batch.join(group):
                _answer(request)
            self._joining = [request for request in self._joining if request not in group]

    def _halve(self) -> None:
        """After running out of memory: begin again with half as many rows. What was written is kept and read again."""
        requests, self._joining = self._batch.drop_all() + self._joining, []
        self._give_memory_back()
        if len(requests) == 1:
            num_tokens = len(requests[0].tokens)
            message = f"no memory for a single sequence of {num_tokens} tokens: use a larger device or shorter prompts"
            _fail(requests[0].future, EngineError(message))
            self._row_limit = self._max_rows
            return
        self._row_limit = len(requests) // 2
        self._waiting.extendleft(reversed(requests))
        _log.warning("out of memory with %d sequences: going on with %d at once", len(requests), self._row_limit)

    def _score(self) -> None:
        """Score one group of those that wait; the others come in the next rounds, between steps."""
        if not self._groups:
            self._groups += group_to_read(self._scorings, max_tokens=self._max_scored_tokens)
            self._scorings = []
        if not self._groups:
            return
        group = [scoring for scoring in self._groups[0] if not scoring.future.cancelled()]
        try:
            for scoring, values in zip(group, score(self._forward, group) if group else [], strict=True):
                _answer_scoring(scoring, values)
            self._groups.popleft()
            return
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        self._groups.popleft()
        self._give_memory_back()
        if len(group) == 1:
            num_tokens = len(group[0].tokens)
            _fail(group[0].future, EngineError(f"no memory to score {num_tokens} tokens: use a larger device"))
            return
        half = len(group) // 2
        self._max_scored_tokens = half * len(group[0].tokens)
        self._groups.extendleft([group[half:], group[:half]])

    def _give_memory_back(self) -> None:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _stop(self) -> None:
        """Resolve every future there is."""
        with self._wake:
            # From here on `submit` refuses: nothing arrives that nobody would answer.
            self._closed = True
            left: list[Request | ScoreRequest] = [*self._arrived, *self._scorings, *self._waiting, *self._joining]
        left += self._batch.drop_all()
        left += [scoring for group in self._groups for scoring in group]
        # Not a cancellation: a task group would take that for its own doing and go on as if all was well.
        for one in left:
            _fail(one.future, _stopped(self._failure))


def _stopped(failure: Exception | None) -> EngineError:
    if failure is None:
        return EngineError("the engine is closed: open a new one")
    reason = " ".join(f"{type(failure).__name__}: {failure}".split())
    error = EngineError(f"the engine stopped: {reason}; open a new one")
    error.__cause__ = failure
    return error


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device, or the machine, had no memory left; for the latter torch has no error of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _answer(request: Request) -> None:
    if request.matcher is not None and request.matcher.is_error():
        reason = " ".join(request.matcher.get_error().split())
        _fail(request.future, EngineError(f"the answer cannot be held to its form any more: {reason[:200]}"))
    elif request.written[-1] < 0:
        _fail(request.future, _not_a_number(len(request.tokens) - 1))
    else:
        _resolve(request.future, request.written)


def _answer_scoring(scoring: ScoreRequest, values: list[float]) -> None:
    if any(math.isnan(value) for value in values):
        _fail(scoring.future, _not_a_number(len(scoring.tokens)))
    else:
        _resolve(scoring.future, values)


def _not_a_number(num_tokens: int) -> EngineError:
    return EngineError(f"the model's output is not a number after {num_tokens} tokens: check its weights, use float32")


def _resolve(future: Future[Result], result: Result) -> None:
    # Its caller may have cancelled it a moment ago; then nobody waits for it.
    with contextlib.suppress(InvalidStateError):
        future.set_result(result)


def _fail(future: Future[Any], error: EngineError) -> None:
    with contextlib.suppress(InvalidStateError):
        future.set_exception(error)
