"""Durable requests a second: synthesis with its ledger beside datatrove's InferenceRunner with local checkpoints.

    python -m benchmarks.synthesis                    both, in turns, on one scripted server, then memory
    python -m benchmarks.synthesis memory 1000000     peak memory of one run over so many passages

Both send as many requests, of as many tokens, to the same server of canned answers on this machine, and neither counts
an answer before it is on disk. Ours is the whole road: passages from Parquet, chains of 2, prompts as token ids, HTTP,
ledger, parsing, checks, groups to Parquet, the artifact sealed. datatrove gets its prompts ready-made as text and
writes its answers as they are, with its own defaults (500 requests at once, a chunk of 6,000 documents; it needs its
extra's aiofiles, aiosqlite and httpx, and xxhash). Answers are drawn by the prompt's digest from a file, so that the
server costs as little as it can.

A ratio is above 1 where ours is faster: the median over the rounds, and the least and largest as its spread.
Memory is the peak of a process of its own; INSTRUCTPT_BENCH_PASSAGES sets how many passages the larger one has.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import orjson

from benchmarks.scripted_engine import write_pairs
from benchmarks.scripted_server import started_server
from benchmarks.tokenize_pack import SAMPLE, read
from instructpt.artifacts import Run, Stage
from instructpt.engines.models import SHIPPED
from instructpt.executors.make import make
from instructpt.records import Document
from instructpt.synthesis.stages import Synthesize

PASSAGE_CHARACTERS = 450
"""About 150 tokens of the vocabulary that ships."""
NUM_PASSAGES = 6_000
NUM_ROUNDS = 3
SHARD_PASSAGES = 2_500
MAX_NEW_TOKENS = 400
MEMORY_PASSAGES = (10_000, 100_000)


@dataclass(frozen=True, kw_only=True)
class Passages(Stage[Document]):
    """Numbered pieces of the sample, again and again until there are enough; two neighbours have one source."""

    record: ClassVar[Any] = Document
    takes: ClassVar[str] = "pieces"

    number: int
    shard_passages: int = SHARD_PASSAGES

    def num_shards(self, run: Run) -> int:
        """As many as the passages fill."""
        del run
        return -(-self.number // self.shard_passages)

    def shard(self, index: int, run: Run) -> Iterator[Document]:
        """Some of the passages."""
        first = index * self.shard_passages
        for document in documents(range(first, min(first + self.shard_passages, self.number))):
            run.tally.take()
            run.tally.keep()
            yield document


def pieces() -> list[str]:
    """The sample cut into pieces."""
    texts = [text.text for text in read(SAMPLE, limit_bytes=10_000_000)]
    return [text[a : a + PASSAGE_CHARACTERS] for text in texts for a in range(0, len(text), PASSAGE_CHARACTERS)]


def documents(numbers: range) -> Iterator[Document]:
    """The passages of these numbers, no two alike."""
    cut = pieces()
    for number in numbers:
        yield Document(str(number), f"{number}. {cut[number % len(cut)]}", "sample")


def write_answers(path: Path) -> Path:
    """Canned answers in the `tags` markup, as the scripted engine writes them: a line a piece."""
    answers = (write_pairs(f" <CON> {piece} </CON>\n\n") for piece in pieces()[:1_000])
    path.write_bytes(b"".join(orjson.dumps(answer) + b"\n" for answer in answers))
    return path


def ours(url: str, folder: Path, *, number: int) -> float:
    """Requests a second, from the passages' Parquet to the sealed artifact."""
    run = Run(root=str(folder), engine="http", engine_options={"endpoints": url}, workers=1)
    passages = Passages(name="passages", number=number)
    make(passages, run)
    stage = Synthesize(
        name="synthesis", passages=passages, model=SHIPPED, dialect="tags", shots=2, max_new_tokens=MAX_NEW_TOKENS
    )
    started = time.monotonic()
    make(stage, run)
    seconds = time.monotonic() - started
    counts = run.manifest(stage)["tally"]["counts"]
    lost = sum(counts.get(f"rejects/{reason}", 0) for reason in ("engine_error", "prompt_refused", "passage_too_long"))
    assert run.manifest(stage)["tally"]["taken"] == number
    assert not lost, f"{lost} requests were not answered: {counts}"
    return number / seconds


def prompts(number: int) -> list[str]:
    """What our prompts look like as text: every second one holds the passage and pairs before it."""
    answers = [write_pairs(f" <CON> {piece} </CON>\n\n") for piece in pieces()[:1_000]]
    opened = [f" <CON> {document.text} </CON>\n\n" for document in documents(range(number))]
    return [
        text if place % 2 == 0 else f"{opened[place - 1]}{answers[place % len(answers)]}{text}"
        for place, text in enumerate(opened)
    ]


def datatrove(url: str, folder: Path, texts: Sequence[str]) -> float:
    """Requests a second, from documents in memory to its output files."""
    from datatrove.data import Document as TheirDocument
    from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.logging import logger

    logger.remove()

    async def rollout(document: Any, generate: Any) -> Any:
        return await generate({"prompt": document.text, "max_tokens": MAX_NEW_TOKENS, "temperature": 0.0})

    runner = InferenceRunner(
        rollout_fn=rollout,
        config=InferenceConfig(
            server_type="endpoint",
            model_name_or_path=SHIPPED,
            endpoint_url=url.removesuffix("/v1"),
            use_chat=False,
            metric_interval=3_600,
            server_ready_delay_sec=0.1,
        ),
        output_writer=JsonlWriter(str(folder / "output"), output_filename="${rank}_chunk_${chunk_index}.jsonl"),
        checkpoints_local_dir=str(folder / "checkpoints"),
    )
    given = [TheirDocument(text, str(number)) for number, text in enumerate(texts)]
    started = time.monotonic()
    runner.run(given)
    seconds = time.monotonic() - started
    written = [line for path in (folder / "output").iterdir() for line in _lines(path)]
    assert len(written) == len(texts), f"{len(written)} of {len(texts)} documents came out"
    return len(texts) / seconds


def _lines(path: Path) -> list[bytes]:
    import gzip

    data = path.read_bytes()
    return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).splitlines()


def measure(*, number: int = NUM_PASSAGES, num_rounds: int = NUM_ROUNDS) -> dict[str, float | int | str]:
    """Requests a second of both, their ratio with its spread, and our peak memory by number of passages."""
    texts = prompts(number)
    speeds: dict[str, list[float]] = {"instructpt": [], "datatrove": []}
    with tempfile.TemporaryDirectory() as root:
        answers = write_answers(Path(root) / "answers.jsonl")
        with started_server(SHIPPED, answers=answers) as server:
            for round_number in range(num_rounds):
                folder = Path(root) / str(round_number)
                speeds["instructpt"].append(ours(server.url, folder / "ours", number=number))
                speeds["datatrove"].append(datatrove(server.url, folder / "theirs", texts))
    ratios = [a / b for a, b in zip(speeds["instructpt"], speeds["datatrove"], strict=True)]
    results: dict[str, float | int | str] = {"requests": number}
    for name, values in speeds.items():
        results[f"{name} requests/s"] = statistics.median(values)
        results[f"{name} requests/s, spread"] = f"{min(values):.0f} ... {max(values):.0f}"
    results["instructpt / datatrove"] = statistics.median(ratios)
    results["instructpt / datatrove, spread"] = f"{min(ratios):.2f} ... {max(ratios):.2f}"
    return results | memory()


def memory() -> dict[str, float]:
    """Peak memory in MB of a process that synthesizes so many passages, and what the larger number adds."""
    numbers = (MEMORY_PASSAGES[0], int(os.environ.get("INSTRUCTPT_BENCH_PASSAGES", MEMORY_PASSAGES[1])))
    peaks = {}
    for number in numbers:
        words = [sys.executable, "-m", "benchmarks.synthesis", "memory", str(number)]
        done = subprocess.run(words, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
        peaks[number] = float(done.stdout.split()[-1])
    few, many = peaks[numbers[0]], peaks[numbers[1]]
    found = {f"peak MB, {number:,} passages": peak for number, peak in peaks.items()}
    return found | {"peak memory, larger / smaller": many / few}


def peak_megabytes(number: int) -> float:
    """Of this process, after it synthesized `number` passages."""
    with tempfile.TemporaryDirectory() as root:
        answers = write_answers(Path(root) / "answers.jsonl")
        with started_server(SHIPPED, answers=answers) as server:
            ours(server.url, Path(root), number=number)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(words: Sequence[str]) -> None:
    """Print what was measured, a line a number."""
    if words and words[0] == "memory":
        print(peak_megabytes(int(words[1])))
        return
    for key, value in measure().items():
        print(f"{key:<44} {value:,.4g}" if isinstance(value, float) else f"{key:<44} {value}")


if __name__ == "__main__":
    main(sys.argv[1:])
