"""Reading model answers and laying them out: passages a second on one core, beside Jinja filling one fixed layout.

`ours` parses the answer of each passage (the dialect `tags`), draws a style for its group of two and renders it. The
peer, Jinja, gets pairs that are parsed already, draws nothing and lists no options: the floor for text from templates.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import jinja2

from instructpt.records import Document, Group, Shot
from instructpt.synthesis.tags import Tags
from instructpt.templates.catalog import load
from instructpt.templates.render import render

NUM_GROUPS = 2000
PASSAGES_A_GROUP = 2
REPEATS = 5
SEED = 12345

# The mean passage of RefinedWeb is about 500 tokens; the mean pair about 52 (the paper, section 2).
PASSAGE = (
    "The reservoir above the town was built in 1911, after two dry summers had emptied the older wells. Its wall is "
    "forty metres high and holds back the water of three streams, which together carry more than the town needs. "
) * 9
ANSWER = """<QUE> When was the reservoir above the town built? <ANS> In 1911, after two dry summers. </END>

<QUE> What made the town build it?
Options:
- A flood in spring
- The older wells had run dry
- A new railway line
- The price of coal <ANS> The older wells had run dry </END>

<QUE> How many streams does the wall hold back? <ANS> Three streams, which carry more than the town needs. </END>

<QUE> Is there enough water for the town in an ordinary year?
Let's think step by step. <ANS> The text says that the three streams together carry more water than the town needs.
Therefore, the answer is yes </END>

<QUE> Does the text say that the reservoir is older than the wells?
Options:
- Yes
- No
- It does not say <ANS> No </END>"""
LAYOUT = "{{ text }}\n\n{% for pair in pairs %}Question: {{ pair.question }}\nAnswer: {{ pair.answer }}\n\n{% endfor %}"


def measure() -> dict[str, float]:
    """Passages a second on one core: parsing and rendering, each alone and together, and the peer. Best of 5 runs."""
    dialect, catalog = Tags(), load("english")
    documents = [Document(f"{i}", f"Report {i}. {PASSAGE}", "benchmark") for i in range(NUM_GROUPS * PASSAGES_A_GROUP)]
    chains = [documents[i : i + PASSAGES_A_GROUP] for i in range(0, len(documents), PASSAGES_A_GROUP)]
    pairs = tuple(dialect.parse(ANSWER)[0])
    assert len(pairs) == 5, "the benchmark's answer holds five pairs"
    groups = [
        Group(f"{i}", tuple(Shot(document, pairs) for document in documents)) for i, documents in enumerate(chains)
    ]
    layout = jinja2.Environment(autoescape=False).from_string(LAYOUT)

    def parse_and_render() -> None:
        for i, documents in enumerate(chains):
            shots = tuple(Shot(document, tuple(dialect.parse(ANSWER)[0])) for document in documents)
            render(Group(f"{i}", shots), catalog=catalog, seed=SEED)

    def parse() -> None:
        for _ in documents:
            dialect.parse(ANSWER)

    def render_alone() -> None:
        for group in groups:
            render(group, catalog=catalog, seed=SEED)

    def peer() -> None:
        for document in documents:
            layout.render(text=document.text, pairs=pairs)

    return {
        "parse_and_render": _rate(parse_and_render),
        "parse": _rate(parse),
        "render": _rate(render_alone),
        "jinja_one_layout": _rate(peer),
    }


def _rate(work: Callable[[], None]) -> float:
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return round(NUM_GROUPS * PASSAGES_A_GROUP / best)


if __name__ == "__main__":
    print(json.dumps(measure()))
