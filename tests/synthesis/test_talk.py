"""How a model is talked with: what its folder says, what a user may ask for because of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest

from instructpt.artifacts import Product, Run, Stage
from instructpt.engines.models import Category, Speech, read_speech, speaks
from instructpt.errors import InputError, RecipeError
from instructpt.executors.make import make
from instructpt.synthesis.stages import talk
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
SPEECH = Speech("steered", {"narrative QA": Category(0.75, "span"), "maths": Category(0.25, "free")}, 384, 1024, 400)


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


@pytest.mark.parametrize(("where", "expected"), [(".", SPEECH), ("model", SPEECH), ("nowhere", None)])
def test_a_model_says_how_it_is_talked_with(tmp_path: Path, where: str, expected: Speech | None) -> None:
    run = Run(root=str(tmp_path), workers=1)
    model = Released(name="model", where=where)
    make(model, run)
    assert speaks(model, run) == expected
    if where == "model":
        assert speaks(str(tmp_path / "model" / "00000" / "model"), run) == expected
    assert SPEECH.answers == {"narrative QA": "span", "maths": "free"}


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"dialect": "steered", "categories": {"maths": {}}}'])
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "synthesizer.json").write_text(text)
    with pytest.raises(InputError, match=r"synthesizer\.json cannot be read"):
        read_speech(tmp_path)


@pytest.mark.parametrize(
    ("dialect", "speech", "expected"),
    [("auto", None, Tags), ("auto", SPEECH, Steered), ("tags", SPEECH, Tags), ("steered", None, Steered)],
)
def test_the_users_word_goes_before_the_models(dialect: str, speech: Speech | None, expected: type) -> None:
    chosen = talk(dialect=dialect, categories="", pairs=5, speech=speech)
    assert isinstance(chosen.dialect, expected)
    assert chosen.mix is None


def test_names_are_judged_by_what_the_model_knows() -> None:
    chosen = talk(dialect="auto", categories="maths=3,narrative QA=1", pairs=5, speech=SPEECH)
    assert chosen.mix is not None
    assert chosen.mix.shares == (("maths", 0.75), ("narrative QA", 0.25))
    with pytest.raises(RecipeError, match=r"did you mean 'maths'\?"):
        talk(dialect="auto", categories="math", pairs=5, speech=SPEECH)
    assert talk(dialect="steered", categories="math", pairs=5, speech=None).mix is not None
    with pytest.raises(RecipeError, match="broken_category"):
        talk(dialect="steered", categories="a|b", pairs=5, speech=None)
    with pytest.raises(RecipeError, match="the dialect tags cannot ask for categories"):
        talk(dialect="auto", categories="maths", pairs=5, speech=None)
