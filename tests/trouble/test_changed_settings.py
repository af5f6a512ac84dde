"""Something is changed between two runs on one folder, also while a shard is open: refused, naming what changed.

The tables hold every setting there is; a new one without a line here fails a test.
"""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import corpus_rows, write_corpus
from disturbed import Ground, complaint

from benchmarks.reports import contents
from benchmarks.scripted_engine import SCRIPTED
from instructpt.artifacts import Run, Stage, tree
from instructpt.cli.commands import main
from instructpt.corpus.filters import Thresholds
from instructpt.engines.models import model_sources
from instructpt.errors import ArtifactError
from instructpt.executors.make import make
from instructpt.recipes.augment import augment

SPEECH = {
    "dialect": "steered",
    "categories": {name: {"share": 0.5, "answers": "span"} for name in ("facts", "maths")},
    "passage_tokens": 64,
    "window_tokens": 1024,
    "max_new_tokens": 200,
}
FLAGS: dict[str, tuple[list[str], str]] = {
    "mine": (["--mine", "--categories", ""], "settings.vocabulary"),
    "categories": (["--categories", "maths=1"], 'settings.categories: "facts=2,maths=1" -> "maths=1"'),
    "pairs": (["--pairs", "3"], "settings.pairs: 5 -> 3"),
    "shots": (["--shots", "3"], "settings.shots: 2 -> 3"),
    "shard_bytes": (["--shard-bytes", "4096"], "settings.shard_bytes: 67108864 -> 4096"),
    "passage_tokens": (["--passage-tokens", "32"], "settings.budget_tokens: 64 -> 32"),
    "window_tokens": (["--window-tokens", "900"], "settings.window_tokens: 1024 -> 900"),
    "max_new_tokens": (["--max-new-tokens", "100"], "settings.max_new_tokens: 200 -> 100"),
    "checks": (["--checks", "repeats"], "settings.checks: "),
    "text_field": (["--text-field", "body"], 'settings.text_field: "text" -> "body"'),
    "id_field": (["--id-field", "name"], 'settings.id_field: "id" -> "name"'),
    "limit": (["--limit", "3"], "settings.limit: null -> 3"),
    "dialect": (["--dialect", "tags", "--categories", ""], 'settings.dialect: "auto" -> "tags"'),
    "seed": (["--seed", "1"], "settings.seed: 0 -> 1"),
}
"""Each setting of `augment`, and what is said. Files and models change below; there is one language of templates."""


@pytest.fixture
def steerable(tmp_path: Path, vocabulary_folder: Path) -> Path:
    """The folder of a model, with weights that nobody reads."""
    folder = shutil.copytree(vocabulary_folder, tmp_path / "model")
    (folder / "synthesizer.json").write_bytes(orjson.dumps(SPEECH))
    (folder / "model.safetensors").write_bytes(bytes(10_000))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


def command(corpus: Path, out: Path, model: Path) -> list[str]:
    """The one that nothing is changed in."""
    settings = ["--model", str(model), "--categories", "facts=2,maths=1"]
    return ["augment", str(corpus), *settings, "--engine", SCRIPTED, "--workers", "1", "--out", str(out)]


def flags_of(recipe: Callable[..., object]) -> set[str]:
    """The names of a recipe's flags: its parameters, and in the place of each group the group's fields."""
    names: set[str] = set()
    for name, parameter in inspect.signature(recipe).parameters.items():
        group = parameter.default
        names |= {field.name for field in fields(group)} if is_dataclass(group) else {name}
    return names


def test_every_flag_that_changes_what_is_made_is_refused_by_its_name(
    tmp_path: Path, steerable: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    of_queries = {"queries", "query_field", "query_templates", "query_embeddings"}
    put_in_between = {"near_duplicates", "reader", "student", *of_queries}  # stages of their own
    of_texts = {"language", "pair_layout"}  # which are not there yet
    of_forms = {"forms", "variants"}  # which this model cannot write
    assert set(FLAGS) == flags_of(augment) - {"files", "model"} - of_texts - put_in_between - of_forms
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(3)), tmp_path / "out"
    words = command(corpus, out, steerable)
    assert main([*words, "--engine-options", "error_share=1.0"]) == 1  # dies with its shard of groups open
    assert (out / "groups" / "recipe.json").exists()
    before = contents(out)
    capfd.readouterr()
    for flags, message in FLAGS.values():
        assert main([*words, *flags]) == 2, flags
        said = complaint(capfd.readouterr().err)
        assert message in said
        assert "use another output folder or name, or remove this one" in said
    assert contents(out) == before
    assert main(words) == 0
    assert main([*words, "--shots", "3"]) == 2


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "synthesizer.json", "chat_template.jinja"])
def test_another_model_under_the_same_path_is_refused(
    tmp_path: Path, steerable: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(3)), tmp_path / "out"
    words = command(corpus, out, steerable)
    assert main([*words, "--engine-options", "error_share=1.0"]) == 1
    path = steerable / name
    path.write_bytes(path.read_bytes()[:-1] + (b"\x01" if name == "model.safetensors" else b"\n}"[-1:] + b"\n"))
    capfd.readouterr()
    assert main(words) == 2
    assert f"sources.model/{name}: " in complaint(capfd.readouterr().err)


def test_one_tuned_tensor_of_a_large_file_makes_another_model(tmp_path: Path, steerable: Path) -> None:
    """One of a thousand, in 80 MB: more than is read as a whole, and the rest is as it was."""
    path, run, num_bytes = steerable / "model.safetensors", Run(root=str(tmp_path)), 80_000
    places = {str(i): [i * num_bytes, (i + 1) * num_bytes] for i in range(1000)}
    header = orjson.dumps(
        {name: {"dtype": "U8", "shape": [num_bytes], "data_offsets": at} for name, at in places.items()}
    )
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 1000 * num_bytes)
    before = model_sources(str(steerable), run)
    for number in (123, 456, 789):
        with path.open("r+b") as file:
            file.seek(8 + len(header) + number * num_bytes)
            file.write(b"\x01" * num_bytes)
        after = model_sources(str(steerable), run)
        assert {name for name in after if after[name] != before[name]} == {"model/model.safetensors"}, number
        before = after


@pytest.mark.parametrize("change", ["another line", "a line less", "other text of the same length", "another file"])
def test_a_changed_corpus_is_refused(
    tmp_path: Path, steerable: Path, capfd: pytest.CaptureFixture[str], change: str
) -> None:
    folder, out = tmp_path / "corpus", tmp_path / "out"
    folder.mkdir()
    rows = corpus_rows(4)
    write_corpus(folder / "my.jsonl", rows)
    words = command(folder, out, steerable)
    assert main([*words, "--engine-options", "error_share=1.0"]) == 1
    if change == "another line":
        write_corpus(folder / "my.jsonl", corpus_rows(5))
    elif change == "a line less":
        write_corpus(folder / "my.jsonl", rows[:3])
    elif change == "another file":
        write_corpus(folder / "more.jsonl", rows[:1])
    else:
        write_corpus(folder / "my.jsonl", [*rows[:3], rows[3] | {"text": rows[3]["text"].replace("1843", "1844")}])
    capfd.readouterr()
    assert main(words) == 2
    assert f"sources.{folder / ('more' if change == 'another file' else 'my')}.jsonl" in complaint(
        capfd.readouterr().err
    )


def test_another_wording_of_the_chat_dialect_is_refused(
    tmp_path: Path, steerable: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from instructpt.synthesis.prompts import FOLDER

    wording = shutil.copy(FOLDER / "english.toml", tmp_path / "mine.toml")
    (steerable / "synthesizer.json").unlink()
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(3)), tmp_path / "out"
    settings = ["--model", str(steerable), "--dialect", f"chat:{wording}", "--passage-tokens", "64"]
    words = ["augment", str(corpus), *settings, "--engine", SCRIPTED, "--workers", "1", "--out", str(out)]
    assert main([*words, "--engine-options", "error_share=1.0"]) == 1
    Path(wording).write_text(Path(wording).read_text().replace("pairs", "couples", 1))
    capfd.readouterr()
    assert main(words) == 2
    assert "sources.wording: " in complaint(capfd.readouterr().err)


OTHER_VALUES = {
    "thresholds": Thresholds(min_characters=10),
    "kind": "task",
    "language": "english",
    "dialect": "steered",
    "name": None,
}
"""Of settings that are no plain number, switch or text. A name is the folder itself."""


def other(name: str, value: Any) -> Any:
    """Another value for a setting."""
    if name in OTHER_VALUES:
        return OTHER_VALUES[name]
    if isinstance(value, bool):
        return not value
    if value is None or isinstance(value, int):
        return (value or 0) + 1
    if isinstance(value, float):
        return value + 0.5
    return value[:-1] if isinstance(value, tuple) else f"{value}x"


def changed(stage: Stage[Any], name: str, setting: str, value: Any) -> Any:
    """The tree with another value of a setting in the stage of that name."""
    values = {f.name: getattr(stage, f.name) for f in fields(stage)}
    inputs = {k: changed(v, name, setting, value) for k, v in values.items() if isinstance(v, Stage)}
    return replace(stage, **inputs, **({setting: value} if stage.name == name else {}))


def test_every_setting_of_every_stage_is_refused_by_its_name(ground: Ground, tmp_path: Path) -> None:
    """Also those that no flag sets, such as the size of a shard, while a shard is open."""
    out, recipe = shutil.copytree(ground.half, tmp_path / "out"), ground.recipe()
    before, tried = contents(out), set()
    run = Run(root=str(out), workers=1, engine=SCRIPTED)
    for stage in tree(recipe):
        for field in fields(stage):
            value = getattr(stage, field.name)
            wanted = other(field.name, value)
            if isinstance(value, Stage) or field.name in ("model", "vocabulary") or wanted in (None, value):
                continue
            if not (out / stage.name / "recipe.json").exists():
                continue  # not begun yet
            with pytest.raises(ArtifactError, match=re.escape(f"settings.{field.name}")):
                make(changed(recipe, stage.name, field.name, wanted), Run(root=str(out), workers=1, engine=SCRIPTED))
            tried.add((stage.name, field.name))
    assert {("documents", "shard_bytes"), ("groups", "temperature"), ("groups", "shots")} < tried
    assert len(tried) > 15
    assert contents(out) == before
    make(recipe, run)
    assert contents(out) == contents(ground.whole)
