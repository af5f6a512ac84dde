"""What a user relies on when held-out perplexity is measured."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from instructpt.errors import InputError
from instructpt.evaluation.perplexity import perplexity
from instructpt.records import Document
from instructpt.words import vocabulary


def document(text: str, source: str = "a", **meta: str) -> Document:
    return Document("d", text, source, meta)


def test_bits_are_those_of_the_model_window_by_window(tiny_model: Path, held_out: list[Document]) -> None:
    """One token at a time, in plain steps, gives the same number."""
    import torch
    from transformers import AutoModelForCausalLM

    text = held_out[0].text[:400]
    words = vocabulary.load(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    [tokens] = words.encode([text])
    bits = 0.0
    for start in range(0, len(tokens), 16):
        window = tokens[start : start + 16]
        for i, token in enumerate(window):
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([[words.bos, *window[:i]]])).logits[0, -1]
            bits -= float(logits.log_softmax(-1)[token]) / math.log(2)
    [overall, _] = perplexity(tiny_model, [document(text)], row_tokens=16, model_name="m")
    assert overall.value == pytest.approx(bits / len(text.encode()), rel=1e-5)
    assert (overall.task, overall.metric, overall.count, overall.stderr) == ("held_out", "bits_per_byte", 1, None)


def test_batches_change_nothing(tiny_model: Path, held_out: list[Document]) -> None:
    documents = held_out[::20]
    one = perplexity(tiny_model, documents, row_tokens=64, batch_rows=1, model_name="m")
    many = perplexity(tiny_model, documents, row_tokens=64, batch_rows=7, model_name="m")
    assert [score.task for score in one] == [score.task for score in many]
    assert [score.value for score in one] == pytest.approx([score.value for score in many], rel=1e-5)


def test_each_domain_and_each_source_without_domain_has_a_score(tiny_model: Path) -> None:
    documents = [
        document("Law one.", domain="legal"),
        document("A tale.", "books"),
        document("Law two.", domain="legal"),
    ]
    scores = perplexity(tiny_model, documents, row_tokens=8, model_name="m")
    assert [(score.task, score.count) for score in scores] == [
        ("held_out", 3),
        ("held_out/legal", 2),
        ("held_out/books", 1),
    ]
    overall, legal, books = scores
    num_bytes = [16, 7]
    mixed = (legal.value * num_bytes[0] + books.value * num_bytes[1]) / sum(num_bytes)
    assert overall.value == pytest.approx(mixed)


def test_the_error_shrinks_with_the_root_of_the_number_of_documents(tiny_model: Path, held_out: list[Document]) -> None:
    documents = [document(item.text[:200]) for item in held_out[::5]]
    [once, _] = perplexity(tiny_model, documents, row_tokens=64, model_name="m")
    [four_times, _] = perplexity(tiny_model, documents * 4, row_tokens=64, model_name="m")
    assert once.stderr is not None
    assert four_times.stderr is not None
    assert four_times.value == pytest.approx(once.value)
    n = len(documents)
    assert four_times.stderr == pytest.approx(once.stderr * math.sqrt((n - 1) / (4 * n - 1)))


def test_multibyte_text_counts_its_bytes(tiny_model: Path) -> None:
    [score, _] = perplexity(tiny_model, [document("ö" * 40)], row_tokens=32, model_name="m")
    # An untrained model spends about log2(1024) = 10 bits a token and these letters are two one-byte tokens or fewer.
    assert 0 < score.value < 11


@pytest.mark.parametrize("row_tokens", [0, 257])
def test_rows_that_the_model_cannot_hold_are_refused(tiny_model: Path, row_tokens: int) -> None:
    with pytest.raises(InputError, match="256 positions"):
        perplexity(tiny_model, [document("x")], row_tokens=row_tokens, model_name="m")


def test_nothing_to_measure_is_refused(tiny_model: Path) -> None:
    with pytest.raises(InputError, match="no held-out text"):
        perplexity(tiny_model, [document("")], row_tokens=8, model_name="m")


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model at"):
        perplexity(tmp_path, [document("x")], row_tokens=8, model_name="m")
