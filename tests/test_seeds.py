"""Named streams are the same on every machine, independent, and permutations are exact."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.seeds import digest, permute, rng


def test_streams_are_pinned_for_all_machines() -> None:
    assert rng(12345, "template", "group", 0).random() == pytest.approx(0.42376392082133973, abs=1e-15)
    assert digest("a", 1).hex()[:16] == digest("a", "1").hex()[:16]


def test_names_are_framed() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab") != digest("ab", "")


def test_streams_of_different_names_are_not_tied() -> None:
    pairs = Counter((rng(i, "opener").randrange(10), rng(i, "joiner").randrange(10)) for i in range(5000))
    assert len(pairs) == 100
    assert max(pairs.values()) < 100


@given(size=st.integers(1, 5000), key=st.binary(min_size=16, max_size=16))
def test_permutation_is_a_bijection(size: int, key: bytes) -> None:
    assert sorted(permute(i, size=size, key=key) for i in range(size)) == list(range(size))


def test_permutation_holds_for_large_sizes() -> None:
    size, key = 10**12 + 7, digest("order")
    seen = {permute(i, size=size, key=key) for i in range(0, size, size // 1000)}
    assert len(seen) == len(range(0, size, size // 1000))
    assert all(0 <= value < size for value in seen)


def test_permutation_shuffles() -> None:
    size, key = 1000, digest("order", 1)
    fixed = sum(permute(i, size=size, key=key) == i for i in range(size))
    assert fixed < 10
