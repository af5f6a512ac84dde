"""`instructpt decontaminate` as a user meets it: what holds a test item goes, all else stays as it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.artifacts import Run, Stage
from instructpt.cli.commands import main
from instructpt.errors import InputError, RecipeError
from instructpt.evaluation.decontamination import MASK, Decontaminate, mask, masked
from instructpt.evaluation.overlap import Overlap, sets_named
from instructpt.executors.make import make
from instructpt.recipes.decontaminate import decontaminate
from instructpt.records import Document, Group, Match, Pair, Record, Shot, Text, Writing
from instructpt.report import render
from instructpt.report.artifacts import load_one

PASSAGE = "In 1921 the western pillar sank by 4 centimetres, and trains were stopped for a whole month."
QUESTION = "Who built the bridge over the river Cole?"
OTHER = "The repair cost 12,000 pounds, which the county paid because the valley floods every spring."
ROWS = [
    {"question": QUESTION, "passage": PASSAGE, "answer": True},
    {"question": "And when?", "passage": PASSAGE, "answer": False},
    {"question": "Which of these is the largest city of the north?", "passage": "None.", "answer": False},
]


@pytest.fixture
def exam(tmp_path: Path) -> str:
    return written(tmp_path / "exam.jsonl", ROWS)


def written(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return str(path)


@dataclass(frozen=True, kw_only=True)
class Given(Stage[Any]):
    """The records of `GIVEN`, by name."""

    units: str = "texts"

    @property
    def record(self) -> Any:
        return type(GIVEN[self.name][0])

    @property
    def takes(self) -> str:
        return self.units

    @property
    def makes(self) -> str:
        return self.units

    def num_shards(self, run: Run) -> int:
        return 1

    def shard(self, index: int, run: Run) -> Any:
        for record in GIVEN[self.name]:
            run.tally.take(len(record.shots) if isinstance(record, Group) else 1)
            yield record


GIVEN: dict[str, Sequence[Record]] = {}


def cleaned(
    records: Sequence[Record], exam: str, root: Path, **settings: Any
) -> tuple[list[Any], list[Match], dict[str, int]]:
    """The records without test items, the matches, and what was dropped why."""
    GIVEN["given"] = records
    matches = Overlap(name="matches", texts=Given(name="given"), against=(exam,))
    stage = Decontaminate(name="clean", texts=matches.texts, matches=matches, **settings)
    make(stage, Run(root=str(root / "out"), workers=1))
    kind: Any = type(records[0])
    found = load_one(str(root / "out" / "clean"))
    matched = load_one(str(root / "out" / "matches"))
    assert matched.tally.adds_up()
    assert found.tally.taken == found.tally.kept + sum(found.tally.dropped.values())
    return list(found.records(kind)), list(matched.records(Match)), found.tally.dropped


def test_a_text_that_holds_an_item_goes_and_the_match_says_where_it_stood(tmp_path: Path, exam: str) -> None:
    bad = Text("b", f"It is told: {PASSAGE.upper()} So it was.", "tales", "raw")
    records = [Text("a", OTHER, "tales", "raw"), bad, Text("a", OTHER, "tales", "raw")]
    left, [match], dropped = cleaned(records, exam, tmp_path)
    assert left == [records[0], records[2]]
    assert dropped == {"test_item": 1}
    assert (match.task, match.places, match.field, match.row, match.id) == (exam, (0, 1), "passage", 1, "b")
    assert (match.num_ngrams, match.num_item_ngrams) == (5, 5)
    assert [bad.text[start:stop] for start, stop in match.spans] == [PASSAGE.upper().removesuffix(".")]
    assert match.item.startswith("In 1921 the western pillar")
    assert "told: IN 1921" in match.text


def test_a_mask_stands_for_the_shared_words_and_carries_no_loss(tmp_path: Path, exam: str) -> None:
    text = f"Before. {PASSAGE} After."
    breaks = (len("Before. "),)
    answer = (text.index("month"), len(text))
    records = [
        Text("all", text, "tales", "raw"),
        Text("some", text, "tales", "task", (answer,), breaks),
        Text("none", OTHER, "tales", "task", ((0, 3),)),
    ]
    left, _, dropped = cleaned(records, exam, tmp_path, action="mask")
    assert dropped == {}
    assert [item.text for item in left] == [f"Before. {MASK}. After."] * 2 + [OTHER]
    assert [[item.text[a:b] for a, b in item.spans] for item in left[:2]] == [["Before. ", ". After."], [". After."]]
    assert left[1].breaks == breaks
    assert left[2] == records[2]


def test_words_across_a_break_are_no_match(tmp_path: Path, exam: str) -> None:
    text = Text("t", PASSAGE, "tales", "raw", None, (PASSAGE.index("sank"),))
    assert cleaned([text], exam, tmp_path)[1:] == ([], {})


def test_documents_keep_their_other_fields(tmp_path: Path, exam: str) -> None:
    document = Document("d", f"{OTHER} {QUESTION}", "tales", {"licence": "CC0"})
    [left], _, _ = cleaned([document], exam, tmp_path, action="mask")
    assert left == replace(document, text=f"{OTHER} {MASK}?")


def test_of_a_group_only_the_passage_or_the_pair_that_holds_an_item_goes(tmp_path: Path, exam: str) -> None:
    good, bad = Pair("What was paid?", "12,000 pounds"), Pair(QUESTION, "Mary Ashworth")
    shots = (
        Shot(Document("p0", OTHER, "tales"), (good,), 0),
        Shot(Document("p1", f"{PASSAGE} {OTHER}", "tales"), (good,), 1),
        Shot(Document("p2", OTHER, "tales"), (good, bad), 2),
        Shot(Document("p3", OTHER, "tales"), (good,), 1),
    )
    [left], matches, dropped = cleaned([Group("g", shots)], exam, tmp_path)
    assert [(shot.document.id, len(shot.pairs), shot.follows) for shot in left.shots] == [
        ("p0", 1, 0),
        ("p2", 1, 1),
        ("p3", 1, 1),
    ]
    assert [reject.reason for reject in left.shots[1].rejects] == ["test_item"]
    assert dropped == {"test_item": 1}
    assert [(match.shot, match.pair, match.id) for match in matches] == [(1, None, "p1"), (2, 1, "p2")]


def test_a_writing_that_holds_an_item_goes_and_its_passage_stays(tmp_path: Path, exam: str) -> None:
    bad, good = Writing("paraphrase", 0, f"It is told that {PASSAGE}"), Writing("paraphrase", 1, OTHER)
    shot = Shot(Document("p", OTHER, "tales"), (Pair("What was paid?", "12,000 pounds"),), writings=(bad, good))
    [left], matches, dropped = cleaned([Group("g", (shot,))], exam, tmp_path)
    assert (left.shots[0].writings, left.shots[0].pairs, dropped) == ((good,), shot.pairs, {})
    assert [reject.reason for reject in left.shots[0].rejects] == ["test_item"]
    assert [match.pair for match in matches] == [1], "writings are counted on after the pairs"


def test_a_masked_group_keeps_its_passages(tmp_path: Path, exam: str) -> None:
    group = Group("g", (Shot(Document("p", f"{PASSAGE} {OTHER}", "tales"), (Pair(QUESTION, "Ashworth"),)),))
    [left], _, dropped = cleaned([group], exam, tmp_path, action="mask")
    assert (left.shots[0].document.text, left.shots[0].pairs, dropped) == (f"{MASK}. {OTHER}", (), {})
    only = Group("g", (Shot(Document("p", PASSAGE, "tales")),))
    assert cleaned([only], exam, tmp_path / "other")[::2] == ([], {"test_item": 1})


def test_a_share_of_an_item_may_be_asked_for(tmp_path: Path, exam: str) -> None:
    half = Text("t", PASSAGE.removesuffix(" for a whole month."), "tales", "raw")
    assert cleaned([half], exam, tmp_path / "a", min_share=0.2)[0] == []
    assert cleaned([half], exam, tmp_path / "b", min_share=0.5)[0] == [half]


def test_the_command_cleans_files_and_tells_what_it_found(
    tmp_path: Path, exam: str, capsys: pytest.CaptureFixture[str]
) -> None:
    long = " ".join(f"word{i}" for i in range(1000))
    texts = [OTHER, f"{OTHER} {PASSAGE}", f"So: {QUESTION}", "short", long] * 2
    rows = [{"text": text} for text in texts]
    corpus, out = written(tmp_path / "corpus" / "my.jsonl", rows), str(tmp_path / "out")
    command = ["decontaminate", corpus, "--against", exam, "--out", out, "--workers", "1", "--shard-bytes", "4096"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"{exam}, row 0, passage: 5 of 5 runs" in said
    assert "text: So: Who built the bridge over the river Cole?" in said
    found = load_one(f"{out}/decontaminated")
    assert [document.text for document in found.records(Document)] == [OTHER, "short", long] * 2
    assert found.tally.dropped == {"test_item": 4}
    assert found.named_counts("drop") == {exam: 4}
    matched = load_one(f"{out}/matches")
    assert matched.num_shards > 1
    assert matched.named_counts("rows") == {exam: 3}
    assert matched.named_counts("rows_found") == {exam: 2}
    assert main(command) == 0
    assert main([*command, "--words", "9"]) == 2
    assert "made with other settings" in capsys.readouterr().err


def test_an_artifact_can_be_cleaned_and_matches_alone_be_listed(
    tmp_path: Path, exam: str, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = written(tmp_path / "corpus" / "my.jsonl", [{"text": PASSAGE}, {"text": OTHER}])
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    assert main(["decontaminate", corpus, "--against", exam, "--action", "report", "--out", first]) == 0
    stored = f"{first}/documents"
    assert main(["decontaminate", stored, "--against", exam, "--fields", "question", "--out", second]) == 0
    assert "0.00 %" in capsys.readouterr().out
    assert [document.text for document in load_one(f"{second}/decontaminated").records(Document)] == [PASSAGE, OTHER]
    assert main(["decontaminate", f"{first}/matches", "--against", exam, "--out", second]) == 2
    assert "holds Match: give documents, groups or texts" in capsys.readouterr().err


def test_a_changed_test_set_is_noticed(tmp_path: Path, exam: str) -> None:
    corpus = written(tmp_path / "corpus" / "my.jsonl", [{"text": OTHER}])
    command = ["decontaminate", corpus, "--against", exam, "--out", str(tmp_path / "out")]
    assert main(command) == 0
    written(Path(exam), [*ROWS, {"question": OTHER}])
    assert main(command) == 2


def test_tasks_and_suites_are_found_by_name(tmp_path: Path) -> None:
    for task in ("boolq", "piqa"):
        written(tmp_path / "data" / f"{task}.jsonl", ROWS)
    found = sets_named(("piqa", "boolq"), data=str(tmp_path / "data"))
    assert found == {"piqa": (f"{tmp_path}/data/piqa.jsonl",), "boolq": (f"{tmp_path}/data/boolq.jsonl",)}
    assert sets_named(("boolq",), data="hub") == {"boolq": None}
    with pytest.raises(InputError, match=r"'bolq' is no test set.*tasks are"):
        sets_named(("bolq",), data="hub")


def test_rows_of_a_task_come_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    rows = [{**row, "label": 1} for row in ROWS]
    monkeypatch.setattr(datasets, "load_dataset", lambda *names, split: datasets.Dataset.from_list(rows))
    corpus = written(tmp_path / "corpus" / "my.jsonl", [{"text": PASSAGE}, {"text": OTHER}])
    make(decontaminate((corpus,), against=("boolq",)), Run(root=str(tmp_path / "out"), workers=1))
    [match] = load_one(str(tmp_path / "out" / "matches")).records(Match)
    assert (match.task, match.places, match.field) == ("boolq", (0, 1), "passage")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"against": ()}, "no test set"),
        ({"words": 3}, "give at least 5"),
        ({"min_share": 1.5}, "from 0 to 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        decontaminate(("corpus.jsonl",), **{"against": ("boolq",), **flags})


def test_a_set_without_text_is_named(tmp_path: Path, exam: str) -> None:
    corpus = written(tmp_path / "corpus" / "my.jsonl", [{"text": OTHER}])
    stage = decontaminate((corpus,), against=(exam,), fields=("stem",))
    with pytest.raises(InputError, match=r"exam\.jsonl has no text in stem"):
        make(stage, Run(root=str(tmp_path / "out"), workers=1))


RANGES = st.lists(st.integers(0, 30), max_size=8, unique=True).map(sorted)


@given(RANGES, RANGES | st.none(), st.lists(st.integers(1, 29), max_size=3, unique=True))
def test_loss_and_breaks_keep_their_characters_around_masks(
    cuts: list[int], loss: list[int] | None, breaks: list[int]
) -> None:
    """Characters are told apart by their code, so each can be looked up after masking."""
    string = "".join(chr(0x4E00 + place) for place in range(30))
    spans = list(zip(cuts[::2], cuts[1::2], strict=False))
    wanted = None if loss is None else tuple(zip(loss[::2], loss[1::2], strict=False))
    text = Text("t", string, "s", "raw", wanted, tuple(sorted(breaks)))
    made = masked(text, spans)
    if not breaks:
        assert made.text == mask(string, spans)
    assert made.text.replace(MASK, "") == "".join(
        c for place, c in enumerate(string) if not any(a <= place < b for a, b in spans)
    )
    assert made.spans is not None
    carried = "".join(made.text[start:stop] for start, stop in made.spans)
    assert carried == "".join(
        c
        for place, c in enumerate(string)
        if not any(a <= place < b for a, b in spans) and (wanted is None or any(a <= place < b for a, b in wanted))
    )
    for old, new in zip(text.breaks, made.breaks, strict=True):
        assert made.text[:new].replace(MASK, "") == "".join(
            c for place, c in enumerate(string[:old]) if not any(a <= place < b for a, b in spans)
        )


def test_the_page_shows_what_was_found_and_obeys_none_of_it(tmp_path: Path) -> None:
    hostile = f"<script>alert(1)</script> {PASSAGE}"
    exam = written(tmp_path / "exam.jsonl", [{"passage": hostile}])
    corpus = written(tmp_path / "corpus" / "my.jsonl", [{"text": f"{hostile} {OTHER}"}])
    make(decontaminate((corpus,), against=(exam,)), Run(root=str(tmp_path / "out"), workers=1))
    page = render(str(tmp_path / "out"), title="Test items")
    assert "9 of 9" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>" not in page
