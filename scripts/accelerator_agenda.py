"""What only an accelerator can do in reasonable time, in slices: each call goes on for so many minutes.

    python scripts/accelerator_agenda.py --data DATA --out runs/agenda       again and again, until all is done
    python scripts/accelerator_agenda.py --data DATA --out runs/agenda --list    the commands, and what is done

    reader, writer     the two models that ship, tuned on the whole collection of task data
    exam               closed-book arms of the open base on a corpus with questions, five seeds
    scratch-60m ...    arms from random weights, on text with and without pairs
    training, vllm     the loop beside transformers.Trainer, and synthesis on a server: tokens a second

DATA is a folder with `tasks/`, `corpora/` and `closed_book/` (passages.jsonl, questions.jsonl). A step that the minutes
cut off goes on in the next call, since every command of the project does. `agenda.json` in the output folder says what
is done and how long it took; logs lie beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

OPEN_BASE = "open:smollm2-135m"
MIN_SECONDS = 30
"""Less is not worth loading a model for."""


@dataclass(frozen=True)
class Step:
    """A command of `instructpt`, without where to write and when to stop."""

    name: str
    words: Sequence[str]
    is_run: bool = True
    """Whether it has an output folder of its own and stops in time; benchmarks do not, they take some minutes."""


def agenda(data: Path, out: Path, *, base: str, tiny: bool) -> list[Step]:
    """The steps in order: what others need comes first. tiny: so small that two CPU cores do the tuning in a minute."""
    tasks = ["--tasks", *([] if tiny else sorted(map(str, (data / "tasks").glob("*.jsonl.zst"))))]
    if tiny:
        tasks.append("sample:tasks.jsonl.zst")
    budget = ["--tuning-tokens", "4096", "--row-tokens", "256", "--batch-tokens", "1024"] if tiny else ["--epochs", "2"]
    tuned = [*tasks, "--base", base, "--redistributable", "--adapters-only", *budget]
    mix = "extractive QA=5,narrative QA=1" if not tiny else "narrative QA=1"
    steps = [
        Step("reader", ["run", "reader", *tuned]),
        Step(
            "writer",
            [
                *("run", "synthesizer", "--dialect", "answers", *tuned, "--mix", mix),
                *("--reader", str(out / "reader" / "reader" / "00000")),
                *(() if tiny else ("--balance", "0.5", "--weights", "extractive QA=3,textbook QA=0.5")),
            ],
        ),
    ]
    if tiny:
        return steps
    writer, corpora = str(out / "writer" / "synthesizer" / "00000"), sorted(map(str, (data / "corpora").glob("*")))
    book = data / "closed_book"
    steps.append(
        Step(
            "exam",
            [
                *("run", "compare", "--recipe", "domain", "--base", base, "--files", str(book / "passages.jsonl")),
                *("--questions", str(book / "questions.jsonl"), "--synthesizer", writer, "--seeds", "5"),
                *("--arms", "raw", "mixed", "instruct", "instruct_apart"),
            ],
        )
    )
    for shape, tokens in (("60m", "300000000"), ("125m", "600000000")):
        words = ["run", "compare", "--files", *corpora, "--shape", shape, "--pretraining-tokens", tokens]
        arms = ["--arms", "raw", "mixed", "instruct", "--seeds", "3", "--synthesizer", writer]
        steps.append(Step(f"scratch-{shape}", [*words, *arms]))
    return [*steps, *(Step(name, ["bench", name], is_run=False) for name in ("training", "vllm"))]


def work(steps: Sequence[Step], out: Path, *, minutes: float) -> int:
    """Go on with the first step that is not done, and the next ones; 0 when all is done or the minutes are over."""
    stop, done = time.monotonic() + 60 * minutes, finished(out)
    for step in steps:
        left = stop - time.monotonic()
        if step.name in done:
            continue
        if left < MIN_SECONDS:
            break
        began, words = time.monotonic(), [sys.executable, "-m", "instructpt", *step.words]
        if step.is_run:
            words += ["--out", str(out / step.name), "--max-hours", f"{left / 3600:.4f}"]
        say(f"{step.name}: at most {left / 60:.1f} minutes")
        with (out / f"{step.name}.log").open("a") as log:
            status = subprocess.run(words, stdout=log, stderr=subprocess.STDOUT, check=False).returncode  # noqa: S603
        if status == 0:
            done[step.name] = done.get(step.name, 0.0) + round(time.monotonic() - began, 1)
            (out / "agenda.json").write_text(json.dumps(done, indent=2))
        elif time.monotonic() < stop:
            say(f"{step.name} failed ({status}): see {out / step.name}.log")
            return 1
    left_over = [step.name for step in steps if step.name not in done]
    say(f"left: {', '.join(left_over)}" if left_over else "all is done")
    return 0


def say(line: str) -> None:
    """A line to whoever waits."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def finished(out: Path) -> dict[str, float]:
    """Step -> the seconds that its last slice took."""
    path = out / "agenda.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description="What only an accelerator can do, in slices.")
    parser.add_argument("--data", type=Path, required=True, help="folder with tasks/, corpora/ and closed_book/")
    parser.add_argument("--out", type=Path, required=True, help="where results and logs go")
    parser.add_argument("--minutes", type=float, default=9.0, help="of this call")
    parser.add_argument("--base", default=OPEN_BASE, help="the open base model")
    parser.add_argument("--only", nargs="*", default=[], help="names of steps; all by default")
    parser.add_argument("--tiny", action="store_true", help="the tuning alone, so small that a CPU does it in a minute")
    parser.add_argument("--list", action="store_true", help="print the commands and do nothing")
    options = parser.parse_args(arguments)
    steps = agenda(options.data, options.out, base=options.base, tiny=options.tiny)
    unknown = sorted(set(options.only) - {step.name for step in steps})
    if unknown:
        parser.error(f"no step is called {unknown[0]}: choose from {', '.join(step.name for step in steps)}")
    steps = [step for step in steps if not options.only or step.name in options.only]
    options.out.mkdir(parents=True, exist_ok=True)
    if options.list:
        for step in steps:
            state = "done" if step.name in finished(options.out) else "left"
            say(f"{state}  {step.name}: instructpt {' '.join(step.words)}")
        return 0
    return work(steps, options.out, minutes=options.minutes)


if __name__ == "__main__":
    sys.exit(main())
