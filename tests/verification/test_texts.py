"""Texts in forms are checked again by their form's rules and by a reader: what goes has a reason, the rest stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest

from benchmarks.scripted_engine import SCRIPTED
from instructpt.artifacts import Run, Stage
from instructpt.cli.commands import main
from instructpt.executors.make import make
from instructpt.records import Document, Group, Reject, Shot, Writing
from instructpt.report.artifacts import load_one
from instructpt.synthesis.forms import FOLDER, by_label
from instructpt.verification.consistency import Consistency
from instructpt.verification.texts import agreement, checked_texts

PASSAGE = (
    "Mary Ashworth built the bridge over the Cole in 1843. It is 212 metres long and carries two railway lines. "
    "In 1921 the western pillar sank by 4 centimetres, and trains were stopped for a month."
)
FACTS = (
    "Mary Ashworth built the bridge over the Cole in 1843.",
    "The bridge over the Cole is 212 metres long.",
    "The western pillar sank in 1843.",
    "Two railway lines cross the bridge of Mary Ashworth.",
)
FAQ = (
    "Who built the bridge over the Cole?\nIt was built by Mary Ashworth in 1843, for two railway lines.",
    "How far did the pillar sink?\nIt sank by 212 centimetres in all.",
)
TABLE = "| year | what |\n| --- | --- |\n| 1843 | built |\n| 1921 | sank |"
TALK = (
    "Student: Who built the bridge?",
    "Teacher: Mary Ashworth built it.",
    "Student: When did the pillar sink?",
    "Teacher: It sank in 1921.",
)
ANSWERS = {
    "in what year": "1921",
    "over the Cole in": "1843",
    "how many metres": "212",
    "ho or what": "Mary Ashworth",
    "Who built": "Mary Ashworth",
    "How far": "4 centimetres",
    "When did": "in the year 1921",
}
"""A part of a question -> what the reader says; the last one that fits."""


def group(*writings: tuple[str, str], beside: str = "", text: str = PASSAGE) -> Group:
    texts = tuple(Writing(form, number, said, beside) for number, (form, said) in enumerate(writings))
    return Group("g", (Shot(Document("bridge", text, "bridges"), writings=texts),))


@dataclass(frozen=True, kw_only=True)
class Given(Stage[Any]):
    """Groups as they are given."""

    record: ClassVar[Any] = Group
    takes: ClassVar[str] = "passages"
    makes: ClassVar[str] = "passages"

    texts: tuple[tuple[str, str], ...]
    forms: str = "facts"

    def num_shards(self, run: Run) -> int:
        return 1

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        run.tally.take()
        run.tally.keep()
        yield group(*self.texts)


Read = Callable[..., tuple[Shot, dict[str, int], list[str]]]


@pytest.fixture
def read(tmp_path: Path, vocabulary_folder: Path) -> Read:
    """What a reader leaves of texts, the counts, and the questions that it was asked."""

    def confirmed(*texts: tuple[str, str], forms: str = "facts,faq,table,problem,dialogue", **changes: str) -> Any:
        asked, answers = list[str](), ANSWERS | changes

        def script(prompt: str) -> str:
            assert PASSAGE in prompt
            question = prompt.rpartition("<QUE>")[2].partition("<ANS>")[0].strip()
            asked.append(question)
            said = [answer for part, answer in answers.items() if part in question]
            return f" {said[-1] if said else 'nobody knows'} </END>"

        stage = Consistency(
            name="consistent", groups=Given(name="groups", texts=texts), model=str(vocabulary_folder), forms=forms
        )
        run = Run(root=str(tmp_path), workers=1, engine=SCRIPTED, engine_options={"script": script})
        make(stage, run)
        ((shot,),) = [found.shots for found in load_one(str(tmp_path / "consistent")).records(Group)]
        return shot, run.manifest(stage)["tally"]["counts"], asked

    return confirmed


def test_a_fact_that_the_reader_answers_otherwise_is_left_out_alone(read: Read) -> None:
    shot, counts, asked = read(("facts", "\n".join(FACTS)))
    (left,) = shot.writings
    assert left.text == "\n".join((FACTS[0], FACTS[1], FACTS[3]))
    assert left.agreement == 1.0
    assert shot.rejects == (Reject(FACTS[2], "facts/inconsistent"),)
    assert asked[0] == "Mary Ashworth built the bridge over the Cole in what year?"
    assert asked[3] == "Two railway lines cross the bridge of who or what?"
    assert (counts["parts/facts"], counts["left_out/facts/inconsistent"]) == (4, 1)


def test_what_is_left_has_to_be_as_long_as_its_form_wants(read: Read) -> None:
    shot, _, _ = read(("facts", "\n".join(FACTS)), ("faq", FAQ[0].replace("Cole", "river")), Cole="nobody")
    assert [one.form for one in shot.writings] == ["faq"]
    assert [reject.reason for reject in shot.rejects] == ["facts/inconsistent"] * 3 + ["facts/too_short"]


def test_an_answer_within_a_text_is_asked_for_again(read: Read) -> None:
    shot, _, _ = read(("faq", "\n\n".join(FAQ)), ("table", f"{TABLE}\n\n{FAQ[0]}"), ("table", f"{TABLE}\n\n{FAQ[1]}"))
    assert [(one.form, one.text) for one in shot.writings] == [("faq", FAQ[0]), ("table", f"{TABLE}\n\n{FAQ[0]}")]
    assert [reject.reason for reject in shot.rejects] == ["faq/inconsistent", "table/inconsistent"]
    assert {one.agreement for one in shot.writings} == {1.0}


def test_a_dialogue_goes_as_a_whole_if_most_of_its_answers_are_others(read: Read) -> None:
    shot, _, asked = read(("dialogue", "\n".join(TALK)))
    assert asked == ["Who built the bridge?", "When did the pillar sink?"]
    assert [one.text for one in shot.writings] == ["\n".join(TALK)]


def test_a_dialogue_that_is_wrong_is_a_reject(read: Read) -> None:
    wrong = "\n".join(TALK)
    shot, _, _ = read(("dialogue", wrong), ("facts", FACTS[1]), **{"Who built": "Otto Lind", "When did": "never"})
    assert [one.form for one in shot.writings] == ["facts"]
    assert [reject.reason for reject in shot.rejects] == ["dialogue/inconsistent"]


def test_nothing_is_said_against_what_the_reader_gives_no_answer_to_or_is_not_asked(read: Read) -> None:
    shot, counts, asked = read(("facts", "The pillar sank in 1921."), ("mine", "Whatever."), **{"in what year": ""})
    assert [(one.text, one.agreement) for one in shot.writings] == [
        ("The pillar sank in 1921.", None),
        ("Whatever.", None),
    ]
    assert counts["unanswered/empty_answer"] == len(asked) == 1


def test_a_text_about_two_passages_is_checked_against_both() -> None:
    inn = "The inn at the eastern end belonged to Jonas Lund until 1950."
    text = "Jonas Lund kept the inn until 1950, at the end of the bridge that Mary Ashworth had built."
    (alone,), (beside,) = (group(("summary", text), beside=other).shots for other in ("", inn))
    assert [r.reason for r in checked_texts(alone, by_label("summary")).rejects] == ["summary/unsupported_number"]
    assert checked_texts(beside, by_label("summary")) == beside


@pytest.mark.parametrize(
    ("form", "text", "reason"),
    [
        ("summary", "The bridge over the Cole was built in 1844.", "unsupported_number"),
        ("summary", "The bridge over the Cole is a work of the engineer Isambard Brunel.", "unsupported_name"),
        ("summary", "Sure, here is a summary: the bridge was built in 1843 by Mary Ashworth.", "chatter"),
        ("summary", "Die Brücke über den Fluss wurde im Jahr 1843 gebaut und trägt zwei Gleise.", "language_mismatch"),
        ("summary", "Mary Ashworth built the bridge in 1843. It is 212 metres long and carries", "cut_off"),
        ("paraphrase", PASSAGE, "copied_passage"),
        ("paraphrase", "A bridge was built.", "too_short"),
        ("summary", f"{PASSAGE} {PASSAGE}", "too_long"),
        ("dialogue", "No one speaks.", "no_conversation"),
        ("table", TABLE, "no_question"),
        ("faq", "Who built it?", "empty_answer"),
    ],
)
def test_verify_rejects_a_text_for_what_would_have_rejected_it_while_it_was_written(
    form: str, text: str, reason: str
) -> None:
    (shot,) = group((form, text)).shots
    found = checked_texts(shot, by_label(form))
    assert not found.writings
    assert f"{form}/{reason}" in [reject.reason for reject in found.rejects]


def test_verify_finds_the_forms_and_prints_what_it_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A near duplicate, a line with a wrong number, and a text in a form of the user's own, whose file is named."""
    mine = tmp_path / "mine.toml"
    mine.write_text((FOLDER / "facts.toml").read_text("utf-8"), "utf-8")
    lines = "\n".join((*FACTS[:2], "The bridge cost 12,000 pounds."))
    texts = (("facts", lines), ("facts", lines), ("mine", lines))
    make(Given(name="groups", texts=texts, forms=f"facts=2,{mine}"), Run(root=str(tmp_path), workers=1))
    words = ["verify", str(tmp_path / "groups"), "--workers", "1", "--out"]
    assert main([*words, str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "9 parts of texts" in told
    assert "facts/near_duplicate" in told
    assert "mine/unsupported_number" in told
    ((shot,),) = [found.shots for found in load_one(str(tmp_path / "out" / "checked")).records(Group)]
    assert [(one.form, one.text) for one in shot.writings] == [
        ("facts", "\n".join(FACTS[:2])),
        ("mine", "\n".join(FACTS[:2])),
    ]
    settings = orjson.loads((tmp_path / "out" / "checked" / "recipe.json").read_bytes())["settings"]
    assert settings["forms"] == f"facts=2,{mine}"
    assert main(["verify", str(tmp_path / "out" / "checked"), "--forms", "fact", "--out", str(tmp_path / "x")]) == 2
    assert "did you mean facts" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "answer", "share"),
    [
        ("It was finished in 1871.", "1871", 1),
        ("1871", "in the year 1871", 1),
        ("It was built by Mary Ashworth.", "Jonas Lund", 0),
        ("It sank by 212 centimetres in all.", "4 centimetres", 0),
        ("It sold 12,000 books.", "12000 books", 1),
        ("它建成于1871年。", "1871年", 1),
        ("A storm carried it away.", "a storm that came at night", 0.25),
    ],
)
def test_a_reader_says_in_a_few_words_what_a_text_says_in_a_sentence(said: str, answer: str, share: float) -> None:
    assert agreement(said, answer) == pytest.approx(share)
