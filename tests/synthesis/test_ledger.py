"""The ledger: what was acknowledged is there, whatever happened in between."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from instructpt.engines import Completion, Conversation, Form, Message, Sampling
from instructpt.errors import StorageError
from instructpt.synthesis.ledger import Ledger, key

ANSWER = Completion("<QUE> q <ANS> a </END>", 9, "stop")


def name(number: int) -> bytes:
    return key([number], model_identity="m", sampling=Sampling())


def put(ledger: Ledger, *items: tuple[bytes, Completion]) -> None:
    async def all_at_once() -> None:
        await asyncio.gather(*(ledger.put(key, completion) for key, completion in items))

    asyncio.run(all_at_once())


def test_what_was_put_is_there_after_opening_again(tmp_path: Path) -> None:
    answers = {name(i): Completion(f"answer {i} é \ud800 \x00", i, "length" if i % 2 else "stop") for i in range(600)}
    with Ledger(tmp_path / "shard" / "ledger.sqlite") as ledger:
        put(ledger, *answers.items())
        assert {key: ledger.get(key) for key in answers} == answers
    with Ledger(tmp_path / "shard" / "ledger.sqlite") as ledger:
        assert ledger.count() == 600
        assert {key: ledger.get(key) for key in answers} == answers
        assert ledger.get(name(600)) is None


def test_the_first_answer_under_a_key_stays(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        put(ledger, (name(1), ANSWER))
        put(ledger, (name(1), Completion("another", 1, "stop")))
        assert ledger.get(name(1)) == ANSWER


def test_a_key_depends_on_all_that_was_asked() -> None:
    questions = [
        key(prompt, model_identity=model, sampling=sampling)
        for prompt in ([1, 2], [1, 2, 0], [12], [])
        for model in ("m", "n")
        for sampling in (Sampling(), Sampling(max_new_tokens=7), Sampling(temperature=1.0), Sampling(seed=1))
    ]
    assert len(set(questions)) == len(questions) == 32
    assert key((1, 2), model_identity="m", sampling=Sampling()) == questions[0]
    form, other = Form("regex", "a+"), Form("json", "a+")
    conversation = Conversation((Message("system", "1"), Message("user", "2")))
    turned = Conversation((Message("user", "1"), Message("user", "2")))
    questions += [
        key(prompt, model_identity="m", sampling=Sampling(form=held))
        for prompt in ([1, 2], conversation, turned, Conversation(conversation.messages[:1]))
        for held in (None, form, other)
    ]
    assert len(set(questions)) == len(questions) - 1 == 43
    # Names of what is on users' disks: they must never change.
    assert questions[0].hex() == "aa8fd011421cf64c0734fd948dd1e515196f4483adc2780cc1c3b75e62f71453"
    held = [key(prompt, model_identity="m", sampling=Sampling(form=form)).hex()[:16] for prompt in ([1, 2], turned)]
    assert held == ["49954cb98487e737", "734bd7aa05651071"]


def test_many_puts_at_once_share_commits(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with Ledger(path) as ledger:
        put(ledger, *((name(i), ANSWER) for i in range(2_000)))
        # A commit of its own for each would write at least one page of 4,096 bytes a put.
        assert (tmp_path / "ledger-wal").stat().st_size < 2_000 * 4_096 / 2
    assert not (tmp_path / "ledger-wal").exists()


def test_cancelled_puts_do_no_harm(tmp_path: Path) -> None:
    async def cancel_some(ledger: Ledger) -> None:
        tasks = [asyncio.create_task(ledger.put(name(i), ANSWER)) for i in range(100)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[1::2] == [None] * 50

    with Ledger(tmp_path / "ledger") as ledger:
        asyncio.run(cancel_some(ledger))
        assert [ledger.get(name(i)) for i in range(1, 100, 2)] == [ANSWER] * 50
        put(ledger, (name(200), ANSWER))
        assert ledger.get(name(200)) == ANSWER


WRITER = """
import asyncio, os, sys
from pathlib import Path
from instructpt.engines import Completion, Sampling
from instructpt.synthesis.ledger import Ledger, key

async def put(ledger, number):
    while True:
        completion = Completion(f"answer {number}", number, "stop")
        await ledger.put(key([number], model_identity="m", sampling=Sampling()), completion)
        os.write(1, f"{number}\\n".encode())
        number += 64

async def main():
    ledger = Ledger(Path(sys.argv[1]))
    await asyncio.gather(*(put(ledger, number) for number in range(64)))

asyncio.run(main())
"""


def test_after_a_kill_all_that_was_acknowledged_is_there(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    acknowledged: list[int] = []
    for _ in range(2):  # the second writer goes on in the file that the first left behind
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(2_000)]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
        assert process.returncode == -signal.SIGKILL
        acknowledged += [int(line) for line in lines if line.endswith(b"\n")]
    with Ledger(path) as ledger:
        assert len(acknowledged) >= 4_000
        for number in acknowledged:
            assert ledger.get(name(number)) == Completion(f"answer {number}", number, "stop")


def filled(path: Path) -> Path:
    with Ledger(path) as ledger:
        put(ledger, *((name(i), Completion("a" * 500, i, "stop")) for i in range(200)))
    return path


def test_a_torn_log_loses_only_its_end(tmp_path: Path) -> None:
    live = Ledger(tmp_path / "live")
    put(live, (name(1), ANSWER))
    put(live, (name(2), ANSWER))
    for file in ("live", "live-wal"):
        data = (tmp_path / file).read_bytes()
        (tmp_path / file.replace("live", "torn")).write_bytes(data[:-100] if file.endswith("wal") else data)
    live.close()
    with Ledger(tmp_path / "torn") as torn:
        assert torn.get(name(1)) == ANSWER
        assert torn.get(name(2)) is None


@pytest.mark.parametrize("damage", ["no database", "cut off", "zeroed pages"])
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, damage: str) -> None:
    path = filled(tmp_path / "ledger")
    data = path.read_bytes()
    match damage:
        case "no database":
            path.write_bytes(b"not a database, but long enough to be one" * 100)
        case "cut off":
            path.write_bytes(data[: len(data) // 2])
        case "zeroed pages":
            path.write_bytes(data[: 3 * 4_096] + bytes(4 * 4_096) + data[7 * 4_096 :])
    with pytest.raises(StorageError, match=r"ledger.*damaged.*delete it") as error:
        Ledger(path)
    assert "\n" not in str(error.value)


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "ledger")
    connection.execute("CREATE TABLE photos (id)")
    connection.close()
    with pytest.raises(StorageError, match="not a ledger"):
        Ledger(tmp_path / "ledger")


def test_a_folder_that_refuses_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="choose another folder"):
        Ledger(tmp_path / "file" / "ledger")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="unable to open"):
        Ledger(tmp_path / "folder")


FULL_DISK = """
import asyncio, sys
from pathlib import Path
from instructpt.engines import Completion, Conversation, Form, Message, Sampling
from instructpt.errors import StorageError
from instructpt.synthesis.ledger import Ledger, key

async def main():
    ledger = Ledger(Path(sys.argv[1]))
    number = 0
    try:
        while True:
            completion = Completion("a" * 10_000, number, "stop")
            await ledger.put(key([number], model_identity="m", sampling=Sampling()), completion)
            number += 1
    except StorageError as error:
        print(number, error)
    try:
        await ledger.put(b"later", Completion("", 0, "stop"))
    except StorageError:
        print("refused")
    ledger.close()

LIMIT
asyncio.run(main())
"""
LIMITS = {
    # A file may grow no further: writes fail as they do on a disk that refuses.
    "I/O error": "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))",
    # SQLite's own way to say that there is no room.
    "full": (
        "import sqlite3; connect = sqlite3.connect\n"
        "def small(*a, **k):\n"
        "    c = connect(*a, **k); c.execute('PRAGMA max_page_count = 50'); return c\n"
        "sqlite3.connect = small"
    ),
}


@pytest.mark.parametrize("cause", LIMITS)
def test_a_disk_without_room_stops_the_run_and_keeps_what_was_written(tmp_path: Path, cause: str) -> None:
    path = tmp_path / "ledger"
    script = FULL_DISK.replace("LIMIT", LIMITS[cause])
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    report, refused = done.stdout.splitlines()
    number, _, message = report.partition(" ")
    assert cause in message
    assert "run again" in message
    assert refused == "refused"
    with Ledger(path) as ledger:
        assert int(number) > 3
        assert all(ledger.get(name(i)) is not None for i in range(int(number)))
