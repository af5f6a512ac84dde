"""vLLM servers that are started here: that they end with us, what is said when they cannot start, and the real one.

Where there is no environment with vLLM a server of canned answers stands in for it (fixtures/vllm_stand_in.py), and
the tests on the real one are left out; `make vllm` makes the environment.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import orjson
import pytest
import vllm_stand_in
from conftest import corpus_rows, write_corpus

from benchmarks.scripted_engine import ScriptedEngine
from instructpt import models
from instructpt.artifacts import Run
from instructpt.engines import Engine, Form, Sampling, open_engine
from instructpt.engines.http import HttpEngine
from instructpt.engines.serving.environment import find_environment
from instructpt.engines.serving.presets import Settings
from instructpt.engines.serving.vllm import Servers, fault, serve
from instructpt.engines.transformers import TransformersEngine
from instructpt.engines.vllm import VllmEngine
from instructpt.errors import EngineError, EngineGoneError, InputError, PromptRefusedError, RecipeError
from instructpt.executors.make import make
from instructpt.recipes.augment import augment
from instructpt.words import vocabulary

SHIPPED = "shipped:synthesizer"
T = TypeVar("T")


def environment(folder: Path, trouble: str = "") -> str:
    """A folder that looks like an environment with vLLM."""
    python = folder / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!{sys.executable}\n{Path(vllm_stand_in.__file__).read_text()}")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    (folder / "env" / "trouble").write_text(trouble)
    return str(folder / "env")


def started(model: str, *, say: Callable[[str], None] = print, **settings: Any) -> Servers:
    return serve(model, Settings(**settings), say=say)


def processes_with(words: str) -> list[int]:
    """Processes whose command line holds `words`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if words in path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"):
                found.append(int(path.parent.name))
        except OSError:  # it has ended since
            continue
    return found


def eventually(holds: Callable[[], bool], *, seconds: float = 120.0) -> bool:
    """Whether something comes true in a while."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_server_serves_until_it_is_closed(tmp_path: Path, vocabulary_folder: Path) -> None:
    said: list[str] = []
    model = with_config(vocabulary_folder, tmp_path / "model")
    with started(model, environment=environment(tmp_path), log_folder=tmp_path / "logs", say=said.append) as servers:
        (url,) = servers.urls
        with urllib.request.urlopen(f"{url}/models") as answer:
            assert orjson.loads(answer.read())["data"][0]["id"] == model
        servers.check()
        assert processes_with(str(tmp_path))
        with pytest.raises(RecipeError, match="cannot listen"):
            started(
                model, port=servers.servers[0].launch.port, environment=environment(tmp_path / "2"), say=said.append
            )
    assert eventually(lambda: processes_with(str(tmp_path)) == [])
    assert "healthy after" in said[-1]
    log = next((tmp_path / "logs").iterdir()).read_text()
    assert "vLLM stands in" in log
    assert log.endswith("keeper: it was ended, since the process that started it let go of it, or ended\n")


def test_the_engine_starts_its_own_servers_and_ends_them(tmp_path: Path, vocabulary_folder: Path) -> None:
    model = with_config(vocabulary_folder, tmp_path / "model")

    async def ask(engine: Engine) -> None:
        ids = vocabulary.load(model).sequence(["The bridge over the river Cole."])
        expected = await ScriptedEngine(model).complete(ids, Sampling(40))
        assert await engine.complete(ids, Sampling(40)) == expected
        assert len(await engine.score(ids[:3], ids[3:])) == len(ids) - 3
        assert engine.state().num_prompt_tokens == len(ids)
        assert [endpoint.is_healthy for endpoint in engine.state().endpoints] == [True]
        await engine.close()
        await engine.close()

    asyncio.run(ask(open_engine("vllm", model, environment=environment(tmp_path), requests=20)))
    assert eventually(lambda: processes_with(str(tmp_path)) == [])


def test_a_server_that_cannot_start_is_told_with_its_fault(tmp_path: Path, vocabulary_folder: Path) -> None:
    model = with_config(vocabulary_folder, tmp_path / "model")
    with pytest.raises(EngineError, match=r"status 1.*: .*no room for the model; its whole log is .*vllm-\d+\.log"):
        started(model, environment=environment(tmp_path, "dies"), log_folder=tmp_path)


def test_a_server_that_is_never_healthy_is_given_up(
    tmp_path: Path, vocabulary_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_config(vocabulary_folder, tmp_path / "model")
    said: list[str] = []

    def seconds() -> float:  # they pass once it has said something, however slow the machine is
        return 2.0 if any("stands in" in log.read_text() for log in tmp_path.glob("vllm-*.log")) else 0.0

    clock = SimpleNamespace(monotonic=seconds, sleep=time.sleep)
    monkeypatch.setattr("instructpt.engines.serving.vllm.time", clock)
    with pytest.raises(EngineError, match=r"not healthy after 1 s: its last words: vLLM stands in"):
        started(model, environment=environment(tmp_path, "slow"), log_folder=tmp_path, start_seconds=1, say=said.append)
    assert eventually(lambda: processes_with(str(tmp_path)) == [])


def test_a_server_that_hears_no_sigterm_is_killed_with_its_workers(
    tmp_path: Path, vocabulary_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("instructpt.engines.serving.vllm.GRACE_SECONDS", 0.5)
    model = with_config(vocabulary_folder, tmp_path / "model")
    with pytest.raises(EngineError, match="not healthy"):
        started(model, environment=environment(tmp_path, "stays"), log_folder=tmp_path, start_seconds=2)
    assert eventually(lambda: processes_with(str(tmp_path)) == [])


def test_servers_end_with_a_process_that_is_killed(tmp_path: Path, vocabulary_folder: Path) -> None:
    code = "import sys, time\nfrom instructpt.engines.serving.vllm import Settings, serve\n"
    code += "serve(sys.argv[1], Settings(environment=sys.argv[2]))\n"
    words = [sys.executable, "-c", code + "print('up', flush=True)\ntime.sleep(600)"]
    model = with_config(vocabulary_folder, tmp_path / "model")
    words += [model, environment(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as ours:
        assert ours.stdout is not None
        assert ours.stdout.readline() == "up\n"
        assert len(processes_with(str(tmp_path))) >= 3  # ours, the keeper, the server
        ours.kill()
    assert eventually(lambda: processes_with(str(tmp_path)) == [])


def test_a_server_ends_with_its_keeper(tmp_path: Path, vocabulary_folder: Path) -> None:
    model = with_config(vocabulary_folder, tmp_path / "model")
    with started(model, environment=environment(tmp_path), log_folder=tmp_path) as servers:
        servers.servers[0].process.kill()
        assert eventually(lambda: processes_with("benchmarks.scripted_server " + model) == [])
        with pytest.raises(EngineError, match="ended"):
            servers.check()


def test_an_engine_whose_server_was_killed_says_so(
    tmp_path: Path, vocabulary_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("instructpt.engines.vllm._GONE_SECONDS", 0.5)
    model = with_config(vocabulary_folder, tmp_path / "model")
    engine = VllmEngine(model, environment=environment(tmp_path), log_folder=str(tmp_path))

    async def ask() -> None:
        await engine.complete([0, 5, 6], Sampling(5))
        for process in processes_with("benchmarks.scripted_server " + model):
            os.kill(process, signal.SIGKILL)
        with pytest.raises(EngineGoneError, match=r"ended \(status 137\).*run the same command again"):
            await engine.complete([0, 5, 7], Sampling(5))
        await engine.close()

    asyncio.run(ask())


def test_models_that_are_not_there_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model"):
        started(str(tmp_path / "nothing"), environment=environment(tmp_path))
    with pytest.raises(RecipeError, match="remote:big"):
        started("remote:big", environment=environment(tmp_path / "2"))


def test_the_command_serves_tells_how_to_use_it_and_stops(tmp_path: Path, vocabulary_folder: Path) -> None:
    model, port = with_config(vocabulary_folder, tmp_path / "model"), free_port()
    code = (
        "import signal, sys\nfrom instructpt.cli.commands import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background would ignore it
        "main(['serve', sys.argv[1], '--port', sys.argv[2], '--environment', sys.argv[3]])"
    )
    words = [sys.executable, "-c", code, model, str(port), environment(tmp_path)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as ours:
        assert ours.stderr is not None
        said = []
        for line in ours.stderr:
            said.append(line)
            if line.startswith("use:"):
                ours.send_signal(signal.SIGINT)
        assert ours.wait(timeout=120) == 0
    assert f"--model {model} --endpoints http://127.0.0.1:{port}/v1" in "".join(said)
    assert any("prefix caching on" in line for line in said)
    assert "stopped" in said[-1]
    assert eventually(lambda: processes_with(str(tmp_path)) == [])


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("INFO 11-22 22:44:47 [a.py:1] loading\napi_server.py: error: unrecognized arguments: --x\n", "arguments: --x"),
        (
            "x.ValidationError: 1 validation error for M\n  Value error, too long [type=v]\n  See https://a\n",
            "too long",
        ),
        ("loading\rloading 9/9\n\n", "its last words: loading 9/9"),
        ("", "its last words: none"),
    ],
)
def test_the_fault_is_found_in_a_log(tmp_path: Path, log: str, told: str) -> None:
    path = tmp_path / "log"
    path.write_text(log)
    assert fault(path).endswith(told)


def with_config(source: Path, folder: Path) -> str:
    """A vocabulary's folder as a model's: the stand-in reads no more of it."""
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "config.json").write_text('{"max_position_embeddings": 512}')
    return str(folder)


def free_port() -> int:
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


# The real server.


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """vLLM with the synthesizer that ships."""
    try:
        find_environment()
    except InputError as error:
        pytest.skip(str(error))
    logs = tmp_path_factory.mktemp("vllm")
    with started(SHIPPED, cache_gib=1, requests=32, log_folder=logs, start_seconds=400) as servers:
        yield servers


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    words = vocabulary.load(models.resolve(SHIPPED))
    return [words.sequence([row["text"]]) for row in corpus_rows(12)]


def asked(servers: Servers, work: Callable[[Engine], Awaitable[T]]) -> T:
    async def opened() -> T:
        engine = HttpEngine(models.resolve(SHIPPED), endpoints=servers.urls, timeout_seconds=120)
        try:
            return await work(engine)
        finally:
            await engine.close()

    return asyncio.run(opened())


def test_what_is_sent_is_what_is_read_with_one_begin_of_text(real: Servers, prompts: list[list[int]]) -> None:
    body = {"model": SHIPPED, "prompt": prompts[0], "max_tokens": 3, "temperature": 0, "return_token_ids": True}
    request = urllib.request.Request(
        f"{real.urls[0]}/completions", orjson.dumps(body), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        answer = orjson.loads(response.read())
    assert answer["choices"][0]["prompt_token_ids"] == prompts[0]
    assert answer["usage"]["prompt_tokens"] == len(prompts[0])
    assert answer["usage"]["completion_tokens"] == len(answer["choices"][0]["token_ids"]) == 3
    assert prompts[0].count(vocabulary.load(models.resolve(SHIPPED)).bos) == 1


def test_greedy_answers_are_those_of_the_embedded_engine_for_most_prompts(
    real: Servers, prompts: list[list[int]]
) -> None:
    async def answers(engine: Engine) -> list[str]:
        completions = await asyncio.gather(*(engine.complete(prompt, Sampling(48)) for prompt in prompts))
        assert all(completion.num_tokens <= 48 for completion in completions)
        return [completion.text for completion in completions]

    async def embedded() -> list[str]:
        engine = TransformersEngine(models.resolve(SHIPPED), device="cpu")
        try:
            return await answers(engine)
        finally:
            await engine.close()

    equal = [a == b for a, b in zip(asked(real, answers), asyncio.run(embedded()), strict=True)]
    assert sum(equal) > len(equal) / 2


def test_an_answer_is_held_to_a_form(real: Servers, prompts: list[list[int]]) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
    forms = [Form("regex", "(yes|no){2} in [0-9]{4}"), Form("json", orjson.dumps(schema).decode())]

    async def work(engine: Engine) -> list[str]:
        asked_for = [engine.complete(prompts[i], Sampling(40, form=form)) for i, form in enumerate(forms)]
        return [completion.text for completion in await asyncio.gather(*asked_for)]

    first, second = asked(real, work)
    assert re.fullmatch(forms[0].text, first)
    assert orjson.loads(second)["n"] in (1, 2)


def test_prompts_that_do_not_fit_are_refused_and_prefixes_are_found_again(
    real: Servers, prompts: list[list[int]]
) -> None:
    async def work(engine: Engine) -> None:
        with pytest.raises(PromptRefusedError, match="maximum context length"):
            await engine.complete(prompts[0] * 200, Sampling(4))
        longer = max(prompts, key=len)[:300]
        assert len(longer) > 128  # vLLM's blocks on a CPU
        await engine.complete([*longer, 9], Sampling(4))
        before = engine.state().num_cached_tokens or 0
        await engine.complete([*longer, 10, 11], Sampling(4))
        cached = (engine.state().num_cached_tokens or 0) - before
        assert 128 <= cached <= len(longer)

    asked(real, work)


def test_log_probabilities_are_those_of_the_embedded_engine(real: Servers, prompts: list[list[int]]) -> None:
    async def work(engine: Engine) -> list[float]:
        try:
            return list(await engine.score(prompts[3][:20], prompts[3][20:60]))
        finally:
            await engine.close()

    embedded = asyncio.run(work(TransformersEngine(models.resolve(SHIPPED), device="cpu")))
    assert asked(real, work) == pytest.approx(embedded, abs=0.3)  # bfloat16 in two programs


def test_a_corpus_is_augmented_through_the_real_server(real: Servers, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", corpus_rows(8))
    stage = augment((str(corpus),), max_new_tokens=96)
    run = Run(root=str(tmp_path / "out"), workers=1, engine="http", engine_options={"endpoints": real.urls})
    make(stage, run)
    manifest = run.manifest(stage)["tally"]
    assert manifest["made"] >= 1
    assert not [name for name in manifest["counts"] if name.startswith("rejects/engine")]
