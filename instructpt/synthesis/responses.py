"""Responses: many prompts asked at once, answers in the order of the prompts. For measuring a model, not for a corpus.

    passages    --fit---------->  prompts  --respond-->  completions  --read_pairs---->  shots with the model's pairs
    questions   --fit_question->  prompts  --respond-->  completions  --read_answers-->  shots with the model's answers

Unlike in `scheduler`, no prompt hangs on an earlier answer: the shots before a passage are given. Everything else is
as there: the ledger is asked before the engine, equal prompts are asked once, a dead engine stops the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from instructpt.engines import Completion
from instructpt.errors import EngineError
from instructpt.records import Document, Pair, Reject, Shot
from instructpt.synthesis.asking import EngineGoneError, Session, Synthesis, ask
from instructpt.synthesis.chains import Prompt
from instructpt.synthesis.dialects import Dialect
from instructpt.synthesis.scheduler import run_in_loop
from instructpt.vocabulary import Vocabulary

CUT_OFF = "cut_off"
"""The reason of a last piece without its end, in an answer that ran out of tokens."""


def respond(
    prompts: Sequence[Prompt | None],
    *,
    synthesis: Synthesis,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Completion | Reject]:
    """The answer to each prompt, in order; at most `synthesis.max_chains_in_flight` are with the engine at a time.

    A prompt that is None (it did not fit) becomes a Reject `passage_too_long`, one that the engine refuses a Reject
    `engine_error`. on_progress: called after each answer, with the number of answers and of tokens in them.
    Raises EngineError if the engine answers nothing any more, StorageError if the ledger cannot be kept. Leaving early
    (an error, Ctrl-C) cancels all that is under way; what was answered is in the ledger.
    """
    work: list[asyncio.Task[list[Completion | Reject]]] = []

    async def start() -> list[Completion | Reject]:
        work.append(asyncio.create_task(_respond(prompts, synthesis=synthesis, on_progress=on_progress)))
        return await work[0]

    async def stop() -> None:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)

    try:
        return run_in_loop(start())
    finally:
        run_in_loop(stop())


def fit_question(
    earlier: Sequence[Shot],
    *,
    passage: str,
    pair: Pair,
    dialect: Dialect,
    vocabulary: Vocabulary,
    budget_tokens: int,
) -> Prompt | None:
    """The prompt that asks `pair`'s question about `passage`, as `chains.fit` fits one that asks for pairs."""
    carried = [shot for shot in earlier if shot.pairs]
    for first in range(len(carried) + 1):
        ids = vocabulary.sequence(dialect.ask(carried[first:], passage, pair))
        if len(ids) <= budget_tokens:
            return Prompt(ids, len(carried) - first)
    return None


def read_pairs(document: Document, prompt: Prompt | None, response: Completion | Reject, *, dialect: Dialect) -> Shot:
    """The passage with the pairs that the model wrote for it, and with all else that it wrote as rejects."""
    if isinstance(response, Reject):
        return Shot(document, rejects=(response,))
    pairs, rejects = dialect.parse(response.text)
    if response.finish == "length":
        rejects = [replace(r, reason=CUT_OFF) if r.reason == "no_end_tag" else r for r in rejects]
    return Shot(document, tuple(pairs), prompt.follows if prompt else 0, tuple(rejects))


def read_answers(
    document: Document, questions: Sequence[Pair], responses: Sequence[Completion | Reject], *, dialect: Dialect
) -> Shot:
    """The passage with the questions and the model's answers to them; a reject for each question without one."""
    pairs: list[Pair] = []
    rejects: list[Reject] = []
    for question, response in zip(questions, responses, strict=True):
        read = response if isinstance(response, Reject) else dialect.answer(response.text, question)
        if isinstance(read, Pair):
            pairs.append(read)
        else:
            rejects.append(Reject(f"{question.question}\n{read.text}", read.reason))
    return Shot(document, tuple(pairs), rejects=tuple(rejects))


async def _respond(
    prompts: Sequence[Prompt | None], *, synthesis: Synthesis, on_progress: Callable[[int, int], None] | None
) -> list[Completion | Reject]:
    session = Session(synthesis, None)
    places = asyncio.Semaphore(synthesis.max_chains_in_flight)
    num_done = num_tokens = num_failed = 0
    last_error: EngineError | None = None

    async def one(prompt: Prompt | None) -> Completion | Reject:
        nonlocal num_done, num_tokens, num_failed, last_error
        if prompt is None:
            return Reject("", "passage_too_long")
        async with places:
            try:
                completion, _ = await ask(session, prompt)
            except EngineGoneError:
                raise
            except EngineError as error:
                num_failed, last_error = num_failed + 1, error
                return Reject(str(error), "engine_error")
        num_done, num_tokens = num_done + 1, num_tokens + completion.num_tokens
        if on_progress is not None:
            on_progress(num_done, num_tokens)
        return completion

    tasks = [asyncio.create_task(one(prompt)) for prompt in prompts]
    try:
        found = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if num_failed and not num_done:
        raise EngineError(
            f"the engine answered none of {num_failed} requests: see that it works, then run again"
            f" (the last error: {last_error})"
        )
    return found
