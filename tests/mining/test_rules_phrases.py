"""The wording of mined questions: a mistake in the file is told before anything runs."""

from __future__ import annotations

import pytest

from instructpt.errors import InputError
from instructpt.mining.phrases import ask, english, parse
from instructpt.seeds import rng

FIVE = '["{x} one?", "{x} two?", "{x} three?", "{x} four?", "{x} five?"]'


def test_a_sound_file_is_read():
    assert parse(f"[rule]\nfree = {FIVE}", name="f.toml")["rule"]["free"][4] == "{x} five?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[rule\n", "f.toml is not TOML"),
        ('[rule]\nfree = ["{x} one?"]', r"f.toml \[rule\] free has 1 wordings, expected at least 5"),
        (f"[rule]\nfree = {FIVE.replace('two', 'one')}", "holds '{x} one\\?' twice"),
        (f"[rule]\nfree = {FIVE.replace('{x} two', '{y} two')}", r"other placeholders than the first wording \(x\)"),
        ('[rule]\nfree = "one"', "is not a list of texts"),
        ('[rule]\nfree = ["", "a", "b", "c", "d"]', "is not a list of texts"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(InputError, match=message):
        parse(text, name="f.toml")


def test_fields_are_filled_in_one_pass():
    question = ask("definition", "free", rng(0, "test"), term="{verb} of the {term}", verb="is")
    assert "{verb} of the {term}" in question


def test_all_wordings_are_drawn():
    drawn = {ask("title", "free", rng(seed, "test")) for seed in range(100)}
    assert drawn == set(english()["title"]["free"])
