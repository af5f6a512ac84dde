"""Every path whose speed we claim, each measured beside a named peer in the same run.

A benchmark is a file with `measure() -> dict[str, float | int | str]`: ratios with their spread where there is a peer.
`run_benchmarks` prints what they measured and appends it to results.jsonl.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import orjson

from instructpt.errors import RecipeError

BENCHMARKS = {
    "parse_render": "benchmarks.parse_render",
    "tokenize_pack": "benchmarks.tokenize_pack",
    "ngrams": "benchmarks.ngrams",
    "checks": "benchmarks.checks",
    "queries": "benchmarks.queries",
    "training": "benchmarks.training",
    "engine": "benchmarks.engine",
    "engines_cpu": "benchmarks.engines_cpu",
    "synthesis": "benchmarks.synthesis",
    "plan": "benchmarks.plan",
    "storm": "benchmarks.storm",
    "vllm": "benchmarks.vllm",
}
RESULTS = Path(__file__).parent / "results.jsonl"


def run_benchmarks(names: Sequence[str]) -> None:
    """Run the benchmarks called `names`, all without one. Raises RecipeError for an unknown name."""
    for name in names:
        if name not in BENCHMARKS:
            raise RecipeError(f"no benchmark is called {name!r}: choose from {', '.join(BENCHMARKS)}")
    for name in names or BENCHMARKS:
        started = time.monotonic()
        values = import_module(BENCHMARKS[name]).measure()
        print(f"\n{name}  ({time.monotonic() - started:.0f} s)")
        for key, value in values.items():
            print(f"  {key:<44} {value:,.4g}" if isinstance(value, float) else f"  {key:<44} {value}")
        sys.stdout.flush()
        keep(name, values)


def keep(name: str, values: Mapping[str, object]) -> None:
    """Add a line to the results."""
    line = {"benchmark": name, "date": time.strftime("%Y-%m-%d", time.gmtime()), **_conditions(), "values": values}
    with RESULTS.open("ab") as file:
        file.write(orjson.dumps(line) + b"\n")


def _conditions() -> dict[str, object]:
    packages = ("instructpt", "torch", "transformers", "tokenizers")
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }
