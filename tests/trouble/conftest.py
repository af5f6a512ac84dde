"""An output folder that a run left half done, made once for all who damage or misuse a copy of it."""

from __future__ import annotations

import pytest
from disturbed import NUM_PASSAGES, Ground

from benchmarks.reports import write_corpus
from benchmarks.scripted_engine import SCRIPTED, write_pairs
from instructpt.artifacts import Run
from instructpt.executors.make import make


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder = tmp_path_factory.mktemp("ground")
    corpus = write_corpus(folder, num_passages=NUM_PASSAGES, num_files=3)
    ground = Ground(corpus, folder / "whole", folder / "half")
    assert ground.run(ground.whole) == 0
    num_answers = 0

    def dying(prompt: str) -> str:
        nonlocal num_answers
        num_answers += 1
        if num_answers > NUM_PASSAGES // 3 + 6:
            raise MemoryError("no more")
        return write_pairs(prompt)

    options = {"script": dying}
    run = Run(root=str(ground.half), workers=1, engine=SCRIPTED, engine_options=options, chains_in_flight=1)
    with pytest.raises(MemoryError):
        make(ground.recipe(), run)
    assert (ground.half / "groups" / "00000.json").exists()
    assert (ground.half / "groups" / "00001.open" / "ledger.sqlite").stat().st_size > 4096
    return ground
