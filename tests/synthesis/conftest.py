"""A small vocabulary that writes any text: the engines and the prompt budget of these tests count with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gated_engine import Answer, GatedEngine, Make, always_good, make_synthesis

from instructpt.synthesis.asking import Synthesis
from instructpt.synthesis.ledger import Ledger
from instructpt.words import vocabulary
from instructpt.words.vocabulary import Vocabulary

_TEXT = (
    "The heron waits in shallow water. It strikes when a fish comes near!\n\n"
    "<CON> </CON> <QUE> What does the text say? <ANS> The answer is fish. </END>\nOptions:\n- fish\n- water\n"
)


@pytest.fixture(scope="session")
def vocabulary_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer of 400 ids."""
    folder = tmp_path_factory.mktemp("vocabulary")
    vocabulary.train([_TEXT * 20], size=400, folder=folder)
    return folder


@pytest.fixture(scope="session")
def small_vocabulary(vocabulary_folder: Path) -> Vocabulary:
    """The vocabulary in `vocabulary_folder`."""
    return vocabulary.load(vocabulary_folder)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    with Ledger(tmp_path / "ledger") as ledger:
        yield ledger


@pytest.fixture
def make(small_vocabulary: Vocabulary, ledger: Ledger) -> Make:
    """A synthesis whose engine gives each prompt what `answer` makes of it; `limit` is what it answers at once."""

    def make(answer: Answer = always_good, *, limit: int = 8, **changes: object) -> Synthesis:
        changes.setdefault("engine", GatedEngine(small_vocabulary, answer, capacity=limit))
        changes.setdefault("ledger", ledger)
        return make_synthesis(small_vocabulary, **changes)  # type: ignore[arg-type]

    return make
