"""Asking many prompts at once: order, bounds, the ledger, and what becomes of failures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from gated_engine import Make, make_synthesis

from benchmarks.scripted_engine import ScriptedEngine
from instructpt.engines import Completion, EngineState, Prompt, Sampling
from instructpt.errors import BudgetError, EngineError, PromptRefusedError
from instructpt.records import Document, Pair, Reject, Shot
from instructpt.synthesis import chains
from instructpt.synthesis.asking import Synthesis
from instructpt.synthesis.chains import fit
from instructpt.synthesis.ledger import Ledger
from instructpt.synthesis.responses import fit_question, read_answers, read_pairs, respond
from instructpt.synthesis.tags import Tags
from instructpt.words.vocabulary import Vocabulary

BIRD = Document("b", "The heron waits in shallow water.", "birds")
PAIR = Pair("What waits?", "The heron.")


class Echo:
    """An engine that answers with the last id of the prompt, later ones sooner, and fails where it is told to."""

    def __init__(self, failing: frozenset[int] = frozenset(), error: EngineError | None = None) -> None:
        self.failing = failing
        self.error = error or EngineError("no")
        self.capacity = 4
        self.asked: list[int] = []
        self.under_way = self.most_under_way = 0

    def state(self) -> EngineState:
        return EngineState(capacity=self.capacity)

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        assert isinstance(prompt, list)
        self.asked.append(prompt[-1])
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0.002 * (7 - prompt[-1] % 7))
        self.under_way -= 1
        if prompt[-1] in self.failing:
            raise self.error
        return Completion(str(prompt[-1]), 1, "stop")

    async def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Sequence[float]:
        raise AssertionError("nothing is scored")

    async def close(self) -> None:
        pass


@pytest.fixture
def make(small_vocabulary: Vocabulary, tmp_path: Path) -> Iterator[Make]:
    with Ledger(tmp_path / "ledger") as ledger:

        def make(engine: Echo, **changes: object) -> Synthesis:
            changes = {"sampling": Sampling(max_new_tokens=8)} | changes
            return make_synthesis(small_vocabulary, ledger=ledger, engine=engine, **changes)

        yield make


def prompts(*numbers: int) -> list[chains.Prompt | None]:
    return [chains.Prompt([0, number], 2, 0) for number in numbers]


def texts(found: Sequence[Completion | Reject]) -> list[str]:
    return [item.text if isinstance(item, Completion) else item.reason for item in found]


def test_answers_come_in_order_and_few_are_under_way(make: Make) -> None:
    engine, seen = Echo(), []
    found = respond(prompts(*range(20)), synthesis=make(engine), on_progress=lambda *counts: seen.append(counts))
    assert texts(found) == [str(number) for number in range(20)]
    assert engine.most_under_way == 4
    assert seen[-1] == (20, 20)


def test_equal_prompts_are_asked_once_and_known_ones_never(make: Make) -> None:
    engine = Echo()
    assert texts(respond(prompts(5, 6, 5, 5), synthesis=make(engine))) == ["5", "6", "5", "5"]
    assert sorted(engine.asked) == [5, 6]
    again = Echo()
    assert texts(respond(prompts(6, 7, 5), synthesis=make(again))) == ["6", "7", "5"]
    assert again.asked == [7]


def test_what_does_not_fit_or_fails_is_a_reject_with_a_reason(make: Make) -> None:
    engine = Echo(failing=frozenset({2}))
    found = respond([*prompts(1, 2), None, *prompts(3)], synthesis=make(engine))
    assert texts(found) == ["1", "engine_error", "passage_too_long", "3"]
    assert respond([], synthesis=make(engine)) == []


def test_a_prompt_at_fault_is_told_from_an_engine_at_fault(make: Make) -> None:
    engine = Echo(failing=frozenset(range(1, 40)), error=PromptRefusedError("too long"))
    engine.capacity = 1
    found = respond(prompts(*range(41)), synthesis=make(engine))
    assert texts(found) == ["0", *["prompt_refused"] * 39, "40"]


def test_a_stop_waits_for_what_is_under_way(make: Make) -> None:
    engine, asked = Echo(), iter(range(100))
    synthesis = make(engine, stop=lambda: "enough" if next(asked) == 6 else None)
    with pytest.raises(BudgetError, match="enough"):
        respond(prompts(*range(30)), synthesis=synthesis)
    assert engine.under_way == 0
    assert len(engine.asked) == synthesis.ledger.count() == 6


def test_a_dead_engine_stops_the_run(make: Make) -> None:
    with pytest.raises(EngineError, match="answered none of 3 requests"):
        respond(prompts(1, 2, 3), synthesis=make(Echo(failing=frozenset({1, 2, 3}))))
    engine = Echo(failing=frozenset(range(500)))
    with pytest.raises(EngineError, match="requests to the engine failed"):
        respond(prompts(*range(500)), synthesis=make(engine))
    assert len(engine.asked) < 100, "it stops long before all are asked"


def test_an_error_of_the_caller_cancels_what_is_under_way(make: Make) -> None:
    engine = Echo()

    def stop(num_done: int, num_tokens: int) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        respond(prompts(*range(300)), synthesis=make(engine), on_progress=stop)
    assert len(engine.asked) < 300


def test_a_question_is_asked_with_as_many_examples_as_fit(small_vocabulary: Vocabulary) -> None:
    examples = [Shot(Document(str(i), f"Passage {i} is here.", "s"), (PAIR,)) for i in range(3)]

    def asked(budget_tokens: int) -> chains.Prompt | None:
        return fit_question(
            examples,
            passage=BIRD.text,
            pair=PAIR,
            dialect=Tags(),
            vocabulary=small_vocabulary,
            budget_tokens=budget_tokens,
        )

    everything = asked(10_000)
    assert everything is not None
    assert everything.follows == 3
    less = asked(everything.num_tokens - 1)
    assert less is not None
    assert less.follows == 2
    assert isinstance(less.content, list)
    assert "Passage 0" not in small_vocabulary.decode(less.content), "the oldest goes first"
    assert small_vocabulary.decode(less.content).endswith("<QUE> What waits? <ANS>")
    assert asked(10) is None


def test_pairs_are_read_with_what_the_token_limit_cut_off_named_so(small_vocabulary: Vocabulary) -> None:
    prompt = fit([], passage=BIRD.text, dialect=Tags(), vocabulary=small_vocabulary, budget_tokens=999)
    answer = "<QUE> What waits? <ANS> The heron. </END>\n\n<QUE> And wh"
    cut = read_pairs(BIRD, prompt, Completion(answer, 9, "length"), dialect=Tags())
    assert cut == Shot(BIRD, (PAIR,), 0, (Reject("<QUE> And wh", "cut_off"),))
    stopped = read_pairs(BIRD, prompt, Completion(answer, 9, "stop"), dialect=Tags())
    assert [reject.reason for reject in stopped.rejects] == ["no_end_tag"]
    assert read_pairs(BIRD, None, Reject("", "passage_too_long"), dialect=Tags()).rejects == (
        Reject("", "passage_too_long"),
    )


def test_answers_are_read_beside_their_questions() -> None:
    questions = [PAIR, Pair("Where?", "In water."), Pair("Why?", "To fish.")]
    given = [Completion(" a heron </END>\n\n<QUE> x", 4, "stop"), Completion("", 1, "stop"), Reject("", "engine_error")]
    shot = read_answers(BIRD, questions, given, dialect=Tags())
    assert shot.pairs == (Pair("What waits?", "a heron"),)
    assert shot.rejects == (Reject("Where?\n", "empty_answer"), Reject("Why?\n", "engine_error"))


def test_it_works_with_an_engine_that_ships(make: Make, vocabulary_folder: Path, small_vocabulary: Vocabulary) -> None:
    engine = ScriptedEngine(str(vocabulary_folder), delay_seconds=0.002)
    asked = [
        fit([], passage=f"{i}. {BIRD.text}", dialect=Tags(), vocabulary=small_vocabulary, budget_tokens=999)
        for i in range(12)
    ]
    first = respond(asked, synthesis=make(engine))  # type: ignore[arg-type]
    assert first == respond(asked, synthesis=make(Echo()))  # all from the ledger
