"""A pair's answer is marked where its passage holds it."""

from __future__ import annotations

import pytest

from instructpt.viewer.support import Support, cut_at, located, support
from instructpt.words import overlap

PASSAGE = "The bridge over the Cole was built in 1843. Mary Ashworth, an engineer, built it."


def marked(answer: str, passage: str = PASSAGE) -> tuple[str, list[str]]:
    found = support(answer, located(passage))
    return found.how, [passage[start:stop] for start, stop in found.ranges]


def test_words_are_those_that_checks_compare() -> None:
    for text in (PASSAGE, "Ærø’s co-op, 3.5 km: “Straße”", "橋は1843年に建てられた。 Cole川", "", "ﬁne ½"):
        assert [word.word for word in located(text)] == overlap.words(text), text


@pytest.mark.parametrize(
    ("answer", "how", "texts"),
    [
        ("BUILT in 1843", "span", ["built in 1843"]),
        ("engineer", "span", ["engineer"]),
        ("the engineer Mary Ashworth", "words", ["Mary", "Ashworth", "engineer"]),
        ("a wooden pier", "", []),
        ("...", "", []),
    ],
)
def test_where_an_answer_stands(answer: str, how: str, texts: list[str]) -> None:
    assert marked(answer) == (how, texts)


def test_without_blanks_between_words() -> None:
    assert marked("1843年", "橋は1843年に建てられた。") == ("span", ["1843年"])


def test_what_is_marked_is_what_the_check_calls_supported() -> None:
    words = overlap.words(PASSAGE)
    for answer in ("Mary", "in 1843", "Ashworth Mary bridge Cole", "Cole 1844", "an engineer of the Cole in London"):
        assert bool(marked(answer)[0]) == overlap.supported(answer, words), answer


def test_pieces_make_up_the_text_again() -> None:
    marks = [((0, 3), (4, 10)), ((4, 8),), ()]
    pieces = cut_at(PASSAGE, marks)
    assert "".join(text for text, _ in pieces) == PASSAGE
    assert pieces[:4] == [("The", [0]), (" ", []), ("brid", [0, 1]), ("ge", [0])]
    assert cut_at("", []) == []
    assert Support("", ()).ranges == ()
