"""The engines of a stage in a Ray cluster, and its shards on their way through them.

    waiting      4 5 6 7 ...
    engine A     0  2            one shard each as soon as it is open; a second one, which takes what the last answers
    engine B     1  3            of the first leave, while there are more waiting than engines without any
    engine C     (being opened)

An engine that dies gives its shards back to the front of the line. As long as shards wait, engines are started where
the cluster has room, so that nodes that join are put to use.
"""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from instructpt.errors import BudgetError, RunError
from instructpt.executors.ray_worker import EngineActor, Outcome, seconds_of

if TYPE_CHECKING:
    from instructpt.artifacts.run import Run
    from instructpt.artifacts.stage import Stage

MAX_LOSSES = 5
"""So often may whoever builds a shard die and the shard be begun anew; then it is held to be the cause."""
SHARDS_PER_ENGINE = 2
"""Open at once."""
SECONDS_TO_END = 300.0
"""For the other engines' shards once a budget is used up: they wait for answers that are paid for, then end too."""

_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_TO_CLOSE = 30.0


def given_up(what: str, error: Exception) -> RunError:
    """What to say of something that died too often."""
    cause = " ".join(str(error).split())[:200]
    return RunError(
        f"{what} died {MAX_LOSSES + 1} times, at last like this: {cause}: see to that (memory?), then run the same "
        "command again"
    )


def needs(run: Run, nodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What an engine takes of a node, by Ray's names. nodes: what each of them has."""
    has_gpus = any(node.get("GPU", 0) >= 1 for node in nodes)
    is_on_gpu = run.engine != "http" and (run.device == "cuda" or (run.device == "auto" and has_gpus))
    options = run.executor_options
    wanted = {"CPU": options.get("cpus", 1), "GPU": options.get("gpus", 1 if is_on_gpu else 0)}
    return {name: number for name, number in wanted.items() if number}


def num_fitting(run: Run, nodes: Sequence[Mapping[str, float]]) -> int:
    """How many engines the nodes have room for, within the option `engines`."""
    wanted = needs(run, nodes)
    rooms = (min((int(node.get(name, 0) // number) for name, number in wanted.items()), default=1) for node in nodes)
    most = run.executor_options.get("engines", len(nodes) if run.engine == "http" else None)
    return sum(rooms) if most is None else min(sum(rooms), int(most))


_SHARED = frozenset({"cost", "max_cost", "hours", "max_hours"})
"""What every engine tells of the whole run, as its budget has it."""


def summed(news: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """The news of several engines as one: numbers are added, "3/12" part by part; other words are left out. Of a
    budget, which is the run's and not the engine's, the largest."""
    total: dict[str, object] = {}
    for name in dict.fromkeys(name for counts in news for name in counts):
        values = [counts[name] for counts in news if name in counts]
        parts = [re.fullmatch(r"([\d,]+)/([\d,]+)", value) for value in values if isinstance(value, str)]
        numbers = [value for value in values if isinstance(value, int | float)]
        if len(numbers) == len(values):
            total[name] = max(numbers) if name in _SHARED else sum(numbers)
        elif len(parts) == len(values) and all(parts):
            columns = ([int(part[place].replace(",", "")) for part in parts if part] for place in (1, 2))
            total[name] = "/".join(f"{sum(column):,}" for column in columns)
    return total


@dataclass(eq=False, slots=True)
class _Engine:
    """An actor, as the driver sees it."""

    actor: Any
    opening: Any
    """The answer to `open`, until it is there."""
    under_way: dict[Any, int] = field(default_factory=dict)
    """Answers that are awaited, and their shards."""
    asked: Any = None
    """The answer to `news` that is awaited."""
    news: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Pool:
    """The engines of one stage, from the first shard to the last."""

    stage: Stage[Any]
    job: Any
    """A `Job` in the cluster."""
    run: Run
    waiting: deque[int]
    """Shards that nobody works on."""
    _engines: list[_Engine] = field(default_factory=list)
    _losses: Counter[int | None] = field(default_factory=Counter)
    """How often an engine died that had this shard open; None: that had none, since the last one was opened."""
    _looked: float | None = None

    def run_shards(self) -> Iterator[tuple[int, float]]:
        """See `Executor`. The first error ends all; after a BudgetError what is under way ends by itself."""
        over: BudgetError | None = None
        deadline = float("inf")
        try:
            while (self.waiting and over is None) or (self._is_busy() and time.monotonic() < deadline):
                self._look(is_to_grow=over is None)
                if over is None:
                    self._hand_out()
                for index, outcome in self._answers():
                    if isinstance(outcome, BudgetError):
                        over = over or outcome
                        deadline = time.monotonic() + SECONDS_TO_END
                    else:
                        yield index, seconds_of(outcome)
        finally:
            self._close()
        if over is not None:
            raise over

    def _is_busy(self) -> bool:
        return any(engine.under_way for engine in self._engines)

    def _look(self, *, is_to_grow: bool) -> None:
        """Now and then: start engines where there is room, and tell how things stand."""
        import ray

        now = time.monotonic()
        if self._looked is not None and now - self._looked < _SECONDS_BETWEEN_LOOKS:
            return
        self._looked = now
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        room = num_fitting(self.run, nodes)
        num_wanted = min(max(room, 1), len(self._engines) + len(self.waiting)) if is_to_grow else 0
        while len(self._engines) < num_wanted:  # one in any case: a cluster that can grow sees by it what it lacks
            self._start(needs(self.run, nodes))
        if not room:
            wanted = ", ".join(f"{number:g} {name}" for name, number in needs(self.run, nodes).items())
            self.run.progress.news(self.stage.name, {"waiting for": f"a node with {wanted}"})
        else:
            self._tell()

    def _start(self, wanted: Mapping[str, float]) -> None:
        import ray

        actor_class = ray.remote(
            num_cpus=wanted.get("CPU", 0),
            num_gpus=wanted.get("GPU", 0),
            max_concurrency=SHARDS_PER_ENGINE + 2,  # and for news, and the call to end
            max_restarts=0,
            scheduling_strategy="SPREAD",
        )(EngineActor)
        actor = actor_class.remote(self.job)
        self._engines.append(_Engine(actor, actor.open.remote()))

    def _hand_out(self) -> None:
        for num_open in range(SHARDS_PER_ENGINE):
            for engine in self._engines:
                num_idle = sum(not other.under_way for other in self._engines)
                is_next = engine.opening is None and len(engine.under_way) == num_open
                if is_next and len(self.waiting) > (num_idle if num_open else 0):
                    index = self.waiting.popleft()
                    engine.under_way[engine.actor.build.remote(index)] = index

    def _answers(self) -> Iterator[tuple[int, Outcome]]:
        """What comes in within a moment; engines that died are put away."""
        import ray

        owners = {ref: engine for engine in self._engines for ref in engine.under_way}
        owners |= {engine.opening: engine for engine in self._engines if engine.opening is not None}
        done, _ = ray.wait(list(owners), timeout=_SECONDS_BETWEEN_LOOKS)
        for ref in done:
            engine = owners[ref]
            try:
                outcome: Outcome = ray.get(ref)
            except ray.exceptions.RayTaskError:
                raise  # our own mistake, with its traceback
            except ray.exceptions.RayError as error:
                self._put_away(engine, error)
                continue
            if ref is engine.opening:
                seconds_of(outcome)
                engine.opening = None
                self._losses[None] = 0
            else:
                yield engine.under_way.pop(ref), outcome

    def _put_away(self, engine: _Engine, error: Exception) -> None:
        """Give the shards of an engine that died back to the front of the line.

        Raises RunError if it was once too often.
        """
        import ray

        self._engines.remove(engine)
        self._looked = None
        ray.kill(engine.actor)  # it may only be out of reach
        indices = sorted(engine.under_way.values())
        for index in (*indices,) or (None,):
            self._losses[index] += 1
            if self._losses[index] > MAX_LOSSES:
                what = "while it was opened" if index is None else f"over shard {index}"
                raise given_up(f"the engine of {self.stage.name}, {what},", error) from error
        self.waiting.extendleft(reversed(indices))

    def _tell(self) -> None:
        import ray

        for engine in self._engines:
            if engine.asked is not None and ray.wait([engine.asked], timeout=0)[0]:
                try:
                    engine.news = ray.get(engine.asked)
                except ray.exceptions.RayError:
                    continue  # dead: its shards will tell
                engine.asked = None
            if engine.opening is None and engine.asked is None:
                engine.asked = engine.actor.news.remote()
        is_open = [engine.opening is None for engine in self._engines]
        news = {"engines": f"{sum(is_open)}/{len(is_open)}"}
        self.run.progress.news(self.stage.name, summed([engine.news for engine in self._engines]) | news)

    def _close(self) -> None:
        """End what is under way and let go of the engines, in good order as far as they follow."""
        import ray

        engines = [engine for engine in self._engines if engine.opening is None]
        for step in ("cancel", "close"):
            refs = [getattr(engine.actor, step).remote() for engine in engines]
            refs += [ref for engine in engines for ref in engine.under_way]
            if refs:
                ray.wait(refs, num_returns=len(refs), timeout=_SECONDS_TO_CLOSE)
        for engine in self._engines:
            ray.kill(engine.actor)
