"""Every rule for mined pairs: a passage it finds a pair in, one it keeps silent about, and what all pairs share."""

from __future__ import annotations

import pytest

from instructpt.mining import RULES, mine
from instructpt.mining.english import EVIDENCE, english
from instructpt.records import Document, Shot
from instructpt.synthesis.tags import Tags
from instructpt.verification.checks import DEFAULT_CHECKS, apply_checks

MILL = (
    "The mill stands by the river. Its wheel turns day and night. Farmers bring their grain at dawn. "
    "The miller keeps a tenth of the flour."
)
SALT = (
    "The salt works of the northern coast employed whole villages. Sea water was boiled in wide iron pans until only "
    "the salt was left. The works were closed when cheaper salt arrived by rail from the inland mines."
)

# Rule -> passage with a pair, what must stand in the pair's answer, passage without one.
EXAMPLES = {
    "fill_the_blank": (
        "Most of the wool was sold in Bergen during the autumn fair.",
        "Bergen",
        "It was sold in Bergen during the fair.",
    ),
    "true_or_false": (
        "The storm destroyed 36 houses along the shore.",
        "",
        "It destroyed 36 houses along the shore. The sea was calm that night.",
    ),
    "who_or_what": (
        "The harbour office can close the northern channel during a storm.",
        "The harbour office",
        "Smith said the channel was closed by the harbour office during the storm.",
    ),
    "definition": (
        "Kvern is a mill that grinds grain by the force of water.",
        "A mill that grinds grain by the force of water.",
        "The reason is a mill that grinds grain by the force of water.",
    ),
    "speaker": (
        '"The ice will hold until the end of March," said Clara Holm, and went home.',
        "Clara Holm",
        '"The ice will hold until the end of March," he said, and went home.',
    ),
    "connective": (
        "The old road was short and dry. Moreover, the toll for a cart was low.",
        "",
        "The old road was short and dry. Few carts ever used it, however.",
    ),
    "title": (f"Salt Works of the Coast\n\n{SALT}", "Salt Works of the Coast", f"Introduction\n\n{SALT}"),
    "next_sentence": (MILL, "", MILL.replace(". ", ".\n\n")),
    "order_of_sentences": (MILL, "-", "The mill stands by the river. Its wheel turns day and night."),
    "words_to_sentence": (
        "The gardeners planted many hundred young chestnut trees beside the narrow canal.",
        "The gardeners planted many hundred young chestnut trees beside the narrow canal.",
        "They planted many hundred young chestnut trees beside the narrow canal.",
    ),
}


def mined(text: str, kind: str, *, seed: int = 0) -> Shot:
    return mine(Document("a", text, "test"), seed=seed, kinds=[kind])


def test_every_rule_has_an_example():
    assert list(EXAMPLES) == list(RULES)


@pytest.mark.parametrize("kind", RULES)
def test_a_rule_finds_its_pair(kind):
    text, answer, _ = EXAMPLES[kind]
    for seed in range(8):
        pairs = mined(text, kind, seed=seed).pairs
        assert pairs
        assert answer in pairs[0].answer
        assert {pair.category for pair in pairs} == {kind.replace("_", " ")}


@pytest.mark.parametrize("kind", RULES)
def test_a_rule_is_silent_when_unsure(kind):
    assert [mined(EXAMPLES[kind][2], kind, seed=seed).pairs for seed in range(8)] == [()] * 8


@pytest.mark.parametrize("kind", RULES)
def test_pairs_pass_the_checks_and_can_be_written_as_markup(kind):
    for seed in range(8):
        shot = mined(EXAMPLES[kind][0], kind, seed=seed)
        assert apply_checks(shot, DEFAULT_CHECKS).rejects == ()
        assert [Tags().refuse(pair) for pair in shot.pairs] == [None] * len(shot.pairs)


@pytest.mark.parametrize("kind", RULES)
def test_a_rule_has_wordings_of_its_own_and_uses_them(kind):
    assert len({mined(EXAMPLES[kind][0], kind, seed=seed).pairs[0].question for seed in range(24)}) >= 3


def test_no_wording_belongs_to_an_unknown_rule():
    assert set(english()) == {*RULES, EVIDENCE}
