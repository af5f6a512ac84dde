"""The command line as a newcomer meets it."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import corpus_rows, write_corpus
from written_artifact import write_artifact

from instructpt.cli.commands import COMMANDS, main
from instructpt.errors import InputError, RecipeError
from instructpt.recipes import RECIPES, open_recipe
from instructpt.recipes.flags import Asking, Reading
from instructpt.records import Score


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name}" in shown for name in COMMANDS)
    assert main([]) == 2


@pytest.mark.parametrize("words", [[name] for name in COMMANDS] + [["run", "demo"], ["plan", "demo"]], ids=" ".join)
def test_every_command_has_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*words, "--help"])
    assert stop.value.code == 0
    assert "usage" in capsys.readouterr().out.lower()


def test_a_recipes_arguments_are_flags_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["augment", "--help"])
    shown = capsys.readouterr().out
    for words in ("--passage-tokens", "Length limit of a passage", "--model", "--out", "--workers", "--text-field"):
        assert words in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["augmemt"], "no command is called 'augmemt'"),
        (["run"], "no recipe is named: instructpt run RECIPE"),
        (["run", "nothing", "--out", "x"], "no recipe is called 'nothing'"),
        (["run", "nowhere.py:recipe", "--out", "x"], "no file nowhere.py"),
        (["show", "nowhere"], "holds no finished artifact"),
        (["report", "nowhere"], "no folder nowhere"),
        (["augment", "--out", "x"], "no input is given"),
        (["augment", "a.jsonl", "--out", "x", "--passage-tokens", "4000"], "do not fit a window of 1024"),
        (["augment", "a.jsonl", "--out", "x", "--engine-options", "max_batch"], "give name=value"),
        (["bench", "nothing"], "no benchmark is called 'nothing'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error


def test_plan_tells_what_is_there_and_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(3)), tmp_path / "out"
    assert main(["plan", "augment", str(corpus), "--mine", "--out", str(out)]) == 0
    assert capsys.readouterr().out.count("missing") == 8
    assert not out.exists()
    assert main(["augment", str(corpus), "--mine", "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["plan", "augment", str(corpus), "--mine", "--out", str(out)]) == 0
    assert capsys.readouterr().out.count("done") == 8


def test_a_plan_needs_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "synthesizer"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("missing") > 5
    assert "done" not in shown


@pytest.mark.parametrize(("command", "said"), [("augment", "goes on from there"), ("plan", "a plan keeps nothing")])
def test_a_command_that_is_stopped_says_what_is_kept(
    command: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(words: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, command, stop)
    assert main([command]) == 130
    assert said in capsys.readouterr().err


def test_a_recipes_groups_of_flags_are_keywords_too() -> None:
    augment = open_recipe("augment")
    flat = augment(("a.jsonl",), mine=True, limit=3, passage_tokens=64)
    grouped = augment(("a.jsonl",), mine=True, reading=Reading(limit=3), asking=Asking(passage_tokens=64))
    assert flat == grouped
    with pytest.raises(TypeError, match="passage_token"):
        augment(("a.jsonl",), mine=True, passage_token=64)


def test_show_prints_records_and_obeys_no_control_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = corpus_rows(2)
    rows[0]["text"] = "\x1b[31m[red]danger[/red]\x1b[0m\u202e " + rows[0]["text"]
    out = tmp_path / "out"
    assert main(["augment", str(write_corpus(tmp_path / "my.jsonl", rows)), "--mine", "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["show", str(out / "documents"), "1"]) == 0
    shown = capsys.readouterr().out
    assert "\\x1b[31m[red]danger[/red]" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert main(["show", str(out / "groups"), "1"]) == 0
    assert "Q: " in capsys.readouterr().out


def test_show_prints_the_scores_of_every_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = ("f1", "exact_match", "containment", "bits_per_byte")
    scores = [Score("exam", metric, 0.25, 0.01, 72, model) for model in ("before", "after") for metric in metrics]
    assert main(["show", str(write_artifact(tmp_path / "scores", Score, [scores]))]) == 0
    shown = capsys.readouterr().out.split("\n")
    assert shown[1].split() == ["task", "metric", "before", "after", "items"]
    assert [line.split()[1] for line in shown[2:6]] == list(metrics)
    assert all(line.count("0.2500") == 2 for line in shown[2:6])


def test_a_recipe_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my.py").write_text(
        "from instructpt.corpus.stages import Read\n\n"
        "def only_read(*, files: tuple[str, ...], limit: int = 3) -> Read:\n"
        '    """Reads."""\n'
        "    return Read(name='mine', files=files, limit=limit)\n"
    )
    corpus = write_corpus(tmp_path / "my.jsonl", corpus_rows(9))
    words = ["run", f"{tmp_path / 'my.py'}:only_read", "--files", str(corpus), "--out", str(tmp_path / "out")]
    assert main([*words, "--limit", "4"]) == 0
    assert pq.read_table(tmp_path / "out" / "mine" / "00000.parquet").num_rows == 4
    assert "4 documents" in (tmp_path / "out" / "report.html").read_text()
    with pytest.raises(InputError, match="defines no function 'other'"):
        open_recipe(f"{tmp_path / 'my.py'}:other")


def test_every_recipe_opens() -> None:
    for name in RECIPES:
        assert callable(open_recipe(name))
    with pytest.raises(RecipeError, match="no recipe is called"):
        open_recipe("nothing")
