"""The wording of mined questions: every list is long enough, and a draw fills it in."""

from __future__ import annotations

from instructpt.mining.english import PLACEHOLDER, ask, english
from instructpt.seeds import rng

LISTS = {f"{rule}/{form}": wordings for rule, forms in english().items() for form, wordings in forms.items()}


def test_every_list_has_five_different_wordings_with_the_same_placeholders() -> None:
    for name, wordings in LISTS.items():
        assert len({" ".join(wording.casefold().split()) for wording in wordings}) == len(wordings) >= 5, name
        assert len({frozenset(PLACEHOLDER.findall(wording)) for wording in wordings}) == 1, name


def test_fields_are_filled_in_one_pass() -> None:
    question = ask("fill_the_blank", "free", rng(0, "test"), sentence="{sentence} of the ____")
    assert "{sentence} of the ____" in question


def test_all_wordings_are_drawn() -> None:
    drawn = {ask("title", "free", rng(seed, "test")) for seed in range(100)}
    assert drawn == set(LISTS["title/free"])
