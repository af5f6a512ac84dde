"""`instructpt verify` as a user meets it: doubtful pairs go for a counted reason."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from judge_server import serve

from benchmarks.scripted_engine import SCRIPTED
from instructpt.artifacts import Run, Stage
from instructpt.cli.commands import main
from instructpt.errors import EngineGoneError, NothingMadeError, RecipeError
from instructpt.executors.make import make
from instructpt.recipes.verify import verify
from instructpt.records import Document, Group, Pair, Shot, Text
from instructpt.report.artifacts import Artifact, load_one
from instructpt.verification.checks.passage import Seen, signature
from instructpt.verification.consistency import JUDGED_WRONG, Consistency, agree
from instructpt.verification.texts import INCONSISTENT

BRIDGE = "The bridge at Aldham was built by Ada Brekke. In 1921 its western pillar sank by 4 centimetres."
MILL = "The mill of Aldham stands beside the bridge. It was built by Ada Brekke, who owned both until 1887."
RIGHT = Pair("Who built the bridge at Aldham?", "Ada Brekke")
OPTION = Pair("Which pillar sank?", "the western", options=("the western", "the eastern"))
DOUBTFUL = {
    "unsupported_number": Pair("When did its western pillar sink?", "It sank in the year 1912, all of a sudden."),
    "unsupported_name": Pair("What is said about its builder?", "That she learned it from Jonas Lund in her youth."),
    "unsafe_markup": Pair("What sank by 4 centimetres?", "its pillar <img src=x onerror=alert(1)>"),
    "near_duplicate": Pair("Well, who built the bridge at Aldham?", "Ada Brekke"),
}
GROUPS = (
    Group("g0", (Shot(Document("p0", BRIDGE, "tales"), (RIGHT, OPTION, *DOUBTFUL.values())),)),
    Group("g1", (Shot(Document("p1", MILL, "tales"), (RIGHT, Pair("Who owned both?", "Ada Brekke"))),)),
)


def same(group: Group) -> Group:
    return group


def with_categories(group: Group) -> Group:
    """Every second pair of a kind that a reader does not know, the others of one that it does, or of none."""
    names = ("title writing", "extractive QA", "title writing", None)
    shots = [
        replace(s, pairs=tuple(replace(p, category=names[i % 4]) for i, p in enumerate(s.pairs))) for s in group.shots
    ]
    return replace(group, shots=tuple(shots))


def with_reasons(group: Group) -> Group:
    shots = [replace(s, pairs=tuple(replace(p, rationale="It says so.") for p in s.pairs)) for s in group.shots]
    return replace(group, shots=tuple(shots))


@dataclass(frozen=True, kw_only=True)
class Written(Stage[Any]):
    """Records as they are given."""

    record: ClassVar[Any] = Group
    takes: ClassVar[str] = "passages"
    makes: ClassVar[str] = "passages"

    kind: str = "groups"

    def num_shards(self, run: Run) -> int:
        return 1

    def shard(self, index: int, run: Run) -> Iterator[Any]:
        for group in GROUPS:
            run.tally.take()
            run.tally.keep()
            yield {"with reasons": with_reasons, "with categories": with_categories}.get(self.kind, same)(group)


@dataclass(frozen=True, kw_only=True)
class WrittenTexts(Written):
    """Texts, in which there are no pairs."""

    record: ClassVar[Any] = Text

    def shard(self, index: int, run: Run) -> Iterator[Any]:
        run.tally.take()
        run.tally.keep()
        yield Text("t", BRIDGE, "tales", "raw")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    make(Written(name="groups"), Run(root=str(root), workers=1))
    return root / "groups"


def pairs(artifact: Artifact) -> list[Pair]:
    """As they were written, without what a second answer says of them."""
    return [replace(pair, span=None, agreement=None) for pair in as_they_are(artifact)]


def as_they_are(artifact: Artifact) -> list[Pair]:
    return [pair for group in artifact.records(Group) for shot in group.shots for pair in shot.pairs]


def reasons(artifact: Artifact) -> list[str]:
    return [reject.reason for group in artifact.records(Group) for shot in group.shots for reject in shot.rejects]


def test_doubtful_pairs_go_for_a_reason_that_is_printed(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in corpus.rglob("*") if path.is_file()}
    assert main(["verify", str(corpus), "--out", str(tmp_path), "--workers", "1"]) == 0
    checked = load_one(str(tmp_path / "checked"))
    assert pairs(checked) == [RIGHT, OPTION, Pair("Who owned both?", "Ada Brekke")]
    assert reasons(checked) == [*DOUBTFUL, "near_duplicate"], "the last was asked in the passage before"
    assert checked.tally.counts["checked"] == 8
    assert checked.named_counts("left_out") == {name: 1 + (name == "near_duplicate") for name in DOUBTFUL}
    told = capsys.readouterr().out
    for name in DOUBTFUL:
        assert name in told
    assert "62.50 %" in told
    assert {path: path.read_bytes() for path in before} == before, "the corpus stays as it was"
    assert "unsupported_number" in (tmp_path / "report.html").read_text()


def test_checks_are_chosen_by_name(corpus: Path, tmp_path: Path) -> None:
    assert main(["verify", str(corpus), "--checks", "unsafe_markup", "--out", str(tmp_path), "--workers", "1"]) == 0
    assert reasons(load_one(str(tmp_path / "checked"))) == ["unsafe_markup"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--checks", "spelling"], "no check is called 'spelling'"),
        (["--min-score", "9", "--judge", "http://h", "--judge-model", "m"], "--min-score is 9.0: give at least 0"),
        (["--min-score", "4", "--judge", "http://", "--judge-model", "m"], "the endpoint http:// is no address"),
        (["--consistency", "shipped:synthesizer", "--min-f1", "0"], "min_f1 is 0"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(
    corpus: Path, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(corpus), *words, "--out", str(tmp_path / "out"), "--workers", "1"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert message in said[-1]
    assert not list((tmp_path / "out").glob("checked/*.parquet"))


def test_only_finished_artifacts_of_groups_are_taken(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(WrittenTexts(name="texts"), Run(root=str(tmp_path), workers=1))
    for folder, message in ((tmp_path / "texts", "holds Text"), (corpus.parent, "no finished artifact")):
        assert main(["verify", str(folder), "--out", str(tmp_path / "out")]) in (1, 2)
        assert message in capsys.readouterr().err


def answering(asked: list[str], *, breaks_after: int | None = None) -> Any:
    """A script that knows who built the bridge, has nothing to say of when a pillar sank, and may die."""

    def script(prompt: str) -> str:
        if breaks_after is not None and len(asked) >= breaks_after:
            raise EngineGoneError("the engine is gone")
        asked.append(prompt)
        question = prompt.rpartition("<QUE>")[2].partition("<ANS>")[0]
        if "pillar sink" in question:
            return " </END>"
        if "pillar" in question:
            return " the eastern </END>"
        return " it was Ada Brekke </END>" if "who" in question.casefold() else " nobody knows </END>"

    return script


def asking(root: Path, asked: list[str], **changes: Any) -> Run:
    return Run(root=str(root), workers=1, engine=SCRIPTED, engine_options={"script": answering(asked, **changes)})


def test_a_second_answer_that_differs_is_a_reason_and_none_is_not(
    corpus: Path, tmp_path: Path, vocabulary_folder: Path
) -> None:
    stage = verify(str(corpus), checks=("empty",), consistency=(str(vocabulary_folder),), dialect="tags")
    asked: list[str] = []
    make(stage, asking(tmp_path, asked))
    found = load_one(str(tmp_path / "consistent"))
    assert pairs(found) == [
        RIGHT,
        DOUBTFUL["unsupported_number"],  # no usable answer: nothing is said against it
        DOUBTFUL["near_duplicate"],
        RIGHT,
        Pair("Who owned both?", "Ada Brekke"),
    ]
    asked_again = [(pair.agreement, pair.span) for pair in as_they_are(found)]
    by_brekke = (BRIDGE.index("Ada"), BRIDGE.index("Ada") + len("Ada Brekke"))
    assert asked_again[:3] == [(0.6667, by_brekke), (None, None), (0.6667, by_brekke)]
    assert set(reasons(found)) == {INCONSISTENT}
    assert found.named_counts("left_out") == {INCONSISTENT: 3}
    assert sum(found.named_counts("unanswered").values()) == 1
    [reject, *_] = [reject for group in found.records(Group) for shot in group.shots for reject in shot.rejects]
    assert reject.text.splitlines() == [OPTION.question, "the western", "the eastern"], "both answers, to be compared"
    assert all(BRIDGE in prompt or MILL in prompt for prompt in asked)


def test_the_reader_that_ships_is_asked_unless_models_are_named_and_all_of_these_must_agree(
    corpus: Path, vocabulary_folder: Path
) -> None:
    shipped = verify(str(corpus), consistency=())
    assert isinstance(shipped, Consistency)
    assert shipped.model == "shipped:reader"
    second = verify(str(corpus), consistency=(str(vocabulary_folder), "remote:reader"))
    assert isinstance(second, Consistency)
    assert isinstance(second.groups, Consistency)
    assert [one.model for one in (second.groups, second)] == [str(vocabulary_folder), "remote:reader"]
    assert not isinstance(verify(str(corpus)), Consistency)
    with pytest.raises(RecipeError, match="--min-likelihood is for readers"):
        verify(str(corpus), consistency=(str(vocabulary_folder),), min_likelihood=0.5)


def test_an_interrupted_run_asks_for_the_rest_alone(corpus: Path, tmp_path: Path, vocabulary_folder: Path) -> None:
    stage = verify(str(corpus), checks=("empty",), consistency=(str(vocabulary_folder),), dialect="tags")
    first: list[str] = []
    with pytest.raises(EngineGoneError):
        make(stage, asking(tmp_path, first, breaks_after=3))
    second: list[str] = []
    make(stage, asking(tmp_path, second))
    assert len(first) == 3
    assert not set(first) & set(second)
    whole: list[str] = []
    make(stage, asking(tmp_path / "whole", whole))
    assert set(first) | set(second) == set(whole)
    files = [(root / "consistent" / "00000.parquet").read_bytes() for root in (tmp_path, tmp_path / "whole")]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("pair", "answer", "kind", "agreement"),
    [
        (Pair("Where?", "in the old hut"), "the hut", "", 0.5),
        (Pair("Who?", "Ada Brekke"), "Jonas Lund", "free", 0),
        (OPTION, "the eastern", "", 0),
        (OPTION, "The western.", "", 1),
        (Pair("Why?", "They stayed at home because it rained hard"), "because it rained", "", 1),
        (Pair("Who?", "Ada Brekke of Aldham"), "Ada Brekke", "span", 2 / 3),
        (Pair("Who?", "Ada Brekke of Aldham"), "Ada Brekke", "free", 1),
        (Pair("Why?", "They stayed at home because it rained hard"), "rained", "free", 2 / 9),
        (Pair("Who?", "Ada Brekke"), "The text does not say.", "free", 0),
    ],
)
def test_how_much_two_answers_agree(pair: Pair, answer: str, kind: str, agreement: float) -> None:
    assert agree(pair, answer, kind=kind) == pytest.approx(agreement, abs=1e-9)


def test_a_reader_is_asked_for_the_answer_alone_and_may_say_that_there_is_none(
    corpus: Path, tmp_path: Path, vocabulary_folder: Path
) -> None:
    folder = tmp_path / "reader"
    shutil.copytree(vocabulary_folder, folder)
    said = {"dialect": "tags", "categories": {}, "unanswerable": "The text does not say."}
    (folder / "synthesizer.json").write_text(json.dumps(said))
    asked: list[str] = []

    def script(prompt: str) -> str:
        asked.append(prompt)
        return " Ada Brekke </END>" if "uilt" in prompt.rpartition("<QUE>")[2] else " The text does not say. </END>"

    reasoned = Consistency(
        name="consistent", groups=Written(name="groups", kind="with reasons"), model=str(folder), guided=False
    )
    make(reasoned, Run(root=str(tmp_path), workers=1, engine=SCRIPTED, engine_options={"script": script}))
    found = load_one(str(tmp_path / "consistent"))
    assert {pair.answer for pair in as_they_are(found)} == {"Ada Brekke"}
    assert {pair.rationale for pair in as_they_are(found)} == {"It says so."}
    assert {pair.agreement for pair in as_they_are(found)} == {1.0}
    assert not any("step by step" in prompt for prompt in asked)


def test_a_reader_says_how_likely_it_holds_an_answer_where_its_folder_says_so(
    corpus: Path, tmp_path: Path, vocabulary_folder: Path
) -> None:
    folder = tmp_path / "reader"
    shutil.copytree(vocabulary_folder, folder)
    said = {"dialect": "tags", "categories": {}, "unanswerable": "The text does not say.", "min_likelihood": 0.5}
    (folder / "synthesizer.json").write_text(json.dumps(said))
    stage = Consistency(name="consistent", groups=Written(name="groups", kind="same"), model=str(folder), guided=False)

    def run(root: Path) -> Run:
        options = {"script": lambda _: " Ada Brekke </END>"}
        return Run(root=str(root), workers=1, engine=SCRIPTED, engine_options=options)

    make(stage, run(tmp_path))
    found = load_one(str(tmp_path / "consistent"))
    kept = as_they_are(found)
    assert {pair.answer for pair in kept} == {"Ada Brekke"}
    assert {pair.agreement for pair in kept} == {round(math.exp(-0.1), 4)}
    assert all(pair.span for pair in kept)
    rejects = [reject for group in found.records(Group) for shot in group.shots for reject in shot.rejects]
    doubtful = [reject.text for reject in rejects if reject.reason == INCONSISTENT]
    assert doubtful
    assert all(text.endswith("(held likely to 0.000)") for text in doubtful)
    with pytest.raises(NothingMadeError):
        make(replace(stage, min_likelihood=0.95), run(tmp_path / "strict"))
    with pytest.raises(RecipeError, match=r"min_likelihood is 1.5: give a share above 0"):
        replace(stage, min_likelihood=1.5)


def test_a_reader_is_not_asked_about_kinds_of_pairs_that_it_was_not_tuned_on(
    tmp_path: Path, vocabulary_folder: Path
) -> None:
    folder = tmp_path / "reader"
    shutil.copytree(vocabulary_folder, folder)
    categories = {"extractive QA": {"share": 1, "answers": "span"}}
    said = {"dialect": "tags", "categories": categories, "unanswerable": "The text does not say."}
    (folder / "synthesizer.json").write_text(json.dumps(said))
    written = Written(name="groups", kind="with categories")
    stage = Consistency(name="consistent", groups=written, model=str(folder), guided=False)
    run = Run(
        root=str(tmp_path),
        workers=1,
        engine=SCRIPTED,
        engine_options={"script": lambda _: " The text does not say. </END>"},
    )
    make(stage, run)
    kept = as_they_are(load_one(str(tmp_path / "consistent")))
    assert {pair.category for pair in kept} == {"title writing"}
    assert {pair.agreement for pair in kept} == {None}
    counts = run.manifest(stage)["tally"]["counts"]
    assert counts["unanswered/unknown_category"] == len(kept) > 0
    assert counts["left_out/inconsistent"] > 0


def test_a_judge_scores_with_a_rubric_of_the_users(corpus: Path, tmp_path: Path) -> None:
    rubric = tmp_path / "rubric.md"
    rubric.write_text('{passage} | {question} | {answer}: reply {"score": 0 to 10}')

    def behave(prompt: str, _: int) -> tuple[int, str]:
        if "onerror" in prompt:
            return 400, "unsafe"
        return 200, f'Well. {{"score": {9 if "who" in prompt.casefold() else 2}}}'

    with serve() as server:
        server.behaviour = behave
        stage = verify(
            str(corpus),
            checks=("empty",),
            judge=server.url,
            judge_model="wise",
            rubric=str(rubric),
            min_score=7,
        )
        make(stage, Run(root=str(tmp_path), workers=1))
        num_asked = len(server.asked)
    found = load_one(str(tmp_path / "judged"))
    assert num_asked == 8
    assert set(reasons(found)) == {JUDGED_WRONG}
    assert DOUBTFUL["unsafe_markup"] in pairs(found), "without an opinion a pair stays"
    assert found.named_counts("unanswered") == {"prompt_refused": 1}
    assert len(pairs(found)) + len(reasons(found)) == 8


def test_a_rubric_has_places_for_the_pair(tmp_path: Path, corpus: Path) -> None:
    (tmp_path / "rubric.md").write_text("How good is {answer}?")
    stage = verify(str(corpus), judge="http://127.0.0.1:9/v1", judge_model="m", rubric=str(tmp_path / "rubric.md"))
    with pytest.raises(RecipeError, match=r"has no \{passage\}, \{question\}"):
        make(stage, Run(root=str(tmp_path / "out"), workers=1))


def test_what_is_remembered_is_bounded_and_the_oldest_is_forgotten() -> None:
    seen = Seen(max_pairs=64)
    for number in range(200):
        seen.add(signature(f"Which of the towns was number {number} on the list?", f"Town {number * 7919}"))
    assert len(seen._signatures if seen._signatures is not None else ()) == 64
    assert seen.holds(signature("Which of the towns was number 199 on the list?", f"Town {199 * 7919}"))
    assert not seen.holds(signature("Which of the towns was number 3 on the list?", f"Town {3 * 7919}"))


def test_questions_that_differ_in_a_number_are_two() -> None:
    seen = Seen()
    seen.add(signature("Who won the race in the year 1921?", "Ada Brekke"))
    assert seen.holds(signature("who won the race, in the year 1921", "Ada Brekke."))
    assert not seen.holds(signature("Who won the race in the year 1922?", "Ada Brekke"))
