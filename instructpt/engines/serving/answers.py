"""What the scripted server says: an answer for a prompt, and now and then a trouble instead of it.

    prompt --digest--> trouble?  no -->  a line of the answers file, or what the scripted engine would write
                          '-- yes -->  one of TROUBLES, drawn again when the prompt is asked again

Everything is drawn from the prompt: the same prompt has the same answer and, asked for the n-th time, the same trouble.
"""

from __future__ import annotations

import functools
import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson

from instructpt.errors import InputError, RecipeError
from instructpt.seeds import draws
from instructpt.words.vocabulary import Vocabulary

TROUBLES = ("status_400", "status_429", "status_500", "hang", "slow", "garbage", "half_body", "empty")
"""What may go wrong. status_400 depends on the prompt alone: asking again does not help. hang: no answer ever comes.
slow: the answer trickles in. garbage: a page that is no JSON. half_body: the connection breaks off. empty: no text."""

MAX_REMEMBERED = 1 << 17
"""Prompts of which it is known how often they were asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is written after a prompt."""

    text: str
    ids: list[int]
    """Its tokens, an end of text included."""
    finish: Literal["stop", "length"]


class Answers:
    """Answers by the prompt alone, cut to the length that is asked for.

    file: lines of JSON strings, one of them for each prompt; None = what is written for it.
    Raises InputError for a file that is not of this form.
    """

    def __init__(self, vocabulary: Vocabulary, *, file: Path | None) -> None:
        self._vocabulary = vocabulary
        self._canned = _encoded(_read(file), vocabulary) if file is not None else []
        self._cut = functools.lru_cache(maxsize=1 << 16)(self._cut_canned)

    def answer(self, digest: bytes, write: Callable[[], str], *, max_tokens: int) -> Answer:
        """write: makes an answer, and is only called where there is no file."""
        if self._canned:
            return self._cut(int.from_bytes(digest[:8], "little") % len(self._canned), max_tokens)
        answer = write()
        return self._fit(answer, self._vocabulary.encode([answer])[0], max_tokens)

    def _cut_canned(self, index: int, max_tokens: int) -> Answer:
        return self._fit(*self._canned[index], max_tokens)

    def _fit(self, text: str, ids: list[int], max_tokens: int) -> Answer:
        """As in the scripted engine: an answer of exactly `max_tokens` tokens has its end of text besides."""
        if len(ids) > max_tokens:
            ids = ids[:max_tokens]
            return Answer(self._vocabulary.decode(ids), ids, "length")
        return Answer(text, [*ids, self._vocabulary.eos], "stop")


class Troubles:
    """Which trouble, if any, a request meets. shares: of requests, by name. Raises RecipeError for impossible ones."""

    def __init__(self, shares: Mapping[str, float], *, seed: int) -> None:
        for name in shares:
            if name not in TROUBLES:
                raise RecipeError(f"no trouble is called {name!r}: choose of {', '.join(TROUBLES)}")
        if min(shares.values(), default=0) < 0 or sum(shares.values()) > 1:
            raise RecipeError(f"the shares of trouble are {dict(shares)}: each must be 0 or more, their sum at most 1")
        self._refused_share = shares.get("status_400", 0.0)
        self._shares = {name: share for name, share in shares.items() if name != "status_400" and share > 0}
        self._seed = seed
        self._times_asked: OrderedDict[bytes, int] = OrderedDict()

    def draw(self, digest: bytes) -> str | None:
        """The trouble of this request."""
        if self._refused_share and draws(self._seed, "refused", digest, count=1)[0] / 2**64 < self._refused_share:
            return "status_400"
        if not self._shares:
            return None
        times_asked = self._times_asked.pop(digest, 0)
        self._times_asked[digest] = times_asked + 1
        if len(self._times_asked) > MAX_REMEMBERED:
            self._times_asked.popitem(last=False)
        drawn = draws(self._seed, "trouble", digest, times_asked, count=1)[0] / 2**64
        for name, share in self._shares.items():
            if drawn < share:
                return name
            drawn -= share
        return None


def shares(text: str) -> dict[str, float]:
    """`status_500=0.1,hang=0.01` as a table. Raises RecipeError if it is not of this form."""
    table: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, share = part.partition("=")
        try:
            table[name.strip()] = float(share)
        except ValueError as error:
            raise RecipeError(f"trouble is {text!r}: give shares such as status_500=0.1,hang=0.01") from error
    return table


def scores(ids: list[int]) -> list[float]:
    """A natural-log probability for each id, a function of all ids up to it: those of the scripted engine."""
    state = hashlib.blake2b(digest_size=8)
    values = []
    for token in ids:
        state.update(array("i", (token,)).tobytes())
        values.append(-20.0 * int.from_bytes(state.digest(), "little") / 2**64)
    return values


def _read(file: Path) -> list[str]:
    try:
        answers = [orjson.loads(line) for line in file.read_bytes().splitlines() if line.strip()]
    except (OSError, orjson.JSONDecodeError) as error:
        raise InputError(f"cannot read answers from {file} ({error}): give lines of JSON strings") from error
    if not answers or not all(isinstance(answer, str) for answer in answers):
        raise InputError(f"{file} holds no answers: give lines of JSON strings, at least one")
    return answers


def _encoded(answers: list[str], vocabulary: Vocabulary) -> list[tuple[str, list[int]]]:
    return list(zip(answers, vocabulary.encode(answers), strict=True))
