"""Replies in lines: what a small model writes is read, what is written comes back, the form holds a model to it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer

from instructpt.engines import Conversation
from instructpt.errors import InputError, RecipeError
from instructpt.records import Document, Group, Pair, Shot
from instructpt.synthesis import prompts
from instructpt.synthesis.chat import Chat
from instructpt.synthesis.dialects import dialect_sources, open_dialect
from instructpt.words.overlap import words

GOLDEN = Path(__file__).parents[1] / "golden" / "chat_lines_english.txt"
LINES = Chat("lines")
LANGUAGES = prompts.languages()
BYTES = LLTokenizer("byte")
ENGLISH = (prompts.FOLDER / "english.toml").read_text(encoding="utf-8")

HERON = Pair("What does the heron eat?", "Fish.")
CHOICE = Pair("Where does it stand?", "in water", options=("in water", "on ice"), category="places")
REASONED = Pair("How many legs has it?", "2", rationale="A heron is a bird. Birds have two.", category="facts")

FRAGMENTS = [
    *("Q:", "A:", "Q: ", "\nA: ", "Answer:", "Question 2:", "Category:", "Reasoning:", "\n", "\n\n", "- ", "* ", "**"),
    *("F:", "问：", "س:", "```", "1. ", "<s>", "<|im_end|>", "[INST]", " ", "  ", "\t", "\u2028", "\x00"),
    *("a", "heron", "鹭在水中", "é", "🐦", ":", "?"),
]
HOSTILE = st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join)
PAIRS = st.builds(
    Pair,
    HOSTILE,
    HOSTILE,
    st.lists(HOSTILE, max_size=3).map(tuple),
    st.none() | HOSTILE,
    st.none() | st.sampled_from(["facts", "Q: x", " ", "two\nlines", "科学"]),
)


def stripped(pair: Pair) -> Pair:
    rationale, category = (None if text is None else text.strip() for text in (pair.rationale, pair.category))
    options = tuple(option.strip() for option in pair.options)
    return Pair(pair.question.strip(), pair.answer.strip(), options, rationale, category)


def test_golden_conversation() -> None:
    """INSTRUCTPT_WRITE_GOLDEN=1 writes it anew, to be read as a diff."""
    earlier = [Shot(Document("d", "A heron waits in shallow water.", "birds"), (CHOICE, REASONED))]
    conversation = LINES.prompt(earlier, "It is grey.", categories=["facts", "places", "facts"])
    shown = "".join(f"[{message.role}]\n{message.content}\n\n" for message in conversation.messages)
    if os.environ.get("INSTRUCTPT_WRITE_GOLDEN"):
        GOLDEN.write_text(shown, encoding="utf-8")
    assert shown == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_examples_whose_answers_stand_in_their_passages(language: str) -> None:
    wording = prompts.load(language, layout="lines")
    assert wording.fingerprint != prompts.load(language).fingerprint
    assert [len(shot.pairs) for shot in wording.examples] == [3, 3]
    for shot in wording.examples:
        assert all(Chat(f"lines:{language}").refuse(pair) is None for pair in shot.pairs)
        held = set(words(shot.document.text))
        for pair in shot.pairs:  # but for a word or two that make it an answer: "because", "there"
            said = words(pair.answer)
            assert sum(word in held for word in said) >= 0.6 * len(said), pair


@pytest.mark.parametrize("language", LANGUAGES)
@given(st.lists(PAIRS, max_size=4))
def test_what_is_written_is_read_again(language: str, pairs: list[Pair]) -> None:
    dialect = Chat(f"lines:{language}")
    written = dialect.write(Group("g", (Shot(Document("d", "A heron waits.", "birds"), tuple(pairs)),)))
    kept = [stripped(pair) for pair in pairs if dialect.refuse(pair) is None]
    assert written.spans is not None
    for start, stop in written.spans:
        assert dialect.parse(written.text[start:stop]) == (kept, [])
    assert bool(written.spans) == bool(kept)


@given(st.lists(HOSTILE | st.just("\nQ: who?\nA: me\n"), max_size=6).map("".join))
def test_no_reply_is_an_error_and_every_pair_read_can_be_written(reply: str) -> None:
    pairs, rejects = LINES.parse(reply)
    assert [LINES.refuse(pair) for pair in pairs] == [None] * len(pairs)
    assert pairs or rejects


@pytest.mark.parametrize(
    "reply",
    [
        "Q: What does the heron eat?\nA: Fish.",
        "Here are some questions:\n\nQ: What does the heron eat?\nA: Fish.\n\nI hope this helps!",
        "**Q:** What does the heron eat?\n**A:** Fish.",
        "Question 1: What does the heron eat?\nAnswer 1: Fish.",
        "1. Q: What does the heron eat?\n   A: Fish.",
        "### Q1: What does\nthe heron eat?\n\nA: Fish.",
        "```\nQ: What does the heron eat?\nA: Fish.\n```",
        "<think>A heron. Q: what?</think>\nQ: What does the heron eat?\nA: Fish.",
    ],
)
def test_pairs_are_found_in_what_models_make_of_lines(reply: str) -> None:
    assert LINES.parse(reply) == ([HERON], [])


@pytest.mark.parametrize("language", LANGUAGES)
def test_english_words_are_understood_in_every_language(language: str) -> None:
    assert Chat(f"lines:{language}").parse("Q: What does the heron eat?\nA: Fish.") == ([HERON], [])


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("Q: What does it eat?", "cut_off"),
        ("Q: What does it eat?\n\nQ: What does the heron eat?\nA: Fish.", "no_answer"),
        ("A: Fish.", "no_question"),
        ("Q:\nA: Fish.", "empty_question"),
        ("Q: What does it eat?\nA:\n\nQ: What does the heron eat?\nA: Fish.", "empty_answer"),
        ("Q: How many?\nReasoning:\nA: 2", "broken_rationale"),
        ("The heron eats fish.", "no_pair"),
        ("<think>Q: What does it eat?\nA: Fish.", "cut_off"),
    ],
)
def test_what_is_no_pair_is_rejected_with_its_reason(reply: str, reason: str) -> None:
    pairs, rejects = LINES.parse(reply)
    assert [reject.reason for reject in rejects] == [reason]
    assert set(pairs) <= {HERON}


@pytest.mark.parametrize("reason", ["several_lines", "empty_rationale", "broken_category"])
def test_what_would_come_back_different_is_never_written(reason: str) -> None:
    pair = {
        "several_lines": Pair("Who\nwaits?", "a heron"),
        "empty_rationale": Pair("Who?", "a heron", rationale=" "),
        "broken_category": Pair("Who?", "a heron", category="two\nlines"),
    }[reason]
    assert LINES.refuse(pair) == reason


def test_the_form_takes_what_is_written_and_as_many_pairs_as_categories() -> None:
    asked = LINES.form(["facts", "places"]).text
    written = "Category: facts\nQ: Who?\nA: a heron\n\nCategory: places\nQ: Where?\n- in water\n- on ice\nA: in water"
    assert re.fullmatch(asked, written)
    assert not re.fullmatch(asked, written.partition("\n\n")[0])
    matcher = LLMatcher(BYTES, LLMatcher.grammar_from_regex(asked))
    assert matcher.consume_tokens(BYTES.tokenize_str(written))
    assert matcher.is_accepting()


@given(data=st.data(), is_asked=st.booleans())
def test_a_whole_reply_of_the_form_has_no_reject(data: st.DataObject, is_asked: bool) -> None:
    asked = ["facts", "places"] if is_asked else []
    reply = data.draw(st.from_regex(LINES.form(asked, field_characters=20).text, fullmatch=True))
    pairs, rejects = LINES.parse(reply)
    assert not rejects
    assert [pair.category for pair in pairs] == (asked or [None] * len(pairs))


def test_the_layout_and_the_language_are_chosen_by_name(tmp_path: Path) -> None:
    assert open_dialect("chat:json").form().text == open_dialect("chat").form().text  # type: ignore[union-attr]
    german = open_dialect("chat:lines:german").prompt([], "Ein Reiher.")
    assert isinstance(german, Conversation)
    assert german.messages[2].content.startswith("F: Wann")
    assert dialect_sources("chat:lines") != dialect_sources("chat:json")
    path = tmp_path / "mine.toml"
    path.write_text(ENGLISH.replace('question_word = "Q:"', 'question_word = "Ask:"'), encoding="utf-8")
    assert open_dialect(f"chat:lines:{path}").parse("Ask: Who?\nA: me") == ([Pair("Who?", "me")], [])
    with pytest.raises(RecipeError, match="did you mean german"):
        open_dialect("chat:lines:germn")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[lines]", "[rows]", ["called rows"]),
        ('question_word = "Q:"', "", ["[lines]", "lacks question_word"]),
        ('question_word = "Q:"', 'query_word = "Q:"', ["[lines]", "called query_word"]),
        ('answer = "1871"', 'reply = "1871"', ["example 1", "question and answer"]),
    ],
)
def test_a_broken_table_is_refused_by_file_and_key(tmp_path: Path, old: str, new: str, said: list[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(ENGLISH.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        open_dialect(f"chat:lines:{path}")
    for word in (str(path), *said):
        assert word in str(caught.value)


def test_a_file_without_the_table_serves_for_json_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(ENGLISH.partition("[lines]")[0], encoding="utf-8")
    open_dialect(f"chat:{path}")
    with pytest.raises(InputError, match=r"lacks the table \[lines\]"):
        open_dialect(f"chat:lines:{path}")
