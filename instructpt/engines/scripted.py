"""The scripted engine: answers made by rule from the prompt. For tests and dry runs; ships, because users test too.

It needs a vocabulary but no weights: `model` is any folder or Hub model with a tokenizer.json. What it writes for
prompts in the `tags` markup are pairs about the last passage, in all four formats, with here and there a broken piece,
as real models write them. All choices come from a digest of the prompt: same prompt, same answer, on any machine.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np

from instructpt import vocabulary
from instructpt.engines import Completion, Sampling
from instructpt.errors import EngineError, RecipeError, StorageError
from instructpt.seeds import rng

Script = Callable[[str], str]
"""From the text of a prompt to the answer."""

_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s*")
_MAX_PAIRS = 5


class ScriptedEngine:
    """The contract is `engines.Engine`."""

    def __init__(
        self,
        model: str,
        *,
        script: Script | None = None,
        delay_seconds: float = 0.0,
        error_share: float = 0.0,
        empty_share: float = 0.0,
        garbage_share: float = 0.0,
        log: Path | None = None,
    ) -> None:
        """Load the vocabulary of `model`.

        script: makes the answers; None = `write_pairs`.
        delay_seconds: an answer takes between half of it and one and a half, so that answers overtake one another.
        error_share, empty_share, garbage_share: of prompts, chosen by their digest, that get an EngineError, an empty
        answer, an answer of nonsense. Their sum may reach 1; RecipeError otherwise.
        log: a file that gets a line with `prompt_digest` for each answer given, written before the answer is.
        """
        shares = (error_share, empty_share, garbage_share)
        if min(shares) < 0 or sum(shares) > 1:
            raise RecipeError(
                f"error, empty and garbage shares are {shares}: each must be 0 or more, their sum at most 1"
            )
        if delay_seconds < 0:
            raise RecipeError(f"delay_seconds is {delay_seconds}: give 0 or more")
        self._vocabulary = vocabulary.load(model)
        self._script = write_pairs if script is None else script
        self._delay_seconds = delay_seconds
        self._shares = shares
        self._log = log
        self._closed = False

    async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        """See `Engine.complete`. Temperature and seed change nothing."""
        stream = rng(0, "scripted", prompt_digest(prompt))
        fault, delay_seconds = stream.random(), self._delay_seconds * (0.5 + stream.random())
        await self._wait(delay_seconds)
        error_share, empty_share, garbage_share = self._shares
        if fault < error_share:
            raise EngineError(f"scripted failure for prompt {prompt_digest(prompt)[:8]}: lower error_share to avoid it")
        if fault < error_share + empty_share:
            answer = ""
        elif fault < error_share + empty_share + garbage_share:
            answer = "".join(
                stream.choice(["</END>", "<ANS>", "<QUE>", "Options:", "\n", " ", "{", "%"]) for _ in range(40)
            )
        else:
            answer = self._script(self._vocabulary.decode(prompt))
        (ids,) = self._vocabulary.encode([answer])
        if self._log is not None:
            _append_line(self._log, prompt_digest(prompt))
        if len(ids) > sampling.max_new_tokens:
            ids = ids[: sampling.max_new_tokens]
            return Completion(self._vocabulary.decode(ids), len(ids), "length")
        return Completion(answer, len(ids) + 1, "stop")

    async def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Sequence[float]:
        """See `Engine.score`. Each is a function of all ids up to its own, between -20 and 0."""
        await self._wait(0.0)
        state = hashlib.blake2b(_bytes(prompt), digest_size=8)
        scores = []
        for token in continuation:
            state.update(_bytes([token]))
            scores.append(-20.0 * int.from_bytes(state.digest(), "little") / 2**64)
        return scores

    async def close(self) -> None:
        """Requests under way, and later ones, raise EngineError."""
        self._closed = True

    async def _wait(self, seconds: float) -> None:
        if seconds > 0:
            await asyncio.sleep(seconds)
        if self._closed:
            raise EngineError("the engine is closed: open another one")


def prompt_digest(prompt: Sequence[int]) -> str:
    """32 hexadecimal digits that name a prompt."""
    return hashlib.blake2b(_bytes(prompt), digest_size=16).hexdigest()


def write_pairs(prompt: str) -> str:
    """Up to five pairs about the sentences of the last passage in `prompt`, in the `tags` markup.

    One answer in eight lacks its last end tag, one in eight repeats its first question, one in eight misses an answer
    tag. A prompt without markup is one passage.
    """
    passage = prompt.rpartition("<CON>")[2].partition("</CON>")[0]
    stream = rng(0, "pairs", prompt)
    sentences = [" ".join(sentence.split()) for sentence in _SENTENCE_END.split(passage) if sentence.strip()]
    chosen = stream.sample(sentences, min(len(sentences), stream.randint(1, _MAX_PAIRS)))
    words = sorted(set(passage.split()))
    pieces = [_piece(sentence, words=words, stream=stream) for sentence in chosen]
    flaw = stream.randrange(8)
    if pieces and flaw == 0:
        pieces[-1] = pieces[-1].removesuffix(" </END>")
    elif pieces and flaw == 1:
        pieces.append(pieces[0])
    elif pieces and flaw == 2:
        pieces.append("<QUE> What else? </END>")
    return "\n\n".join(pieces)


def _piece(sentence: str, *, words: Sequence[str], stream: Random) -> str:
    word = stream.choice(sentence.split())
    beginning = " ".join(sentence.split()[:6])
    kind = stream.choice(["free", "choice", "free with reasons", "choice with reasons"])
    if kind == "free":
        return f'<QUE> What does the text say after "{beginning}"? <ANS> {sentence} </END>'
    question = f'Which word stands in the sentence that begins with "{beginning}"?'
    if kind.startswith("choice"):
        options = sorted({word, *stream.sample(words, min(len(words), 3))})
        stream.shuffle(options)
        question += "\nOptions:" + "".join(f"\n- {option}" for option in options)
    if kind.endswith("with reasons"):
        question += "\nLet's think step by step."
        return f"<QUE> {question} <ANS> The sentence reads: {sentence}\nTherefore, the answer is {word} </END>"
    return f"<QUE> {question} <ANS> {word} </END>"


def _bytes(ids: Sequence[int]) -> bytes:
    return np.asarray(ids, dtype="<i4").tobytes()


def _append_line(path: Path, line: str) -> None:
    """One write call of one whole line: lines of several processes never mix, and a kill leaves no half of one."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(file, f"{line}\n".encode())
        finally:
            os.close(file)
    except OSError as error:
        raise StorageError(f"cannot write the engine's log {path} ({error}): give a path on a writable disk") from error
