"""What each layout looks like, as files that a person reads. INSTRUCTPT_WRITE_GOLDEN=1 writes them anew."""

from __future__ import annotations

import os
from itertools import count, islice
from pathlib import Path

import pytest

from instructpt.records import Document, Group, Pair, Shot
from instructpt.templates.catalog import load
from instructpt.templates.render import render

GOLDEN = Path(__file__).parents[1] / "golden" / "templates"
LAYOUTS = ["classic", "classic_inverted", "dialog", "dialog_inverted", "numbered", "few_shot", "next_turn"]
NUM_SAMPLES = 6
RULER = "\n" + "=" * 40 + " seed {seed} " + "=" * 40 + "\n"

# All four formats of a pair, in both texts.
GROUP = Group(
    "harbour",
    (
        Shot(
            Document(
                "a",
                "The harbour of Ostwick was dug by hand between 1846 and 1852. Nine hundred men worked on it in "
                "summer, and about half as many in winter, when the clay froze. The first ship to enter was a collier, "
                "the Marianne, on 3 May 1852.",
                "town history",
            ),
            (
                Pair("When did the first ship enter the harbour?", "On 3 May 1852."),
                Pair("What kind of ship was the Marianne?", "A collier", ("A whaler", "A collier", "A ferry")),
                Pair(
                    "About how many men worked there in winter?",
                    "450",
                    rationale="Nine hundred men worked in summer, and about half as many in winter. "
                    "Half of 900 is 450.",
                ),
                Pair(
                    "Which of the following slowed the work down?",
                    "Frozen ground",
                    ("A lack of men", "Frozen ground", "A shortage of coal", "Storms at sea"),
                    "The text says that fewer men worked in winter, when the clay froze",
                ),
            ),
        ),
        Shot(
            Document(
                "b",
                "Coal made Ostwick rich. By 1880 forty colliers called there each month, and the harbour master, Ada "
                "Brand, had two more quays built. When the mines closed in 1931, the fishing fleet moved in.",
                "town history",
            ),
            (
                Pair("Name the harbour master.", "Ada Brand"),
                Pair(
                    "Does the text say that the harbour was given up when the mines closed?",
                    "No",
                    ("Yes", "No", "It does not say"),
                ),
                Pair(
                    "How many colliers called in a year around 1880?",
                    "480",
                    rationale="Forty of them called each month. A year has twelve months, and 40 times 12 is 480.",
                ),
                Pair(
                    "What did the town live on after 1931?",
                    "Fishing",
                    ("Mining", "Fishing", "Building ships"),
                    "The mines closed in 1931 and the fishing fleet moved in.",
                ),
            ),
        ),
    ),
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_looks_as_it_did(layout: str) -> None:
    text = "".join(
        RULER.format(seed=seed) + text + "\n" for seed, text in islice(_samples(layout), NUM_SAMPLES)
    ).lstrip()
    path = GOLDEN / f"{layout}.txt"
    if os.environ.get("INSTRUCTPT_WRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


def _samples(layout: str):
    for seed in count():
        (rendered,) = render(GROUP, catalog=load(), seed=seed)
        if rendered.layout == layout:
            yield seed, rendered.text
