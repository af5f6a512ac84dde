"""A pair's answer is marked where its passage holds it."""

from __future__ import annotations

import pytest

from instructpt.viewer.shown import Support, cut_at, support
from instructpt.words import overlap
from instructpt.words.overlap import located_words

PASSAGE = "The bridge over the Cole was built in 1843. Mary Ashworth, an engineer, built it."


def marked(answer: str, passage: str = PASSAGE) -> tuple[str, list[str]]:
    found = support(answer, located_words(passage))
    return found.how, [passage[start:stop] for start, stop in found.ranges]


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


@pytest.mark.parametrize(
    ("answer", "passage"),
    [
        ("मेरी एशवर्थ", "यह पुल 1843 में बना था, और मेरी एशवर्थ ने इसे बनाया था।"),
        ("الْجِسْرُ الْقَدِيمُ", "بُنِيَ الْجِسْرُ الْقَدِيمُ سَنَةَ 1843."),
        ("הַגֶּשֶׁר", "הַגֶּשֶׁר נִבְנָה בִּשְׁנַת 1843."),
        ("สะพาน", "สะพานนี้สร้างขึ้นเมื่อปี 1843"),
        ("cafe\u0301", "Elle a ouvert le café en 1843."),
    ],
)
def test_vowel_signs_and_points_are_part_of_a_word(answer: str, passage: str) -> None:
    """The checks find these; the viewer had a rule of its own and called them missing."""
    assert overlap.supported(answer, overlap.words(passage))
    how, (text,) = marked(answer, passage)
    assert how == "span"
    assert overlap.words(text) == overlap.words(answer)


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
