"""`--query-embeddings`: passages found by an encoder's vectors, beside words. The encoder is a random one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from answering_engine import ANSWERING
from conftest import write_corpus

from instructpt.artifacts import Run
from instructpt.errors import InputError
from instructpt.executors.make import make
from instructpt.queries.embeddings import Encoder, Nearest, embed, fused
from instructpt.queries.index import Hit
from instructpt.recipes.augment import augment
from instructpt.records import Document
from instructpt.report.artifacts import load_one

TEXTS = (
    "Ada Brekke built the bridge over the Cole in 1843.",
    "Each spring the mill sells flour, oats and rye to bakers of the town at a low price.",
    "The inn has nine rooms.",
    "Herons wait in shallow water for the fish that come near.",
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, vocabulary_folder: Path) -> str:
    """A folder with a tiny BERT of random weights."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = AutoTokenizer.from_pretrained(vocabulary_folder)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)


def test_a_vector_has_length_one_and_does_not_hang_on_what_is_beside_it(encoder: str) -> None:
    loaded = Encoder(encoder, device="cpu")
    together = loaded.vectors([*TEXTS, "a word " * 500])
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
    for text, vector in zip(TEXTS, together, strict=False):
        assert loaded.vectors([text])[0] == pytest.approx(vector, abs=1e-5)


def test_a_text_is_nearest_to_itself_in_whichever_shard_it_is(encoder: str, tmp_path: Path) -> None:
    loaded = Encoder(encoder, device="cpu")
    shards = (TEXTS[:1], (), TEXTS[1:])
    for number, texts in enumerate(shards):
        assert embed(texts, tmp_path / str(number), loaded) == len(texts)
    nearest = Nearest([tmp_path / str(number) for number in range(3)])
    for place, text in (((0, 0), TEXTS[0]), ((2, 0), TEXTS[1]), ((2, 2), TEXTS[3])):
        found = nearest.find(loaded.vectors([text])[0], most=3)
        assert found[0] == place
        assert len(set(found)) == 3


def test_ranks_of_words_and_of_meaning_are_summed() -> None:
    hits = [Hit(0, 1, 9.0, 0.9), Hit(0, 2, 5.0, 0.2), Hit(0, 3, 1.0, 0.1)]
    found = fused(hits, [(0, 2), (0, 4), (0, 1)], num_passages=200)
    assert [hit.row for hit, _ in found] == [2, 1, 4, 3]
    assert [is_early for _, is_early in found] == [True, False, False, False], "among the first two of both"
    assert [hit.covered for hit, _ in found] == [0.2, 0.9, 0.0, 0.1]
    assert found[0][0].score == pytest.approx(1 / 62 + 1 / 61, abs=1e-6)
    assert not any(is_early for _, is_early in fused(hits, [(0, 1)], num_passages=50)), "of so few nothing is sure"
    assert [hit for hit, _ in fused(hits, [], num_passages=9)] == sorted(
        (hit for hit, _ in fused(hits, [], num_passages=9)), key=lambda hit: -hit.score
    )
    assert fused([], [], num_passages=9) == []


def test_questions_are_matched_by_both_and_each_is_counted_once(
    encoder: str, tmp_path: Path, vocabulary_folder: Path
) -> None:
    corpus = write_corpus(tmp_path / "my.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(TEXTS)])
    (tmp_path / "log.txt").write_text(
        "who built the bridge over the cole\nwie breit ist das Tor und wer hat es gebaut\nxyzzy\n"
    )
    stage = augment(
        (str(corpus),),
        model=str(vocabulary_folder),
        queries=(str(tmp_path / "log.txt"),),
        query_embeddings=encoder,
        passage_tokens=96,
        checks=("empty",),
    )
    run = Run(root=str(tmp_path / "out"), workers=1, device="cpu", engine=ANSWERING)
    make(stage, run)
    matched = load_one(str(tmp_path / "out" / "queries-matched"))
    assert matched.tally.counts == {"matched": 1, "unmatched/no_passage": 1, "unmatched/other_language": 1}
    first = next(matched.records(Document))
    assert (first.meta["shard"], first.meta["row"]) == (0, 0)
    assert 1 / 65 + 1 / 61 <= first.meta["score"] + 1e-6 <= 2 / 61 + 2e-6, "first by words"


def test_a_folder_that_is_no_encoder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nothing-known"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be loaded as an encoder") as caught:
        Encoder(str(tmp_path), device="cpu")
    assert "\n" not in str(caught.value)
