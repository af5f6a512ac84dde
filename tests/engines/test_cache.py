from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers.cache_utils import DynamicCache

from instructpt.engines import Sampling
from instructpt.engines.batching import Request, group_by_length
from instructpt.engines.cache import RowCache

NUM_LAYERS = 2


def keys(tokens: list[int]) -> Tensor:
    """Keys that say which token they are of: [1, heads, tokens, width]."""
    return torch.tensor(tokens, dtype=torch.float32).view(1, 1, -1, 1).expand(1, 2, -1, 3)


def prefilled(sequences: list[list[int]]) -> DynamicCache:
    longest = max(map(len, sequences))
    padded = torch.cat([keys([-1] * (longest - len(tokens)) + tokens) for tokens in sequences])
    cache = DynamicCache()
    for layer in range(NUM_LAYERS):
        cache.update(padded + layer, -padded - layer, layer)
    return cache


def step(rows: RowCache, tokens: list[int]) -> list[list[int]]:
    """Write a token a row. Returns what each row may attend to."""
    attended, positions = rows.prepare()
    seen: list[list[int]] = []
    for layer in range(NUM_LAYERS):
        new = torch.cat([keys([token]) for token in tokens]) + layer
        all_keys, values = rows.past.update(new, -new, layer)
        assert torch.equal(values, -all_keys), "also what is masked must be a number: 0 * nan is none"
        assert all_keys.shape[2] == attended.shape[1] == rows.past.get_mask_sizes(1, layer)[0]
        seen = [(row[0, :, 0][mask] - layer).int().tolist() for row, mask in zip(all_keys, attended, strict=True)]
        assert [len(tokens) - 1 for tokens in seen] == positions[:, 0].tolist()
    rows.advance()
    return seen


@given(st.data())
def test_each_row_sees_its_own_tokens_whoever_comes_and_goes(data: st.DataObject) -> None:
    rows, expected = RowCache(device=torch.device("cpu"), max_rows=8), []
    counter = iter(range(1, 10**6))
    for _ in range(data.draw(st.integers(1, 12))):
        if len(expected) < 8 and (not expected or data.draw(st.booleans())):
            lengths = data.draw(st.lists(st.integers(1, 90), min_size=1, max_size=3))
            sequences = [[next(counter) for _ in range(length)] for length in lengths]
            joining = data.draw(st.lists(st.sampled_from(range(len(lengths))), min_size=1, unique=True))
            rows.add(prefilled(sequences), rows=joining, lengths=[lengths[row] for row in joining])
            expected += [sequences[row] for row in joining]
        for _ in range(data.draw(st.integers(0, 70))):
            tokens = [next(counter) for _ in expected]
            expected = [[*row, token] for row, token in zip(expected, tokens, strict=True)]
            assert step(rows, tokens) == expected
        leaving = data.draw(st.lists(st.sampled_from(range(len(expected))), unique=True))
        if leaving:
            # What is left in their place, here not even a number, must not show.
            for layer in rows.past.layers:
                layer.keys[leaving] = layer.values[leaving] = float("nan")
            order = rows.remove(leaving)
            assert sorted([*order, *leaving]) == list(range(len(expected)))
            expected = [expected[row] for row in order]
        assert len(rows) == len(expected)
        if not expected:
            break


@given(st.lists(st.integers(1, 50)), st.integers(1, 100))
def test_groups_hold_everything_once_within_the_limit(lengths: list[int], max_tokens: int) -> None:
    requests = [Request([0] * length, Sampling(), 1) for length in lengths]
    groups = group_by_length(requests, max_tokens=max_tokens)
    assert sorted(id(one) for group in groups for one in group) == sorted(map(id, requests))
    for group in groups:
        sizes = [len(one.tokens) for one in group]
        assert len(group) == 1 or len(group) * max(sizes) <= max_tokens
        assert 2 * min(sizes) >= max(sizes)
