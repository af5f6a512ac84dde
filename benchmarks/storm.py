"""A storm of kills: a run against the scripted server is SIGKILLed again and again, and loses nothing.

    instructpt bench storm                                                          20,000 passages, 50 kills
    INSTRUCTPT_STORM_PASSAGES=1500 INSTRUCTPT_STORM_KILLS=5 instructpt bench storm    a small one

    life 1   read, filter, split, ask ask ask X            killed while it asks,
    life 2   X                                             while it starts,
    life 3       ask ask ask ask ask seal X                or the moment that a shard gets its name or its seal
    ...
    the last     ask ask seal, texts, done                 must leave the bytes of a run that nobody disturbed

The whole process group is killed, workers and all. The server goes on living and keeps a list of what it was asked.
After each kill, the answers that reached the disk are noted: those in the ledgers of open shards, and all those of
sealed ones. None of them may be asked for again.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import orjson

from benchmarks.reports import Corpus, contents, passages, sharded, texts, write_corpus
from benchmarks.scripted_server import StartedServer, started_server
from instructpt.artifacts import Run, tree
from instructpt.engines import Sampling
from instructpt.engines.models import model_identity
from instructpt.errors import RunError
from instructpt.seeds import rng
from instructpt.synthesis import ledger as ledgers
from instructpt.synthesis.dialects import open_dialect
from instructpt.synthesis.stages import Synthesize
from instructpt.words import vocabulary
from instructpt.words.vocabulary import Vocabulary

_POLL_SECONDS = 0.001
_TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Moment:
    """When to kill: after so many requests in all, then after some time or at the next name in the output folder."""

    num_requests: int
    """0: count from the start. Otherwise at least one of them in this life, unless all were made before."""
    then: Literal["wait", "name"]
    seconds: float


def moments(*, num_kills: int, num_requests: int, start_seconds: float, seed: int) -> list[Moment]:
    """A tenth of them before the first request, a tenth after the last; the others in between, in order, of which a
    tenth while a run starts again. start_seconds: what an undisturbed run takes up to its first request.
    """
    stream = rng(seed, "storm", "moments")
    tenth = num_kills // 10
    counts = sorted(stream.randint(1, round(0.9 * num_requests)) for _ in range(num_kills - 3 * tenth))
    drawn = [Moment(count, stream.choice(("wait", "name")), stream.uniform(0, 0.2)) for count in counts]
    drawn += [Moment(num_requests, "wait", stream.uniform(0, 1.0)) for _ in range(tenth)]
    for _ in range(tenth):
        drawn.insert(stream.randrange(len(drawn) + 1), Moment(0, "wait", stream.uniform(0, 1.0)))
    return [Moment(0, "wait", stream.uniform(0, start_seconds)) for _ in range(tenth)] + drawn


class Asked:
    """What the server was asked, in order, read from its log as it grows."""

    def __init__(self, log: Path, *, corpus: Corpus) -> None:
        recipe = sharded(files=tuple(map(str, corpus.files)), model=str(corpus.model))
        (stage,) = (item for item in tree(recipe) if isinstance(item, Synthesize))
        self._identity = model_identity(str(corpus.model), Run(root=str(corpus.model)))
        form = open_dialect("tags").form() if stage.guided else None
        self._sampling = Sampling(stage.max_new_tokens, stage.temperature, stage.seed, form)
        self._vocabulary: Vocabulary = vocabulary.load(str(corpus.model))
        self._log = log
        self._position = 0
        self.keys: list[bytes] = []
        """The ledger's key of each request."""
        self.numbers: dict[bytes, int] = {}
        """Of the passage that a request is about, by key."""

    def read(self) -> None:
        """Take in what is new."""
        if not self._log.exists():
            return
        with self._log.open("rb") as file:
            file.seek(self._position)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        for line in whole.splitlines():
            body = orjson.loads(line)["body"]
            key = ledgers.key(body["prompt"], model_identity=self._identity, sampling=self._sampling)
            self.keys.append(key)
            if key not in self.numbers:
                passage = self._vocabulary.decode(body["prompt"]).rpartition("Report ")[2]
                self.numbers[key] = int(passage.split()[0])


@dataclass(frozen=True, slots=True)
class Field:
    """Where a storm takes place."""

    corpus: Corpus
    server: StartedServer
    asked: Asked
    num_prompts: int
    """Different ones that an undisturbed run sends."""
    folder: Path
    workers: int
    tell: Callable[[str], None]

    def command(self, out: Path) -> list[str]:
        """As in a shell."""
        files = [str(path) for path in self.corpus.files]
        settings = ["--model", str(self.corpus.model), "--shard-bytes", str(self.corpus.shard_bytes)]
        where = ["--out", str(out), "--workers", str(self.workers), "--engine", "http", "--endpoints", self.server.url]
        recipe = f"{Path(__file__).resolve().with_name('reports.py')}:sharded"
        return [sys.executable, "-m", "instructpt.cli.commands", "run", recipe, "--files", *files, *settings, *where]

    def settle(self) -> None:
        """Wait until the server has read all that was sent before; take in what it was asked."""
        for _ in range(2):
            with urllib.request.urlopen(f"{self.server.url.removesuffix('/v1')}/health", timeout=60) as answer:
                answer.read()
        self.asked.read()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a storm came to. The sums: num_requests = num_prompts + num_lost, or something was asked in vain."""

    num_passages: int
    num_kills: int
    num_requests: int
    num_prompts: int
    """Different ones."""
    num_lost: int
    """Requests whose answer had not reached the disk when the run was killed: the only ones to ask again."""
    num_asked_in_vain: int
    """Requests whose answer was on disk."""
    differences: tuple[str, ...]
    """Files that are not as an undisturbed run has them."""
    is_complete: bool
    """Every passage came out once, in order."""

    @property
    def problem(self) -> str | None:
        """What went wrong; None if nothing did."""
        if self.differences:
            return f"{len(self.differences)} files differ from an undisturbed run's: {', '.join(self.differences[:5])}"
        if not self.is_complete:
            return "passages are missing, doubled or out of order"
        if self.num_asked_in_vain or self.num_requests != self.num_prompts + self.num_lost:
            return (
                f"{self.num_requests} requests for {self.num_prompts} prompts and {self.num_lost} lost answers, "
                f"{self.num_asked_in_vain} of them for answers that were kept"
            )
        return None


def storm(
    folder: Path,
    *,
    num_passages: int,
    num_kills: int,
    num_files: int = 6,
    workers: int = 2,
    delay_ms: float = 3.0,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> Verdict:
    """Run undisturbed, then through `num_kills` kills; compare. delay_ms: what the server takes for an answer.

    Raises RunError if a run fails by itself.
    """
    corpus = write_corpus(folder, num_passages=num_passages, num_files=num_files, seed=seed)
    log = folder / "asked.jsonl"
    with started_server(corpus.model, answers=corpus.answers, delay_ms=delay_ms, log=log) as server:
        field = Field(corpus, server, Asked(log, corpus=corpus), num_passages, folder, workers, tell)
        started = time.monotonic()
        start_seconds = _undisturbed(field, folder / "whole")
        field.settle()
        calm = field.asked
        tell(f"undisturbed: {len(calm.keys):,} requests in {time.monotonic() - started:.0f} s")
        shards = shards_of(folder / "whole", calm)
        log.write_bytes(b"")  # the server appends
        asked = Asked(log, corpus=corpus)
        drawn = moments(num_kills=num_kills, num_requests=len(calm.keys), start_seconds=start_seconds, seed=seed)
        return _stormy(replace(field, asked=asked), drawn, shards, prompts=set(calm.keys))


def _undisturbed(field: Field, out: Path) -> float:
    """Seconds up to the first request."""
    started = time.monotonic()
    with _started(field, out) as process:
        while not field.asked.keys and process.poll() is None:
            time.sleep(0.01)
            field.asked.read()
        seconds = time.monotonic() - started
        _finish(process, out)
    return seconds


def _stormy(field: Field, drawn: Sequence[Moment], shards: Mapping[bytes, int], *, prompts: set[bytes]) -> Verdict:
    out, whole, asked = field.folder / "killed", field.folder / "whole", field.asked
    num_kills = num_lost = num_in_vain = num_before = 0
    kept: set[bytes] = set()

    def count() -> set[bytes]:
        """After a life: what it asked, and what of that it should not have asked."""
        nonlocal num_in_vain, num_before
        field.settle()
        new, num_before = asked.keys[num_before:], len(asked.keys)
        num_in_vain += sum(key in kept for key in new) + len(new) - len(set(new))
        return set(new)

    for moment in drawn:
        if not _life(field, moment, out):
            break  # it came to its end before the moment came
        num_kills += 1
        new = count()
        kept = kept_keys(out, shards)
        assert kept <= prompts, "the ledger holds what nobody asks for"
        num_lost += len(new - kept)
        field.tell(f"kill {num_kills:>3} of {len(drawn)}: {len(new):>6,} asked, {len(kept):>7,} kept in all ({moment})")
    with _started(field, out) as process:
        _finish(process, out)
    count()
    mine, theirs = contents(out), contents(whole)
    wanted = [f"Report {number}" for number in range(field.corpus.num_passages)]
    found = [" ".join(text.split()[:2]) for text in passages(out)]
    return Verdict(
        num_passages=field.corpus.num_passages,
        num_kills=num_kills,
        num_requests=len(asked.keys),
        num_prompts=len(set(asked.keys)),
        num_lost=num_lost,
        num_asked_in_vain=num_in_vain,
        differences=tuple(sorted(n for n in mine.keys() | theirs.keys() if mine.get(n) != theirs.get(n))),
        is_complete=found == wanted and set(asked.keys) == prompts,
    )


def _started(field: Field, out: Path) -> subprocess.Popen[bytes]:
    said = (field.folder / f"{out.name}.said").open("wb")
    with said:
        return subprocess.Popen(
            field.command(out), stdout=subprocess.DEVNULL, stderr=said, stdin=subprocess.DEVNULL, start_new_session=True
        )


def _finish(process: subprocess.Popen[bytes], out: Path) -> None:
    try:
        process.wait(timeout=_TIMEOUT_SECONDS)
    finally:
        _kill(process)
    if process.returncode != 0:
        said = (out.parent / f"{out.name}.said").read_text()[-2000:]
        raise RunError(f"a run ended with status {process.returncode} and said: {said}")


def _life(field: Field, moment: Moment, out: Path) -> bool:
    """Start the run and kill it when its moment comes; False if it ended before."""
    asked, deadline = field.asked, time.monotonic() + _TIMEOUT_SECONDS
    is_new = moment.num_requests > 0 and len(asked.numbers) < field.num_prompts
    least = max(moment.num_requests, len(asked.keys) + 1) if is_new else moment.num_requests
    with _started(field, out) as process:
        try:
            while len(asked.keys) < least and process.poll() is None:
                time.sleep(_POLL_SECONDS)
                asked.read()
                if time.monotonic() > deadline:
                    raise RunError(f"a run asks for nothing any more: see {out}.said")
            names, due = _names(out), time.monotonic() + moment.seconds
            while process.poll() is None:
                if time.monotonic() >= due if moment.then == "wait" else _names(out) != names:
                    break
                time.sleep(_POLL_SECONDS)
        finally:
            _kill(process)
        if process.returncode not in (0, -signal.SIGKILL):
            raise RunError(f"a run ended with status {process.returncode}: see {out}.said")
        return process.returncode != 0


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The driver and its workers."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _names(out: Path) -> list[Path]:
    """What lies in the folders of all artifacts."""
    return sorted(out.glob("*/*"))


def shards_of(whole: Path, asked: Asked) -> dict[bytes, int]:
    """In which shard each prompt's passage lies."""
    places = {
        int(text.split()[1]): index
        for index, path in enumerate(sorted((whole / "groups").glob("*.parquet")))
        for text in texts(path)
    }
    return {key: places[number] for key, number in asked.numbers.items()}


def kept_keys(out: Path, shards: Mapping[bytes, int]) -> set[bytes]:
    """The keys whose answers a run that goes on need not ask for."""
    groups = out / "groups"
    kept = {key for key, index in shards.items() if (groups / f"{index:05d}.json").exists()}
    for ledger in groups.glob("*.open/ledger.sqlite"):
        if (groups / f"{ledger.parent.name.removesuffix('.open')}.json").exists():
            continue
        with (
            tempfile.TemporaryDirectory() as copy
        ):  # reading a log after a kill writes into it: that is the run's to do
            for path in ledger.parent.glob("ledger.sqlite*"):
                shutil.copy(path, copy)
            kept.update(_keys(Path(copy) / ledger.name))
    return kept


def _keys(ledger: Path) -> Iterator[bytes]:
    with closing(sqlite3.connect(ledger)) as connection:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            yield from (key for (key,) in connection.execute("SELECT key FROM completions"))


def measure() -> dict[str, float | int | str]:
    """A storm of the size that the environment names. Raises RunError if anything was lost."""
    num_passages = int(os.environ.get("INSTRUCTPT_STORM_PASSAGES", "20000"))
    num_kills = int(os.environ.get("INSTRUCTPT_STORM_KILLS", "50"))
    started = time.monotonic()

    def tell(line: str) -> None:
        print(f"  {time.monotonic() - started:6.0f} s  {line}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        verdict = storm(Path(folder), num_passages=num_passages, num_kills=num_kills, tell=tell)
    if verdict.problem:
        raise RunError(f"the storm did damage: {verdict.problem}")
    counts = Counter({f.name: getattr(verdict, f.name) for f in fields(verdict) if f.name.startswith("num_")})
    return {**counts, "verdict": "nothing lost", "seconds": time.monotonic() - started}


if __name__ == "__main__":
    print(measure())
