"""What many tests share: a small vocabulary, and a corpus of a few real sentences."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import settings

from instructpt.words import vocabulary

# How many examples a property is tried with; each run draws others. Whoever changes a dialect or a splitter has ten
# times as many with `pytest --hypothesis-profile=thorough`.
settings.register_profile("suite", max_examples=40, deadline=None)
settings.register_profile("thorough", max_examples=400, deadline=None)
settings.load_profile("suite")

SENTENCES = (
    "The bridge over the river Cole was built in 1843 by the engineer Mary Ashworth.",
    "It is 212 metres long and carries two railway lines.",
    "Because the valley floods every spring, its pillars stand on wooden piles.",
    "In 1921 the western pillar sank by 4 centimetres, and trains were stopped for a month.",
    "The repair cost 12,000 pounds, which the county paid.",
    "A toll house, a mill and an inn stood at its eastern end until 1950.",
    "Engineers such as Oakley, Brandt and Fairweather came to study the piles.",
    "However, the design was never copied, since steel became cheap soon after.",
)


def corpus_rows(num_documents: int) -> list[dict[str, str]]:
    """Documents of a few paragraphs, each different."""
    rows = []
    for i in range(num_documents):
        paragraphs = [" ".join(SENTENCES[(i + j + k) % len(SENTENCES)] for k in range(3)) for j in range(1 + i % 4)]
        rows.append({"id": f"doc-{i}", "text": f"Bridge number {i}.\n\n" + "\n\n".join(paragraphs)})
    return rows


def write_corpus(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def vocabulary_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vocabulary")
    vocabulary.train([row["text"] for row in corpus_rows(40)], size=400, folder=folder)
    return folder


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory, vocabulary_folder: Path) -> str:
    """The folder of a real model with random weights: two layers, a width of 256, 1,024 places."""
    from instructpt.training.checkpoints import write_model
    from instructpt.training.shapes import Shape, new_model

    shape, words = Shape(hidden=256, layers=2, heads=4, feed_forward=256), vocabulary.load(str(vocabulary_folder))
    model = new_model(shape, vocabulary_size=words.size, bos=words.bos, eos=words.eos, max_positions=1024, seed=0)
    folder = tmp_path_factory.mktemp("models") / "small"
    write_model(model, folder, vocabulary_folder=vocabulary_folder)
    return str(folder)
