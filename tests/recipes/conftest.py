"""A corpus, and a model that takes itself for one that was tuned to chat."""

from __future__ import annotations

import pytest
from conftest import corpus_rows, write_corpus

from instructpt.words import vocabulary


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_corpus(tmp_path_factory.mktemp("corpus") / "my.jsonl", corpus_rows(60)))


@pytest.fixture(scope="session")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    vocabulary.train([row["text"] for row in corpus_rows(40)], size=400, folder=folder)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return str(folder)
