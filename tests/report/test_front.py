"""The first screen answers two questions, says what was not measured, and can be read on a phone and on paper."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from chromium import chromium_page, find_chromium
from conftest import corpus_rows, write_corpus

from instructpt.artifacts import Run, Stage
from instructpt.cli.commands import main
from instructpt.evaluation.comparison import Comparison, Contrast, Interval
from instructpt.executors.make import make
from instructpt.records import Document, Group, Pair, Score, Shot
from instructpt.report import render
from instructpt.report.artifacts import load
from instructpt.report.front import compared, corpus, models
from instructpt.report.page import draw

WIDE, PHONE, PAPER = (1280, 800), (390, 844), (688, 1000)
"""Pixels; the last is A4 without its margins."""
CONTRAST = """
(() => {
  const light = (c) => { const v = c.match(/[0-9.]+/g).slice(0, 3).map((x) => { const s = x / 255;
    return s <= 0.03928 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4; });
    return 0.2126*v[0] + 0.7152*v[1] + 0.0722*v[2]; };
  const paper = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (!c.endsWith(', 0)')) return c; } return 'rgb(255, 255, 255)'; };
  return Math.min(...[...document.querySelectorAll('p, td, th, h1, h2, h3, pre, summary, span, text')].map((e) => {
    const style = getComputedStyle(e), ink = e.tagName === 'text' ? style.fill : style.color;
    const [a, b] = [light(ink), light(paper(e))].sort((x, y) => y - x); return (a + 0.05) / (b + 0.05); }));
})()
"""
"""The least contrast of any words with what they stand on (WCAG 2.2, 1.4.3)."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("front")
    corpus = write_corpus(folder / "my.jsonl", corpus_rows(8))
    assert main(["augment", str(corpus), "--mine", "--out", str(folder / "out")]) == 0
    return folder / "out"


def front(root: Path, *, scores: list[Score]) -> str:
    found = models([], scores, is_trained=False)
    return words(draw("front.html", corpus=corpus(load(str(root))), models=found))


def told(found: Comparison) -> str:
    return words(draw("models.html", models=compared(found)))


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_a_corpus_without_models_says_what_is_in_it_and_what_is_not_known(root: Path) -> None:
    said = front(root, scores=[])
    groups = load(str(root))["groups"].tally
    assert f"{groups.counts['pairs'] / groups.made:.2f} pairs a passage" in said
    assert "Not measured: no model was trained" in said
    assert "instructpt run compare" in said
    assert "Test items were not looked for" in said
    assert "Copies of documents, left out: 0 of 8." in said


@dataclass(frozen=True, kw_only=True)
class Doubtful(Stage[Any]):
    """A passage with a pair whose number is not in it."""

    record: ClassVar[Any] = Group
    takes: ClassVar[str] = "passages"
    makes: ClassVar[str] = "passages"

    def num_shards(self, run: Run) -> int:
        return 1

    def shard(self, index: int, run: Run) -> Iterator[Any]:
        run.tally.take()
        run.tally.keep()
        pairs = (Pair("What was built here?", "A bridge"), Pair("When did it open?", "It opened in the year 1912."))
        yield Group("g", (Shot(Document("p", "A bridge was built here in 1843, of stone.", "tales"), pairs),))


def test_pairs_that_a_check_left_out_stand_below_with_an_example(tmp_path: Path) -> None:
    make(Doubtful(name="doubtful"), Run(root=str(tmp_path), workers=1))
    assert main(["verify", str(tmp_path / "doubtful"), "--out", str(tmp_path / "out"), "--workers", "1"]) == 0
    said = words(render(str(tmp_path / "out"), title="Checked"))
    assert "unsupported_number 1 When did it open? It opened in the year 1912." in said


def test_single_runs_tell_nothing(root: Path) -> None:
    scores = [Score("held_out", "bits_per_byte", 2.0, 0.1, 9, model) for model in ("raw", "mined")]
    said = front(root, scores=scores)
    assert "Cannot be told: one training run a model" in said
    assert "2.00 ± 0.20" in said
    assert "One model alone cannot tell" in front(root, scores=scores[:1])


def test_an_exam_of_single_runs_is_told_with_its_differences(root: Path) -> None:
    """Three bars with intervals, what one model has more than another on the same questions, and one caution."""
    bits = {"before": 2.4, "raw": 2.3, "instruct": 1.6}
    scores = [Score("closed_book", "bits_per_byte", value, 0.1, 64, model) for model, value in bits.items()]
    scores += [
        Score("closed_book", "bits_per_byte/from_before", -0.1, 0.1, 64, "raw"),
        Score("closed_book", "bits_per_byte/from_raw", -0.7, 0.1, 64, "instruct"),
    ]
    said = front(root, scores=scores)
    assert "raw against before, the same 64 questions: -0.10 ± 0.20 bits per byte." in said
    assert "instruct against raw, the same 64 questions: -0.70 ± 0.20 bits per byte." in said
    assert "One training run a model, so" in said
    assert "better." not in said, "one run a model is never called anything"
    page = draw("models.html", models=models([], scores, is_trained=False))
    assert page.count("<rect") == 3
    assert "2.40 ± 0.20" in page


def measure(difference: float, half: float | None, **changes: Any) -> Contrast:
    named = {"phase": "", "task": "held_out", "metric": "bits_per_byte", "tokens": 10} | changes
    return Contrast(**named, arms={}, differences={"instruct": Interval(difference, half, 3)})


def test_a_difference_counts_only_if_its_interval_excludes_zero() -> None:
    found = Comparison(
        arms=("raw", "instruct"),
        seeds=(0, 1, 2),
        measures=[
            measure(0.03, 0.01),
            measure(-0.1, 0.02, task="unseen"),
            measure(0.02, 0.1, task="unseen", metric="choice_accuracy"),
            measure(9.0, 0.1, tokens=5),  # a smaller budget
        ],
    )
    said = told(found)
    assert "instruct against raw, 3 seeds: better in 1, worse in 1, no difference shown in 1 of 3 measures." in said
    assert "+0.030 ± 0.010: worse" in said
    assert "-0.100 ± 0.020: better" in said
    assert "9.0" not in said


def test_one_seed_is_not_enough() -> None:
    found = Comparison(arms=("raw", "instruct"), seeds=(0,), measures=[measure(-1.0, None)])
    assert "cannot be told from one seed" in told(found)
    assert "better" not in told(found).replace("left of the line is better", "")
    unfinished = Comparison(arms=("raw", "instruct"), seeds=(0, 1, 2), measures=[measure(-1.0, None)])
    assert "cannot be told in 1 (one seed)" in told(unfinished), "of three seeds this arm has one"


def in_browser(file: Path, profile: Path, look: Any) -> Any:
    async def run() -> Any:
        async with chromium_page(profile) as tab:
            await tab.size(*WIDE)
            await tab.open(f"file://{file}")
            await tab.until("document.querySelectorAll('.answer').length === 2")
            found = await look(tab)
            assert tab.requests == [f"file://{file}"]
            return found

    work: Coroutine[Any, Any, Any] = run()
    return asyncio.run(work)


def three_arms(root: Path) -> str:
    """A page of nothing but two comparisons."""
    arms = ("raw", "without_corpora", "instruct")
    measures = [
        Contrast(
            phase=phase,
            task=task,
            metric=metric,
            tokens=10,
            arms={},
            differences={arm: Interval(-0.0123, 0.0456, 3) for arm in arms[1:]},
        )
        for phase in ("", "tuned")
        for task, metric in (("held_out", "bits_per_byte"), ("unseen", "choice_accuracy"), ("average", "of 8 tasks"))
    ]
    found = compared(Comparison(arms=arms, seeds=(0, 1, 2), measures=measures))
    return re.sub(
        r"<body>.*</body>",
        lambda _: f"<body>{draw('front.html', corpus=corpus({}), models=found)}</body>",
        render(str(root), title="Report"),
        flags=re.DOTALL,
    )


@pytest.mark.skipif(find_chromium() is None, reason="needs Chromium")
@pytest.mark.parametrize("kind", ["corpus", "comparison"])
def test_it_fits_a_screen_a_phone_and_paper_and_can_be_read_in_the_dark(root: Path, tmp_path: Path, kind: str) -> None:
    html = render(str(root), title="Report") if kind == "corpus" else three_arms(root)
    (tmp_path / "report.html").write_text(html)

    async def look(tab: Any) -> None:
        tops = "[...document.querySelectorAll('.answer h2')].map((e) => e.getBoundingClientRect().top)"
        assert all(top < WIDE[1] / 2 for top in await tab.run(tops)), "both questions stand on the first screen"
        for scheme in ("light", "dark"):
            await tab.scheme(scheme)
            assert await tab.run(CONTRAST) >= 4.5, scheme
        await tab.size(*PHONE)
        assert await tab.run("document.documentElement.scrollWidth") <= PHONE[0]
        bottoms = "[...document.querySelectorAll('.answer > .told')].map((e) => e.getBoundingClientRect().bottom)"
        assert all(bottom < PHONE[1] for bottom in await tab.run(bottoms)), "both answers, before any table"
        await tab.size(*PAPER)
        await tab.call("Emulation.setEmulatedMedia", media="print")
        beyond = (
            "[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1)"
        )
        assert await tab.run(f"{beyond}.map((e) => e.tagName)") == []
        assert await tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        folded = "[...document.querySelectorAll('details:not([open]) > pre')].map((e) => e.checkVisibility())"
        seen = await tab.run(folded)
        assert bool(seen) == (kind == "corpus"), "settings are folded"
        assert all(seen), "paper cannot be unfolded"

    in_browser(tmp_path / "report.html", tmp_path, look)
