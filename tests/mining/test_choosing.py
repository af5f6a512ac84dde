"""Which mined pairs are taken: those for sentences that no pair needs yet, of many kinds, beside what is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import corpus_rows, write_corpus
from hypothesis import given
from hypothesis import strategies as st

from instructpt.artifacts import Run
from instructpt.corpus.stages import Read, Split
from instructpt.errors import RecipeError
from instructpt.executors.make import make
from instructpt.mining import RULES, choose, mine
from instructpt.mining.stages import Fill, Mine
from instructpt.records import Document, Pair
from instructpt.words.evidence import coverage, sentences

PASSAGE = "One is red. Two is blue. Three is green. Four is brown. Five is black. Six is white."
SENTENCES = sentences(PASSAGE)
FERRY = (
    "The ferry of Holm was built in 1874 by two brothers. It carried 40 passengers and six carts. Its first captain "
    "was Clara Brekke. The crossing took 25 minutes in calm weather. Storms closed the line on 12 days of each winter. "
    "However, the mail was never late. The last ferry left Holm in 1931. A bridge stands there today."
)


def about(first: int, last: int | None = None, *, question: str = "") -> Pair:
    """A pair that needs these sentences, counted from 1."""
    span = (SENTENCES[first - 1][0], SENTENCES[(last or first) - 1][1])
    return Pair(question or f"{first} to {last}?", "x", span=span)


def chosen(
    found: dict[str, Sequence[Pair]], *, beside: Sequence[Pair] = (), most: int = 9, each: int = 1
) -> list[Pair]:
    taken = choose(
        {name: iter(pairs) for name, pairs in found.items()},
        PASSAGE,
        beside=beside,
        max_pairs=most,
        max_per_kind=dict.fromkeys(found, each),
    )
    return [pair for _, pair in taken]


def test_sentences_that_no_pair_needs_come_first() -> None:
    fills = [about(2), about(4), about(6)]
    assert chosen({"fill": fills}, beside=[about(2), about(4)]) == [about(6)]
    assert chosen({"fill": fills, "order": [about(1, 3), about(2, 5)]}, most=2) == [about(6), about(2, 5)]


def test_a_kind_gives_a_second_pair_after_the_others_gave_one() -> None:
    found = {"fill": [about(1), about(2), about(3)], "true": [about(1), about(4)]}
    assert chosen(found, most=3, each=2) == [about(2), about(4), about(3)]


def test_a_sentence_has_one_pair_of_its_own_and_a_passage_no_more_than_sentences() -> None:
    same = [about(1, question=f"{number}?") for number in range(5)]
    assert len(chosen({"fill": same}, each=5)) == 1
    assert chosen({"fill": same}, beside=[about(1)], each=5) == []
    overlapping = [about(1, 3, question=f"{number}?") for number in range(9)]
    assert len(chosen({"order": overlapping}, each=9)) == 6
    assert len(chosen({"order": overlapping}, beside=[about(4), about(5)], each=9)) == 4


def test_what_needs_no_sentence_is_taken_when_all_that_can_be_is_asked() -> None:
    title = Pair("What is the title?", "Numbers")
    found = {"title": [title], "fill": [about(1), about(2)]}
    assert chosen(found, most=2, each=2) == [about(1), about(2)]
    assert chosen(found, each=2) == [title, about(1), about(2)]


def test_a_pair_that_gives_another_away_is_not_taken() -> None:
    telling = about(2, question="Which sentence follows: the long way home?")
    answer = Pair("What is missing?", "the long way home", span=SENTENCES[4])
    assert chosen({"next": [telling], "fill": [answer]}) == [telling]
    assert chosen({"fill": [answer]}, beside=[telling]) == []


@given(
    found=st.dictionaries(
        st.sampled_from(["fill", "true", "order", "title"]),
        st.lists(
            st.builds(
                lambda first, length, question: about(first, min(6, first + length), question=question),
                st.integers(1, 6),
                st.integers(0, 3),
                st.text(max_size=4),
            ),
            max_size=6,
        ),
    ),
    most=st.integers(0, 8),
    each=st.integers(1, 3),
)
def test_limits_are_kept_and_nothing_is_taken_twice(found: dict[str, list[Pair]], most: int, each: int) -> None:
    taken = chosen(dict(found), most=most, each=each)
    assert len(taken) <= min(most, len(SENTENCES), each * len(found))
    assert len({pair.question for pair in taken}) == len(taken)
    assert taken == chosen(dict(found), most=most, each=each)


def test_the_pairs_of_a_passage_say_which_sentences_they_need() -> None:
    document = Document("a", FERRY, "test")
    for kind in RULES:
        for pair in mine(document, seed=1, kinds=[kind], max_pairs=6).pairs:
            assert pair.span is not None
            needed = FERRY[slice(*pair.span)]
            if kind in ("next_sentence", "words_to_sentence", "fill_the_blank"):
                assert pair.answer in needed
            elif kind == "order_of_sentences":
                listed = [line.partition(") ")[2] for line in pair.question.splitlines() if line.startswith("(")]
                assert len(sentences(needed)) == len(listed)
                assert all(line in needed for line in listed)
            assert len(sentences(needed)) == 1 or kind in ("next_sentence", "order_of_sentences", "connective")


def test_five_pairs_need_most_of_a_passage() -> None:
    document = Document("a", FERRY, "test")
    for seed in range(10):
        pairs = mine(document, seed=seed, max_pairs=5).pairs
        assert len({pair.category for pair in pairs}) >= 4
        num_covered, num_sentences = coverage(FERRY, [pair.span for pair in pairs if pair.span])
        assert num_covered >= 0.8 * num_sentences


@pytest.fixture
def passages(tmp_path: Path, vocabulary_folder: Path) -> Split:
    corpus = write_corpus(tmp_path / "bridges.jsonl", corpus_rows(12))
    documents = Read(name="documents", files=(str(corpus),))
    return Split(name="passages", documents=documents, vocabulary=str(vocabulary_folder), budget_tokens=300)


def test_rules_fill_up_passages_that_have_fewer_pairs_than_are_wanted(tmp_path: Path, passages: Split) -> None:
    """Pairs that a model wrote are played by those of one rule."""
    written = Mine(name="written", passages=passages, kinds=("fill_the_blank",), max_per_kind=1)
    run = Run(root=str(tmp_path / "out"), workers=1)
    stage = Fill(name="filled", groups=written, pairs=3)
    make(stage, run)
    before, after = ([shot for group in run.records(part, 0) for shot in group.shots] for part in (written, stage))
    assert [shot.document for shot in before] == [shot.document for shot in after]
    for old, new in zip(before, after, strict=True):
        assert new.pairs[: len(old.pairs)] == old.pairs, "what was there stays, and comes first"
        assert len(old.pairs) <= len(new.pairs) <= 3
        needed = [
            coverage(shot.document.text, [pair.span for pair in shot.pairs if pair.span])[0] for shot in (old, new)
        ]
        assert needed[0] < needed[1] or len(new.pairs) == len(old.pairs)
    counts = run.manifest(stage)["tally"]["counts"]
    num_before, num_after = (sum(len(shot.pairs) for shot in shots) for shots in (before, after))
    assert counts["pairs"] == num_after > num_before
    assert counts["pairs_mined"] == num_after - num_before
    assert counts["pairs_missing"] == 3 * len(after) - num_after


def test_less_than_one_pair_is_refused(passages: Split) -> None:
    with pytest.raises(RecipeError, match="0 pairs a passage: give at least 1"):
        Fill(name="filled", groups=Mine(name="mined", passages=passages), pairs=0)
