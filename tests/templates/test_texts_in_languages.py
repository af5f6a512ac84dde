"""A corpus in several languages: each group in the wording of its own, counted, the same bytes however it is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from instructpt.artifacts import Run, describe
from instructpt.artifacts.stage import Stage
from instructpt.errors import RecipeError
from instructpt.executors.make import make
from instructpt.records import Document, Group, Pair, Shot, Text
from instructpt.templates import catalog
from instructpt.templates.render import render
from instructpt.templates.stages import Template
from instructpt.words import languages

PASSAGES = {
    "german": ("Die Mühle steht am Fluss, und das Rad ist nicht mehr in Gebrauch.", "Wo steht die Mühle?", "Am Fluss"),
    "japanese": (
        "水車小屋は川のほとりにあり、水車はもう使われていない。",
        "水車小屋はどこにありますか。",
        "川のほとり",
    ),
    "english": ("The mill stands by the river and its wheel has not been used for years.", "Where is it?", "There"),
    "arabic": ("تقع الطاحونة على ضفة النهر، ولم تعد عجلتها تعمل.", "أين تقع الطاحونة؟", "على ضفة النهر"),
    "greek": ("Ο μύλος βρίσκεται δίπλα στο ποτάμι και ο τροχός του δεν γυρίζει πια.", "Πού είναι;", "Στο ποτάμι"),
    "unknown": ("Xyzzy plugh 42.", "Xyzzy?", "Plugh"),
}


def group(name: str, **meta: Any) -> Group:
    text, question, answer = PASSAGES[name]
    return Group(name, (Shot(Document(name, text, "s", meta), (Pair(question, answer),)),))


GROUPS = {
    0: [group("german"), group("japanese"), group("english")],
    1: [
        group("arabic"),
        group("greek"),
        group("unknown"),
        group("german", language="fr"),
        Group("mixed", (*group("german").shots, *group("japanese").shots, *group("german").shots)),
        Group("raw", (Shot(Document("raw", PASSAGES["german"][0], "s")),)),
    ],
}


@dataclass(frozen=True, kw_only=True)
class Groups(Stage[Group]):
    """Two shards of groups in several languages."""

    record: ClassVar[Any] = Group

    def num_shards(self, run: Run) -> int:
        del run
        return len(GROUPS)

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        for found in GROUPS[index]:
            run.tally.take(len(found.shots))
            run.tally.keep(len(found.shots))
            yield found


def made(folder: Path, **settings: Any) -> tuple[Template, Run, list[Text]]:
    texts = Template(name="texts", groups=Groups(name="groups"), **settings)
    run = Run(root=str(folder), workers=1)
    make(texts, run)
    return texts, run, [text for index in range(len(GROUPS)) for text in run.records(texts, index)]


def worded(found: Group, language: str) -> Text:
    (rendered,) = render(found, catalog=catalog.load(language), seed=0)
    return rendered


def test_each_group_is_worded_in_its_own_language(tmp_path: Path) -> None:
    texts, run, found = made(tmp_path, language="auto")
    expected = ["german", "japanese", "english", "arabic", "english", "english", "french", "german", "english"]
    groups = [some for shard in GROUPS.values() for some in shard]
    assert found == [worded(some, language) for some, language in zip(groups, expected, strict=True)]
    counts = run.manifest(texts)["tally"]["counts"]
    assert {name: number for name, number in counts.items() if name.startswith("language")} == {
        "language/arabic": 1,
        "language/english": 3,
        "language/french": 1,
        "language/german": 2,
        "language/japanese": 1,
        "language_mixed": 1,
        "language_unknown": 1,
        "language_without_templates": 1,
    }


def test_the_plan_shows_the_languages_once_they_are_known(tmp_path: Path) -> None:
    texts = Template(name="texts", groups=Groups(name="groups"), language="auto")
    assert texts.outline(Run(root=str(tmp_path))) is None
    texts, run, _ = made(tmp_path, language="auto")
    outline = texts.outline(run)
    assert outline is not None
    assert ("german", "2") in outline.rows
    assert "1 in a language without templates, worded in english" in outline.notes
    assert Template(name="texts", groups=Groups(name="groups")).outline(run) is None


def test_without_the_setting_all_is_english_and_nothing_is_counted(tmp_path: Path) -> None:
    texts, run, found = made(tmp_path)
    assert found[0] == worded(GROUPS[0][0], "english")
    assert not [name for name in run.manifest(texts)["tally"]["counts"] if name.startswith("language")]
    assert texts.sources(run) == {"catalog": catalog.load("english").fingerprint}


def test_every_wording_and_the_detector_are_part_of_what_auto_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(root=str(tmp_path))
    texts = Template(name="texts", groups=Groups(name="groups"), language="auto")
    before = describe(texts, run)
    assert before == describe(texts, run)
    monkeypatch.setattr(languages, "VERSION", languages.VERSION + 1)
    assert describe(texts, run) != before


@pytest.mark.parametrize(
    ("language", "hint"),
    [
        ("germn", "did you mean german"),
        ("de", "did you mean german"),
        ("Français", "did you mean french"),
        ("klingon", "choose one of auto, arabic, chinese, english"),
        ("hungarian", "choose one of auto"),
    ],
)
def test_an_unknown_language_is_told_what_there_is(language: str, hint: str) -> None:
    with pytest.raises(RecipeError, match=hint) as caught:
        Template(name="texts", groups=Groups(name="groups"), language=language)
    assert repr(language) in str(caught.value)
    assert "\n" not in str(caught.value)
