"""The cards of what is passed on, a data set or a model: README.md with the header that the Hub reads.

Both are written from what the artifacts say, never by hand: `templates/dataset_card.md`, `templates/model_card.md`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from instructpt import __version__
from instructpt.artifacts import Run, Stage
from instructpt.records import Document, Group, Score, Text
from instructpt.report.artifacts import Artifact
from instructpt.report.page import write
from instructpt.training.stages import Train

if TYPE_CHECKING:
    from instructpt.collection.catalog import Catalog
    from instructpt.report.collection import SetCount
    from instructpt.report.release import Release

_OF_THE_RELEASE = ("title", "note", "dialect", "passage_tokens", "window_tokens", "mined_share", "unanswerable")
LAST_STEPS = 20
"""The loss on a model's card is a mean of so many: one step's is a matter of luck."""
UNNAMED = "not named"
"""What is said of documents whose row has no licence."""
_HUB_LICENCES = re.compile(
    r"apache-2\.0|mit|bsd-[23]-clause|cc0-1\.0|cc-by(-sa|-nc|-nc-sa|-nd|-nc-nd)?-[234]\.[05]|odc-by|pddl|gpl-[23]\.0|unlicense"
)
"""As the Hub spells them; a licence that is none of these is "other" to it."""
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "n>100M")
"""By the number of digits, from three on."""


def dataset_card(road: Sequence[Artifact], *, record: str, num_records: int, characters: int, sample: str) -> str:
    """The card of the last artifact of a road (`artifacts.road`).

    record: "Text", "Group" or "Document". characters: of its texts. sample: one record for people to read.
    """
    licences = _licences(road)
    asked = [
        str(a.settings["model"])
        for a in road
        if a.stage in ("Synthesize", "Write") and isinstance(a.settings["model"], str)
    ]
    return write(
        "dataset_card.md",
        version=__version__,
        road=road,
        stages={artifact.stage for artifact in road},
        models=[_public(model) for model in asked],
        record=record,
        num_records=num_records,
        characters=characters,
        size=_SIZES[min(len(_SIZES) - 1, max(0, len(str(num_records)) - 3))],
        licence=hub_licence(list(licences)),
        licences=licences,
        files=[_public(name) for a in road if a.stage == "Read" for name in a.settings["files"]],
        settings={a.name: [(k, _public(v)) for k, v in a.settings.items() if _is_telling(v)] for a in road},
        sample=sample,
        fence="`" * max(3, 1 + max(map(len, re.findall("`+", sample)), default=0)),  # longer than any inside
    )


def hub_licence(names: Sequence[str]) -> str:
    """The one licence that these names spell, as the Hub spells it; "other" for several, or one it does not know."""
    spelled = {re.sub(r"[\s_]+", "-", name.strip().casefold()) for name in names}
    (one,) = spelled if len(spelled) == 1 else ("",)
    return one if _HUB_LICENCES.fullmatch(one) else "other"


def _licences(road: Sequence[Artifact]) -> dict[str, int]:
    """How many of the documents that were read have which licence, most frequent first."""
    read = (document for artifact in road if artifact.stage == "Read" for document in artifact.records(Document))
    return dict(Counter(map(_licence_of, read)).most_common()) or {UNNAMED: 0}


def _licence_of(document: Document) -> str:
    return str(document.meta.get("licence") or document.meta.get("license") or UNNAMED)


def _is_telling(value: Any) -> bool:
    return isinstance(value, bool | int | float | str) and value != ""


def _public(value: Any) -> str:
    """Of a path its last part alone: where it lay is nobody's business."""
    text = value.name if isinstance(value, Stage) else str(value)
    is_path = text.startswith(("/", "~", ".")) or "://" in text or ("/" in text and Path(text).is_dir())
    return text.rstrip("/").rpartition("/")[2] if is_path else text


def sample_of(record: Text | Group | Document, *, most: int = 1500) -> str:
    """A record as text for the card, its control characters left out."""
    if isinstance(record, Group):
        shot = next((shot for shot in record.shots if shot.pairs or shot.writings), record.shots[0])
        pairs = (f"{pair.question}\n-> {pair.answer}" for pair in shot.pairs)
        text = "\n\n".join([shot.document.text, *pairs, *(f"[{w.form}]\n{w.text}" for w in shot.writings)])
    else:
        text = record.text
    shown = "".join(c for c in text[:most] if c in "\n\t" or c.isprintable())
    return shown + ("\n[...]" if len(text) > most else "")


def model_card(
    release: Release, groups: Sequence[Group], run: Run, *, path: Path, parameters: int, categories: Sequence[str]
) -> str:
    """The card of a synthesizer or reader whose weights and tokenizer lie in `path`; groups: what it was tuned on.

    parameters: how many were learned, or are in the model. categories: that it knows, most frequent first.
    """
    from instructpt.collection.catalog import load
    from instructpt.report.collection import count_sets
    from instructpt.synthesis.dialects import open_dialect
    from instructpt.words import vocabulary

    catalog, trainings = load(release.tasks.catalog), _chain(release.model)
    counts, num_tokens = count_sets(groups, vocabulary=vocabulary.load(path))
    sets = _task_sets(groups, catalog, counts)
    corpora = [_corpus(stage, run) for stage in release.corpora]
    shots = [shot for group in groups for shot in group.shots]
    base = None if trainings[0].base is None else _public(trainings[0].base)
    used = {item["name"] for item in sets}
    columns = [_training(train, run) for train in trainings]
    return write(
        "model_card.md",
        version=__version__,
        **{name: getattr(release, name) for name in _OF_THE_RELEASE},
        licence=release.licence or _weights_licence(sets, corpora, base),
        base=base,
        parameters=parameters,
        num_bytes=sum(file.stat().st_size for file in path.glob("*.safetensors")),
        categories=categories if open_dialect(release.dialect).can_steer else (),
        task_sets=sets,
        task_totals=(len(shots), sum(len(shot.pairs) for shot in shots), int(num_tokens)),
        corpora=corpora,
        trainings=[train.name for train in trainings],
        training=[(name, *(column[name] for column in columns)) for name in columns[0]],
        **_quality(list(run.records(release.scores)) if release.scores else []),
        unseen=sorted(name for name, e in catalog.entries.items() if e.part == "unseen" and name not in used),
        share_alike=_is_share_alike(sets, corpora),
        hub_ids=sorted(
            {e.hub.id for name, e in catalog.entries.items() if release.tasks.hub and e.hub and name in used}
        ),
    )


def _task_sets(groups: Sequence[Group], catalog: Catalog, counts: Mapping[str, SetCount]) -> list[dict[str, Any]]:
    """Of each data set that it was tuned on: what it is, and how much of it there was."""
    licences: dict[str, dict[str, None]] = {}
    for shot in (shot for group in groups for shot in group.shots):
        for name, licence in zip(shot.document.meta["datasets"], shot.document.meta["licences"], strict=True):
            licences.setdefault(name, {}).setdefault(licence)
    sets = []
    for name, count in counts.items():
        entry = catalog.entries.get(name)
        known = {
            "category": entry.category if entry else "",
            "group": entry.group if entry else "",
            "licence": entry.licence if entry else ", ".join(licences[name]),
            "redistribution": entry.redistribution if entry else "unknown",
            "source": entry.source if entry else "",
        }
        numbers = {"contexts": count.contexts, "pairs": count.pairs, "tokens": int(count.tokens)}
        sets.append({"name": name, **known, **numbers})
    return sorted(sets, key=lambda row: (row["group"], row["name"]))


def _corpus(stage: Stage[Document], run: Run) -> dict[str, Any]:
    """Raw text that the model was trained on; its licences as its documents name them, most frequent first."""
    licences: Counter[str] = Counter()
    characters = 0
    for document in run.records(stage):
        licences[_licence_of(document)] += 1
        characters += len(document.text)
    names = sorted(licences, key=lambda name: (-licences[name], name))
    name = stage.name.removesuffix("-filtered")
    return {"name": name, "licences": names, "documents": licences.total(), "characters": characters}


def _weights_licence(sets: Sequence[Mapping[str, Any]], corpora: Sequence[Mapping[str, Any]], base: str | None) -> str:
    unclear = any(item["redistribution"] in ("no", "unknown") for item in sets)
    if base is not None or unclear or any(UNNAMED in corpus["licences"] for corpus in corpora):
        return "other"
    return "cc-by-sa-4.0" if _is_share_alike(sets, corpora) else "apache-2.0"


def _is_share_alike(sets: Sequence[Mapping[str, Any]], corpora: Sequence[Mapping[str, Any]]) -> bool:
    named = (licence for corpus in corpora for licence in corpus["licences"])
    is_one = any(item["redistribution"] == "share-alike" for item in sets)
    return is_one or any(re.search(r"\bSA\b", licence) for licence in named)


def _chain(model: Train) -> list[Train]:
    """The runs that led to a model, the first one first."""
    return [*(_chain(model.base) if isinstance(model.base, Train) else []), model]


def _training(train: Train, run: Run) -> dict[str, str]:
    """One run of the training loop as a reader wants to see it; name -> value."""
    from instructpt.training.metrics import read

    folder = run.product(train, "00000")
    settings, steps = orjson.loads((folder / "settings.json").read_bytes()), read(folder)
    row_tokens, lora, last = train.mixture[0].rows.row_tokens, settings.get("lora"), steps[-LAST_STEPS:]
    layers = f", last {lora['last_layers']} layers" if lora and lora.get("last_layers") else ""
    return {
        "begins from": f"random weights, shape {train.shape}" if train.base is None else _public(train.base),
        "steps": f"{settings['steps']:,}",
        "batch, tokens": f"{train.batch_rows * row_tokens:,}",
        "row, tokens": f"{row_tokens:,}",
        "highest learning rate": f"{settings['learning_rate']:g}",
        "schedule": f"{settings['schedule']}, warm-up {settings['warmup_steps']:,}",
        "Adam betas": ", ".join(map(str, settings["betas"])),
        "weight decay": f"{settings['weight_decay']:g}",
        "clip": f"{settings['clip']:g}",
        "precision": settings["precision"],
        "tuned": f"LoRA, rank {lora['rank']}, alpha {lora['alpha']:g}{layers}" if lora else "all weights",
        "seed": str(settings["seed"]),
        "tokens seen": f"{steps[-1].tokens:,}",
        "loss at the end, nats": f"{sum(step.loss for step in last) / len(last):.3f}",
    }


def _quality(scores: Sequence[Score]) -> dict[str, Any]:
    """The named metrics of whole exams. The first model is the one that is released, the second what it began from."""
    from instructpt.evaluation.quality import METRICS

    models = dict(zip(dict.fromkeys(score.model for score in scores), ("this model", "before tuning"), strict=False))
    found: dict[tuple[str, str], dict[str, str]] = {}
    for score in scores:
        if score.metric in METRICS and not score.task.startswith("passages/") and score.model in models:
            said = f"{score.value:.3f}" + ("" if score.stderr is None else f" +- {score.stderr:.3f}")
            found.setdefault((score.task, score.metric), {})[score.model] = said
    rows = [(*names, *(by_model.get(model, "") for model in models)) for names, by_model in found.items()]
    return {"models": list(models.values()), "scores": rows}
