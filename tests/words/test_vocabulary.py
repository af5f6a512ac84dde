"""Text is only text, and begin and end of text are ids that we put."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.errors import InputError
from instructpt.words import vocabulary

THINK, CALL, BLANKS = "<think>", "<tool_call>", " " * 8


@pytest.fixture(scope="module")
def words(vocabulary_folder: Path) -> vocabulary.Vocabulary:
    return vocabulary.load(vocabulary_folder)


@given(text=st.text())
def test_any_text_comes_back(words: vocabulary.Vocabulary, text: str) -> None:
    (ids,) = words.encode([text])
    assert words.decode(ids) == text


def test_a_text_that_spells_special_tokens_gets_none(words: vocabulary.Vocabulary) -> None:
    (ids,) = words.encode(["<s> he typed </s> and </s></s>"])
    assert words.bos not in ids
    assert words.eos not in ids
    assert words.decode(ids) == "<s> he typed </s> and </s></s>"


@pytest.fixture(scope="module")
def thinking(vocabulary_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> vocabulary.Vocabulary:
    """With Qwen's added tokens that are not called special, and one of Pythia's runs of blanks."""
    folder = tmp_path_factory.mktemp("thinking")
    shutil.copytree(vocabulary_folder, folder, dirs_exist_ok=True)
    description = orjson.loads((folder / "tokenizer.json").read_bytes())
    for content in (THINK, CALL, BLANKS):
        added = {**description["added_tokens"][0], "id": 400 + len(description["added_tokens"]), "content": content}
        description["added_tokens"].append({**added, "special": False})
    (folder / "tokenizer.json").write_bytes(orjson.dumps(description))
    return vocabulary.load(folder)


def test_a_text_that_spells_added_tokens_gets_none(
    thinking: vocabulary.Vocabulary, words: vocabulary.Vocabulary
) -> None:
    text = f"he typed {THINK} and{CALL}, {THINK}{THINK}"
    (plain,) = words.encode([text])
    starts = thinking.encode_with_starts([text])[0]
    for ids in (thinking.encode([text])[0], thinking.encode_arrays([text])[0].tolist(), starts[0].tolist()):
        assert ids == plain
    assert thinking.sequence([text]) == words.sequence([text])


def test_what_a_model_writes_with_added_tokens_can_be_read(thinking: vocabulary.Vocabulary) -> None:
    think = thinking.tokenizer.token_to_id(THINK)
    (word,) = thinking.encode([" bridge"])
    assert thinking.decode([0, think, *word, think, 1]) == f"{THINK} bridge{THINK}"


def test_added_runs_of_blanks_are_text(thinking: vocabulary.Vocabulary) -> None:
    assert thinking.tokenizer.token_to_id(BLANKS) in thinking.encode([f"a{BLANKS}b"])[0]


def test_a_sequence_has_exactly_one_begin_a_part_and_stays_open(words: vocabulary.Vocabulary) -> None:
    parts = [" one <s>", " two </s>", " three"]
    ids = words.sequence(parts)
    assert ids.count(words.bos) == 3  # type: ignore[arg-type]
    assert ids.count(words.eos) == 2
    assert ids[0] == words.bos
    assert ids[-1] != words.eos
    first, second, third = words.encode(parts)
    bos, eos = words.bos, words.eos
    assert ids == [bos, *first, eos, bos, *second, eos, bos, *third]


def test_a_model_without_a_begin_token(vocabulary_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "qwen-like"
    shutil.copytree(vocabulary_folder, folder)
    config = orjson.loads((folder / "tokenizer_config.json").read_bytes())
    del config["bos_token"]
    (folder / "tokenizer_config.json").write_bytes(orjson.dumps(config))
    words = vocabulary.load(folder)
    assert words.bos is None
    assert words.sequence([" a", " b"]).count(words.eos) == 1


def test_other_programs_put_one_begin_of_text(vocabulary_folder: Path, words: vocabulary.Vocabulary) -> None:
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(vocabulary_folder)(" The bridge")["input_ids"]
    assert ids == words.sequence([" The bridge"])


def test_training_is_the_same_every_time(vocabulary_folder: Path, tmp_path: Path) -> None:
    from conftest import corpus_rows

    vocabulary.train([row["text"] for row in corpus_rows(40)], size=400, folder=tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == (vocabulary_folder / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("name", ["nowhere", "./nowhere", "/nowhere/at/all"])
def test_a_model_that_is_not_there(name: str) -> None:
    with pytest.raises(InputError, match="no model folder at"):
        vocabulary.load(name)


def test_a_folder_without_tokenizer_or_end_token(vocabulary_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no tokenizer\.json"):
        vocabulary.load(tmp_path)
    shutil.copy(vocabulary_folder / "tokenizer.json", tmp_path)
    with pytest.raises(InputError, match="names no eos_token"):
        vocabulary.load(tmp_path)


def test_no_text_makes_no_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no text to train a vocabulary on"):
        vocabulary.train([], size=400, folder=tmp_path)
