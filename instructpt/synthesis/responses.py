"""Responses: many prompts asked at once, answers in their order. To measure a model, or to ask it again.

    passages    --fit---------->  prompts  --respond-->  completions  --read_pairs---->  shots with the model's pairs
    questions   --fit_question->  prompts  --respond-->  completions  --read_answers-->  shots with the model's answers
    questions   --answers_alone-------------------------------------------------------->  an answer or a reject each
    answers     --likelihoods---------------------------------------------------------->  a probability or a reject each

Unlike in `scheduler`, no prompt hangs on an earlier answer: the shots before a passage are given. Everything else is
as there: the ledger is asked before the engine, equal prompts are asked once, a dead engine stops the run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from instructpt.engines import Completion
from instructpt.engines.event_loop import run_or_cancel
from instructpt.records import Document, Pair, Reject, Shot
from instructpt.synthesis.asking import SECONDS_BETWEEN_NEWS, Session, Synthesis, answered, together
from instructpt.synthesis.chains import TOO_LONG, Prompt, measure
from instructpt.synthesis.dialects import Dialect
from instructpt.synthesis.tags import asked_and_answered
from instructpt.words.vocabulary import Vocabulary

CUT_OFF = "cut_off"
"""The reason of a last piece without its end, in an answer that ran out of tokens."""


def respond(
    prompts: Sequence[Prompt | None],
    *,
    synthesis: Synthesis,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Completion | Reject]:
    """The answer to each prompt, in order; `synthesis.capacity` says how many are with the engine at a time.

    A prompt that is None (it did not fit) becomes a Reject `passage_too_long`, one that the engine refuses a Reject
    `prompt_refused` or `engine_error`, as in `synthesize`. on_progress: called with the number of answers and of tokens
    in them, some times a second and at the end. Raises EngineError if the engine answers nothing any more, BudgetError
    and StorageError as `synthesize`. Leaving early (an error, Ctrl-C) cancels all that is under way; what was answered
    is in the ledger.
    """
    asking = _respond(prompts, synthesis=synthesis, on_progress=on_progress)
    return run_or_cancel(asking, started=synthesis.capacity.keep)


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
        asked = dialect.ask(carried[first:], passage, pair)
        prompt = measure(asked, vocabulary=vocabulary, follows=len(carried) - first)
        if prompt.num_tokens <= budget_tokens:
            return prompt
    return None


def answers_alone(
    asked: Sequence[tuple[Document, Pair]], *, synthesis: Synthesis, refused: Sequence[str | None]
) -> Iterator[Pair | Reject]:
    """The model's answer to each question beside its passage, without examples and other pairs, in order.

    A reject has the reason why there is none. refused: why a question is not to be asked; None where it is. Raises as
    `respond`.
    """
    dialect = synthesis.dialect
    prompts = [
        fit_question(
            (),
            passage=document.text,
            pair=pair,
            dialect=dialect,
            vocabulary=synthesis.vocabulary,
            budget_tokens=synthesis.budget_tokens,
        )
        if reason is None
        else None
        for (document, pair), reason in zip(asked, refused, strict=True)
    ]
    for (_, pair), reason, response in zip(asked, refused, respond(prompts, synthesis=synthesis), strict=True):
        if reason is not None:
            yield Reject("", reason)
        else:
            yield response if isinstance(response, Reject) else dialect.answer(response.text, pair)


def likelihoods(
    asked: Sequence[tuple[Document, Pair]], *, synthesis: Synthesis, refused: Sequence[str | None]
) -> Iterator[float | Reject]:
    """How likely a reader holds the answer of each pair, in order: the probability of its least likely token.

    A wrong answer is unlikely where it begins, and what follows is not any more: so the mean of the tokens tells less
    (docs/log.md). The reader sees what it sees in `answers_alone`, and nothing is written: it reads the passage and the
    question once, and the answer with them. Rejects, refused and errors as there.
    """
    prompts = [
        None if reason else _likelihood_prompt(document.text, pair, synthesis=synthesis)
        for (document, pair), reason in zip(asked, refused, strict=True)
    ]
    for reason, response in zip(refused, respond(prompts, synthesis=synthesis), strict=True):
        if reason is not None:
            yield Reject("", reason)
        elif isinstance(response, Reject):
            yield response
        else:
            yield math.exp(min(map(float, response.text.split())))


def _likelihood_prompt(passage: str, pair: Pair, *, synthesis: Synthesis) -> Prompt | None:
    question, answer = asked_and_answered(passage, pair)
    prompt = measure(question, vocabulary=synthesis.vocabulary, follows=0)
    scored = tuple(synthesis.vocabulary.encode([answer])[0])
    num_tokens = prompt.num_tokens + len(scored)
    return replace(prompt, scored=scored, num_tokens=num_tokens) if num_tokens <= synthesis.window_tokens else None


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
    session, capacity = Session(synthesis), synthesis.capacity
    num_done, last_news = 0, 0.0
    num_waiting = len(prompts) - prompts.count(None)

    def tell(completion: Completion | None, *, at_once: bool = False) -> None:
        nonlocal num_done, last_news
        num_done += completion is not None
        if on_progress is not None and (at_once or time.monotonic() - last_news >= SECONDS_BETWEEN_NEWS):
            last_news = time.monotonic()
            on_progress(num_done, session.progress.output_tokens)

    async def one(prompt: Prompt | None) -> Completion | Reject:
        nonlocal num_waiting
        if prompt is None:
            return Reject("", TOO_LONG)
        await capacity.take(synthesis.rank)
        num_waiting -= 1
        if num_waiting == 0:
            capacity.read_to_end(synthesis.rank)  # another shard may take what the last answers leave
        try:
            found, _ = await answered(session, prompt)
        finally:
            capacity.leave()
        if isinstance(found, Reject):
            session.progress.failed += 1
        else:
            tell(found)
        return found

    found = await together(map(one, prompts))
    session.check_answered()
    tell(None, at_once=True)
    return found
