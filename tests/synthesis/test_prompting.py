"""How a model is asked: what its folder says, what a user may ask for because of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest

from instructpt.artifacts import Product, Run, Stage
from instructpt.engines.models import Prompting, prompting_of, read_prompting, remote_prompting
from instructpt.errors import InputError, RecipeError
from instructpt.executors.make import make
from instructpt.synthesis.dialects import open_dialect
from instructpt.synthesis.mix import mix_of
from instructpt.synthesis.steered import Steered
from instructpt.synthesis.tags import Tags

WORDS = {
    "dialect": "steered",
    "categories": {
        "narrative QA": {"share": 0.75, "answers": "span"},
        "maths": {"share": 0.25, "answers": "free"},
    },
    "passage_tokens": 384,
    "window_tokens": 1024,
    "max_new_tokens": 400,
}
PROMPTING = Prompting("steered", {"narrative QA": "span", "maths": "free"}, 384, 1024, 400)


@dataclass(frozen=True, kw_only=True)
class Released(Stage[Any]):
    """A stage whose product holds a model, in the folder `where`."""

    product: ClassVar[Product] = "folder"
    takes: ClassVar[str] = "models"
    makes: ClassVar[str] = "texts"

    where: str

    def num_shards(self, run: Run) -> int:
        return 1

    def build(self, index: int, run: Run, path: Path) -> None:
        (path / "model").mkdir(parents=True, exist_ok=True)
        if self.where != "nowhere":
            (path / self.where / "synthesizer.json").write_bytes(orjson.dumps(WORDS))


@pytest.mark.parametrize(("where", "expected"), [(".", PROMPTING), ("model", PROMPTING), ("nowhere", Prompting())])
def test_a_model_says_how_it_is_asked(tmp_path: Path, where: str, expected: Prompting) -> None:
    run = Run(root=str(tmp_path), workers=1)
    model = Released(name="model", where=where)
    make(model, run)
    assert prompting_of(model, run) == expected
    if where == "model":
        assert prompting_of(str(tmp_path / "model" / "00000" / "model"), run) == expected
    assert PROMPTING.answers == {"narrative QA": "span", "maths": "free"}


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"dialect": "steered", "categories": {"maths": {}}}'])
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "synthesizer.json").write_text(text)
    with pytest.raises(InputError, match=r"synthesizer\.json cannot be read"):
        read_prompting(tmp_path)


@pytest.mark.parametrize(
    ("dialect", "own", "expected"),
    [
        ("auto", Prompting(), Tags),
        ("auto", PROMPTING, Steered),
        ("tags", PROMPTING, Tags),
        ("steered", Prompting(), Steered),
    ],
)
def test_the_users_word_goes_before_the_models(dialect: str, own: Prompting, expected: type) -> None:
    prompting = own.wished(dialect=dialect, pairs=None)
    assert isinstance(open_dialect(prompting.dialect), expected)
    assert mix_of(prompting) is None
    assert prompting.pairs == 5


def test_a_models_own_mix_is_for_its_own_dialect() -> None:
    own = replace(PROMPTING, mix="maths=1")
    assert own.wished(pairs=2) == replace(own, pairs=2)
    assert own.wished(dialect="tags").mix == ""
    assert own.wished(dialect="answers", mix="maths=2").mix == "maths=2"
    assert own.wished(mix="").mix == "", "an empty mix is a wish: leave the choice to the model"


def test_names_are_judged_by_what_the_model_knows() -> None:
    mix = mix_of(PROMPTING.wished(mix="maths=3,narrative QA=1"))
    assert mix is not None
    assert mix.shares == (("maths", 0.75), ("narrative QA", 0.25))
    with pytest.raises(RecipeError, match=r"did you mean 'maths'\?"):
        mix_of(PROMPTING.wished(mix="math"))
    assert mix_of(Prompting("steered", mix="math")) is not None
    with pytest.raises(RecipeError, match="broken_category"):
        mix_of(Prompting("steered", mix="a|b"))
    with pytest.raises(RecipeError, match="the dialect tags cannot ask for categories"):
        mix_of(Prompting(mix="maths"))
    with pytest.raises(RecipeError, match="give at least 1"):
        mix_of(PROMPTING.wished(pairs=0))


def write_model(folder: Path, *, parameters: int, chats: bool) -> Path:
    """A folder whose weights have a header and a hole in place of the numbers."""
    folder.mkdir()
    num_bytes = 2 * parameters
    header = orjson.dumps({"w": {"dtype": "F16", "shape": [parameters], "data_offsets": [0, num_bytes]}})
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + num_bytes)
    if chats:
        (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


@pytest.mark.parametrize(
    ("parameters", "chats", "dialect", "expected"),
    [
        (135_000_000, True, "auto", "chat:lines"),
        (135_000_000, True, "chat:german", "chat:lines:german"),
        (135_000_000, True, "chat:json", "chat:json"),
        (135_000_000, True, "tags", "tags"),
        (135_000_000, False, "auto", "tags"),
        (3_000_000_000, True, "auto", "chat"),
        (3_000_000_000, True, "chat:german", "chat:german"),
        (3_000_000_000, True, "chat:lines", "chat:lines"),
    ],
)
def test_an_instruct_model_is_asked_for_what_its_size_can_write(
    tmp_path: Path, parameters: int, chats: bool, dialect: str, expected: str
) -> None:
    folder = write_model(tmp_path / "model", parameters=parameters, chats=chats)
    asked = read_prompting(folder).wished(dialect=dialect).dialect
    assert asked == expected
    open_dialect(asked)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("remote:Qwen3-0.6B", "chat:lines"),
        ("remote:HuggingFaceTB/SmolLM2-360M-Instruct", "chat:lines"),
        ("remote:llama3.2:1b", "chat:lines"),
        ("remote:Llama-3.1-8B-Instruct-4bit", "chat"),
        ("remote:gpt-oss-120b", "chat"),
        ("remote:some-model", "chat"),
    ],
)
def test_a_remote_model_is_as_large_as_its_name_says(name: str, expected: str) -> None:
    assert remote_prompting(name).dialect == expected
