"""Which passages stand in one chain, and how much of it a prompt holds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.engines import Conversation
from instructpt.errors import RecipeError
from instructpt.records import Document, Pair, Reject, Shot
from instructpt.synthesis.chains import (
    CONVERSATION_TOKENS,
    MESSAGE_TOKENS,
    Prompt,
    Turn,
    chains,
    fit,
    joined,
    measure,
    shown,
    turns,
)
from instructpt.synthesis.chat import Chat
from instructpt.synthesis.dialects import Dialect, open_dialect
from instructpt.synthesis.steered import Steered
from instructpt.synthesis.tags import Tags
from instructpt.words.evidence import sentences
from instructpt.words.vocabulary import Vocabulary

PAIR = Pair("What does it eat?", "Fish.")


def document(text: str, source: str = "birds") -> Document:
    return Document(text, text, source)


def ids_of(prompt: Prompt) -> Sequence[int]:
    assert not isinstance(prompt.content, Conversation)
    return prompt.content


def test_passages_of_one_source_that_follow_one_another_form_chains() -> None:
    documents = [document(text, source=text[0]) for text in ("a1", "a2", "a3", "a4", "b1", "b2")]
    made = [[passage.text for passage in chain] for chain in chains(documents, shots=3)]
    assert made == [["a1", "a2", "a3"], ["a4"], ["b1", "b2"]]


@given(st.lists(st.sampled_from("abc"), max_size=20), st.integers(1, 4))
def test_every_passage_is_in_one_chain_and_order_stays(sources: list[str], shots: int) -> None:
    documents = [Document("same id", f"{i}", source) for i, source in enumerate(sources)]
    made = list(chains(iter(documents), shots=shots))
    assert [passage for chain in made for passage in chain] == documents
    assert all(1 <= len(chain) <= shots and len({passage.source for passage in chain}) == 1 for chain in made)
    for chain, following in itertools.pairwise(made):
        assert len(chain) == shots or following[0].source != chain[0].source


def test_a_chain_needs_a_passage() -> None:
    with pytest.raises(RecipeError, match="shots is 0"):
        chains([], shots=0)


def test_as_many_of_the_latest_shots_as_fit(small_vocabulary: Vocabulary) -> None:
    dialect = Tags()
    earlier = [Shot(document(f"Bird number {i} waits in shallow water."), (PAIR,) * (i + 1)) for i in range(4)]
    for kept in range(len(earlier) + 1):
        parts = dialect.prompt(earlier[len(earlier) - kept :], "It flies.")
        ids = small_vocabulary.sequence(parts)
        for budget_tokens in (len(ids), len(ids) + 1):  # one more is too few for another shot
            prompt = fit(
                earlier,
                passage="It flies.",
                dialect=dialect,
                vocabulary=small_vocabulary,
                budget_tokens=budget_tokens,
            )
            assert prompt is not None
            assert (prompt.content, prompt.num_tokens, prompt.follows) == (ids, len(ids), kept)


def test_a_prompt_has_one_begin_of_text_a_shot(small_vocabulary: Vocabulary) -> None:
    earlier = [Shot(document("A </s> heron <s> waits."), (PAIR,))]
    prompt = fit(earlier, passage="<s> flies.", dialect=Tags(), vocabulary=small_vocabulary, budget_tokens=10_000)
    assert prompt is not None
    ids = list(ids_of(prompt))
    assert ids[0] == small_vocabulary.bos
    assert ids.count(small_vocabulary.bos or 0) == 2
    assert ids.count(small_vocabulary.eos) == 1


def test_shots_without_pairs_are_not_carried(small_vocabulary: Vocabulary) -> None:
    earlier = [Shot(document("A heron waits."), (PAIR,)), Shot(document("It is grey."))]
    prompt = fit(earlier, passage="It flies.", dialect=Tags(), vocabulary=small_vocabulary, budget_tokens=10_000)
    assert prompt is not None
    assert prompt.follows == 1
    assert "grey" not in small_vocabulary.decode(ids_of(prompt))


def test_a_passage_that_does_not_fit_alone_gets_no_prompt(small_vocabulary: Vocabulary) -> None:
    alone = len(small_vocabulary.sequence(Tags().prompt([], "It flies.")))
    for budget_tokens, fits in ((alone, True), (alone - 1, False)):
        prompt = fit([], passage="It flies.", dialect=Tags(), vocabulary=small_vocabulary, budget_tokens=budget_tokens)
        assert (prompt is not None) == fits


def test_a_conversation_is_measured_by_its_texts_and_what_templates_add(small_vocabulary: Vocabulary) -> None:
    asked = Chat().prompt([Shot(document("A heron waits."), (PAIR,))], "It flies.")
    texts = small_vocabulary.encode([message.content for message in asked.messages])
    prompt = measure(asked, vocabulary=small_vocabulary, follows=1)
    assert prompt.content == asked
    assert prompt.num_tokens == sum(map(len, texts)) + 4 * MESSAGE_TOKENS + CONVERSATION_TOKENS


def test_as_many_of_the_latest_turns_as_fit(small_vocabulary: Vocabulary) -> None:
    dialect = Chat()
    earlier = [Shot(document(f"Bird number {i} waits in shallow water."), (PAIR,)) for i in range(3)]
    for kept in range(len(earlier) + 1):
        wanted = dialect.prompt(earlier[len(earlier) - kept :], "It flies.")
        budget_tokens = measure(wanted, vocabulary=small_vocabulary, follows=kept).num_tokens
        for budget, fitting in ((budget_tokens, kept), (budget_tokens - 1, kept - 1)):
            prompt = fit(
                earlier, passage="It flies.", dialect=dialect, vocabulary=small_vocabulary, budget_tokens=budget
            )
            assert (prompt.follows if prompt else -1) == fitting


@pytest.mark.parametrize("dialect", [Chat(), Steered()])
def test_a_guided_prompt_carries_the_form_of_its_answer(dialect: Dialect, small_vocabulary: Vocabulary) -> None:
    def fitted(guided: bool) -> Prompt | None:
        return fit(
            [],
            passage="It flies.",
            dialect=dialect,
            vocabulary=small_vocabulary,
            budget_tokens=10_000,
            categories=["maths"],
            guided=guided,
            field_characters=90,
        )

    guided, free = fitted(True), fitted(False)
    assert guided is not None
    assert free is not None
    assert guided.form == dialect.form(["maths"], field_characters=90) != dialect.form()
    assert free.form is None
    assert guided.content == free.content


PASSAGE = "The heron Ada has fish from Norway. Its nest is a pile of sticks. It was there in 1910."
KINDS = {"spans": "span", "titles": "free"}


def test_most_dialects_are_asked_for_all_pairs_at_once() -> None:
    asked = ["spans", "titles", "spans"]
    for dialect in (Steered(), open_dialect("chat")):
        assert turns(asked, passage=PASSAGE, dialect=dialect, answers=KINDS) == [Turn(tuple(asked))]
    assert turns([], passage=PASSAGE, dialect=open_dialect("answers"), answers=KINDS) == [Turn(())]


def test_pairs_that_are_asked_for_apart_share_out_what_the_passage_holds() -> None:
    asked = ["spans", "titles", "spans"]
    first, _, third = sentences(PASSAGE)
    answers = open_dialect("answers")
    assert turns(asked, passage=PASSAGE, dialect=answers, answers=KINDS) == [
        Turn(("spans",), ("The heron Ada", "Ada", "Norway"), first),
        Turn(("spans",), ("1910",), third),
        Turn(("titles",)),
    ]
    found = turns(["spans"] * 3, passage=PASSAGE, dialect=answers, answers=KINDS)
    assert [turn.spans for turn in found] == [("The heron Ada", "Ada"), ("Norway",), ("1910",)]
    assert [turn.part for turn in found] == [first, first, third]


def test_of_a_passage_that_holds_less_less_is_asked_for() -> None:
    answers = open_dialect("answers")
    assert len(turns(["spans"] * 99, passage=PASSAGE, dialect=answers, answers=KINDS)) == 3
    assert turns(["spans"] * 3, passage="and so it was, as they say.", dialect=answers, answers=KINDS) == []
    assert turns(["titles"], passage="and so it was.", dialect=answers, answers=KINDS) == [Turn(("titles",))]


def test_around_what_is_asked_for_as_many_sentences_before_it_are_shown_as_fit(small_vocabulary: Vocabulary) -> None:
    passage = "The heron eats fish.  It waits in water.\nIt flies home. The end is near."
    bounds = sentences(passage)
    sizes = list(map(len, small_vocabulary.encode_arrays([passage[slice(*one)] for one in bounds])))
    for first in range(3):
        for tokens in (sum(sizes[first:3]), sum(sizes[max(0, first - 1) : 3]) - (first > 0)):
            seen = shown(passage, bounds[2], vocabulary=small_vocabulary, context_tokens=tokens)
            assert seen == passage[bounds[first][0] : bounds[2][1]]
    assert shown(passage, bounds[2], vocabulary=small_vocabulary, context_tokens=1) == "It flies home."
    inside = (bounds[1][0] + 3, bounds[1][1] - 3)
    assert shown(passage, inside, vocabulary=small_vocabulary, context_tokens=1) == "It waits in water."


def test_what_was_written_apart_is_one_shot() -> None:
    one, two = Pair("Who?", "the heron"), Pair("What?", "eels")
    too_long, broken = Reject("", "passage_too_long"), Reject("x", "no_end_tag")
    where = document(PASSAGE)
    parts = [Shot(where, (one,), 1), Shot(where, (), 0, (too_long, broken)), Shot(where, (two,), 1, (too_long, broken))]
    assert joined(where, parts) == Shot(where, (one, two), 0, (too_long, broken, broken))


def test_a_passage_of_which_there_was_nothing_to_ask_says_so() -> None:
    assert joined(document(PASSAGE), []) == Shot(document(PASSAGE), rejects=(Reject("", "nothing_to_ask"),))
