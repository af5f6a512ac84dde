"""The model card of a synthesizer: README.md, written from what the artifacts say, never by hand."""

from __future__ import annotations

from dataclasses import dataclass

from instructpt import __version__
from instructpt.records import Score
from instructpt.report.page import write


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
class CardCorpus:
    """Raw text that the model was trained on."""

    name: str
    licences: tuple[str, ...]
    """As its documents name them, most frequent first."""
    documents: int
    characters: int


@dataclass(frozen=True, slots=True)
class CardTraining:
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
class CardFacts:
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
    corpora: tuple[CardCorpus, ...]
    trainings: tuple[CardTraining, ...]
    scores: tuple[Score, ...]
    mined_share: float
    """Share of the tuning tokens whose pairs were mined by rules."""
    unseen: tuple[str, ...]
    """Data sets that were kept out for measuring."""
    unanswerable: str
    """Of a reader: what it says where a passage holds no answer."""
    share_alike: bool
    """Whether any of the data are."""
    hub_ids: tuple[str, ...]
    """Data sets read from the Hub."""


def render(card: CardFacts) -> str:
    """The card as Markdown with its YAML header."""
    names = list(dict.fromkeys(name for training in card.trainings for name, _ in training.settings))
    rows = [("begins from", *(training.begins for training in card.trainings))]
    rows += [(name, *(dict(training.settings).get(name, "") for training in card.trainings)) for name in names]
    rows.append(("tokens seen", *(f"{training.tokens:,}" for training in card.trainings)))
    rows.append(("loss at the end, nats", *(f"{training.loss:.3f}" for training in card.trainings)))
    models = list(dict.fromkeys(score.model for score in card.scores))
    found = {(score.task, score.metric, score.model): score for score in card.scores}
    scores = [
        (task, metric, *(_value(found.get((task, metric, model))) for model in models))
        for task, metric in dict.fromkeys((score.task, score.metric) for score in card.scores)
    ]
    return write("model_card.md", version=__version__, card=card, training=rows, models=models, scores=scores)


def _value(score: Score | None) -> str:
    if score is None:
        return ""
    return f"{score.value:.3f}" + ("" if score.stderr is None else f" +- {score.stderr:.3f}")
