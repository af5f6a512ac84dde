import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import MistralConfig, MistralForCausalLM

from instructpt.errors import InputError
from instructpt.training.attention import documents_attention, starts, within_documents


def tiny(**changes):
    torch.manual_seed(0)
    values = {"num_attention_heads": 4, "num_key_value_heads": 4, "sliding_window": None} | changes
    config = MistralConfig(vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2, **values)
    return MistralForCausalLM(config).eval()


def pack(lengths, row_tokens):
    """One row: documents of `lengths`, then unused places."""
    documents = torch.full((row_tokens,), -1)
    positions = torch.zeros(row_tokens, dtype=torch.long)
    begin = 0
    for number, length in enumerate(lengths):
        documents[begin : begin + length] = number
        positions[begin : begin + length] = torch.arange(length)
        begin += length
    return documents, positions


ROWS = [[7, 12, 5], [24], [1, 1, 20]]


def packed_logits(model, inputs, *, across=False):
    documents, positions = (torch.stack(x) for x in zip(*(pack(row, 26) for row in ROWS), strict=True))
    if across:
        positions = torch.arange(26).expand(len(ROWS), 26)
    with within_documents(model):
        return model(
            input_ids=inputs,
            position_ids=positions,
            cu_seq_lens_q=starts(documents, across=across),
            use_cache=False,
        ).logits


@pytest.mark.parametrize("path", ["sdpa", "eager"])
@pytest.mark.parametrize(
    "changes", [{}, {"num_key_value_heads": 2}, {"sliding_window": 4}], ids=["plain", "shared keys", "window"]
)
@torch.no_grad()
def test_a_document_in_a_row_reads_as_if_alone(path, changes):
    model = tiny(**changes)
    inputs = torch.randint(50, (len(ROWS), 26))
    together = packed_logits(model, inputs)
    assert torch.isfinite(together).all(), "unused places must not spoil anything"
    model.set_attn_implementation(path)
    for row, lengths in enumerate(ROWS):
        begin = 0
        for length in lengths:
            alone = model(inputs[row : row + 1, begin : begin + length]).logits[0]
            torch.testing.assert_close(together[row, begin : begin + length], alone, rtol=1e-5, atol=1e-5)
            begin += length


@torch.no_grad()
def test_across_documents_a_row_reads_as_one_text():
    model = tiny()
    inputs = torch.randint(50, (len(ROWS), 26))
    torch.testing.assert_close(packed_logits(model, inputs, across=True), model(inputs).logits, rtol=1e-5, atol=1e-5)


def test_no_gradient_crosses_from_one_document_to_another():
    model = tiny()
    documents, positions = (x[None] for x in pack([10, 10], 20))
    embedded = torch.randn(1, 20, 32, requires_grad=True)
    with within_documents(model):
        hidden = model.model(
            inputs_embeds=embedded,
            position_ids=positions,
            cu_seq_lens_q=starts(documents, across=False),
            use_cache=False,
        ).last_hidden_state
    hidden[0, 10:].square().sum().backward()
    assert not embedded.grad[0, :10].any()
    assert embedded.grad[0, 10:].all()


def test_mixed_precision_gives_back_what_the_values_came_in():
    query, key, value = (torch.randn(1, 2, 6, 8) for _ in range(3))
    cuts = torch.tensor([0, 2, 6], dtype=torch.int32)
    exact = documents_attention(torch.nn.Module(), query, key, value, None, cu_seq_lens_q=cuts)[0]
    mixed = documents_attention(torch.nn.Module(), query, key, value.bfloat16(), None, cu_seq_lens_q=cuts)[0]
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.float(), exact, rtol=2e-2, atol=2e-2)


def test_the_model_attends_as_before_afterwards():
    model = tiny()
    with within_documents(model):
        pass
    assert model.config._attn_implementation == "sdpa"


def test_models_with_other_attention_are_refused():
    part = torch.zeros(1, 2, 3, 4)
    with pytest.raises(InputError, match="softcap"):
        documents_attention(torch.nn.Module(), part, part, part, None, cu_seq_lens_q=torch.tensor([0, 3]), softcap=5.0)
    with pytest.raises(InputError, match="cu_seq_lens_q"):
        documents_attention(torch.nn.Module(), part, part, part, None)


@given(st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=4), min_size=1, max_size=4))
def test_starts_cut_the_rows_exactly_where_documents_change(rows):
    row_tokens = max(sum(row) for row in rows) + 1
    documents = torch.stack([pack(row, row_tokens)[0] for row in rows])
    lengths = [length for row in rows for length in (*row, row_tokens - sum(row))]
    assert starts(documents, across=False).diff().tolist() == lengths
    assert starts(documents, across=True).diff().tolist() == [row_tokens] * len(rows)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("window", [None, 16])
def test_on_a_gpu_flash_attention_equals_one_call_a_document(window):
    documents = torch.stack([pack([70, 30, 20], 128)[0], pack([128], 128)[0]]).cuda()
    query = torch.randn(2, 4, 128, 64, device="cuda").requires_grad_()
    key, value = (torch.randn(2, 2, 128, 64, device="cuda").requires_grad_() for _ in range(2))
    options = {"cu_seq_lens_q": starts(documents, across=False), "sliding_window": window, "scaling": 0.125}
    exact = documents_attention(torch.nn.Module(), query, key, value, None, **options)[0]
    halves = [x.detach().to(torch.bfloat16).requires_grad_() for x in (query, key, value)]
    rough = documents_attention(torch.nn.Module(), *halves, None, **options)[0]
    torch.testing.assert_close(rough.float(), exact, rtol=2e-2, atol=2e-2)
    expected = torch.autograd.grad(exact.square().sum(), (query, key, value))
    got = torch.autograd.grad(rough.float().square().sum(), halves)
    torch.testing.assert_close([x.float() for x in got], list(expected), rtol=5e-2, atol=5e-2)
