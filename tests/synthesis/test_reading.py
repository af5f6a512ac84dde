"""What a reader is tuned on: loss on answers alone, questions of other passages that a passage does not answer."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.records import Document, Group, Pair, Shot
from instructpt.synthesis.tagging import UNANSWERABLE, with_swapped, write_reading
from instructpt.synthesis.tags import Tags

HERON = Document("1", "The heron waits in shallow water. It eats fish.", "birds")
BRIDGE = Document("2", "The bridge was built in 1843 by Ada Low.", "bridges")
FREE = Pair("What does it eat?", "fish", category="extractive QA")
CHOICE = Pair("Where does it wait?", "in water", options=("in water", "on ice"))
REASONED = Pair("Is it a bird?", "yes", rationale="It has feathers.")
YEAR, WHO = Pair("When was it built?", "1843"), Pair("Who built it?", "Ada Low")
GROUP = Group("g", (Shot(HERON, (FREE, CHOICE, REASONED)), Shot(Document("3", "", "s")), Shot(BRIDGE, (YEAR, WHO))))


def test_answers_alone_carry_loss_and_reasons_are_left_out() -> None:
    text = write_reading(GROUP)
    assert text.spans is not None
    learnt = [text.text[start:stop] for start, stop in text.spans]
    assert learnt == [" fish </END>", " in water </END>", " yes </END>", " 1843 </END>", " Ada Low </END>"]
    first, second = text.text[: text.breaks[0]], text.text[text.breaks[0] :]
    assert second == (
        " <CON> The bridge was built in 1843 by Ada Low. </CON>\n\n"
        "<QUE> When was it built? <ANS> 1843 </END>\n\n<QUE> Who built it? <ANS> Ada Low </END>"
    )
    assert "Options:\n- in water\n- on ice <ANS>" in first
    assert "feathers" not in first


def test_a_first_question_is_asked_as_a_reader_is_asked() -> None:
    text = write_reading(GROUP)
    (asked,) = Tags().ask([], HERON.text, FREE)
    assert text.spans is not None
    assert text.text[: text.spans[0][0]] == asked


@given(st.lists(st.builds(Pair, st.text(max_size=9), st.sampled_from(["a", "</END>", " <ANS> b", ""])), max_size=4))
def test_every_answer_that_is_learnt_can_be_read(pairs: list[Pair]) -> None:
    text = write_reading(Group("g", (Shot(HERON, tuple(pairs)), Shot(BRIDGE, (YEAR,)))))
    kept = [pair for pair in pairs if Tags().refuse(pair) is None]
    assert text.spans is not None
    for pair, (start, stop) in zip([*kept, YEAR], text.spans, strict=True):
        read = Tags().answer(text.text[start:stop], pair)
        assert isinstance(read, Pair)
        assert read.answer == pair.answer.strip()
    flat = list(itertools.chain(*text.spans))
    assert flat == sorted(flat)


def test_a_question_of_another_passage_has_no_answer() -> None:
    (group,) = with_swapped([GROUP], share=0.5, seed=1)
    heron, empty, bridge = group.shots
    assert heron.pairs == GROUP.shots[0].pairs, "there is no passage before it"
    assert empty.pairs == ()
    assert bridge.pairs == (YEAR, WHO), "the passage before it has no questions"
    after = Group("h", (Shot(BRIDGE, (YEAR, WHO)),))
    _, swapped = with_swapped([Group("g", GROUP.shots[:1]), after], share=0.5, seed=1)
    strangers = [pair for pair in swapped.shots[0].pairs if pair not in (YEAR, WHO)]
    assert strangers == [Pair(FREE.question, UNANSWERABLE, category="extractive QA")]
    assert set(swapped.shots[0].pairs) >= {YEAR, WHO}


def test_what_a_passage_answers_after_all_is_not_swapped_in() -> None:
    fish = Group("h", (Shot(Document("2", "Cats love fish.", "cats"), (Pair("Who loves it?", "Cats"),)),))
    _, kept = with_swapped([Group("g", GROUP.shots[:1]), fish], share=0.5, seed=1)
    assert kept == fish


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_share_is_kept_and_drawn_anew_for_each_seed(share: float) -> None:
    groups = [
        Group(
            str(i),
            (Shot(Document(str(i), f"Number {i} is here.", "s"), tuple(Pair(f"{i} {j}?", str(i)) for j in "ab")),),
        )
        for i in range(500)
    ]
    made = list(with_swapped(groups, share=share, seed=1))
    answers = [pair.answer for group in made for pair in group.shots[0].pairs]
    assert answers.count(UNANSWERABLE) / len(answers) == pytest.approx(share, abs=0.03)
    assert made == list(with_swapped(groups, share=share, seed=1))
    assert made != list(with_swapped(groups, share=share, seed=2))
