"""Every rule for mined pairs: a passage it finds a pair in, one it keeps silent about, and what all pairs share."""

from __future__ import annotations

import pytest

from instructpt.mining import RULES, mine
from instructpt.mining.phrases import EVIDENCE, MIN_WORDINGS, english
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
    "definition": (
        "Basalt is a dark rock that forms when lava cools quickly.",
        "A dark rock that forms when lava cools quickly.",
        "It is a dark rock that forms when lava cools quickly. The result is a good thing for the town.",
    ),
    "acronym_expansion": (
        "The survey was led by the Harbour Light Society (HLS) last year.",
        "H",
        "The survey was led by several people (see the list of names) and by the staff (HLS).",
    ),
    "list_members": (
        "The island grows crops such as barley, oats and flax.",
        "Barley, oats and flax.",
        "The island grows crops such as barley. It includes many of these.",
    ),
    "cause_and_effect": (
        "The harbour was closed for a week because the ice had damaged the pier.",
        "Because the ice had damaged the pier.",
        "He stayed at home because it rained all day. The harbour was closed, but not because of the ice.",
    ),
    "condition": (
        "If the lamp goes out, the keeper must ring the bell every minute.",
        "The keeper must ring the bell every minute.",
        "If so, the keeper must ring the bell every minute. If he sleeps, the lamp goes out.",
    ),
    "purpose": (
        "The aim of the survey was to count the seabirds on the northern cliffs.",
        "To count the seabirds on the northern cliffs.",
        "The survey counted the seabirds on the northern cliffs. It took place in order to please them.",
    ),
    "connective": (
        "The old road was short and dry. Moreover, the toll for a cart was low.",
        "",
        "The old road was short and dry. Few carts ever used it, however.",
    ),
    "comparison": (
        "The northern tower is taller than the southern tower.",
        "the northern tower",
        "It is taller than the southern tower. The southern tower is other than expected.",
    ),
    "number_look_up": (
        "A total of 240 boats were registered in the harbour that summer.",
        "240",
        "The harbour was quiet that summer. See section 240 and page 12.",
    ),
    "date_look_up": (
        "The stone bridge was built in 1874 by masons from the valley.",
        "In 1874",
        "It was built in 1874. The stone bridge was built by masons from the valley.",
    ),
    "who_did_what": (
        "The lighthouse was designed by Clara Holm.",
        "Clara Holm",
        "It was designed by Clara Holm. The lighthouse was designed with great care.",
    ),
    "quotation_speaker": (
        '"We shall need a longer rope for this well," said Martin.',
        "Martin",
        '"We shall need a longer rope for this well," he said.',
    ),
    "obligation": (
        "The Harbour Board shall publish a list of all moorings each year.",
        "",
        "The list shall be published each year. The rain must have stopped by now.",
    ),
    "true_or_false": (
        "The storm destroyed 36 houses along the shore.",
        "",
        "It destroyed 36 houses along the shore. The sea was calm that night.",
    ),
    "fill_the_blank": (
        "Most of the wool was sold in Bergen during the autumn fair.",
        "Bergen",
        "It was sold in Bergen during the fair.",
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
    assert all(len(wordings) >= MIN_WORDINGS for wordings in english()[kind].values())
    assert len({mined(EXAMPLES[kind][0], kind, seed=seed).pairs[0].question for seed in range(24)}) >= 3


def test_no_wording_belongs_to_an_unknown_rule():
    assert set(english()) == {*RULES, EVIDENCE}
