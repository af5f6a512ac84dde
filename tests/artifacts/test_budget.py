"""What a run may take: limits that hold over commands, and clocks that are only ever compared with themselves."""

from __future__ import annotations

import time
from pathlib import Path

import orjson
import pytest

from instructpt.artifacts import budget as budgets
from instructpt.artifacts.budget import Budget, Purse, watching
from instructpt.artifacts.storage import Folder
from instructpt.errors import ArtifactError, RecipeError

PRICED = Budget(max_cost=1.0, price_per_million_prompt_tokens=1.0, price_per_million_output_tokens=4.0)


def purse(folder: Path, budget: Budget) -> Purse:
    return Purse(budget, Folder.at(str(folder)))


def spent(folder: Path) -> list[int]:
    """Prompt tokens that every purse wrote down."""
    return [orjson.loads(path.read_bytes())["prompt_tokens"] for path in (folder / "spending").glob("*.json")]


def test_tokens_cost_what_they_cost(tmp_path: Path) -> None:
    mine = purse(tmp_path, PRICED)
    mine.pay(prompt_tokens=200_000, output_tokens=100_000)
    assert mine.total_cost == pytest.approx(0.6)
    assert mine.stop_reason() is None
    mine.pay(prompt_tokens=0, output_tokens=100_000)
    reason = mine.stop_reason()
    assert reason is not None
    assert reason.startswith("1.00 is spent and --max-cost is 1:")


def test_what_earlier_commands_spent_counts(tmp_path: Path) -> None:
    first = purse(tmp_path, PRICED)
    first.pay(prompt_tokens=500_000, output_tokens=100_000)
    first.close()
    second = purse(tmp_path, PRICED)
    assert second.stop_reason() is None
    second.pay(prompt_tokens=100_000, output_tokens=0)
    assert second.stop_reason() is not None
    second.close()
    assert sorted(spent(tmp_path)) == [100_000, 500_000]


def test_hours_are_those_of_this_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(budgets, "COMMAND_STARTED", now)
    mine = purse(tmp_path, Budget(max_hours=2.0, price_per_hour=3.0))
    now += 3600
    assert mine.stop_reason() is None
    assert mine.total_cost == pytest.approx(3.0)
    now += 3600
    assert "the 2 hours of --max-hours are over" in str(mine.stop_reason())
    mine.close()
    monkeypatch.setattr(budgets, "COMMAND_STARTED", now)
    again = purse(tmp_path, Budget(max_hours=2.0, price_per_hour=3.0))
    assert again.stop_reason() is None
    assert again.total_cost == pytest.approx(6.0)


def test_a_price_per_hour_is_of_one_accelerator_and_engines_add_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    budget = Budget(max_cost=100.0, price_per_hour=3.0)
    four = Purse(budget, Folder.at(str(tmp_path)), num_accelerators=4)
    one = purse(tmp_path, budget)
    now += 3600
    four.close()
    assert four.hours == 1.0
    assert one.total_cost == pytest.approx(15.0)
    assert budget.cost(budgets.Spent(hours=5.0)) == pytest.approx(15.0)


def test_spending_is_written_as_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    mine = purse(tmp_path, PRICED)
    mine.pay(prompt_tokens=10, output_tokens=1)
    assert spent(tmp_path) == []
    now += budgets.SECONDS_BETWEEN_WRITES
    mine.pay(prompt_tokens=10, output_tokens=1)
    assert spent(tmp_path) == [20]


def test_no_limits_are_not_asked_about(tmp_path: Path) -> None:
    assert watching(Budget(), purse(tmp_path, Budget())) is None
    assert watching(PRICED, purse(tmp_path, PRICED)) is not None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_cost": 5.0}, "nothing has a price: give --price-per-hour"),
        ({"max_hours": 0.0}, "max_hours is 0.0: give more than 0"),
        ({"price_per_hour": -1.0}, "a price is -1.0"),
    ],
)
def test_budgets_that_make_no_sense(settings: dict[str, float], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Budget(**settings)


def test_two_at_once_do_not_forget_each_others_money(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    one, other = purse(tmp_path, PRICED), purse(tmp_path, PRICED)
    for _ in range(2):
        one.pay(prompt_tokens=300_000, output_tokens=0)
        other.pay(prompt_tokens=300_000, output_tokens=0)
        now += budgets.SECONDS_BETWEEN_READS
    one.pay(prompt_tokens=0, output_tokens=0)
    other.pay(prompt_tokens=0, output_tokens=0)
    now += budgets.SECONDS_BETWEEN_READS
    assert one.total_cost == other.total_cost == pytest.approx(1.2)
    assert one.stop_reason() is not None


def test_damaged_spending_is_named(tmp_path: Path) -> None:
    (tmp_path / "spending").mkdir()
    (tmp_path / "spending" / "a.json").write_bytes(b"{")
    with pytest.raises(ArtifactError, match=r"spending/a\.json"):
        purse(tmp_path, PRICED)


def test_what_costs_nothing_is_not_written(tmp_path: Path) -> None:
    mine = purse(tmp_path, Budget())
    mine.pay(prompt_tokens=10, output_tokens=1)
    mine.close()
    assert list(tmp_path.iterdir()) == []


def test_a_steady_pace_leaves_out_the_start_and_the_last_answers() -> None:
    """An engine of eight places: nothing for ten hours, then a token an hour, and at the end one answer at a time."""
    steady = [(10.0 + number, number) for number in range(1, 81)]
    tail = [(90.0 + 8 * number, 80 + number) for number in range(1, 21)]
    assert budgets.steady_hours([*steady, *tail], 250.0) == pytest.approx(100.0)
    assert budgets.steady_hours(steady[:5], 15.0) == 15.0, "too few answers to tell"
    assert budgets.steady_hours([], 3.0) == 3.0
    assert budgets.steady_hours([(1.0, 5)] * 20, 2.0) == 2.0, "all at once"
