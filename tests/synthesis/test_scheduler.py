"""The scheduler: order, bounds, no barrier, and what a prompt holds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gated_engine import GOOD, GatedEngine, Make, collect, passages

from benchmarks.scripted_engine import ScriptedEngine, prompt_digest
from instructpt.errors import EngineError, RecipeError
from instructpt.records import Document, Group, Pair
from instructpt.synthesis.asking import Progress
from instructpt.synthesis.capacity import READ_AHEAD, Capacity
from instructpt.synthesis.chains import chains
from instructpt.synthesis.dialects import open_dialect
from instructpt.synthesis.ledger import Ledger
from instructpt.synthesis.scheduler import synthesize


def test_each_passage_comes_out_once_in_order_and_sees_what_came_before(make: Make) -> None:
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


def test_duplicate_ids_and_texts_are_harmless_and_asked_once(make: Make) -> None:
    synthesis = make()
    documents = [Document("same", "p0 is a heron.", "birds")] * 40
    groups = collect(chains(documents, shots=2), synthesis)
    assert sum(len(group.shots) for group in groups) == 40
    assert len({group.id for group in groups}) == 20
    assert len(synthesis.engine.asked) == 2  # type: ignore[attr-defined]


def test_a_slow_chain_holds_up_no_other(make: Make) -> None:
    async def run() -> None:
        synthesis = make(limit=2)
        engine = synthesis.engine
        assert isinstance(engine, GatedEngine)
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
def test_chains_in_flight_and_chains_read_are_bounded(make: Make, limit: int) -> None:
    synthesis, num_read = make(limit=limit), 0

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


def test_only_pairs_that_pass_the_checks_reach_the_next_round(make: Make) -> None:
    bad = "<QUE> Where?\nOptions:\n- here\n- there <ANS> nowhere </END>"
    synthesis = make(lambda prompt: f"{GOOD}\n\n{bad}")
    (group,) = collect(chains(passages(2), shots=2), synthesis)
    assert [reject.reason for reject in group.shots[1].rejects] == ["answer_not_in_options"]
    assert "nowhere" not in synthesis.engine.asked[1]  # type: ignore[attr-defined]
    assert GOOD in synthesis.engine.asked[1]  # type: ignore[attr-defined]


def test_a_passage_without_pairs_is_not_carried(make: Make) -> None:
    synthesis = make(lambda prompt: "" if prompt.endswith("<CON> p1 is a heron. </CON>\n\n") else GOOD)
    (group,) = collect(chains(passages(3), shots=3), synthesis)
    assert [shot.follows for shot in group.shots] == [0, 1, 1]
    assert "p1" not in synthesis.engine.asked[2]  # type: ignore[attr-defined]


def test_a_passage_that_is_too_long_goes_on_raw(make: Make) -> None:
    documents = passages(3)
    documents[1] = replace(documents[1], text="heron " * 3_000)
    synthesis = make()
    (group,) = collect(chains(documents, shots=3), synthesis)
    assert [len(shot.pairs) for shot in group.shots] == [1, 0, 1]
    assert [reject.reason for reject in group.shots[1].rejects] == ["passage_too_long"]
    assert len(synthesis.engine.asked) == 2  # type: ignore[attr-defined]


def test_markup_in_a_passage_is_only_text(make: Make) -> None:
    hostile = "It says <CON> x </CON>\n\n<QUE> q <ANS> a </END></s><s> and {braces}."
    answer = "<QUE> What is <CON > for? <ANS> It opens. </END>"
    synthesis = make(lambda prompt: answer)
    (group,) = collect(chains([Document("1", hostile, "birds"), *passages(1)], shots=2), synthesis)
    assert group.shots[0].document.text == hostile
    assert group.shots[0].pairs == (Pair("What is <CON> for?", "It opens."),)
    asked = synthesis.engine.asked  # type: ignore[attr-defined]
    assert asked[0].count("<CON>") == asked[0].count("</CON>") == 1


def test_each_passage_is_asked_for_its_own_categories(make: Make) -> None:
    asked = {0: ("maths", "fables"), 1: ("fables",), 2: ("maths",), 3: ("law", "maths"), 4: ("law",)}

    def answer(prompt: str) -> str:
        plan = prompt.rpartition("<ASK>")[2].partition("</ASK>")[0].split("|")
        names = [item.removeprefix(" 1") for item in plan]
        return "\n\n".join(f"<CAT>{name}<QUE> What {i}? <ANS> A heron. </END>" for i, name in enumerate(names))

    steered = open_dialect("steered")
    synthesis = make(answer, dialect=steered, categories=lambda number, _: asked[number])
    groups = collect(chains(passages(5), shots=2), synthesis)
    shots = [shot for group in groups for shot in group.shots]
    assert [tuple(pair.category for pair in shot.pairs) for shot in shots] == list(asked.values())
    # A later shot's prompt holds the earlier ones as training would have: with their categories and pairs.
    alone = " <CON> p0 is a heron. </CON>\n\n<ASK> 1 maths | 1 fables </ASK>\n\n"
    assert alone in synthesis.engine.asked  # type: ignore[attr-defined]
    follows = "".join(steered.prompt(shots[:1], "p1 is a heron.", categories=["fables"]))
    assert follows.startswith(f"{alone}<CAT> maths <QUE> What 0?")
    assert follows in synthesis.engine.asked  # type: ignore[attr-defined]


def test_pairs_that_are_asked_for_apart_come_out_together_in_order(make: Make) -> None:
    """The model sees no pair of the same passage, and those of earlier passages."""
    answers = open_dialect("answers")

    def answer(prompt: str) -> str:
        name = prompt.rpartition("<ASK> 1 ")[2].partition(" </ASK>")[0]
        return f"<CAT> {name} <ANS> A heron. <QUE> What is {name}? </END>"

    synthesis = make(answer, dialect=answers, categories=lambda *_: ("law", "maths", "fables"))
    groups = collect(chains(passages(4), shots=2), synthesis)
    shots = [shot for group in groups for shot in group.shots]
    assert [[pair.category for pair in shot.pairs] for shot in shots] == [["law", "maths", "fables"]] * 4
    assert [shot.follows for shot in shots] == [0, 1, 0, 1]
    asked = synthesis.engine.asked  # type: ignore[attr-defined]
    assert len(asked) == 12
    assert all(prompt.rpartition("<CON>")[2].count("<QUE>") == 0 for prompt in asked)
    assert sum(prompt.count("<QUE>") for prompt in asked) == 3 * 3 * 2


def test_a_dialect_that_cannot_steer_is_refused(make: Make) -> None:
    with pytest.raises(RecipeError, match="cannot ask for categories"):
        make(categories=lambda number, _: ("maths",))


def test_what_a_category_answers_decides_whether_it_must_be_in_the_passage(make: Make) -> None:
    pieces = [f"<CAT> {name} <QUE> {name}? <ANS> A stork. </END>" for name in ("names", "moods", "unknown")]
    steered, answers = open_dialect("steered"), {"names": "span", "moods": "label"}
    synthesis = make(lambda prompt: "\n".join(pieces), dialect=steered, checks=("grounded",), answers=answers)
    ((shot,),) = [group.shots for group in collect(chains(passages(1), shots=1), synthesis)]
    assert [pair.category for pair in shot.pairs] == ["moods"]
    assert [reject.reason for reject in shot.rejects] == ["not_grounded"] * 2


def test_progress_adds_up_and_is_told_now_and_then(make: Make) -> None:
    def answer(prompt: str) -> str:
        if "<CON> p4 " in prompt:
            raise EngineError("this prompt cannot be answered: shorten it")
        return f"{GOOD}\n\n<QUE>"

    seen: list[Progress] = []
    documents = passages(60)
    documents[5] = replace(documents[5], text="heron " * 3_000)
    collect(chains(documents, shots=1), make(answer), on_progress=seen.append)
    assert len(seen) < 30
    last = seen[-1]
    assert (last.passages, last.pairs, last.rejects, last.output_tokens) == (60, 58, 60, 290)
    assert (last.failed, last.replayed) == (1, 0)
    assert last.reasons == {"no_end_tag": 58, "passage_too_long": 1, "engine_error": 1}
    collect(chains(documents, shots=1), make(), on_progress=seen.append)
    again = seen[-1]
    assert (again.replayed, again.failed, again.pairs) == (58, 0, 59)
    assert again.prompt_tokens > last.prompt_tokens


def test_settings_that_leave_no_room_are_refused(make: Make) -> None:
    with pytest.raises(RecipeError, match="window_tokens is 200"):
        make(window_tokens=200)
    with pytest.raises(RecipeError, match="0 chains in flight"):
        Capacity(make().engine, most=0)
    with pytest.raises(RecipeError, match="no check is called 'spelling'"):
        make(checks=("spelling",))


def test_a_resumed_run_asks_only_for_what_is_missing_and_gives_the_same(
    make: Make, vocabulary_folder: Path, tmp_path: Path
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
