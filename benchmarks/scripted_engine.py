"""The scripted engine: answers made by rule from the prompt, for tests and benchmarks of all but the model.

    instructpt augment FILES --engine benchmarks.scripted_engine:ScriptedEngine

It needs a vocabulary but no weights: `model` is any folder or Hub model with a tokenizer.json. What it writes are pairs
about the last passage of the prompt, in the way that the prompt asks for:

    <CON> {passage} </CON>                                    <QUE> {q} <ANS> {a} </END>             (dialect tags)
    <CON> {passage} </CON>  <ASK> 2 {category} </ASK>         <CAT> {category} <QUE> {q} ...         (dialect steered)
    ... {"pairs": [...]} ... === X === {passage} === X ===    {"pairs": [{"question": "{q}", ...}]}  (dialect chat)
    ... === X === {passage} === X === List ...                what the form wants (`scripted_forms`)

They come in all four formats, with here and there a broken piece, as real models write them. All choices are drawn from
a digest of the prompt: same prompt, same answer, on any machine.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import orjson

from benchmarks.scripted_forms import write_in_form
from instructpt.engines import Completion, Conversation, EngineState, Form, Prompt, Sampling
from instructpt.errors import EngineError
from instructpt.records import Pair
from instructpt.seeds import rng
from instructpt.words import vocabulary

SCRIPTED = "benchmarks.scripted_engine:ScriptedEngine"
"""Its name for `Run.engine` and --engine."""
Script = Callable[[str], str]
"""From the text of a prompt to the answer."""

_ASKED_IN_TAGS = re.compile(r"<ASK>([^<]*)</ASK>\s*$")
_ASKED_IN_WORDS = re.compile(r"^- (.+?)\s*[:：]\s*(\d+)$", re.MULTILINE)
_FENCE = re.compile(r"^=== .+ ===$", re.MULTILINE)
_CATEGORIES = ("reading comprehension", "vocabulary", "close reading")
"""Where the model is to choose them."""
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
        log: str | Path | None = None,
    ) -> None:
        """Load the vocabulary of `model`.

        script: makes the answers; None = `write_pairs`.
        delay_seconds: an answer takes between half of it and one and a half, so that answers overtake one another.
        error_share, empty_share, garbage_share: of prompts, chosen by their digest, that get an EngineError, an empty
        answer, an answer of nonsense. Their sum may reach 1.
        log: a file that gets a line with `prompt_digest` for each answer given, written before the answer is.
        """
        self._vocabulary = vocabulary.load(model)
        self._script = script
        self._delay_seconds = delay_seconds
        self._shares = (error_share, empty_share, garbage_share)
        self._log = None if log is None else Path(log)
        self._num_prompt_tokens = 0
        self._closed = False

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """See `Engine.complete`. A form only tells which dialect is meant; a seed draws other pairs, if there is a
        temperature."""
        stream = rng(0, "scripted", prompt_digest(prompt))
        fault, delay_seconds = stream.random(), self._delay_seconds * (0.5 + stream.random())
        await self._wait(delay_seconds)
        error_share, empty_share, garbage_share = self._shares
        if fault < error_share:
            raise EngineError(f"scripted failure for prompt {prompt_digest(prompt)[:8]}: lower error_share to avoid it")
        if isinstance(prompt, Conversation):
            text = spoken(prompt)
            self._num_prompt_tokens += len(self._vocabulary.encode([text])[0])
        else:
            text = self._vocabulary.decode(prompt)
            self._num_prompt_tokens += len(prompt)
        if fault < error_share + empty_share:
            answer = ""
        elif fault < error_share + empty_share + garbage_share:
            answer = "".join(
                stream.choice(["</END>", "<ANS>", "<QUE>", "Options:", "\n", " ", "{", "%"]) for _ in range(40)
            )
        else:
            seed = sampling.seed if sampling.temperature else 0
            answer = write_pairs(text, form=sampling.form, seed=seed) if self._script is None else self._script(text)
        (ids,) = self._vocabulary.encode([answer])
        if self._log is not None:
            # One write call of one whole line: lines of several processes never mix, and a kill leaves no half of one.
            with self._log.open("ab", buffering=0) as file:
                file.write(f"{prompt_digest(prompt)}\n".encode())
        if len(ids) > sampling.max_new_tokens:
            ids = ids[: sampling.max_new_tokens]
            return Completion(self._vocabulary.decode(ids), len(ids), "length")
        return Completion(answer, len(ids) + 1, "stop")

    def state(self) -> EngineState:
        """See `Engine.state`."""
        return EngineState(num_prompt_tokens=self._num_prompt_tokens)

    async def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Sequence[float]:
        """See `Engine.score`. Each is a function of all ids up to its own, between -20 and 0.

        With a script, what it writes after the prompt is nearly certain, and all else nearly impossible.
        """
        await self._wait(0.0)
        if self._script is not None:
            said, scored = self._script(self._vocabulary.decode(prompt)), self._vocabulary.decode(continuation)
            return [-0.1 if said.startswith(scored) else -10.0] * len(continuation)
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


def prompt_digest(prompt: Prompt) -> str:
    """32 hexadecimal digits that name a prompt."""
    data = spoken(prompt).encode() if isinstance(prompt, Conversation) else _bytes(prompt)
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def spoken(conversation: Conversation) -> str:
    """The turns one after the other: what `write_pairs` reads of a conversation."""
    return "".join(f"{message.role}\n{message.content}\n" for message in conversation.messages)


def write_pairs(prompt: str, *, form: Form | None = None, seed: int = 0) -> str:
    """Pairs about the sentences of the last passage in `prompt`: those asked for, else up to five.

    In JSON where the prompt speaks of it, in the markup `steered` where it, or the form, has a line `<ASK>`, else in
    that of `tags`; a prompt without markup is one passage. One answer in eight lacks its end, one in eight repeats its
    first question, one in eight has a piece without an answer.
    """
    if (written := write_in_form(prompt)) is not None:
        return written
    stream = rng(seed, "pairs", prompt)
    if '{"pairs": [' in prompt:
        *_, passage, request = ["", *_FENCE.split(prompt)]
        asked = [name for name, count in _ASKED_IN_WORDS.findall(request) for _ in range(int(count))]
        return _in_json(_pairs(passage, num_pairs=len(asked), stream=stream), asked=asked, stream=stream)
    passage = prompt.rpartition("<CON>")[2].partition("</CON>")[0]
    if "<ASK>" not in prompt and not (form is not None and form.text.startswith("<ASK>")):
        return _in_tags(_pairs(passage, num_pairs=0, stream=stream), stream=stream)
    line = _ASKED_IN_TAGS.search(prompt)
    asked = _counted(line.group(1)) if line else []
    pairs = _pairs(passage, num_pairs=len(asked), stream=stream)
    begin = ""
    if pairs and not asked:
        asked = sorted(stream.choice(_CATEGORIES) for _ in pairs)
        counts = (f"{asked.count(category)} {category}" for category in dict.fromkeys(asked))
        begin = f"<ASK> {' | '.join(counts)} </ASK>\n\n"
    return begin + _in_tags(pairs, stream=stream, asked=asked)


def _counted(line: str) -> list[str]:
    """A category a pair, of `2 {category} | 1 {category}`."""
    asked = []
    for part in line.split(" | "):
        count, _, category = part.strip().partition(" ")
        asked += [category] * (int(count) if count.isdecimal() else 0)
    return asked


def _pairs(passage: str, *, num_pairs: int, stream: Random) -> list[Pair]:
    """num_pairs: 0 leaves it open. None at all about a passage without a sentence."""
    sentences = [" ".join(sentence.split()) for sentence in _SENTENCE_END.split(passage) if sentence.strip()]
    if num_pairs and sentences:
        chosen = stream.choices(sentences, k=num_pairs)
    else:
        chosen = stream.sample(sentences, min(len(sentences), stream.randint(1, _MAX_PAIRS)))
    words = sorted(set(passage.split()))
    return [_pair(sentence, words=words, stream=stream) for sentence in chosen]


def _pair(sentence: str, *, words: Sequence[str], stream: Random) -> Pair:
    word = stream.choice(sentence.split())
    beginning = " ".join(sentence.split()[:6])
    kind = stream.choice(["free", "choice", "free with reasons", "choice with reasons"])
    if kind == "free":
        return Pair(f'What does the text say after "{beginning}"?', sentence)
    options: list[str] = []
    if kind.startswith("choice"):
        options = sorted({word, *stream.sample(words, min(len(words), 3))})
        stream.shuffle(options)
    rationale = f"The sentence reads: {sentence}" if kind.endswith("with reasons") else None
    question = f'Which word stands in the sentence that begins with "{beginning}"?'
    return Pair(question, word, tuple(options), rationale)


def _in_tags(pairs: Sequence[Pair], *, stream: Random, asked: Sequence[str] = ()) -> str:
    """asked: the category of each pair, in the markup `steered`."""
    begins = [f"<CAT> {category} " for category in asked] or [""] * len(pairs)
    pieces = [begin + _piece(pair) for begin, pair in zip(begins, pairs, strict=bool(pairs))]
    flaw = stream.randrange(8)
    if pieces and flaw == 0:
        pieces[-1] = pieces[-1].removesuffix(" </END>")
    elif pieces and flaw == 1:
        pieces.append(pieces[0])
    elif pieces and flaw == 2:
        pieces.append(f"{begins[0]}<QUE> What else? </END>")
    return "\n\n".join(pieces)


def _piece(pair: Pair) -> str:
    question = pair.question
    if pair.options:
        question += "\nOptions:" + "".join(f"\n- {option}" for option in pair.options)
    if pair.rationale is None:
        return f"<QUE> {question} <ANS> {pair.answer} </END>"
    question += "\nLet's think step by step."
    return f"<QUE> {question} <ANS> {pair.rationale}\nTherefore, the answer is {pair.answer} </END>"


def _in_json(pairs: Sequence[Pair], *, asked: Sequence[str], stream: Random) -> str:
    categories = [{"category": category} for category in asked] or [{}] * len(pairs)
    fields: list[dict[str, object]] = [
        category
        | {"question": pair.question, "options": pair.options, "rationale": pair.rationale, "answer": pair.answer}
        for category, pair in zip(categories, pairs, strict=bool(pairs))
    ]
    flaw = stream.randrange(8)
    if fields and flaw == 1:
        fields.append(fields[0])
    elif fields and flaw == 2:
        fields.append({"question": "What else?"})
    answer = orjson.dumps({"pairs": fields}).decode()
    return answer[:-8] if fields and flaw == 0 else answer


def _bytes(ids: Sequence[int]) -> bytes:
    return np.asarray(ids, dtype="<i4").tobytes()
