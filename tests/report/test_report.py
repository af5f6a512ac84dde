"""The report tells what happened, and nothing in a corpus can make it do anything else."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import corpus_rows, write_corpus
from markupsafe import escape

import instructpt.report
from instructpt.cli.commands import main
from instructpt.errors import ArtifactError
from instructpt.evaluation.comparison import Interval
from instructpt.report import render
from instructpt.report.artifacts import load
from instructpt.report.charts import bars, lines
from instructpt.report.front import Help
from instructpt.report.page import draw
from instructpt.report.tables import printable

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)"> & \x1b[2J \u202e "quoted" \'single\' '


class Tags(HTMLParser):
    """Collects what a browser would see as elements and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    rows = [{**row, "id": HOSTILE, "text": f"{row['text']}\n\n{HOSTILE * 3}"} for row in corpus_rows(8)]
    rows.append({"id": "short", "text": "<b>short</b>"})
    words = [str(write_corpus(folder / "my.jsonl", rows)), "--mine", "--out", str(folder / "out")]
    assert main(["augment", *words]) == 0
    return folder / "out"


def test_corpus_text_is_harmless(root: Path) -> None:
    parser = Tags()
    page = render(str(root), title=HOSTILE)
    parser.feed(page)
    assert not parser.tags & {"script", "img", "iframe", "link", "b1", "a"}
    assert not {name for name in parser.attributes if name.startswith("on") or name in ("src", "href")}
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "default-src 'none'" in page
    assert escape(printable(HOSTILE)) in page


def test_whatever_is_put_into_a_template_is_escaped_and_spelled_out() -> None:
    told = draw("models.html", models=Help(told=(HOSTILE,), columns=("", HOSTILE), rows=((HOSTILE, HOSTILE),)))
    parser = Tags()
    parser.feed(told)
    assert parser.tags <= {"p", "code", "div", "table", "thead", "tbody", "tr", "th", "td"}
    assert told.count(escape(printable(HOSTILE))) == 4
    folder = Path(instructpt.report.__file__).parent / "templates"
    for path in folder.glob("*.html"):
        assert not re.search(r"\|\s*safe|autoescape|Markup", path.read_text()), f"{path.name} lets something through"


def test_it_says_what_went_in_and_out_and_why(root: Path) -> None:
    page = render(str(root), title="Report")
    words = re.sub(r"<[^>]+>", " ", page)
    for expected in ("9 rows", "9 documents", "too_short", "passages", "Pairs per passage", "fill the blank"):
        assert expected in words, expected


def test_artifacts_come_in_the_order_of_the_road(root: Path) -> None:
    names = list(load(str(root)))
    order = ["documents", "duplicates", "filtered", "vocabulary", "passages", "mined", "groups", "texts"]
    assert names == order


def test_a_folder_without_artifacts(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no finished artifact"):
        render(str(tmp_path), title="Report")


def test_charts_hold_their_numbers() -> None:
    chart = lines({"a": [(0, 4.0), (100, 2.0)], "b": [(0, 3.0), (100, math.nan)]}, x_label="tokens", y_label="loss")
    assert chart.count("<polyline") == 2
    assert "loss by tokens" in chart
    assert lines({"a": [(0, 1.0)]}, x_label="x", y_label="y") == ""
    chart = bars({"a": [50.0, 25.0], "<b>": [100.0, None]}, label="shares", unit="%")
    widths = [float(width) for width in re.findall(r'width="([\d.]+)" height', chart)]
    assert widths == pytest.approx([widths[2] / 2, widths[2] / 4, widths[2]], abs=0.2)
    assert "&lt;b&gt;" in chart
    assert bars({}, label="shares") == ""
    chart = bars({"raw": [Interval(2.0, 0.5, 9)], "instruct": [Interval(1.0, None, 9)]}, label="bits")
    assert "2.00 ± 0.50" in chart
    low, high = map(float, re.findall(r"M([\d.]+) [\d.]+H([\d.]+)", chart)[0])
    first, second = (float(width) for width in re.findall(r'width="([\d.]+)" height', chart))
    assert first == pytest.approx(2 * second, abs=0.2)
    assert high - low == pytest.approx(second, abs=0.3), "0.5 to each side is as long as a bar of 1"


def test_differences_stand_about_zero_and_reach_as_far_as_their_intervals() -> None:
    chart = bars(
        {"<b>": [None, Interval(1.0, 0.5, 3), Interval(-1.0, 0.5, 3)], "exact": [Interval(0.0, None, 1)]},
        label="difference",
        is_difference=True,
    )
    (zero,) = re.findall(r'd="M([\d.]+) 0V', chart)
    dots = [float(x) for x in re.findall(r'cx="([\d.]+)"', chart)]
    assert dots[2] == float(zero)
    assert dots[0] - float(zero) == pytest.approx(float(zero) - dots[1], abs=0.2)
    reaches = [(float(a), float(b)) for a, b in re.findall(r'd="M([\d.]+) [\d.]+H([\d.]+)"', chart)]
    assert [stop - start for start, stop in reaches] == pytest.approx([dots[0] - float(zero)] * 2, abs=0.3)
    assert "&lt;b&gt;" in chart
    assert "-1.000 ± 0.500" in chart
    assert bars({"task": [None]}, label="difference") == ""
