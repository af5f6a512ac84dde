"""Synthesis on a real vLLM server, beside the same prompts sent by a bare loop, and beside rounds with a barrier.

    python benchmarks/vllm.py             on the synthesizer that ships; needs the environment of `make vllm`

Chains of 3 passages of mixed length (32 to 384 tokens) from the sample that ships, 32 requests at once, greedy, answers
held to their form, everything as `instructpt augment` does it; 1 or 2 pairs a passage, so that passages are about twice
as long as answers, as in the paper (500 tokens and 5 pairs of 52). The three take turns on one server, whose cache is
emptied before each, and which counts the tokens:

    ours      scheduler, HTTP engine, ledger on disk, parsing, checks: round r + 1 of a chain as soon as r is read
    bare      the very prompts of ours, recorded, in the order in which ours sent them: request bodies that are
              ready-made bytes, posted by 32 loops of a dozen lines; nobody reads the answers but for their counts
    rounds    the schedule of the published code: round 1 of all chains, barrier, round 2 of all chains, barrier...
              with our prompts, parsing and checks, 32 requests at once, and no ledger

The server's cache holds what 32 chains need and not all of them, as it is with a corpus of any size: in the paper a
round has 20 million texts. Ratios are tokens/s of ours over the other's, above 1 where ours is faster: the median over
the repetitions, and the least and largest as spread.
"""

from __future__ import annotations

import asyncio
import functools
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from benchmarks.tokenize_pack import SAMPLE, read
from instructpt import models
from instructpt.engines import Completion, EngineState, Prompt, Sampling
from instructpt.engines.event_loop import run_in_loop
from instructpt.engines.health import read_metrics
from instructpt.engines.http import HttpEngine
from instructpt.engines.models import SHIPPED, Prompting, read_prompting
from instructpt.engines.openai_format import Manners, completion_body
from instructpt.engines.serving.environment import find_environment
from instructpt.engines.serving.presets import Settings
from instructpt.engines.serving.vllm import serve
from instructpt.errors import InputError
from instructpt.records import Document, Shot
from instructpt.seeds import rng
from instructpt.synthesis.asking import Synthesis
from instructpt.synthesis.capacity import Capacity
from instructpt.synthesis.chains import fit
from instructpt.synthesis.dialects import open_dialect
from instructpt.synthesis.ledger import Ledger
from instructpt.synthesis.mix import draw, mix_of
from instructpt.synthesis.scheduler import run_chains
from instructpt.synthesis.stages import default_checks
from instructpt.verification.checks import apply_checks
from instructpt.words import vocabulary

NUM_CHAINS = 320
"""Ten times what is under way, so that the last chains, which leave places empty, weigh little: with four times as many
ours / bare was 0.90. In a corpus of any size they weigh nothing."""
SHOTS = 3
IN_FLIGHT = 32
PASSAGE_TOKENS = (32, 384)
MAX_PAIRS = 2
SAMPLING = Sampling(max_new_tokens=200)
WINDOW_TOKENS = 1024
NUM_REPETITIONS = 3
BLOCK_TOKENS = 128
"""Of vLLM's cache on a CPU. With 32 it holds more and decodes 15 to 30 % slower."""
CACHE_TOKENS = IN_FLIGHT * WINDOW_TOKENS * 3 // 4
MODEL = models.resolve(SHIPPED)
HITS, QUERIES = "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"

Chain = tuple[Document, ...]


@dataclass(slots=True)
class Recorder:
    """The HTTP engine, which notes what it is asked and how many tokens it answers."""

    engine: HttpEngine
    asked: list[tuple[Prompt, Sampling]] = field(default_factory=list)
    num_tokens: int = 0

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """See `Engine.complete`."""
        self.asked.append((prompt, sampling))
        completion = await self.engine.complete(prompt, sampling)
        self.num_tokens += completion.num_tokens
        return completion

    async def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Sequence[float]:
        """See `Engine.score`."""
        return await self.engine.score(prompt, continuation)

    def state(self) -> EngineState:
        """See `Engine.state`."""
        return self.engine.state()

    async def close(self) -> None:
        """See `Engine.close`."""
        await self.engine.close()


@dataclass(frozen=True, slots=True)
class Turn:
    """What one of the three did."""

    num_tokens: int
    seconds: float
    asked: list[tuple[Prompt, Sampling]]
    hit_share: float = 0.0
    """Tokens that the prefix cache held, of those in prompts of the second round on."""

    @property
    def tokens_per_second(self) -> float:
        """Written ones."""
        return self.num_tokens / self.seconds


@dataclass(frozen=True, slots=True)
class Setting:
    """What all three work on."""

    url: str
    chains: list[Chain]
    words: vocabulary.Vocabulary
    prompting: Prompting

    def categories(self, number: int, passage: str) -> tuple[str, ...]:
        """To ask for at a passage: one or two."""
        del passage
        mix = mix_of(self.prompting)
        assert mix is not None, "the model that ships asks for categories by itself"
        return draw(mix, num_pairs=rng(0, "pairs", number).randint(1, MAX_PAIRS), seed=0, place=(0, number))

    def synthesis(self, engine: Recorder, ledger: Ledger) -> Synthesis:
        """As the stage `Synthesize` makes it."""
        return Synthesis(
            engine=engine,
            capacity=Capacity(engine, most=IN_FLIGHT),
            dialect=open_dialect(self.prompting.dialect),
            vocabulary=self.words,
            ledger=ledger,
            checks=default_checks(self.prompting),
            sampling=SAMPLING,
            model_identity=SHIPPED,
            window_tokens=WINDOW_TOKENS,
            categories=self.categories,
            answers=self.speech.answers,
        )


def make_chains(words: vocabulary.Vocabulary, *, number: int) -> list[Chain]:
    """Chains of passages that follow one another in a text, of lengths drawn evenly from `PASSAGE_TOKENS`."""
    stream, chains = rng(0, "lengths of passages"), []
    for text in read(SAMPLE, limit_bytes=20_000_000):
        ids, place, pieces = words.encode([text.text])[0], 0, []
        while len(pieces) < SHOTS and place + PASSAGE_TOKENS[0] <= len(ids):
            piece = ids[place : place + stream.randint(*PASSAGE_TOKENS)]
            place += len(piece)
            pieces.append(words.decode(piece))
        if len(pieces) == SHOTS:
            chains.append(tuple(Document(f"{text.id}-{i}", piece, text.id) for i, piece in enumerate(pieces)))
        if len(chains) == number:
            break
    return chains


def ours(setting: Setting) -> Turn:
    """The road of `augment`."""
    with tempfile.TemporaryDirectory() as root, Ledger(Path(root) / "ledger.sqlite") as ledger:
        engine = Recorder(HttpEngine(MODEL, endpoints=setting.url, max_in_flight_per_endpoint=IN_FLIGHT))
        synthesis = setting.synthesis(engine, ledger)
        started = time.monotonic()
        groups = list(run_chains(setting.chains, synthesis=synthesis))
        seconds = time.monotonic() - started
        run_in_loop(engine.close())
    unanswered = [
        r for g in groups for s in g.shots for r in s.rejects if r.reason in ("engine_error", "prompt_refused")
    ]
    assert not unanswered, unanswered[0]
    return Turn(engine.num_tokens, seconds, engine.asked)


def bare(setting: Setting, asked: list[tuple[Prompt, Sampling]]) -> Turn:
    """The same prompts, ready-made, straight to the server."""
    manners = Manners("vllm", SHIPPED, "vllm")
    bodies = [orjson.dumps(completion_body(ids, sampling, manners=manners, seed=0)) for ids, sampling in asked]  # type: ignore[arg-type]
    left, num_tokens = iter(bodies), 0

    async def one_after_the_other(session: aiohttp.ClientSession) -> None:
        nonlocal num_tokens
        for body in left:
            async with session.post(f"{setting.url}/completions", data=body) as response:
                answer = orjson.loads(await response.read())
                num_tokens += answer["usage"]["completion_tokens"]

    async def all_loops() -> None:
        headers = {"Content-Type": "application/json"}
        async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=None)) as session:
            await asyncio.gather(*(one_after_the_other(session) for _ in range(IN_FLIGHT)))

    started = time.monotonic()
    asyncio.run(all_loops())
    return Turn(num_tokens, time.monotonic() - started, asked)


def rounds(setting: Setting) -> Turn:
    """Round 1 of all chains, then round 2 of all chains."""
    dialect, checks = open_dialect(setting.prompting.dialect), default_checks(setting.prompting)
    earlier: list[list[Shot]] = [[] for _ in setting.chains]

    async def one_shot(engine: Recorder, places: asyncio.Semaphore, chain: int, number: int) -> None:
        document = setting.chains[chain][number]
        async with places:
            prompt = fit(
                earlier[chain],
                passage=document.text,
                dialect=dialect,
                vocabulary=setting.words,
                budget_tokens=WINDOW_TOKENS - SAMPLING.max_new_tokens,
                categories=setting.categories(chain * SHOTS + number, document.text),
                guided=True,
            )
            assert prompt is not None
            completion = await engine.complete(prompt.content, replace(SAMPLING, form=prompt.form))
        pairs, rejects = dialect.parse(completion.text)
        shot = Shot(document, tuple(pairs), prompt.follows, tuple(rejects))
        earlier[chain].append(apply_checks(shot, checks, answers=setting.speech.answers))

    async def all_rounds() -> Turn:
        engine = Recorder(HttpEngine(MODEL, endpoints=setting.url, max_in_flight_per_endpoint=IN_FLIGHT))
        places, started = asyncio.Semaphore(IN_FLIGHT), time.monotonic()
        for number in range(SHOTS):
            await asyncio.gather(*(one_shot(engine, places, chain, number) for chain in range(len(earlier))))
        turn = Turn(engine.num_tokens, time.monotonic() - started, engine.asked)
        await engine.close()
        return turn

    return asyncio.run(all_rounds())


def measured(setting: Setting, work: Callable[[], Turn]) -> Turn:
    """One turn on an empty cache, with what the cache then held by the server's metrics."""
    root = setting.url.removesuffix("/v1")
    with urllib.request.urlopen(urllib.request.Request(f"{root}/reset_prefix_cache", method="POST")):
        before = counters(root)
    turn, after = work(), counters(root)
    begin = setting.words.bos
    later = sum(len(ids) for ids, _ in turn.asked if list(ids).count(begin) > 1)  # type: ignore[arg-type, call-overload]
    return Turn(turn.num_tokens, turn.seconds, turn.asked, (after[HITS] - before[HITS]) / later)


def counters(root: str) -> Mapping[str, float]:
    """The server's own, in tokens."""
    with urllib.request.urlopen(f"{root}/metrics") as response:
        return read_metrics(response.read().decode(), (HITS, QUERIES))


def measure(*, num_chains: int = NUM_CHAINS, num_repetitions: int = NUM_REPETITIONS) -> dict[str, float | int | str]:
    """Tokens/s of the three, ratios with their spread, and shares of tokens that the prefix cache held."""
    try:
        find_environment()
    except InputError as error:
        return {"left out": str(error)}
    words = vocabulary.load(MODEL)
    prompting = read_prompting(Path(MODEL)).wished(pairs=MAX_PAIRS)
    os.environ["VLLM_SERVER_DEV_MODE"] = "1"  # so that it can be told to empty its cache
    flags = f"--num-gpu-blocks-override {CACHE_TOKENS // BLOCK_TOKENS}"
    with serve(SHIPPED, Settings(cache_gib=1, requests=IN_FLIGHT, flags=flags)) as servers:
        setting = Setting(servers.urls[0], make_chains(words, number=num_chains), words, prompting)
        turns = take_turns(setting, num_repetitions=num_repetitions)
    return told(turns)


def take_turns(setting: Setting, *, num_repetitions: int) -> dict[str, list[Turn]]:
    """All turns but the first one, which warms up and records; who comes first changes."""
    recorded = measured(setting, lambda: ours(setting)).asked
    turns: dict[str, list[Turn]] = {"ours": [], "bare": [], "rounds": []}
    for repetition in range(num_repetitions):
        for name in [*turns][repetition % 3 :] + [*turns][: repetition % 3]:
            if name == "ours":
                turn = measured(setting, lambda: ours(setting))
                recorded = turn.asked
            elif name == "rounds":
                turn = measured(setting, lambda: rounds(setting))
            else:
                turn = measured(setting, functools.partial(bare, setting, recorded))
            turns[name].append(turn)
            said = f"{name:<7} {turn.num_tokens:,} tokens in {turn.seconds:.1f} s, {turn.hit_share:.0%} cached"
            print(said, file=sys.stderr, flush=True)
    return turns


def told(turns: Mapping[str, Sequence[Turn]]) -> dict[str, float | int | str]:
    """The numbers of all turns."""
    results: dict[str, Any] = {"requests": len(turns["ours"][0].asked)}
    for name, taken in turns.items():
        rates = [turn.tokens_per_second for turn in taken]
        results[f"{name} tokens/s"] = statistics.median(rates)
        results[f"{name} tokens/s, spread"] = f"{min(rates):.0f} ... {max(rates):.0f}"
        results[f"{name} tokens"] = int(statistics.median(turn.num_tokens for turn in taken))
        results[f"{name} cached share of later rounds"] = statistics.median(turn.hit_share for turn in taken)
    for other in ("bare", "rounds"):
        pairs = zip(turns["ours"], turns[other], strict=True)
        ratios = [mine.tokens_per_second / theirs.tokens_per_second for mine, theirs in pairs]
        results[f"ours / {other}"] = statistics.median(ratios)
        results[f"ours / {other}, spread"] = f"{min(ratios):.2f} ... {max(ratios):.2f}"
    return results


def main(words: Sequence[str]) -> None:
    """Print what was measured, a line a number."""
    for key, value in measure(num_chains=int(words[0]) if words else NUM_CHAINS).items():
        print(f"{key:<44} {value:,.4g}" if isinstance(value, float) else f"{key:<44} {value}")


if __name__ == "__main__":
    main(sys.argv[1:])
