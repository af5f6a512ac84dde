"""The model card of a synthesizer: README.md, written from what the artifacts say, never by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from instructpt import __version__
from instructpt.records import Score


@dataclass(frozen=True, slots=True)
class TaskSet:
    """A data set that the model was tuned on, and how much of it."""

    name: str
    category: str
    group: str
    licence: str
    redistribution: str
    source: str
    contexts: int
    pairs: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Corpus:
    """Raw text that the model was trained on."""

    name: str
    licences: tuple[str, ...]
    """As its documents name them, most frequent first."""
    documents: int
    characters: int


@dataclass(frozen=True, slots=True)
class Training:
    """One run of the training loop."""

    name: str
    begins: str
    """From what: "random weights, shape 7m", or the name of a model."""
    settings: tuple[tuple[str, str], ...]
    """Name and value, as a reader wants to see them."""
    tokens: int
    """Trained on, repetitions included."""
    loss: float
    """Of the last steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What there is to say about a synthesizer."""

    title: str
    note: str
    licence: str
    """A licence as the Hub spells it."""
    base: str | None
    """The model that it was tuned from, unless that was made from random weights."""
    dialect: str
    parameters: int
    num_bytes: int
    """Of the weights."""
    passage_tokens: int
    window_tokens: int
    categories: tuple[str, ...]
    """That it may be asked for, most frequent first; none where its dialect cannot ask."""
    task_sets: tuple[TaskSet, ...]
    task_totals: tuple[int, int, int]
    """Contexts, pairs and tokens; a context that several sets share counts once."""
    corpora: tuple[Corpus, ...]
    trainings: tuple[Training, ...]
    scores: tuple[Score, ...]
    mined_share: float
    """Share of the tuning tokens whose pairs were mined by rules."""
    unseen: tuple[str, ...]
    """Data sets that were kept out for measuring."""
    share_alike: bool
    """Whether any of the data are."""
    hub_ids: tuple[str, ...]
    """Data sets read from the Hub."""


def render(card: Card) -> str:
    """The card as Markdown with its YAML header."""
    parts = (
        _header(card),
        _opening(card),
        _use(card),
        _data(card),
        _training(card),
        _quality(card),
        _limits(card),
        f"Made by `instructpt run synthesizer`, instructpt {__version__}.",
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(card: Card) -> str:
    lines = ["---", f"license: {card.licence}", "library_name: transformers", "pipeline_tag: text-generation"]
    if card.base and "/" in card.base:  # a Hub id
        lines.append(f"base_model: {_quoted(card.base)}")
    lines += ["tags:", "- instruction-synthesizer", "- synthetic-data", "- instructpt"]
    if card.hub_ids:
        lines += ["datasets:", *(f"- {_quoted(name)}" for name in card.hub_ids)]
    return "\n".join([*lines, "---"])


def _opening(card: Card) -> str:
    start = f"tuned from {card.base}" if card.base else "made from random weights"
    return (
        f"# {card.title}\n\n"
        "An instruction synthesizer: it reads a passage of text and writes instruction-response pairs about it, to "
        "make an instruction-augmented corpus for pre-training (method: "
        "[Instruction Pre-Training](https://arxiv.org/abs/2406.14491)).\n\n"
        f"{card.parameters:,} parameters, {card.num_bytes / 1e6:,.1f} MB of weights, {start}. Dialect: "
        f"`{card.dialect}`. `synthesizer.json` says how it is talked with." + (f"\n\n{card.note}" if card.note else "")
    )


def _use(card: Card) -> str:
    lines = ["## Use", "", "```", "instructpt augment my.jsonl --model THIS_FOLDER --out out"]
    if card.categories:
        mix = ",".join(f"{name}={weight}" for weight, name in enumerate(card.categories[:2], start=1))
        lines.append(f'instructpt augment my.jsonl --model THIS_FOLDER --out asked --categories "{mix}"')
    lines.append("```")
    if card.categories:
        lines += ["", f"It can be asked for: {', '.join(card.categories)}."]
    return "\n".join(lines)


def _data(card: Card) -> str:
    rows: list[tuple[str, ...]] = [
        (s.name, s.group, s.category, s.licence, s.source, f"{s.contexts:,}", f"{s.pairs:,}", f"{s.tokens:,}")
        for s in card.task_sets
    ]
    groups = len({s.group for s in card.task_sets})
    total = tuple(f"{number:,}" for number in card.task_totals)
    rows.append((f"**{len(card.task_sets)} sets**", f"{groups} groups", "", "", "", *total))
    head = ("data set", "group", "category", "licence", "source", "contexts", "pairs", "tokens")
    told = "Annotated task data, with what there was to draw from (repeats included; the tokens seen stand below):"
    text = f"## Data\n\n{told}\n\n" + markdown_table(head, rows, right=(5, 6, 7))
    if card.mined_share:
        text += f"\n\n{card.mined_share:.0%} of the tuning tokens are passages with pairs that rules mined from them."
    if card.corpora:
        corpora = [(c.name, _some(c.licences), f"{c.documents:,}", f"{c.characters / 1e6:,.1f}") for c in card.corpora]
        text += "\n\nRaw text:\n\n" + markdown_table(("corpus", "licence", "documents", "MB"), corpora, right=(2, 3))
    return text


def _training(card: Card) -> str:
    names = list(dict.fromkeys(name for training in card.trainings for name, _ in training.settings))
    head = ("", *(training.name for training in card.trainings))
    rows: list[tuple[str, ...]] = [("begins from", *(t.begins for t in card.trainings))]
    rows += [(name, *(dict(t.settings).get(name, "") for t in card.trainings)) for name in names]
    rows.append(("tokens seen", *(f"{t.tokens:,}" for t in card.trainings)))
    rows.append(("loss at the end, nats", *(f"{t.loss:.3f}" for t in card.trainings)))
    return "## Training\n\n" + markdown_table(head, rows)


def _quality(card: Card) -> str:
    if not card.scores:
        return "## Quality\n\nNot measured. `instructpt evaluate THIS_FOLDER --synthesizer --out scores` does."
    models = list(dict.fromkeys(score.model for score in card.scores))
    found = {(s.task, s.metric, s.model): s for s in card.scores}
    rows = []
    for task, metric in dict.fromkeys((s.task, s.metric) for s in card.scores):
        cells = [_value(found.get((task, metric, model))) for model in models]
        rows.append((task, metric, *cells))
    right = range(2, 2 + len(models))
    return (
        "## Quality\n\nAs `instructpt evaluate --synthesizer` measures it; +- is the standard error.\n\n"
        + markdown_table(("task", "metric", *models), rows, right=right)
    )


def _limits(card: Card) -> str:
    lines = [
        "Pairs can be wrong: a model wrote them, and nobody read them. Check a sample before you train on them.",
        f"Passages longer than {card.passage_tokens:,} tokens, and sequences longer than {card.window_tokens:,}, were "
        "not trained on: split documents first (`instructpt augment` does).",
        "It knows the kinds of text and task above. Other languages, domains and formats are untested.",
        "Mistakes and prejudices of the data it learned from come back in what it writes.",
    ]
    if card.unseen:
        lines.append(f"Kept out of the training for measuring: {', '.join(card.unseen)}.")
    if card.share_alike:
        lines.append("Some of the data are share-alike: see their licences before you pass on what you make from them.")
    unclear = [s.name for s in card.task_sets if s.redistribution in ("no", "unknown")]
    if unclear:
        lines.append(f"Trained on data whose licence does not clearly let weights be passed on: {', '.join(unclear)}.")
    if card.base:
        lines.append(f"The licence of {card.base} binds these weights too.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _value(score: Score | None) -> str:
    if score is None:
        return ""
    return f"{score.value:.3f}" + ("" if score.stderr is None else f" +- {score.stderr:.3f}")


def _some(names: Sequence[str], *, limit: int = 4) -> str:
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """A Markdown table; right: numbers of the columns that stand to the right."""
    numeric = set(right)
    rule = ["--:" if number in numeric else "---" for number in range(len(head))]
    lines = [head, rule, *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
