"""A small vocabulary that writes any text: the engines and the prompt budget of these tests count with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from instructpt import vocabulary
from instructpt.vocabulary import Vocabulary

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
