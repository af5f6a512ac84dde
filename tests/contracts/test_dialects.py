"""Every dialect: what is written is read back, and prompts are what training saw."""

from __future__ import annotations

import pytest

from instructpt.errors import RecipeError
from instructpt.records import Document, Group, Pair, Shot
from instructpt.synthesis.dialects import DIALECTS, Dialect, keep_writable, open_dialect

PAIRS = (
    Pair("What does it eat?", "Fish."),
    Pair("Where does it stand?", "in water", options=("in water", "on ice")),
    Pair("How many legs has it?", "2", rationale="A heron is a bird. Birds have two legs."),
    Pair("Is it a bird?", "yes", options=("yes", "no"), rationale="It has feathers."),
)
GROUP = Group(
    "g",
    (
        Shot(Document("1", "A heron waits in shallow water.", "birds"), PAIRS),
        Shot(Document("2", "It is grey.", "birds"), PAIRS[:1]),
        Shot(Document("3", "It flies.", "birds")),
    ),
)


@pytest.fixture(params=sorted(DIALECTS))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return open_dialect(request.param)


def test_parse_undoes_write(dialect: Dialect) -> None:
    written = dialect.write(GROUP)
    assert written.spans is not None
    read = [dialect.parse(written.text[start:stop]) for start, stop in written.spans]
    assert [tuple(pairs) for pairs, _ in read] == [shot.pairs for shot in GROUP.shots if shot.pairs]
    assert not any(rejects for _, rejects in read)


def test_spans_and_breaks_are_in_order(dialect: Dialect) -> None:
    written = dialect.write(GROUP)
    assert written.kind == "task"
    flat = [position for span in written.spans or () for position in span]
    assert flat == sorted(flat)
    assert all(0 <= position <= len(written.text) for position in flat)
    assert list(written.breaks) == sorted(written.breaks)


def test_a_prompt_is_what_training_saw(dialect: Dialect) -> None:
    first, second = GROUP.shots[:2]
    written = dialect.write(Group("g", (first, second)))
    prompt = "".join(dialect.prompt([first], second.document.text))
    assert written.spans is not None
    assert prompt == written.text[: written.spans[-1][0]]


def test_no_answer_is_a_reject_and_never_an_error(dialect: Dialect) -> None:
    for answer in ("", " \n", "nonsense", "<", "{}", "[]", "\x00"):
        pairs, rejects = dialect.parse(answer)
        assert list(pairs) == []
        assert [reject.reason for reject in rejects]


def test_pairs_that_cannot_be_written_are_counted(dialect: Dialect) -> None:
    group = Group("g", (Shot(GROUP.shots[0].document, (PAIRS[0], Pair("", ""))),))
    kept = keep_writable(group, dialect=dialect).shots[0]
    assert kept.pairs == PAIRS[:1]
    assert [reject.reason for reject in kept.rejects] == [dialect.refuse(Pair("", ""))]
    assert dialect.write(group) == dialect.write(Group("g", (kept,)))


def test_an_unknown_dialect_names_those_there_are() -> None:
    with pytest.raises(RecipeError, match="tags"):
        open_dialect("klingon")
