"""The scheduler: order, bounds, no barrier, and what becomes of every kind of failure."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from instructpt.engines import Completion, Sampling
from instructpt.engines.scripted import ScriptedEngine, prompt_digest
from instructpt.errors import EngineError, RecipeError, StorageError
from instructpt.records import Document, Group, Pair
from instructpt.stages.pairs import DEFAULT_CHECKS
from instructpt.synthesis.asking import MAX_FAILURES_IN_A_ROW, Progress, Synthesis
from instructpt.synthesis.chains import chains
from instructpt.synthesis.dialects import open_dialect
from instructpt.synthesis.ledger import Ledger
from instructpt.synthesis.scheduler import READ_AHEAD, run_chains, run_in_loop, synthesize
from instructpt.synthesis.tags import Tags
from instructpt.vocabulary import Vocabulary

GOOD = "<QUE> What is it? <ANS> A heron. </END>"
Answer = Callable[[str], str]


class Steered:
    """An engine whose answers a test gives: `answer` gets the text of a prompt; a passage's gate holds its answer."""

    def __init__(self, vocabulary: Vocabulary, answer: Answer) -> None:
        self._vocabulary = vocabulary
        self._answer = answer
        self.asked: list[str] = []
        self.under_way = 0
        self.most_under_way = 0
        self.gates: dict[str, asyncio.Event] = {}

    async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        text = self._vocabulary.decode(prompt)
        self.asked.append(text)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0)
            for passage, gate in self.gates.items():
                if f"<CON> {passage} </CON>\n\n" in text:
                    await gate.wait()
            return Completion(self._answer(text), 5, "stop")
        finally:
            self.under_way -= 1

    async def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Sequence[float]:
        raise AssertionError("the scheduler never scores")

    async def close(self) -> None:
        pass


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger") as ledger:
        yield ledger


@pytest.fixture
def make(small_vocabulary: Vocabulary, ledger: Ledger) -> Callable[..., Synthesis]:
    """A synthesis whose engine answers each prompt with what `answer` makes of it."""

    def make(answer: Answer = lambda prompt: GOOD, **changes: object) -> Synthesis:
        synthesis = Synthesis(
            engine=Steered(small_vocabulary, answer),
            dialect=Tags(),
            vocabulary=small_vocabulary,
            ledger=ledger,
            checks=DEFAULT_CHECKS,
            sampling=Sampling(max_new_tokens=200),
            model_identity="m",
            window_tokens=2_000,
            max_chains_in_flight=8,
        )
        return replace(synthesis, **changes)  # type: ignore[arg-type]

    return make


def passages(count: int, *, prefix: str = "p") -> list[Document]:
    return [Document(f"{prefix}{i}", f"{prefix}{i} is a heron.", "birds") for i in range(count)]


def collect(work: Iterable[tuple[Document, ...]], synthesis: Synthesis, **settings: object) -> list[Group]:
    async def run() -> list[Group]:
        return [group async for group in synthesize(work, synthesis=synthesis, **settings)]  # type: ignore[arg-type]

    return asyncio.run(run())


def test_each_passage_comes_out_once_in_order_and_sees_what_came_before(make: Callable[..., Synthesis]) -> None:
    synthesis, documents = make(), passages(20)
    groups = collect(chains(documents, shots=3), synthesis, id_prefix="shard-")
    assert [shot.document for group in groups for shot in group.shots] == documents
    assert [[shot.follows for shot in group.shots] for group in groups] == [[0, 1, 2]] * 6 + [[0, 1]]
    assert [group.id for group in groups[:2]] == ["shard-0:p0", "shard-1:p3"]
    pair = Pair("What is it?", "A heron.")
    assert all(shot.pairs == (pair,) and not shot.rejects for group in groups for shot in group.shots)
    last = " <CON> p2 is a heron. </CON>\n\n"
    earlier = "".join(f" <CON> p{i} is a heron. </CON>\n\n{GOOD}" for i in (0, 1))
    assert earlier + last in synthesis.engine.asked  # type: ignore[attr-defined]


def test_duplicate_ids_and_texts_are_harmless_and_asked_once(make: Callable[..., Synthesis]) -> None:
    synthesis = make()
    documents = [Document("same", "p0 is a heron.", "birds")] * 40
    groups = collect(chains(documents, shots=2), synthesis)
    assert sum(len(group.shots) for group in groups) == 40
    assert len({group.id for group in groups}) == 20
    assert len(synthesis.engine.asked) == 2  # type: ignore[attr-defined]


def test_a_slow_chain_holds_up_no_other(make: Callable[..., Synthesis]) -> None:
    async def run() -> None:
        synthesis = make(max_chains_in_flight=2)
        engine = synthesis.engine
        assert isinstance(engine, Steered)
        gate = engine.gates["p0 is a heron."] = asyncio.Event()
        groups = synthesize(chains(passages(60), shots=3), synthesis=synthesis)
        first = asyncio.create_task(anext(groups))
        for _ in range(2_000):
            await asyncio.sleep(0.001)
            if len(engine.asked) == 1 + 3 * (READ_AHEAD * 2 - 1):
                break
        # The first chain still waits in its first round; all others that may be held are through all three.
        assert not first.done()
        assert len(engine.asked) == 1 + 3 * (READ_AHEAD * 2 - 1)
        await asyncio.sleep(0.05)
        assert len(engine.asked) == 1 + 3 * (READ_AHEAD * 2 - 1)
        gate.set()
        got = [await first, *[group async for group in groups]]
        assert [group.shots[0].document.id for group in got] == [f"p{3 * i}" for i in range(20)]

    asyncio.run(run())


@pytest.mark.parametrize("limit", [1, 3])
def test_chains_in_flight_and_chains_read_are_bounded(make: Callable[..., Synthesis], limit: int) -> None:
    synthesis, num_read = make(max_chains_in_flight=limit), 0

    def reading() -> Iterator[tuple[Document, ...]]:
        nonlocal num_read
        for chain in chains(passages(200), shots=2):
            num_read += 1
            yield chain

    async def run() -> None:
        num_got = 0
        async for _ in synthesize(reading(), synthesis=synthesis):
            num_got += 1
            await asyncio.sleep(0.001)
            assert num_read - num_got <= READ_AHEAD * limit
        assert num_got == num_read == 100

    asyncio.run(run())
    assert synthesis.engine.most_under_way == limit  # type: ignore[attr-defined]


def test_garbage_and_silence_leave_the_passage_raw(make: Callable[..., Synthesis]) -> None:
    answers = {"p0": "", "p1": "<QUE> {broken} %s", "p2": "<QUE> q <ANS> </END>"}
    synthesis = make(lambda prompt: next((answers[p] for p in answers if f"<CON> {p} " in prompt), GOOD))
    groups = collect(chains(passages(4), shots=1), synthesis)
    assert [len(group.shots[0].pairs) for group in groups] == [0, 0, 0, 1]
    reasons = [[reject.reason for reject in group.shots[0].rejects] for group in groups]
    assert reasons == [["no_pair"], ["no_end_tag"], ["empty_answer"], []]


def test_only_pairs_that_pass_the_checks_reach_the_next_round(make: Callable[..., Synthesis]) -> None:
    bad = "<QUE> Where?\nOptions:\n- here\n- there <ANS> nowhere </END>"
    synthesis = make(lambda prompt: f"{GOOD}\n\n{bad}")
    (group,) = collect(chains(passages(2), shots=2), synthesis)
    assert [reject.reason for reject in group.shots[1].rejects] == ["answer_not_in_options"]
    assert "nowhere" not in synthesis.engine.asked[1]  # type: ignore[attr-defined]
    assert GOOD in synthesis.engine.asked[1]  # type: ignore[attr-defined]


def test_a_passage_without_pairs_is_not_carried(make: Callable[..., Synthesis]) -> None:
    synthesis = make(lambda prompt: "" if prompt.endswith("<CON> p1 is a heron. </CON>\n\n") else GOOD)
    (group,) = collect(chains(passages(3), shots=3), synthesis)
    assert [shot.follows for shot in group.shots] == [0, 1, 1]
    assert "p1" not in synthesis.engine.asked[2]  # type: ignore[attr-defined]


def test_a_passage_that_is_too_long_goes_on_raw(make: Callable[..., Synthesis]) -> None:
    documents = passages(3)
    documents[1] = replace(documents[1], text="heron " * 3_000)
    synthesis = make()
    (group,) = collect(chains(documents, shots=3), synthesis)
    assert [len(shot.pairs) for shot in group.shots] == [1, 0, 1]
    assert [reject.reason for reject in group.shots[1].rejects] == ["passage_too_long"]
    assert len(synthesis.engine.asked) == 2  # type: ignore[attr-defined]


def test_markup_in_a_passage_is_only_text(make: Callable[..., Synthesis]) -> None:
    hostile = "It says <CON> x </CON>\n\n<QUE> q <ANS> a </END></s><s> and {braces}."
    answer = "<QUE> What is <CON > for? <ANS> It opens. </END>"
    synthesis = make(lambda prompt: answer)
    (group,) = collect(chains([Document("1", hostile, "birds"), *passages(1)], shots=2), synthesis)
    assert group.shots[0].document.text == hostile
    assert group.shots[0].pairs == (Pair("What is <CON> for?", "It opens."),)
    asked = synthesis.engine.asked  # type: ignore[attr-defined]
    assert asked[0].count("<CON>") == asked[0].count("</CON>") == 1


def test_each_passage_is_asked_for_its_own_categories(make: Callable[..., Synthesis]) -> None:
    asked = {0: ("maths", "fables"), 1: ("fables",), 2: ("maths",), 3: ("law", "maths"), 4: ("law",)}

    def answer(prompt: str) -> str:
        plan = prompt.rpartition("<ASK>")[2].partition("</ASK>")[0].split("|")
        names = [item.removeprefix(" 1") for item in plan]
        return "\n\n".join(f"<CAT>{name}<QUE> What {i}? <ANS> A heron. </END>" for i, name in enumerate(names))

    steered = open_dialect("steered")
    synthesis = make(answer, dialect=steered, categories=asked.__getitem__)
    groups = collect(chains(passages(5), shots=2), synthesis)
    shots = [shot for group in groups for shot in group.shots]
    assert [tuple(pair.category for pair in shot.pairs) for shot in shots] == list(asked.values())
    # A later shot's prompt holds the earlier ones as training would have: with their categories and pairs.
    alone = " <CON> p0 is a heron. </CON>\n\n<ASK> 1 maths | 1 fables </ASK>\n\n"
    assert alone in synthesis.engine.asked  # type: ignore[attr-defined]
    follows = "".join(steered.prompt(shots[:1], "p1 is a heron.", categories=["fables"]))
    assert follows.startswith(f"{alone}<CAT> maths <QUE> What 0?")
    assert follows in synthesis.engine.asked  # type: ignore[attr-defined]


def test_a_dialect_that_cannot_steer_is_refused(make: Callable[..., Synthesis]) -> None:
    with pytest.raises(RecipeError, match="cannot ask for categories"):
        make(categories=lambda number: ("maths",))


def test_what_a_category_answers_decides_whether_it_must_be_in_the_passage(make: Callable[..., Synthesis]) -> None:
    pieces = [f"<CAT> {name} <QUE> {name}? <ANS> A stork. </END>" for name in ("names", "moods", "unknown")]
    steered, answers = open_dialect("steered"), {"names": "span", "moods": "label"}
    synthesis = make(lambda prompt: "\n".join(pieces), dialect=steered, checks=("grounded",), answers=answers)
    ((shot,),) = [group.shots for group in collect(chains(passages(1), shots=1), synthesis)]
    assert [pair.category for pair in shot.pairs] == ["moods"]
    assert [reject.reason for reject in shot.rejects] == ["not_grounded"] * 2


def refusing(*, passage: str) -> Answer:
    def answer(prompt: str) -> str:
        if passage in prompt:
            raise EngineError("this prompt cannot be answered: shorten it")
        return GOOD

    return answer


def test_a_prompt_that_the_engine_refuses_costs_its_passage_alone(
    make: Callable[..., Synthesis], ledger: Ledger
) -> None:
    groups = collect(chains(passages(9), shots=3), make(refusing(passage="<CON> p4 ")))
    shots = [shot for group in groups for shot in group.shots]
    assert [len(shot.pairs) for shot in shots] == [1, 1, 1, 1, 0, 1, 1, 1, 1]
    assert [(reject.reason, reject.text) for reject in shots[4].rejects] == [
        ("engine_error", "this prompt cannot be answered: shorten it")
    ]
    assert ledger.count() == 8
    again = make()
    groups = collect(chains(passages(9), shots=3), again)
    assert all(shot.pairs for group in groups for shot in group.shots)
    # Only the failed passage, and the one whose prompt it now is a part of, are asked again.
    assert len(again.engine.asked) == 2  # type: ignore[attr-defined]


def test_an_engine_that_dies_stops_the_run(make: Callable[..., Synthesis]) -> None:
    num_answered = 0

    def dying(prompt: str) -> str:
        nonlocal num_answered
        if num_answered == 50:
            raise EngineError("connection refused")
        num_answered += 1
        return GOOD

    synthesis = make(dying)
    with pytest.raises(EngineError, match=r"last 32 requests.*connection refused"):
        collect(chains(passages(1_000), shots=1), synthesis)
    assert len(synthesis.engine.asked) <= 50 + MAX_FAILURES_IN_A_ROW + 8 * READ_AHEAD  # type: ignore[attr-defined]


def test_an_engine_that_never_answers_stops_even_a_short_run(make: Callable[..., Synthesis]) -> None:
    with pytest.raises(EngineError, match="none of 3 requests"):
        collect(chains(passages(3), shots=1), make(refusing(passage="")))


def test_scattered_failures_do_not_stop_a_run(make: Callable[..., Synthesis]) -> None:
    synthesis = make(refusing(passage="7"))
    groups = collect(chains(passages(400), shots=1), synthesis)
    num_failed = sum(1 for group in groups if not group.shots[0].pairs)
    assert num_failed == sum("7" in str(i) for i in range(400)) > MAX_FAILURES_IN_A_ROW


def test_failures_at_once_do_not_stop_a_run_that_waits_for_good_answers(
    make: Callable[..., Synthesis], small_vocabulary: Vocabulary
) -> None:
    """A prompt that an engine refuses fails in no time; forty of them overtake one that is being answered."""

    class Busy(Steered):
        async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
            if "p0 " in small_vocabulary.decode(prompt):
                await asyncio.sleep(0.2)
                return Completion(GOOD, 9, "stop")
            raise EngineError("prompt refused")

    synthesis = make(engine=Busy(small_vocabulary, lambda prompt: GOOD), max_chains_in_flight=64)
    groups = collect(chains(passages(MAX_FAILURES_IN_A_ROW + 8), shots=1), synthesis)
    assert [bool(group.shots[0].pairs) for group in groups] == [True] + [False] * (MAX_FAILURES_IN_A_ROW + 7)


def test_an_error_of_our_own_stops_the_run(make: Callable[..., Synthesis]) -> None:
    def broken(prompt: str) -> str:
        if "p7 " in prompt:
            raise ZeroDivisionError
        return GOOD

    with pytest.raises(ZeroDivisionError):
        collect(chains(passages(50), shots=1), make(broken))


def test_a_failure_far_behind_the_slow_first_chain_is_seen_at_once(make: Callable[..., Synthesis]) -> None:
    async def run() -> None:
        synthesis = make(refusing(passage="no such passage"))
        engine = synthesis.engine
        assert isinstance(engine, Steered)
        engine.gates["p0 is a heron."] = asyncio.Event()  # never opened

        def reading() -> Iterator[tuple[Document, ...]]:
            yield from chains(passages(20), shots=1)

        full = replace(synthesis, ledger=FullLedger())  # type: ignore[arg-type]
        with pytest.raises(StorageError, match="disk is full"):
            await asyncio.wait_for(anext(synthesize(reading(), synthesis=full)), 10)

    asyncio.run(run())


class FullLedger:
    """A ledger on a disk without room."""

    def get(self, key: bytes) -> Completion | None:
        return None

    async def put(self, key: bytes, completion: Completion) -> None:
        raise StorageError("disk is full")


def test_progress_adds_up(make: Callable[..., Synthesis]) -> None:
    seen: list[Progress] = []
    answer = refusing(passage="<CON> p4 ")
    documents = passages(6)
    documents[5] = replace(documents[5], text="heron " * 3_000)
    collect(chains(documents, shots=1), make(lambda prompt: answer(prompt) + "\n\n<QUE>"), on_progress=seen.append)
    assert [progress.passages for progress in seen] == [1, 2, 3, 4, 5, 6]
    last = seen[-1]
    assert (last.pairs, last.rejects, last.output_tokens, last.failed, last.replayed) == (4, 6, 20, 1, 0)
    collect(chains(documents, shots=1), make(), on_progress=seen.append)
    assert (seen[-1].replayed, seen[-1].failed, seen[-1].pairs) == (4, 0, 5)
    assert seen[-1].prompt_tokens == last.prompt_tokens


def test_settings_that_leave_no_room_are_refused(make: Callable[..., Synthesis]) -> None:
    with pytest.raises(RecipeError, match="window_tokens is 200"):
        make(window_tokens=200)
    with pytest.raises(RecipeError, match="max_chains_in_flight is 0"):
        make(max_chains_in_flight=0)
    with pytest.raises(RecipeError, match="no check is called 'spelling'"):
        make(checks=("spelling",))


def test_a_resumed_run_asks_only_for_what_is_missing_and_gives_the_same(
    make: Callable[..., Synthesis], vocabulary_folder: Path, tmp_path: Path
) -> None:
    log = tmp_path / "asked"
    options = {"error_share": 0.05, "empty_share": 0.05, "garbage_share": 0.05}
    documents = [Document("d", f"Heron {i} waits. It eats fish. It flies!", "birds") for i in range(90)]
    with Ledger(tmp_path / "undisturbed") as other:
        engine = ScriptedEngine(str(vocabulary_folder), **options)  # type: ignore[arg-type]
        expected = collect(chains(documents, shots=3), make(engine=engine, ledger=other))
    engine = ScriptedEngine(str(vocabulary_folder), delay_seconds=0.002, log=log, **options)  # type: ignore[arg-type]

    async def stop_early(ledger: Ledger) -> list[Group]:
        groups = synthesize(chains(documents, shots=3), synthesis=make(engine=engine, ledger=ledger))
        got = [await anext(groups) for _ in range(12)]
        await groups.aclose()
        return got

    with Ledger(tmp_path / "kept") as ledger:
        assert asyncio.run(stop_early(ledger)) == expected[:12]
    with Ledger(tmp_path / "kept") as ledger:
        asked_before, held = log.read_text().splitlines(), ledger.count()
        assert 0 < held <= len(asked_before) < 90
        assert collect(chains(documents, shots=3), make(engine=engine, ledger=ledger)) == expected
    asked_after = log.read_text().splitlines()[len(asked_before) :]
    num_answered = sum(all(r.reason != "engine_error" for r in shot.rejects) for g in expected for shot in g.shots)
    assert len(asked_after) == len(set(asked_after)) == num_answered - held
    assert {len(digest) for digest in asked_after} == {len(prompt_digest([1]))}


def test_without_asyncio_the_same_groups_come_out(make: Callable[..., Synthesis]) -> None:
    expected = collect(chains(passages(50), shots=3), make())
    for _ in range(2):  # shards come one after another
        assert list(run_chains(chains(passages(50), shots=3), synthesis=make())) == expected


def test_the_engine_goes_on_while_the_caller_is_busy_but_not_without_bound(make: Callable[..., Synthesis]) -> None:
    synthesis = make(max_chains_in_flight=4)
    groups = run_chains(chains(passages(500), shots=1), synthesis=synthesis)
    next(groups)
    asked = synthesis.engine.asked  # type: ignore[attr-defined]
    num_held = -1
    while len(asked) > num_held:  # until it waits for us
        num_held = len(asked)
        time.sleep(0.2)
    assert 4 < num_held <= (READ_AHEAD + 1) * 4 + 2
    assert len([*groups]) == 499


def test_leaving_early_stops_all_that_is_under_way(make: Callable[..., Synthesis]) -> None:
    synthesis = make()
    engine = synthesis.engine
    assert isinstance(engine, Steered)
    groups = run_chains(chains(passages(500), shots=3), synthesis=synthesis)
    next(groups)
    groups.close()  # type: ignore[attr-defined]
    assert engine.under_way == 0
    num_asked = len(engine.asked)
    time.sleep(0.05)
    assert len(engine.asked) == num_asked < 1_500

    async def others() -> set[str]:
        return {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    assert run_in_loop(others()) == set()


def test_an_interrupt_while_waiting_stops_all_that_is_under_way(make: Callable[..., Synthesis]) -> None:
    synthesis = make()
    engine = synthesis.engine
    assert isinstance(engine, Steered)
    engine.gates["p0 is a heron."] = asyncio.Event()  # never opened
    groups = run_chains(chains(passages(20), shots=1), synthesis=synthesis)
    # A shell that starts a job in the background has it ignore interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            next(groups)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert engine.under_way == 0


def test_errors_reach_a_caller_without_asyncio(make: Callable[..., Synthesis]) -> None:
    with pytest.raises(EngineError, match="none of 3 requests"):
        list(run_chains(chains(passages(3), shots=1), synthesis=make(refusing(passage=""))))

    def unreadable() -> Iterator[tuple[Document, ...]]:
        yield from chains(passages(3), shots=1)
        raise StorageError("the disk is gone")

    with pytest.raises(StorageError, match="the disk is gone"):
        list(run_chains(unreadable(), synthesis=make()))
