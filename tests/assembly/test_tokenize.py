"""Token files hold every text once, with its special ids where they belong and loss where the spans say."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instructpt.assembly import tokenize as tokenize_module
from instructpt.assembly.tokenize import Counts, token_type, tokenize
from instructpt.records import Text
from instructpt.words import vocabulary
from instructpt.words.vocabulary import Vocabulary

CHARACTERS = st.text(st.sampled_from("ab eT.\n\u00e9\u4e2d\U0001f600"), max_size=30)


@pytest.fixture(scope="module")
def words(vocabulary_folder: Path) -> Vocabulary:
    return vocabulary.load(vocabulary_folder)


@st.composite
def some_texts(draw: st.DrawFn) -> Text:
    text = draw(CHARACTERS)
    places = st.integers(0, len(text))
    breaks = tuple(sorted(draw(st.lists(places, max_size=2, unique=True))))
    edges = sorted(draw(st.lists(places, max_size=6)))
    spans = draw(st.sampled_from([None, tuple(zip(edges[::2], edges[1::2], strict=False))]))
    return Text(draw(st.sampled_from(["1", "2"])), text, "books", "task", spans, breaks)


def reference(text: Text, words: Vocabulary) -> tuple[list[int], list[bool]]:
    """Ids and losses of a text, a token at a time."""

    def carries(character: int) -> bool:
        return text.spans is None or any(start <= character < stop for start, stop in text.spans)

    ids: list[int] = []
    losses: list[bool] = []
    bounds = [0, *text.breaks, len(text.text)]
    for first, stop in pairwise(bounds):
        inside = words.tokenizer.encode(text.text[first:stop], add_special_tokens=False)
        begin = [] if words.bos is None else [words.bos]
        ids += [*begin, *inside.ids, words.eos]
        losses += [text.spans is None] * len(begin) + [carries(first + start) for start, _ in inside.offsets]
        losses.append(carries(stop - 1) if text.spans is None or stop else False)
    return ids, losses


def read(folder: Path) -> tuple[list[list[int]], list[list[bool]]]:
    head = orjson.loads((folder / "head.json").read_bytes())
    tokens = np.fromfile(folder / "tokens.bin", head["dtype"])
    ends = np.load(folder / "documents.npy").tolist()
    losses = np.ones(len(tokens), bool)
    for start, stop in np.load(folder / "silent.npy").tolist():
        losses[start:stop] = False
    assert head["tokens"] == len(tokens) == ends[-1]
    spans = list(pairwise(ends))
    return [tokens[a:b].tolist() for a, b in spans], [losses[a:b].tolist() for a, b in spans]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(some_texts(), max_size=6), has_begin=st.booleans(), batch=st.sampled_from([1, 40, 1 << 20]))
def test_every_token_and_every_loss_is_where_it_belongs(
    words: Vocabulary, tmp_path: Path, texts: list[Text], has_begin: bool, batch: int
) -> None:
    words = Vocabulary(words.tokenizer, words.bos if has_begin else None, words.eos, words.size, "f", words.byte_pairs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenize_module, "_BATCH_CHARACTERS", batch)
        counts = tokenize(iter(texts), vocabulary=words, folder=tmp_path)
    ids, losses = read(tmp_path)
    wanted = [reference(text, words) for text in texts]
    assert ids == [tokens for tokens, _ in wanted]
    assert losses == [loss for _, loss in wanted]
    loss_tokens = sum(sum(loss[1:]) for _, loss in wanted)
    assert counts == Counts(len(texts), sum(map(len, ids)), loss_tokens, sum(len(text.text) for text in texts))


def encoded(words: Vocabulary, folder: Path, texts: Sequence[Text]) -> list[list[int]]:
    tokenize(texts, vocabulary=words, folder=folder)
    return read(folder)[0]


def test_a_text_with_breaks_is_what_a_prompt_is(words: Vocabulary, tmp_path: Path) -> None:
    text = Text("1", "Who?\n\nMe.And you?\n\n", "s", "task", None, (9,))
    assert encoded(words, tmp_path, [text]) == [[*words.sequence(["Who?\n\nMe.", "And you?\n\n"]), words.eos]]


def test_special_tokens_in_a_text_are_text(words: Vocabulary, tmp_path: Path) -> None:
    ((first, *inside, last),) = encoded(words, tmp_path, [Text("1", "</s><s>", "s", "raw")])
    assert (first, last) == (words.bos, words.eos)
    assert not {words.bos, words.eos} & set(inside)


def test_names_are_kept_also_doubled_ones(words: Vocabulary, tmp_path: Path) -> None:
    tokenize(
        [Text(i, "x", s, "raw") for i, s in [("a", "1"), ("a", "2"), ("", "1")]], vocabulary=words, folder=tmp_path
    )
    rows = pq.read_table(tmp_path / "names.parquet").to_pylist()
    assert [(row["id"], row["source"]) for row in rows] == [("a", "1"), ("a", "2"), ("", "1")]


def test_the_same_texts_give_the_same_bytes_and_replace_what_a_killed_try_left(
    words: Vocabulary, tmp_path: Path
) -> None:
    texts = [Text(str(i), f"Number {i}. " * i, "s", "raw") for i in range(50)]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "tokens.bin").write_bytes(b"x" * 100_000)
    for name in "ab":
        tokenize(texts, vocabulary=words, folder=tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["documents.npy", "head.json", "names.parquet", "silent.npy", "tokens.bin"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_large_vocabularies_take_four_bytes_a_token() -> None:
    assert token_type(1 << 16).itemsize == 2
    assert token_type((1 << 16) + 1).itemsize == 4
