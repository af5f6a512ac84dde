"""What people and machines see of a run: lines, the panel, status.json."""

from __future__ import annotations

import threading
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console
from toy_stages import Count, Odd, Refuse

from instructpt.artifacts import Run
from instructpt.artifacts.locking import locked
from instructpt.artifacts.storage import Folder
from instructpt.artifacts.tally import Tally
from instructpt.engines import Endpoint
from instructpt.errors import ArtifactError, BudgetError, InputError
from instructpt.executors.make import make
from instructpt.progress import panel as progress
from instructpt.progress.panel import Panel, draw, shown
from instructpt.progress.view import View, line

ENDPOINTS = (
    Endpoint("http://gpu1:8000/v1", is_healthy=True, num_under_way=48, num_answered=900, num_failed=0),
    Endpoint("http://gpu2:8000/v1\x1b[2J[red]", is_healthy=False, num_under_way=0, num_answered=7, num_failed=12),
)
NEWS: dict[str, Any] = {
    "passages": 600,
    "total": 1000,
    "shards": 1,
    "pairs": 2700,
    "rejects": 33,
    "rejects/no_end_tag": 20,
    "rejects/[bold]\x1b]0;mine\x07empty": 13,
    "replayed": 0,
    "failed": 2,
    "prompt_tokens": 60_000,
    "output_tokens": 12_000,
    "capacity": 128,
    "under_way": 96,
    "engine_prompt_tokens": 60_000,
    "cached_tokens": 15_000,
    "endpoints": ENDPOINTS,
    "cost": 12.1,
    "max_cost": 50.0,
}


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def counts(passages: int, **more: int) -> dict[str, object]:
    return {"passages": passages, "total": 1000, "shards": 1, "output_tokens": 10 * passages, **more}


def silent_panel(clock: Clock) -> Panel:
    """A panel on a console that nobody sees."""
    return Panel(Console(file=StringIO()), clock=clock)


def at_work(*told: tuple[float, dict[str, object]], num_shards: int = 1, num_sealed: int = 0) -> View:
    """A panel that was told so many seconds after the start."""
    clock = Clock()
    panel = silent_panel(clock)
    panel.plan(["passages", "groups"])
    panel.found("passages", Tally(taken=900, made=1000))
    panel.started("groups", num_shards, num_sealed)
    for seconds, news in told:
        clock.now = 1000.0 + seconds
        panel.news("groups", news)
    return panel.view()


def drawn(view: View, *, width: int = 80) -> str:
    file = StringIO()
    Console(file=file, force_terminal=True, color_system=None, width=width, legacy_windows=False).print(draw(view))
    return file.getvalue()


# The pace


def test_the_pace_is_that_of_the_last_minute() -> None:
    slow = [(float(second), counts(100)) for second in range(1, 3600, 10)]
    fast = [(3600.0 + second, counts(100 + 5 * second)) for second in range(100)]
    view = at_work(*slow, *fast)
    assert view.rates["output_tokens"] == pytest.approx(50, rel=0.01)
    assert view.seconds_left == pytest.approx((1000 - 595) / 5, rel=0.01)


def test_what_the_ledger_answers_does_not_count_as_pace() -> None:
    view = at_work((0.0, counts(0)), (10.0, counts(520, replayed=500)))
    assert view.seconds_left == pytest.approx((1000 - 520) / 2, rel=0.01)


def test_without_news_the_pace_falls() -> None:
    clock = Clock()
    panel = silent_panel(clock)
    panel.started("groups", 1, 0)
    panel.news("groups", counts(0))
    clock.now += 10
    panel.news("groups", counts(100))
    before = panel.view().rates["passages"]
    clock.now += 990
    assert panel.view().rates["passages"] == pytest.approx(before / 100)


def test_shards_that_are_not_begun_are_taken_to_be_as_large_as_the_others() -> None:
    begun = counts(0) | {"shards": 2}
    view = at_work((0.0, begun), (10.0, begun | {"passages": 100}), num_shards=10, num_sealed=3)
    assert view.num_passages == 1000 + 5 * 500
    assert view.seconds_left == pytest.approx((3500 - 100) / 10)
    assert "about 3,500" in drawn(view)


def test_a_stage_that_counts_no_passages_is_timed_by_its_shards() -> None:
    clock = Clock()
    panel = silent_panel(clock)
    panel.started("documents", 10, 4)
    assert panel.view().seconds_left is None
    clock.now += 20
    panel.sealed("documents", Tally())
    panel.sealed("documents", Tally())
    assert panel.view().seconds_left == pytest.approx(40)


def test_news_of_many_threads_leave_one_word() -> None:
    panel = silent_panel(Clock())
    panel.started("groups", 8, 0)

    def work(shard: int) -> None:
        for passages in range(300):
            panel.news("groups", counts(passages))
            panel.view()
        panel.sealed("groups", Tally())

    threads = [threading.Thread(target=work, args=(shard,)) for shard in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    view = panel.view()
    assert (view.num_sealed, view.counts["passages"]) == (8, 299)


# The panel


def test_the_panel_tells_all_that_it_is_told() -> None:
    text = drawn(at_work((0.0, counts(0)), (10.0, NEWS), num_shards=4), width=100)
    assert "2/2  groups" in text
    for words in (
        "600 of about 4,000   60/s   pairs 2,700   failed 2",
        "out 1,200/s   cached 25%",
        "96 of 128   shards 0 of 4",
        "33: no_end_tag 20",
        "1 of 2 ok",
        "ok   http://gpu1:8000/v1   48 under way   0 failed",
        "12.10 of 50",
        "15.0%  56.7s left",
    ):
        assert words in text, words


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_panel_fits_the_terminal_and_obeys_nothing_that_stands_in_it(width: int) -> None:
    text = drawn(at_work((0.0, counts(0)), (10.0, NEWS), num_shards=4), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "[red]" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_of_many_endpoints_those_in_trouble_are_named() -> None:
    well = [Endpoint(f"http://node{i}/v1", True, 1, 1, 0) for i in range(60)]
    text = drawn(at_work((1.0, NEWS | {"endpoints": (*well, ENDPOINTS[1])})))
    assert "60 of 61 ok" in text
    assert "DOWN http://gpu2:8000/v1" in text
    assert "and 57 more" in text


def test_endpoints_that_stand_idle_are_named_with_the_cause_and_told_of_at_the_end() -> None:
    idle_one = Endpoint("http://gpu3:8000/v1", True, 0, 9, 0, idle={"disk": 0.4, "chain": 0.02})
    news = NEWS | {"endpoints": (*ENDPOINTS, idle_one), "endpoint_seconds": 90.0, "idle/disk": 12.0}
    text = drawn(at_work((1.0, news)), width=120)
    assert "http://gpu3:8000/v1   0 under way   0 failed   idle 42%, for the disk" in text
    assert "13% of the time, for the disk" in text
    file = StringIO()
    panel = Panel(Console(file=file, width=200))
    panel.plan(["groups"])
    panel.started("groups", 1, 0)
    panel.news("groups", news)
    panel.finished("groups", Tally(taken=1000, made=1000))
    assert "endpoints stood idle 13% of the time, for the disk" in file.getvalue().splitlines()[-1]
    assert panel.view().stages["groups"]["idle"] == {"disk": 0.1333}


def test_other_news_are_shown_as_they_are() -> None:
    view = at_work((1.0, {"step": "5/100", "loss": 2.345678, "tok/s": 4200.0, "left": "\x1b[31m3m05s"}))
    assert line(view) == "step 5/100  loss 2.346  tok/s 4,200  left [31m3m05s"
    assert "loss 2.346" in drawn(view)


def test_in_a_log_a_stage_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    file = StringIO()
    panel = Panel(Console(file=file, force_terminal=False, width=80))
    panel.plan(["groups[/]"])
    panel.started("groups[/]", 3, 0)
    for passages in range(100):
        panel.news("groups[/]", counts(passages))
    assert file.getvalue() == ""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    panel.news("groups[/]", NEWS)
    panel.finished("groups[/]", Tally(taken=1000, kept=1000, made=1000, counts={"pairs": 4321}))
    first, last = file.getvalue().splitlines()
    assert first.startswith("  1/1  groups[/]    passages 600 of about 3,000")
    assert "endpoints 1 of 2 ok" in first
    assert "done   1,000 -> 1,000  pairs 4,321" in last


def test_a_terminal_is_left_as_it_was_found(tmp_path: Path) -> None:
    file = StringIO()
    console = Console(file=file, force_terminal=True, width=80)
    recipe = Refuse(name="refused", documents=Count(name="numbers"))
    with pytest.raises(InputError), shown(str(tmp_path), console=console) as panel:
        make(recipe, Run(root=str(tmp_path), workers=1, progress=panel))
    text = file.getvalue()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is back"
    assert "numbers" in text


# status.json


def run(root: Path, recipe: Any, **options: Any) -> str:
    """Make it with a panel; what the console saw."""
    file = StringIO()
    with shown(str(root), console=Console(file=file, width=200), **options) as panel:
        make(recipe, Run(root=str(root), workers=1, progress=panel))
    return file.getvalue()


def told(root: Path, name: str = "status.json") -> dict[str, Any]:
    return dict(orjson.loads((root / name).read_bytes()))


RECIPE = Odd(name="odd", documents=Count(name="numbers"))


def test_a_finished_run_says_so_with_its_counts(tmp_path: Path) -> None:
    run(tmp_path, RECIPE)
    found = told(tmp_path)
    assert (found["version"], found["state"], found["message"]) == (1, "finished", None)
    assert found["stages"]["odd"] == {"state": "done", "taken": 10, "made": 5, "dropped": {"even": 5}, "counts": {}}
    assert found["started"] <= found["updated"]
    assert found["updated"].endswith("Z")
    run(tmp_path, RECIPE)
    assert told(tmp_path)["stages"]["numbers"]["state"] == "found"
    assert not list(tmp_path.glob(".status*"))


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        run(tmp_path, Refuse(name="refused", documents=Count(name="numbers"), refused=1))
    found = told(tmp_path)
    assert (found["state"], found["stage"]) == ("failed", "refused")
    assert found["message"] == "shard 1 is refused: give another one"
    assert found["shards"] == {"total": 3, "sealed": 1}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), BudgetError("12.03 is spent")])
def test_a_run_that_is_told_to_stop_is_not_a_failed_one(tmp_path: Path, error: BaseException) -> None:
    def go() -> None:
        with shown(str(tmp_path), console=Console(file=StringIO())) as panel:
            panel.plan(["groups"])
            panel.started("groups", 1, 0)
            panel.news("groups", NEWS)
            assert told(tmp_path)["state"] == "running"
            raise error

    with pytest.raises(type(error)):
        go()
    found = told(tmp_path)
    assert (found["state"], found["message"]) == ("stopped", str(error) or "KeyboardInterrupt")
    assert found["counts"]["rejects/no_end_tag"] == 20
    assert found["counts"]["endpoints"][1]["num_failed"] == 12


def test_it_is_written_anew_while_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_WRITES", 0.01)
    with shown(str(tmp_path), console=Console(file=StringIO())) as panel:
        panel.plan(["groups"])
        panel.started("groups", 1, 0)
        for passages in (100, 200, 300):
            panel.news("groups", counts(passages))
            while told(tmp_path)["counts"].get("passages") != passages:
                pass
    assert told(tmp_path)["state"] == "finished"


def test_a_run_that_is_refused_leaves_the_file_of_the_one_at_work_alone(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text("of another")
    with locked(Folder.at(str(tmp_path))), pytest.raises(ArtifactError, match="another run works"):
        run(tmp_path, RECIPE)
    assert (tmp_path / "status.json").read_text() == "of another"


def test_each_partition_has_a_file_of_its_own(tmp_path: Path) -> None:
    run(tmp_path, RECIPE, partition=(2, 64))
    assert told(tmp_path, "status.3-of-64.json")["state"] == "finished"
    assert not (tmp_path / "status.json").exists()


def test_a_disk_that_refuses_it_is_told_once_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_WRITES", 0.001)
    (tmp_path / "status.json").mkdir()
    said = run(tmp_path, RECIPE)
    assert said.count("status.json cannot be written") == 1
    assert "the run goes on without it" in said
    assert (tmp_path / "odd" / "manifest.json").exists()


def test_it_goes_to_remote_folders_too() -> None:
    import fsspec

    with shown("memory://told", console=Console(file=StringIO())) as panel:
        panel.plan(["groups"])
    found = orjson.loads(fsspec.filesystem("memory").cat_file("/told/status.json"))
    assert found["state"] == "finished"
