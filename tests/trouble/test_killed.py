"""Somebody kills it: the scheduler of a cluster, the machine, the out-of-memory killer. The same command goes on."""

from __future__ import annotations

import os
from pathlib import Path

from conftest import corpus_rows, write_corpus
from disturbed import script

from benchmarks.reports import contents, passages
from benchmarks.storm import storm

NUM_PASSAGES = int(os.environ.get("INSTRUCTPT_STORM_PASSAGES", "400"))
NUM_KILLS = int(os.environ.get("INSTRUCTPT_STORM_KILLS", "5"))

WHOLE = """
import sys
from disturbed import augmenting
augmenting(*sys.argv[1:3], model=sys.argv[3])()
"""

KILLS = """
import os, re, signal, sys
from pathlib import Path
from disturbed import assert_nothing_half_published, augmenting, forked
corpus, out, model = sys.argv[1:]
work, there, died, seen = augmenting(corpus, out, model=model), Path(out), Path(out + ".died"), set()

def kill_at_something_new():
    told = os.open(died, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    def watch(event, args):
        if event == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR):
            return
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "sqlite3.connect"):
            path = os.fsdecode(args[0]) if not isinstance(args[0], int) else ""
            name = f"{event} {re.sub('[.][0-9a-f]{12}[.]', '.', path.removeprefix(out))}"  # a writer's own name
            if (path.startswith(out + "/") or path and not path.startswith("/")) and name not in seen:
                os.write(told, f"{name}\\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)

while (done := forked(work, before=kill_at_something_new))[0] != 0:
    num_kills = len(seen)
    seen = set(died.read_text().splitlines())
    assert (done[0], len(seen)) == (-signal.SIGKILL, num_kills + 1), done
    if there.exists():
        assert_nothing_half_published(there)
print(len(seen))
"""


def test_killed_before_every_single_thing_it_does_to_the_disk(tmp_path: Path, vocabulary_folder: Path) -> None:
    """Each file that it opens, renames or removes, each folder that it makes, is once the last of a process's life."""
    corpus = write_corpus(tmp_path / "my.jsonl", corpus_rows(5))
    script(WHOLE, corpus, tmp_path / "whole", vocabulary_folder)
    num_kills = int(script(KILLS, corpus, tmp_path / "killed", vocabulary_folder))
    assert num_kills > 60
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert passages(tmp_path / "killed") == passages(tmp_path / "whole")
    assert not list((tmp_path / "killed").rglob("*.open"))


def test_a_storm_of_kills_loses_nothing_and_asks_nothing_twice(tmp_path: Path) -> None:
    """`instructpt bench storm` has 50 kills and 20,000 passages; here are a few of both."""
    verdict = storm(tmp_path, num_passages=NUM_PASSAGES, num_kills=NUM_KILLS, num_files=3, workers=1)
    assert verdict.problem is None
    assert verdict.num_kills == NUM_KILLS
    assert verdict.num_prompts == NUM_PASSAGES
