"""The scripted engine: the same answer to the same prompt, in markup that reads well and sometimes badly."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.scripted_engine import SCRIPTED, ScriptedEngine, prompt_digest, spoken, write_pairs
from instructpt.engines import Conversation, Message, Sampling, open_engine
from instructpt.errors import EngineError
from instructpt.records import Document, Pair, Shot
from instructpt.synthesis.chat import Chat
from instructpt.synthesis.dialects import Dialect
from instructpt.synthesis.steered import Steered
from instructpt.synthesis.tags import Tags
from instructpt.words import vocabulary

PASSAGE = "The cat sat on the mat. The dog sat on the log! Why did it sit there? It was tired. The end came soon."


def prompts(words: Path, count: int) -> list[list[int]]:
    loaded = vocabulary.load(words)
    earlier = Shot(Document("0", "A cat sat.", "cats"), (Pair("Who?", "A cat."),))
    return [loaded.sequence(Tags().prompt([earlier], f"{PASSAGE} Number {i} is last.")) for i in range(count)]


def answers(engine: ScriptedEngine, asked: list[list[int]], *, max_new_tokens: int = 2_000) -> list[str]:
    async def run() -> list[str]:
        sampling = Sampling(max_new_tokens=max_new_tokens)
        results = await asyncio.gather(*(engine.complete(ids, sampling) for ids in asked), return_exceptions=True)
        return [f"{type(r).__name__}" if isinstance(r, BaseException) else r.text for r in results]

    return asyncio.run(run())


def test_answers_are_about_the_last_passage_in_all_four_formats(words: Path) -> None:
    kinds: Counter[tuple[bool, bool]] = Counter()
    reasons: Counter[str] = Counter()
    for answer in answers(ScriptedEngine(str(words)), prompts(words, 60)):
        pairs, rejects = Tags().parse(answer)
        assert pairs or rejects
        reasons.update(reject.reason for reject in rejects)
        for pair in pairs:
            kinds[bool(pair.options), pair.rationale is not None] += 1
            assert not pair.options or pair.answer in pair.options
            assert "A cat sat" not in f"{pair.question} {pair.answer}"
    assert len(kinds) == 4
    assert set(reasons) == {"no_end_tag", "no_answer_tag"}
    assert sum(reasons.values()) < sum(kinds.values()) / 2


@pytest.mark.parametrize("dialect", [Steered(), Chat(), Chat("chinese")])
@pytest.mark.parametrize("asked", [["maths", "narrative QA", "maths", "科学"], []])
def test_other_dialects_get_the_pairs_they_ask_for(words: Path, dialect: Dialect, asked: list[str]) -> None:
    loaded = vocabulary.load(words)
    sampling = Sampling(2_000, form=dialect.form(asked))
    earlier = Shot(Document("0", "A cat sat.", "cats"), (Pair("Who?", "A cat.", category="maths"),))
    engine, as_asked, kinds, reasons = ScriptedEngine(str(words)), 0, set(), Counter[str]()
    for i in range(40):
        prompt = dialect.prompt([earlier] * (i % 2), f"{PASSAGE} Number {i} is last.", categories=asked)
        content = prompt if isinstance(prompt, Conversation) else loaded.sequence(prompt)
        pairs, rejects = dialect.parse(asyncio.run(engine.complete(content, sampling)).text)
        as_asked += Counter(pair.category for pair in pairs) == Counter(asked)
        kinds |= {(bool(pair.options), pair.rationale is not None) for pair in pairs}
        reasons.update(reject.reason for reject in rejects)
        assert pairs or rejects
        assert not any("A cat sat" in f"{pair.question} {pair.answer}" for pair in pairs)
    assert as_asked >= 20 if asked else as_asked == 0 or not dialect.marks
    assert len(kinds) == 4
    assert len(reasons) == 2, reasons


def test_a_conversation_is_told_from_others_by_all_that_is_said(words: Path) -> None:
    talks = [
        Conversation((Message("user", "The cat sat."),)),
        Conversation((Message("user", "The dog sat."),)),
        Conversation((Message("system", "Write."), Message("user", "The cat sat."))),
    ]
    assert len({prompt_digest(talk) for talk in talks}) == 3
    engine = ScriptedEngine(str(words), script=lambda prompt: prompt)
    answer = asyncio.run(engine.complete(talks[2], Sampling()))
    assert answer.text == spoken(talks[2]) == "system\nWrite.\nuser\nThe cat sat.\n"
    assert engine.state().num_prompt_tokens == answer.num_tokens - 1


def test_the_same_prompt_gets_the_same_answer_whatever_else_is_asked(words: Path) -> None:
    asked = prompts(words, 12)
    at_once = answers(ScriptedEngine(str(words), delay_seconds=0.003), asked)
    alone = [answers(ScriptedEngine(str(words)), [ids])[0] for ids in asked]
    assert at_once == alone
    assert len(set(alone)) == len(alone)


def test_an_answer_is_cut_at_the_limit(words: Path) -> None:
    engine, (ids, *_) = ScriptedEngine(str(words)), prompts(words, 1)
    whole = asyncio.run(engine.complete(ids, Sampling(max_new_tokens=2_000)))
    exact = asyncio.run(engine.complete(ids, Sampling(max_new_tokens=whole.num_tokens)))
    cut = asyncio.run(engine.complete(ids, Sampling(max_new_tokens=5)))
    assert (whole.finish, exact) == ("stop", whole)
    assert (cut.finish, cut.num_tokens) == ("length", 5)
    assert whole.text.startswith(cut.text)


def test_faults_come_in_their_shares_and_always_for_the_same_prompts(words: Path) -> None:
    asked = prompts(words, 400)
    engine = ScriptedEngine(
        str(words), script=lambda prompt: "fine", error_share=0.2, empty_share=0.2, garbage_share=0.2
    )
    got = answers(engine, asked)
    counts = Counter(answer if answer in ("fine", "", "EngineError") else "garbage" for answer in got)
    assert 120 < counts.pop("fine") < 200
    assert all(50 < count < 110 for count in counts.values())
    assert len(counts) == 3
    assert answers(engine, asked) == got
    assert not any(Tags().parse(answer)[0] for answer in got if answer not in ("fine", "", "EngineError"))


def test_the_log_has_a_line_for_each_answer_given(words: Path, tmp_path: Path) -> None:
    asked, log = prompts(words, 40), tmp_path / "log"
    got = answers(ScriptedEngine(str(words), error_share=0.3, log=log), asked)
    answered = [prompt_digest(ids) for ids, answer in zip(asked, got, strict=True) if answer != "EngineError"]
    assert sorted(log.read_text().splitlines()) == sorted(answered)
    assert 0 < len(answered) < 40


def test_scores_are_log_probabilities_that_chain(words: Path) -> None:
    engine = ScriptedEngine(str(words))
    both = asyncio.run(engine.score([0, 5], [7, 8]))
    assert all(math.isfinite(score) and score < 0 for score in both)
    first, second = asyncio.run(engine.score([0, 5], [7])), asyncio.run(engine.score([0, 5, 7], [8]))
    assert [*first, *second] == both
    assert asyncio.run(engine.score([0, 5], [])) == []
    assert asyncio.run(engine.score([0, 6], [7, 8])) != both


def test_a_closed_engine_answers_no_more(words: Path) -> None:
    engine = open_engine(SCRIPTED, str(words), delay_seconds=0.05)

    async def run() -> None:
        under_way = asyncio.create_task(engine.complete([0, 5], Sampling()))
        await asyncio.sleep(0)
        await engine.close()
        with pytest.raises(EngineError, match="closed"):
            await under_way

    asyncio.run(run())


def test_any_prompt_gets_an_answer() -> None:
    for prompt in (
        "",
        " ",
        "no markup at all",
        " <CON>  </CON>\n\n",
        "<CON> 鹭等待。它吃鱼。 </CON>\n\n",
        "<CON> . </CON>",
    ):
        pairs, rejects = Tags().parse(write_pairs(prompt))
        assert pairs or rejects
