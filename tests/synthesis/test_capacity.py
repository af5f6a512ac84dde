"""Capacity: it is found against simulated engines of known size, in virtual time; places go to the earlier shard."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from random import Random

import pytest
from gated_engine import GatedEngine
from hypothesis import given
from hypothesis import strategies as st

from instructpt.errors import RecipeError
from instructpt.synthesis.capacity import FIRST, READ_AHEAD, Capacity, Search
from instructpt.words.vocabulary import Vocabulary

Slowness = Callable[[int], float]
"""From how many answers are written at once to the time that a token of each takes."""


def steady(running: int) -> float:
    """Every token takes as long, however many there are."""
    del running
    return 1.0


def mixed(stream: Random) -> int:
    """Tokens of an answer as models write them: most are short, some run into the limit of 400."""
    return min(400, max(5, int(stream.lognormvariate(5, 0.7))))


def limits(
    search: Search,
    *,
    answers: int,
    slots: Callable[[int], int],
    length: Callable[[Random], int] = mixed,
    slowness: Slowness = steady,
    seed: int = 0,
) -> list[int]:
    """The limit after each of `answers` answers of an engine that writes `slots` of them at once and queues the rest.

    slots: from the number of answers so far, since a server may come or go.
    """
    stream, now, taken = Random(seed), 0.0, 0
    queue: deque[int] = deque()
    running: list[tuple[float, int, int]] = []
    found: list[int] = []
    while len(found) < answers:
        while taken < search.limit:
            taken += 1
            queue.append(length(stream))
        while queue and len(running) < slots(len(found)):
            num_tokens = queue.popleft()
            end = now + num_tokens * slowness(len(running) + 1)
            heapq.heappush(running, (end, len(queue), num_tokens))
        now, _, num_tokens = heapq.heappop(running)
        search.answered(num_tokens, now=now, num_taken=taken)
        taken -= 1
        found.append(search.limit)
    return found


def median(numbers: list[int]) -> int:
    return sorted(numbers)[len(numbers) // 2]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("slots", [16, 40, 64, 200, 256])
def test_it_settles_near_the_engines_own_number(slots: int, seed: int) -> None:
    found = limits(Search(1024), answers=60 * slots + 2_000, slots=lambda _: slots, seed=seed)
    later = found[15 * slots + 1_000 :]
    assert 0.8 * slots <= median(later) <= 2.5 * slots
    assert 0.75 * slots <= min(later)
    assert max(later) <= 4.1 * slots


@pytest.mark.parametrize("length", [lambda _: 100, lambda stream: stream.randint(30, 400)])
def test_answers_of_one_length_come_in_bursts_and_do_not_mislead(length: Callable[[Random], int]) -> None:
    found = limits(Search(1024), answers=8_000, slots=lambda _: 64, length=length)
    assert 51 <= median(found[2_000:]) <= 160


def test_it_never_exceeds_the_cap_and_a_tiny_engine_is_not_starved() -> None:
    assert max(limits(Search(100), answers=5_000, slots=lambda _: 10_000)) == 100
    assert min(limits(Search(1024), answers=5_000, slots=lambda _: 1)) >= 1
    assert set(limits(Search(1), answers=500, slots=lambda _: 8)) == {1}


def test_one_answer_that_never_comes_changes_nothing() -> None:
    numbers = iter(range(10**9))

    def length(stream: Random) -> int:
        return 10**9 if next(numbers) == 2_500 else mixed(stream)

    found = limits(Search(1024), answers=9_000, slots=lambda _: 64, length=length)
    assert 51 <= min(found[2_000:]) <= max(found[2_000:]) <= 3 * 64


def test_it_follows_servers_that_come_and_go() -> None:
    found = limits(Search(1024), answers=60_000, slots=lambda num: 64 if num < 20_000 else 256)
    assert median(found[15_000:20_000]) <= 160 < 205 <= median(found[-5_000:])
    found = limits(Search(1024), answers=60_000, slots=lambda num: 256 if num < 12_000 else 64)
    assert median(found[-5_000:]) < 0.7 * median(found[10_000:12_000])


def test_it_turns_back_where_more_is_slower() -> None:
    """A server whose memory is too small for more than a hundred takes some out again and does their work twice."""

    def thrashing(running: int) -> float:
        return 1.0 + (max(0, running - 100) / 20) ** 2

    found = limits(Search(1024), answers=20_000, slots=lambda _: 10_000, slowness=thrashing)
    assert 75 <= median(found[3_000:]) <= 130


def test_too_few_requests_teach_it_nothing() -> None:
    search = Search(1024)
    for number in range(5_000):
        search.answered(100, now=float(number), num_taken=3)
    assert search.limit == FIRST


@given(answers=st.lists(st.tuples(st.integers(0, 400), st.floats(0, 50)), max_size=400), most=st.integers(1, 300))
def test_whatever_the_clock_and_the_answers_say_the_limit_stays_in_bounds(
    answers: list[tuple[int, float]], most: int
) -> None:
    search, now = Search(most), 0.0
    for num_tokens, seconds in answers:
        now += seconds
        search.answered(num_tokens, now=now, num_taken=search.limit)
        assert 1 <= search.limit <= most


@pytest.fixture
def engine(small_vocabulary: Vocabulary) -> GatedEngine:
    return GatedEngine(small_vocabulary, capacity=2)


def test_an_engine_that_knows_its_number_is_believed_also_when_it_changes(engine: GatedEngine) -> None:
    capacity = Capacity(engine, most=100)
    assert capacity.limit == 2
    engine.capacity = 5_000
    for _ in range(FIRST):
        capacity.answered(10)
    assert capacity.limit == 100
    with pytest.raises(RecipeError, match="0 chains in flight"):
        Capacity(engine, most=0)


def test_places_go_to_the_earlier_shard_and_in_it_to_who_came_first(engine: GatedEngine) -> None:
    async def run() -> None:
        capacity, order = Capacity(engine), list[str]()

        async def want(name: str, rank: int) -> None:
            await capacity.take(rank)
            order.append(name)

        await capacity.take(1)
        await capacity.take(1)
        waiting = [asyncio.create_task(want(name, rank)) for name, rank in [("c", 2), ("a", 0), ("b", 0), ("d", 1)]]
        for expected in (["a"], ["a", "b"], ["a", "b", "d"], ["a", "b", "d", "c"]):
            await asyncio.sleep(0)
            capacity.leave()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert order == expected
        await asyncio.gather(*waiting)
        assert (capacity.num_taken, capacity.num_held) == (2, 2)

    asyncio.run(run())


def test_chains_held_are_bounded_apart_from_places(engine: GatedEngine) -> None:
    async def run() -> None:
        capacity = Capacity(engine)
        for _ in range(2 * READ_AHEAD * 2):
            await asyncio.wait_for(capacity.take(0), 60)
            capacity.give_back()  # done, but its group is not taken away
        waiting = asyncio.create_task(capacity.take(0))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        capacity.release()
        await asyncio.wait_for(waiting, 1)

    asyncio.run(run())


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_no_place_is_lost_to_somebody_who_stops_waiting(engine: GatedEngine, turns: int) -> None:
    async def run() -> None:
        capacity = Capacity(engine)
        await capacity.take(0)
        await capacity.take(0)
        waiting = asyncio.create_task(capacity.take(0))
        await asyncio.sleep(0)
        if turns:
            capacity.leave()
        if turns == 2:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        if turns == 2:  # it had the place already
            capacity.leave()
        assert capacity.num_taken == capacity.num_held == (2 if turns == 0 else 1)
        capacity.leave()
        await asyncio.wait_for(capacity.take(0), 60)

    asyncio.run(run())


def test_what_is_kept_after_a_cancel_is_cancelled_too(engine: GatedEngine) -> None:
    async def run() -> None:
        capacity = Capacity(engine)
        first, second = (asyncio.create_task(asyncio.sleep(60)) for _ in range(2))
        capacity.keep(first)
        capacity.cancel()
        capacity.keep(second)
        await asyncio.wait([first, second], timeout=60)
        assert first.cancelled()
        assert second.cancelled()

    asyncio.run(run())
