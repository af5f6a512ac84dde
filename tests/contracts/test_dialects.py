"""Every dialect: what is written is read back, and prompts are what training saw, to the token."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer

from instructpt.engines import Conversation, Form
from instructpt.errors import RecipeError
from instructpt.records import Document, Group, Pair, Reject, Shot
from instructpt.synthesis.dialects import DIALECTS, Dialect, keep_writable, open_dialect
from instructpt.words import vocabulary
from instructpt.words.vocabulary import Vocabulary

FOUR_KINDS = (
    Pair("What does it eat?", "Fish."),
    Pair("Where does it stand?", "in water", options=("in water", "on ice")),
    Pair("How many legs has it?", "2", rationale="A heron is a bird. Birds have two legs."),
    Pair("Is it a bird?", "yes", options=("yes", "no"), rationale="It has feathers."),
)
MARKS = sorted({mark for name in DIALECTS for mark in open_dialect(name).marks})
NAMES = sorted([*DIALECTS, "chat:lines"])
IN_TAGS = [name for name in NAMES if open_dialect(name).marks]
HELD_IN_TAGS = [name for name in IN_TAGS if open_dialect(name).form()]
BYTES = LLTokenizer("byte")

FRAGMENTS = [
    *MARKS,
    *("<END  >", "</QUE >", "</CAT>", "<ASK >", "</s>", "<", ">", "|", " ", "\n", "- "),
    *("Options:", "\nOptions:\n- ", "\nLet's think step by step.", "Therefore, the answer is"),
    *("a", "12", "(b)", "!", "é", "鹭在水中", "птица", "\u2028", "\x1c", "\u200b"),
]
HOSTILE = st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join)
PAIRS = st.builds(
    Pair,
    HOSTILE,
    HOSTILE,
    st.lists(HOSTILE, max_size=3).map(tuple),
    st.none() | HOSTILE,
    st.none() | st.sampled_from(["maths", "narrative QA", "a | b", "<CAT>", " ", "科学"]),
)
SHOTS = st.lists(st.tuples(HOSTILE, st.lists(PAIRS, max_size=3)), max_size=3)


@pytest.fixture(params=NAMES)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return open_dialect(request.param)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    """Byte-level BPE that joins whatever it may: blanks with words, tags with what follows them."""
    folder = tmp_path_factory.mktemp("vocabulary")
    often = " ".join(f"{mark} a heron 12 Fish." for mark in MARKS) + "\n\n" + "\n\n".join(MARKS)
    vocabulary.train([often * 30], size=500, folder=folder)
    return vocabulary.load(folder)


def carried(pair: Pair, dialect: Dialect) -> Pair:
    """What a dialect carries of a pair: no blanks around its fields, the category if it can steer."""
    rationale = None if pair.rationale is None else pair.rationale.strip()
    category = pair.category.strip() if dialect.can_steer and pair.category else None
    options = tuple(option.strip() for option in pair.options)
    return Pair(pair.question.strip(), pair.answer.strip(), options, rationale, category)


def example(dialect: Dialect) -> Group:
    pairs = tuple(carried(replace(pair, category=f"kind {i}"), dialect) for i, pair in enumerate(FOUR_KINDS))
    return Group(
        "g",
        (
            Shot(Document("1", "A heron waits in shallow water.", "birds"), pairs),
            Shot(Document("2", "It is grey.", "birds"), pairs[:1]),
            Shot(Document("3", "It flies.", "birds")),
        ),
    )


def group_of(shots: Sequence[tuple[str, Sequence[Pair]]]) -> Group:
    made = [Shot(Document(str(i), text, "s"), tuple(pairs)) for i, (text, pairs) in enumerate(shots)]
    return Group("g", tuple(made))


def has_form(text: str, form: Form) -> bool:
    """Whether an engine that holds an answer to `form` would let this one be written, and end there."""
    if form.kind == "regex":
        return bool(re.fullmatch(form.text, text))
    matcher = LLMatcher(BYTES, LLMatcher.grammar_from_lark(form.text), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    ids = list(text.encode())
    return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()


def asks_as(name: str) -> Dialect:
    """The dialect whose markup stands around a question that is to be answered."""
    return open_dialect("tags" if name == "answers" else name)


def strings(asked: list[str] | Conversation) -> list[str]:
    """A prompt as sequences of text; of a conversation, those that `write` writes: its turns without roles."""
    if not isinstance(asked, Conversation):
        return asked
    parts = [""]
    for message in asked.messages:
        if message.role == "assistant":
            parts[-1] += message.content
            parts.append("")
        else:
            parts[-1] += f"{message.content}\n\n"
    return parts


def sequences(written_text: str, breaks: Sequence[int]) -> list[str]:
    cuts = [0, *breaks, len(written_text)]
    return [written_text[start:stop] for start, stop in itertools.pairwise(cuts)]


def test_parse_undoes_write(dialect: Dialect) -> None:
    group = example(dialect)
    written = dialect.write(group)
    assert written.spans is not None
    read = [dialect.parse(written.text[start:stop]) for start, stop in written.spans]
    assert [tuple(pairs) for pairs, _ in read] == [shot.pairs for shot in group.shots if shot.pairs]
    assert not any(rejects for _, rejects in read)


@pytest.mark.parametrize("name", NAMES)
@given(SHOTS)
def test_parse_undoes_write_whatever_texts_hold(name: str, shots: list[tuple[str, list[Pair]]]) -> None:
    dialect = open_dialect(name)
    written = dialect.write(group_of(shots))
    kept = [[carried(pair, dialect) for pair in pairs if dialect.refuse(pair) is None] for _, pairs in shots]
    assert written.spans is not None
    read = [dialect.parse(written.text[start:stop]) for start, stop in written.spans]
    assert [list(pairs) for pairs, _ in read] == [pairs for pairs in kept if pairs]
    assert not any(rejects for _, rejects in read)
    for sequence in sequences(written.text, written.breaks) if written.text and dialect.marks else []:
        assert sequence.count("<CON>") == sequence.count("</CON>\n\n") == 1, "a text never opens or closes a passage"


@pytest.mark.parametrize("name", NAMES)
@given(st.lists(HOSTILE | st.sampled_from(["<QUE> q <ANS> a </END>", "<CAT> c <QUE> q <ANS> a </END>"]), max_size=6))
def test_every_pair_that_is_read_can_be_written(name: str, pieces: list[str]) -> None:
    dialect = open_dialect(name)
    pairs, rejects = dialect.parse(" ".join(pieces))
    assert [dialect.refuse(pair) for pair in pairs] == [None] * len(pairs)
    assert pairs or rejects


def test_pairs_of_every_kind_are_written(dialect: Dialect) -> None:
    """The properties above would hold for a dialect that refuses everything."""
    for pair in (*FOUR_KINDS, Pair("What is <CON> for?", "It opens </CON>, or <END >."), Pair("誰?", "鹭")):
        assert dialect.refuse(replace(pair, category="maths")) is None


def test_spans_and_breaks_are_in_order(dialect: Dialect) -> None:
    written = dialect.write(example(dialect))
    assert written.kind == "task"
    flat = [position for span in written.spans or () for position in span]
    assert flat == sorted(flat)
    assert all(0 <= position <= len(written.text) for position in flat)
    assert list(written.breaks) == sorted(written.breaks)


def test_a_prompt_is_what_training_saw(dialect: Dialect) -> None:
    first, second = example(dialect).shots[:2]
    written = dialect.write(Group("g", (first, second)))
    # A turn that asks for categories is the user's and carries no loss; a line `<ASK>` is the model's own.
    asked = [] if dialect.marks else [pair.category or "" for pair in second.pairs]
    prompt = "".join(strings(dialect.prompt([first], second.document.text, categories=asked)))
    assert written.spans is not None
    assert prompt == written.text[: written.spans[-1][0]]


@pytest.mark.parametrize("name", NAMES)
@given(shots=SHOTS, last=st.tuples(HOSTILE, PAIRS))
def test_prompts_begin_what_is_written_in_text_and_tokens(
    name: str, words: Vocabulary, shots: list[tuple[str, list[Pair]]], last: tuple[str, Pair]
) -> None:
    dialect, (passage, pair) = open_dialect(name), last
    if dialect.refuse(pair) is not None:
        pair = replace(FOUR_KINDS[0], category="maths")
    group = group_of([*shots, (passage, [pair])])
    written = dialect.write(group)
    texts = sequences(written.text, written.breaks)
    asked = [pair.category] if dialect.can_steer and pair.category else []
    earlier = group.shots[:-1]
    prompts = [(dialect.prompt(earlier, passage, categories=asked), texts)]
    if dialect.marks:
        read = asks_as(name).write(group)
        prompts += [
            (dialect.prompt(earlier, passage), texts),
            (dialect.ask(earlier, passage, pair), sequences(read.text, read.breaks)),
        ]
    for prompt, whole in ((strings(prompt), whole) for prompt, whole in prompts):
        assert prompt[:-1] == whole[:-1]
        assert whole[-1].startswith(prompt[-1])
        if dialect.marks:
            ids = words.sequence(prompt)
            assert words.sequence(whole)[: len(ids)] == ids


def test_arranging_keeps_every_pair(dialect: Dialect) -> None:
    for shot in example(dialect).shots:
        arranged = dialect.arrange(shot)
        assert replace(arranged, pairs=()) == replace(shot, pairs=())
        assert sorted(map(repr, arranged.pairs)) == sorted(map(repr, shot.pairs))
        assert dialect.arrange(arranged) == arranged


@pytest.mark.parametrize("name", IN_TAGS)
def test_answers_are_read_as_in_a_pair(name: str) -> None:
    dialect = open_dialect(name)
    shot = example(dialect).shots[0]
    for pair in shot.pairs:
        written = asks_as(name).write(Group("g", (replace(shot, pairs=(pair,)),))).text
        (prompt,) = strings(dialect.ask([], shot.document.text, pair))
        given = written.removeprefix(prompt)
        question = replace(pair, answer="?", rationale=None if pair.rationale is None else "?")
        assert dialect.answer(given, question) == pair
        assert dialect.answer(f"{given}\n\n<QUE> And then?", question) == pair
        assert dialect.answer(given.removesuffix(" </END>"), question) == pair


@pytest.mark.parametrize("name", IN_TAGS)
def test_what_answers_nothing_is_a_reject(name: str) -> None:
    dialect = open_dialect(name)
    free, _, reasoned, _ = example(dialect).shots[0].pairs
    for text in ("", "\n </END> more", "a <ANS> b </END>", "a\n<QUE> b", "<CON> a </CON> </END>"):
        assert isinstance(dialect.answer(text, free), Reject), text
    for text in ("2 </END>", "Therefore, the answer is 2 </END>", "It has. Therefore, the answer is </END>"):
        assert isinstance(dialect.answer(text, reasoned), Reject), text
    hidden = dialect.answer(" It opens <CON >. </END>", free)
    assert hidden == replace(free, answer="It opens <CON>.")


PARTS = [
    *("a", "9", " ", "\n", "\u3000", "\x1c", "<", "</", "<A", "< b>", "\n- a"),
    *("Options:", "\nOptions:", "\nOptions:\n- a", "\nLet's think step by step."),
    *("Therefore, the answer is", "\nTherefore, the answer is yes"),
]
FIELDS = st.lists(st.sampled_from(PARTS), max_size=5).map("".join)
PIECES = st.builds(
    "{}<QUE>{}<ANS>{}</END>".format,
    st.sampled_from(["<CAT> maths ", "<CAT> 科学 ", "<CAT> a | b "]),
    st.builds("{}{}{}".format, st.sampled_from([" Who", "Who", " "]), FIELDS, st.sampled_from([" ", "? "])),
    st.builds("{}{}{}".format, st.sampled_from([" It", "It", " "]), FIELDS, st.sampled_from([" ", ". "])),
)


@pytest.mark.parametrize("name", HELD_IN_TAGS)
@given(pieces=st.lists(PIECES, max_size=3), passage=st.sampled_from(["", "1 < 2"]), is_asked=st.booleans())
def test_a_whole_answer_of_the_form_has_no_reject(name: str, pieces: list[str], passage: str, is_asked: bool) -> None:
    dialect = open_dialect(name)
    asked, answer = [], "\n\n".join(pieces)
    if not dialect.can_steer:
        answer = re.sub("<CAT>.*?<QUE>", "<QUE>", answer)
    elif is_asked:
        asked = re.findall("<CAT> (maths|科学)", answer)
    else:
        answer = f"<ASK> 1 maths | 2 科学 </ASK>\n\n{answer}"
    if name == "answers":
        answer = re.sub("(<QUE>)(.*?)(<ANS>)(.*?)(?=</END>)", r"\3\4\1\2", answer, flags=re.DOTALL)
    form = dialect.form(asked, passage=passage)
    assert form is not None
    if has_form(answer, form):
        pairs, rejects = dialect.parse(answer)
        assert not rejects
        assert len(pairs) == len(pieces) >= 1
        assert not asked or [pair.category for pair in pairs] == asked


ORDINARY = st.lists(st.sampled_from([part for part in FRAGMENTS if "<" not in part]), max_size=8).map("".join)


@pytest.mark.parametrize("name", HELD_IN_TAGS)
@given(
    pairs=st.lists(st.builds(Pair, ORDINARY, ORDINARY, st.lists(ORDINARY, max_size=3).map(tuple), st.none() | ORDINARY))
)
def test_what_is_written_has_the_form(name: str, pairs: list[Pair]) -> None:
    """But for a "<", and for lines within a question that begin as its options or its cue do."""
    dialect = open_dialect(name)
    kept = [
        replace(pair, category="maths" if i < 2 else "life")
        for i, pair in enumerate([*FOUR_KINDS, *pairs])
        if dialect.refuse(replace(pair, category="maths")) is None
        if "Options:" not in pair.question and "step by step" not in pair.question
    ]
    written = dialect.write(group_of([("A heron waits.", kept)])).text
    for asked in ([], [pair.category or "" for pair in kept]) if dialect.can_steer else ([],):
        form, (prompt,) = dialect.form(asked), strings(dialect.prompt([], "A heron waits.", categories=asked))
        assert form is not None
        assert has_form(written.removeprefix(prompt), form)


def test_asking_for_categories(dialect: Dialect) -> None:
    if dialect.can_steer:
        with_categories = dialect.prompt([], "It flies.", categories=["kind 0", "kind 1"])
        assert with_categories != dialect.prompt([], "It flies.", categories=["kind 1", "kind 0"])
    else:
        with pytest.raises(RecipeError, match="cannot ask for categories"):
            dialect.prompt([], "It flies.", categories=["kind 0"])
        with pytest.raises(RecipeError, match="cannot ask for categories"):
            dialect.form(["kind 0"])


def test_no_answer_is_a_reject_and_never_an_error(dialect: Dialect) -> None:
    for answer in ("", " \n", "nonsense", "<", "{}", "[]", "\x00"):
        pairs, rejects = dialect.parse(answer)
        assert list(pairs) == []
        assert [reject.reason for reject in rejects]


def test_pairs_that_cannot_be_written_are_counted(dialect: Dialect) -> None:
    good, bad = example(dialect).shots[0].pairs[0], Pair("", "", category="maths")
    group = Group("g", (Shot(Document("1", "A heron waits.", "birds"), (good, bad)),))
    kept = keep_writable(group, dialect=dialect).shots[0]
    assert kept.pairs == (good,)
    assert [reject.reason for reject in kept.rejects] == [dialect.refuse(bad)]
    assert dialect.write(group) == dialect.write(Group("g", (kept,)))


def test_an_unknown_dialect_names_those_there_are() -> None:
    with pytest.raises(RecipeError, match="tags"):
        open_dialect("klingon")
