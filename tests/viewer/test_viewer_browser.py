"""The viewer in a real Chromium: open, search, filter, trace, rows; and a corpus that tries to run there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from chromium import Page, chromium_page, find_chromium
from conftest import corpus_rows, write_corpus
from viewing import viewed
from written_artifact import write_artifact

from instructpt.artifacts import Run
from instructpt.artifacts.tally import Tally
from instructpt.assembly.stages import Pack
from instructpt.executors.make import make
from instructpt.recipes.augment import augment
from instructpt.records import Document, Group, Item, Pair, Reject, Score, Shot, Text
from instructpt.viewer.shelf import Library

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium here: install it, or set INSTRUCTPT_CHROMIUM"
)

TRICKS = (
    "<script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 1"><svg onload=window.hacked=1>',
    "'\"`${window.hacked = 1}{{constructor.constructor('window.hacked=1')()}}</textarea></style></title>",
    "javascript:window.hacked=1//</script><iframe srcdoc='<script>parent.hacked=1</script>'>",
    "\u202eright to left\u2066\x00\x1b[2J\ufeff\u2028",
)
HOSTILE = " ".join(TRICKS)
READY = 'document.querySelectorAll("#records a").length'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, vocabulary_folder: Path) -> Path:
    """A corpus augmented by rules and packed."""
    folder = tmp_path_factory.mktemp("browsed")
    corpus = write_corpus(folder / "my.jsonl", corpus_rows(40))
    texts = augment((str(corpus),), mine=True, passage_tokens=120)
    rows = Pack(name="rows", texts=texts, vocabulary=str(vocabulary_folder), row_tokens=256)
    make(rows, Run(root=str(folder / "run"), workers=1))
    return folder / "run"


@asynccontextmanager
async def browsing(library: Library, folder: Path) -> AsyncIterator[tuple[Page, str]]:
    async with viewed(library) as url, chromium_page(folder) as page:
        yield page, url
        outside = [asked for asked in page.requests if not asked.startswith((url, "data:,", "about:"))]
        assert not outside
        assert not page.complaints


def in_browser(path: Path, folder: Path, visit: Callable[[Page, str], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with browsing(Library(str(path)), folder) as (page, url):
            await visit(page, url)

    asyncio.run(run())


def test_open_search_filter_and_trace(root: Path, tmp_path: Path) -> None:
    async def visit(page: Page, url: str) -> None:
        await page.open(url)
        await page.until(f"{READY} === 25")
        assert "group" in await page.run('document.getElementById("what").innerText')

        await page.key("j")
        await page.until('document.querySelector("#reader .pair")')
        await page.key("j")
        await page.until('document.getElementById("reader").dataset.row === "1"')
        assert "row=1" in await page.run("location.search")
        assert await page.run('document.querySelector("#records a[aria-current]").dataset.row') == "1"
        await page.key("ArrowRight")
        await page.until('document.querySelector("#records a").dataset.row === "25"')

        await page.key("/")
        assert await page.run("document.activeElement.id") == "text"
        for character in "toll HOUSE":
            await page.key(character)
        await page.until('document.querySelector("#records mark")?.innerText.toLowerCase() === "toll house"')
        await page.until('/hits? in|searched/.test(document.getElementById("progress").innerText)')
        await page.key("Escape")
        assert await page.run("document.activeElement.id") == ""

        pick = 'const s = document.getElementById("filter-category"); s.value = s.options[1].value; '
        await page.until('document.getElementById("filter-category").options.length > 2')
        await page.run(f'(() => {{ {pick} s.dispatchEvent(new Event("change")) }})()')
        await page.until('new URLSearchParams(location.search).get("category")')
        await page.run('document.getElementById("clear").click()')
        await page.until(f"{READY} === 25 && !document.querySelector('#records mark')")

        await page.key("j")
        await page.until('document.querySelector("#trace")')
        await page.key("o")
        await page.until('document.querySelectorAll(".hops li").length > 2')
        assert "my.jsonl, row" in await page.run('document.querySelector(".hops").innerText')
        await page.run('[...document.querySelectorAll(".hops a")].at(-1).click()')
        await page.until('document.title.startsWith("documents") && document.querySelector("#reader .passage-text")')

        await page.run("history.back()")
        await page.until('document.title.startsWith("groups")')
        await page.key("?")
        await page.until('document.getElementById("help").open')

    in_browser(root / "groups", tmp_path, visit)


def test_an_address_is_shared(root: Path, tmp_path: Path) -> None:
    async def visit(page: Page, url: str) -> None:
        await page.open(f"{url}/?artifact=texts&row=29&text=bridge")
        await page.until('document.getElementById("reader").dataset.row === "29"')
        assert await page.run('document.getElementById("text").value') == "bridge"
        await page.until('document.querySelector("#records mark")')
        await page.open(f"{url}/?artifact=nothing")
        await page.until('!document.getElementById("trouble").hidden')
        assert "no artifact 'nothing'" in await page.run('document.getElementById("trouble").innerText')
        page.complaints.clear()  # the console notes the 404

    in_browser(root / "groups", tmp_path, visit)


def test_a_packed_row_and_its_manifest(root: Path, tmp_path: Path) -> None:
    async def visit(page: Page, url: str) -> None:
        await page.open(f"{url}/?artifact=rows&row=1")
        await page.until('document.querySelectorAll(".tokens span").length > 100')
        await page.run('document.querySelector(".tokens").focus()')
        await page.key("ArrowRight")
        await page.key("ArrowRight")
        said = await page.run('document.getElementById("token").innerText')
        assert "place 1 · id " in said
        assert "position 1 · document 0" in said
        await page.run('document.querySelector(".piece a").click()')
        await page.until('document.title.startsWith("texts") && document.querySelector("#reader .text")')

        await page.key("a")
        await page.until('document.querySelectorAll(".chart").length > 1')
        assert "all " in await page.run('document.getElementById("sampled").innerText')
        tree = await page.run('document.querySelector(".tree").innerText')
        assert {"texts", "groups", "passages", "documents"} <= {line.split()[0] for line in tree.splitlines() if line}

    in_browser(root / "rows", tmp_path, visit)


def test_every_width_and_scheme_fits(root: Path, tmp_path: Path) -> None:
    async def visit(page: Page, url: str) -> None:
        for width in (360, 800, 1280):
            await page.size(width, 760)
            for query in (
                "artifact=groups",
                "artifact=groups&row=3",
                "artifact=rows&row=1",
                "artifact=texts&view=about",
            ):
                await page.open(f"{url}/?{query}")
                await page.until('document.querySelector("#records a, .pair, .tokens, .chart")')
                assert await page.run("document.documentElement.scrollWidth <= innerWidth"), (width, query)
        for scheme, is_light in (("light", True), ("dark", False)):
            await page.scheme(scheme)
            red = await page.run("Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
            assert (red > 200) == is_light

    in_browser(root / "groups", tmp_path, visit)


def hostile_run(root: Path) -> list[str]:
    """Artifacts of every record with hostile text in every field, and a hostile name; their names."""
    document = Document(HOSTILE, f"{HOSTILE} heron {'x' * 1_000_000}", HOSTILE, {HOSTILE: HOSTILE})
    pair = Pair(HOSTILE, "heron", (HOSTILE, "heron"), HOSTILE, HOSTILE)
    shot = Shot(document, (pair, Pair(HOSTILE, HOSTILE, (), HOSTILE, HOSTILE)), 1, (Reject(HOSTILE, HOSTILE),))
    records = {
        "documents": document,
        "groups": Group(HOSTILE, (shot,)),
        "texts": Text(HOSTILE, HOSTILE * 3, HOSTILE, "task", ((0, 40), (50, 60)), (45,), HOSTILE),
        "scores": Score(HOSTILE, HOSTILE, 0.5, None, 1, HOSTILE),
        '"><img src=x onerror=window.hacked=1>': Item(HOSTILE, 0, HOSTILE, HOSTILE, HOSTILE, {HOSTILE: 1.0}, 1),
    }
    for name, record in records.items():
        tally = Tally(2, 1, 1, 1, {HOSTILE: 1}, {f"rejects/{HOSTILE}": 3}, {HOSTILE: [HOSTILE]})
        settings = {HOSTILE: HOSTILE}
        write_artifact(root / name, type(record), [[record]], tally=tally, settings=settings, inputs={HOSTILE: "0"})
    return list(records)


def test_nothing_of_a_hostile_corpus_runs(tmp_path: Path) -> None:
    names = hostile_run(tmp_path / "run")
    watch = """window.violations = []; document.addEventListener("securitypolicyviolation",
        (event) => window.violations.push(event.blockedURI + event.violatedDirective))"""

    async def visit(page: Page, url: str) -> None:
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=watch)
        for number, name in enumerate(names):
            await page.open(url)
            await page.until(READY)
            await page.run(f'document.getElementById("artifact").value = {name!r}')
            await page.run('document.getElementById("artifact").dispatchEvent(new Event("change"))')
            await page.until(f"document.title.startsWith({name!r}) && {READY}")
            await page.key("j")
            await page.until('document.getElementById("reader").dataset.row === "0"')
            await page.until("[...document.querySelectorAll('#filters select')].every((s) => s.options.length > 1)")
            if name in ("documents", "groups", "texts"):
                await page.run('document.getElementById("trace").click()')
                await page.until('document.querySelector(".hops li")')
            if whole := await page.run('Boolean(document.getElementById("whole"))'):
                await page.run('document.getElementById("whole").click()')
                await page.until('!document.getElementById("whole")')
            assert whole == (name in ("documents", "groups"))
            shown = await page.run('document.getElementById("reader").textContent')
            assert TRICKS[0] in shown
            assert "U+202E" in shown
            assert "U+0000" in shown
            await page.key("/")
            await page.run(f'document.getElementById("text").value = {TRICKS[0]!r}')
            await page.run('document.getElementById("search").requestSubmit()')
            await page.until('document.querySelector("#records mark")')
            await page.run("document.activeElement.blur()")
            await page.key("a")
            await page.until(
                'document.querySelector(".tree") && document.getElementById("sampled").textContent.match(/^all/)'
            )
            assert await page.run("window.hacked") is None, (number, name)
            assert await page.run("window.violations") == []
            added = await page.run(
                'document.querySelectorAll("script, img, svg, iframe, [onerror], [onload], [style*=url]").length'
            )
            assert added == 1  # our own script

    in_browser(tmp_path / "run", tmp_path, visit)


def test_the_policy_stops_what_would_be_put_in_as_markup(root: Path, tmp_path: Path) -> None:
    """The second wall: were the first one to fall, an inline handler would not run all the same."""

    async def visit(page: Page, url: str) -> None:
        await page.open(url)
        await page.until(READY)
        await page.run('document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=window.hacked=1>")')
        await page.run("new Promise((done) => setTimeout(done, 300))")
        assert await page.run("window.hacked") is None
        page.complaints.clear()  # the policy's own complaint, and the image that is not there

    in_browser(root / "groups", tmp_path, visit)
