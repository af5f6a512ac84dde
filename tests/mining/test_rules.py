"""Mined pairs as a user sees them: the same for the same text, balanced, grounded, and never in the way of a run."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.errors import RecipeError
from instructpt.mining import RULES, mine
from instructpt.records import Document, Pair
from instructpt.synthesis.tags import Tags

GOLDEN = Path(__file__).parents[1] / "golden" / "mined_pairs.json"

PASSAGE = """The Salt Road of Arvelund

The Salt Road was a track of about 90 kilometres that linked the harbour of Arvelund with the inland market at \
Tessing. It was laid out in 1612 by the surveyor Jon Brekke, and in its best years some 4,000 carts passed the toll \
gate each summer. Because salt was the only means of keeping fish through the winter, the road made the \
harbour rich.

The Guild of Carters (GOC) kept the road in repair. The guild employed 35 wardens along the way. If a bridge was \
washed out, the nearest warden had to close the road within a day. Carters carried goods such as dried cod, rope, tar \
and wool.

"A dry road is worth more than a full purse," said Jon Brekke. However, the hill section was never dry. As a result, \
many carters waited for the frost before they set out. The northern gate was narrower than the southern gate. In 1859, \
the railway reached Tessing. The last cart passed the gate 6 years later."""


def document(text: str, *, name: str = "a") -> Document:
    return Document(name, text, "test")


def plain(pair: Pair) -> dict[str, object]:
    return {name: getattr(pair, name) for name in ("question", "answer", "options", "rationale", "category")}


def test_a_statute_says_what_its_terms_mean():
    law = '(1) "Mill" means a building in which grain is ground.\n(2) \u201cWheel\u201d means any wheel turned by it.\n'
    law += '(3) "Weir" means the same as in section 4.\n'
    pairs = mine(document(law), seed=0, kinds=["definition"]).pairs
    assert [pair.answer for pair in pairs] == ["A building in which grain is ground.", "Any wheel turned by it."]
    assert all(term in pair.question for term, pair in zip(("Mill", "Wheel"), pairs, strict=True))


def test_a_rare_word_is_asked_for_among_options_or_if_it_is_a_term_of_the_passage():
    rare = "The sluices along the narrow northern channel creaked in the night."
    assert mine(document(rare), seed=0, kinds=["fill_the_blank"]).pairs == ()
    twice = f"{rare} Oak sluices rot. Wet sluices creak."
    answers = {mine(document(twice), seed=seed, kinds=["fill_the_blank"]).pairs[0].answer for seed in range(8)}
    assert answers == {"sluices"}


def test_golden_pairs():
    """INSTRUCTPT_WRITE_GOLDEN=1 writes them anew, to be read as a diff."""
    pairs = [plain(pair) for seed in (0, 1) for pair in mine(document(PASSAGE), seed=seed, max_pairs=24).pairs]
    if os.environ.get("INSTRUCTPT_WRITE_GOLDEN"):
        GOLDEN.write_bytes(orjson.dumps(pairs, option=orjson.OPT_INDENT_2) + b"\n")
    assert orjson.loads(orjson.dumps(pairs)) == orjson.loads(GOLDEN.read_bytes())


def test_draws_depend_on_the_text_alone():
    first = mine(document(PASSAGE), seed=3)
    assert mine(document(PASSAGE, name="another id"), seed=3).pairs == first.pairs
    assert mine(document(PASSAGE), seed=4).pairs != first.pairs
    assert first.document == document(PASSAGE)
    assert (first.follows, first.rejects) == (0, ())


def test_kinds_are_balanced_and_no_question_comes_twice():
    for seed in range(20):
        pairs = mine(document(PASSAGE), seed=seed).pairs
        assert len(pairs) == 8
        assert len({pair.question for pair in pairs}) == 8
        assert len({pair.category for pair in pairs}) >= 6
        many = mine(document(PASSAGE), seed=seed, max_pairs=100).pairs
        assert max(Counter(pair.category for pair in many).values()) <= 2


def test_all_four_formats_occur():
    formats = Counter(
        (bool(pair.options), pair.rationale is not None)
        for seed in range(20)
        for pair in mine(document(PASSAGE), seed=seed).pairs
    )
    assert len(formats) == 4


def test_answers_are_among_the_options():
    for seed in range(20):
        for pair in mine(document(PASSAGE), seed=seed).pairs:
            assert not pair.options or pair.options.count(pair.answer) == 1
            assert len(set(pair.options)) == len(pair.options)


def test_right_answers_do_not_favour_a_place():
    places = Counter(
        pair.options.index(pair.answer)
        for seed in range(150)
        for pair in mine(document(PASSAGE), seed=seed, kinds=["next_sentence", "order_of_sentences"]).pairs
        if len(pair.options) == 4
    )
    assert min(places[place] for place in range(4)) > 0.15 * places.total()


def test_max_pairs_and_kinds_are_kept():
    assert mine(document(PASSAGE), seed=0, max_pairs=0).pairs == ()
    assert len(mine(document(PASSAGE), seed=0, max_pairs=3).pairs) == 3
    chosen = mine(document(PASSAGE), seed=0, kinds=["title", "connective"]).pairs
    assert {pair.category for pair in chosen} == {"title", "connective"}


def test_mistakes_are_named():
    with pytest.raises(RecipeError, match="no rule is called 'poem': choose from fill_the_blank"):
        mine(document(PASSAGE), seed=0, kinds=["poem"])
    with pytest.raises(RecipeError, match="max_pairs is -1"):
        mine(document(PASSAGE), seed=0, max_pairs=-1)


@pytest.mark.parametrize(
    "text", ["", " ", "\n\n", "word", "- a\n- b\n- c", "....", "?!", "1. 2. 3.", "\u3053\u3093\u306b\u3061\u306f\u3002"]
)
def test_a_text_without_sentences_has_no_pairs(text):
    assert mine(document(text), seed=0).pairs == ()


LONG = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "x" * LONG,
        "7" * LONG,
        "." * LONG,
        "A. " * (LONG // 3),
        '"' * LONG,
        "(" * LONG,
        " " * LONG,
        "\n" * LONG,
        "1,1" * (LONG // 3),
        "Ab " * (LONG // 3),
        "a and " * (LONG // 6),
        '"Ab, ' * (LONG // 5),
        "(a)\n" * (LONG // 4),
        PASSAGE * (LONG // len(PASSAGE)),
    ],
    ids=lambda text: repr(text[:8]),
)
def test_a_megabyte_of_anything_takes_seconds_at_most(text):
    start = time.process_time()
    mine(document(text), seed=0)
    assert time.process_time() - start < 8


def test_time_grows_in_proportion_to_the_text():
    def seconds(text: str) -> float:
        start = time.process_time()
        mine(document(text), seed=0, max_pairs=100)
        return time.process_time() - start

    short = min(seconds(PASSAGE * 60) for _ in range(3))
    assert seconds(PASSAGE * 480) < 8 * 4 * short


def test_markup_in_a_passage_stays_out_of_pairs():
    marked = (
        "The <CON> tag is a mark of 5 letters that opens a passage. The </END> tag is a mark that closes 12 pairs. "
        "The mill by the river was built in 1820. See <a href='x'>the page</a> about 30 mills."
    )
    pairs = [pair for seed in range(10) for pair in mine(document(marked), seed=seed).pairs]
    assert pairs
    assert not any("<" in text for pair in pairs for text in (pair.question, pair.answer, *pair.options))


def test_braces_in_a_passage_are_only_braces():
    text = "The setting was called verb by the two engineers who wrote the {term} manual in 1988 for 14 schools."
    for seed in range(10):
        assert all("KeyError" not in pair.question for pair in mine(document(text), seed=seed).pairs)


@given(
    st.lists(st.sampled_from([*PASSAGE.split(), "\n\n", "\n", "(a)", "1)", "<s>", "-", "\u201c", "{x}"]), max_size=80)
)
def test_any_order_of_words_gives_pairs_that_can_be_written(words):
    shot = mine(document(" ".join(words)), seed=0, max_pairs=40)
    for pair in shot.pairs:
        assert str(pair.category).replace(" ", "_") in RULES
        assert Tags().refuse(pair) is None
        assert not pair.options or pair.answer in pair.options
