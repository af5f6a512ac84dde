"""Where a record came from: from a training text back to the row of a file, an artifact a hop.

    texts/00000, row 7      Template    style drawn for the group, rendered again to see that it is the same
      groups/00000, row 7     Synthesize  model, checks, what was left out of each shot and why
        passages/00000, row 12  Split       characters 3,100 to 4,420 of its document
          filtered/00000, row 3   Filter
            documents/00000, row 4  Read      my.jsonl, row 5

Nothing is stored for it. Records keep the ids they had, passages say where they began, manifests name their inputs, and
what was drawn can be drawn again; so a corpus is as large as its text, and its lineage is exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from instructpt.artifacts.storage import Folder, read_parquet
from instructpt.errors import ArtifactError, UserError
from instructpt.records import Document, Group, Text
from instructpt.report.artifacts import Artifact, load_one
from instructpt.report.tables import printable

Traced = Document | Group | Text
TRACED = get_args(Traced)
"""Records that can be followed back."""
_PASSAGE_IDS = "shots.list.element.document.id"
"""The column of a group's passages' ids."""
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Hop:
    """A record on the way back, and how it was made."""

    depth: int
    """Of the tree: a group has a branch for each of its passages."""
    artifact: Artifact
    shard: int
    row: int
    """In its shard, from 0."""
    record: Traced
    notes: tuple[str, ...]

    def start(self, characters: int) -> str:
        """How its text begins, on one line."""
        text = self.record.shots[0].document.text if isinstance(self.record, Group) else self.record.text
        return " ".join(text[: 2 * characters].split())


def trace(path: str, name: str) -> Iterator[Hop]:
    """The record called `name` in the artifact at `path`, or in what its rows were packed from, and all it came from.

    name: the id of a text, group, document or passage; where it repeats, its first record. Each hop comes before those
    it was made from. Raises ArtifactError if the artifact is not finished, or holds no such record.
    """
    artifact = load_one(path)
    starts = [artifact] if artifact.kind in TRACED else _inputs(artifact)
    for start in starts:
        if (place := _find(start, {name}, first_shard=0)) is not None:
            yield from trace_at(start, *place)
            return
    searched = ", ".join(start.name for start in starts) or artifact.name
    raise ArtifactError(f"no record {name!r} in {searched}: give an id as `instructpt show {path}` prints them")


def trace_at(artifact: Artifact, shard: int, row: int, *, depth: int = 0) -> Iterator[Hop]:
    """The record in this place of an artifact, and all it came from: exact also where ids repeat."""
    record = _read(artifact, shard, row)
    tell = _NOTES.get(artifact.stage)
    yield Hop(depth, artifact, shard, row, record, tuple(tell(artifact, shard, record)) if tell else ())
    for source, place in _origins(record, _inputs(artifact), shard):
        yield from trace_at(source, *place, depth=depth + 1)


def lines(hop: Hop) -> Iterator[str]:
    """A hop for a terminal: where it is, how it was made, how its text begins. Control characters are shown."""
    indent, made = "  " * hop.depth, hop.artifact
    place = f"{made.name}/{hop.shard:05d}, row {hop.row:,}"
    yield f"{indent}{place}  {made.stage}  {printable(hop.record.id)}  fingerprint {made.manifest['fingerprint']}"
    start = hop.start(_SHOWN_CHARACTERS)
    for note in (*hop.notes, f'"{start[:_SHOWN_CHARACTERS]}{"..." if len(start) > _SHOWN_CHARACTERS else ""}"'):
        yield f"{indent}    {printable(note)}"


def _origins(record: Traced, inputs: Sequence[Artifact], shard: int) -> Iterator[tuple[Artifact, tuple[int, int]]]:
    """The records of the inputs that a record was made from: of a group itself before checks, or its passages."""
    sought: list[tuple[Collection[str], Document | None]]
    if isinstance(record, Group) and any(source.kind is Group for source in inputs):
        sought = [((record.id,), None)]
    elif isinstance(record, Group):
        sought = [((shot.document.id,), shot.document) for shot in record.shots]
    else:
        mark = "/" if isinstance(record, Text) else "#"  # "{group}/{pair}" of a plain text, "{document}#{passage}"
        whole = record.id.rpartition(mark)[0]
        sought = [([record.id, whole] if whole else [record.id], record if isinstance(record, Document) else None)]
    for ids, like in sought:
        found = ((source, _find(source, ids, first_shard=shard, like=like)) for source in inputs)
        if first := next(((source, place) for source, place in found if place), None):
            yield first


def _holds(parent: Document, like: Document) -> bool:
    """Whether a document is, or has as a passage, one of the same or its name: ids may repeat, texts seldom do."""
    if parent.source != like.source or parent.id == like.id:
        return (parent.source, parent.text) == (like.source, like.text)
    start = like.meta.get("offset")
    return isinstance(start, int) and parent.text.startswith(like.text, start)


def _inputs(artifact: Artifact) -> list[Artifact]:
    """What an artifact was made from, as far as it is still there and can be followed back."""
    found = (artifact.beside(name) for name in artifact.inputs)
    return [made for made in found if made is not None and made.kind in TRACED]


def _find(
    artifact: Artifact, wanted: Collection[str], *, first_shard: int, like: Document | None = None
) -> tuple[int, int] | None:
    """Shard and row of the first record with one of the ids, shards that match by number first."""
    import pyarrow.parquet as pq

    order = sorted(range(artifact.num_shards), key=lambda shard: shard != first_shard)
    for name in wanted:
        for column in ["id", *([_PASSAGE_IDS] if artifact.kind is Group else [])]:
            for shard in order:
                with artifact.folder.fs.open(artifact.folder.join(f"{shard:05d}.parquet"), "rb") as file:
                    rows = list(_rows_with(pq.ParquetFile(file, pre_buffer=False), name, column))
                for row in rows:
                    record = _read(artifact, shard, row)
                    if like is None or not isinstance(record, Document) or _holds(record, like):
                        return shard, row
    return None


def _rows_with(file: Any, name: str, column: str) -> Iterator[int]:
    """Rows whose id is `name`, or that hold a passage of that id. Reads one column."""
    row = 0
    for batch in file.iter_batches(columns=[column], use_threads=False):
        for value in batch.column(0).to_pylist():
            ids = [value] if isinstance(value, str) else [shot["document"]["id"] for shot in value]
            if name in ids:
                yield row
            row += 1


def _read(artifact: Artifact, shard: int, row: int) -> Traced:
    assert artifact.kind is not None
    with artifact.folder.fs.open(artifact.folder.join(f"{shard:05d}.parquet"), "rb") as file:
        record: Traced = next(read_parquet(file, artifact.kind, start=row))
        return record


def _read_notes(artifact: Artifact, shard: int, record: Traced) -> Iterator[str]:
    """The row of the file, looked up in the file itself."""
    from instructpt.corpus import readers
    from instructpt.files import streams

    settings = artifact.settings
    assert isinstance(record, Document)
    if streams.is_pipe(record.source):
        yield f"{record.source}, which can be read only once"
        return
    try:
        shards = readers.shards(tuple(settings["files"]), shard_bytes=settings["shard_bytes"])
        for part in sum(shards, ()) if settings["limit"] else shards[shard]:
            fields = {"text_field": settings["text_field"], "id_field": settings["id_field"]}
            for row, found in enumerate(readers.read((part,), **fields, skip=settings["skip"])):
                if isinstance(found, Document) and (found.id, found.text) == (record.id, record.text):
                    after = f" after byte {part.start:,}" if part.start else ""
                    skipped = settings["skip"] if not part.start else 0
                    yield f"{part.url}, row {row + skipped + 1:,}{after}"
                    return
    except (UserError, IndexError) as error:
        yield f"{record.source}, which cannot be looked into now: {error}"
        return
    yield f"{record.source}, which does not hold it any more"


def _split_notes(artifact: Artifact, shard: int, record: Traced) -> Iterator[str]:
    del artifact, shard
    assert isinstance(record, Document)
    start = record.meta.get("offset")
    if isinstance(start, int):
        yield f"characters {start:,} to {start + len(record.text):,} of its document"


def _pairs_notes(artifact: Artifact, shard: int, record: Traced) -> Iterator[str]:
    """Who wrote the pairs, and what of each shot was left out, why."""
    del shard
    assert isinstance(record, Group)
    settings = artifact.settings
    if "model" in settings:
        yield f"model: {_model(settings, artifact.folder)}"
        asked = settings.get("forms") or settings.get("categories") or "what the model chooses"
        yield f"dialect: {settings['dialect']}; asked for: {asked}"
    if "checks" in settings:
        yield f"checks: {', '.join(settings['checks'])}"
    for number, shot in enumerate(record.shots, 1):
        reasons = Counter(reject.reason for reject in shot.rejects)
        left_out = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()) or "nothing"
        writings = f", {len(shot.writings)} writings" if shot.writings else ""
        yield (
            f"round {number} of {len(record.shots)}, {shot.follows} earlier ones before its eyes: "
            f"{len(shot.pairs)} pairs{writings}, left out: {left_out}"
        )


def _model(settings: Mapping[str, Any], folder: Folder) -> str:
    import orjson

    model = settings["model"]
    if isinstance(model, dict):
        return f"{model['artifact']}, fingerprint {model['fingerprint']}"
    sources = orjson.loads(folder.read("recipe.json"))["sources"]
    weights = [f"{name} {digest}" for name, digest in sources.items() if name.endswith(".safetensors")]
    return ", ".join([str(model), *weights])


def _template_notes(artifact: Artifact, shard: int, record: Traced) -> Iterator[str]:
    """How the text was laid out: the style is drawn again from the group's own text and compared."""
    from instructpt.templates import catalog
    from instructpt.templates.render import render, writings
    from instructpt.words import languages

    settings, source = artifact.settings, artifact.beside(artifact.inputs[0])
    yield f"language: {settings['language']}; kind: {record.kind if isinstance(record, Text) else ''}"
    if source is None or source.kind is not Group or settings.get("layout", "drawn") != "drawn":
        return
    form = record.layout if isinstance(record, Text) and record.kind == "written" else ""
    place = _find(source, {record.id.rpartition("/")[0] if form else record.id}, first_shard=shard)
    if place is None:
        return
    group = _read(source, *place)
    assert isinstance(group, Group)
    if form:
        yield f"form: {form}; its group holds {'the same text' if record in writings(group) else 'another'}"
        return
    language = settings["language"]
    if language == languages.AUTO:
        language = languages.choose(group, known=catalog.languages()).language
        yield f"worded in {language}"
    drawn = render(
        group,
        catalog=catalog.load(language),
        seed=settings["seed"],
        kind=settings["kind"],
        loss=settings.get("loss", "all"),
    )
    layouts = ", ".join(dict.fromkeys(text.layout or text.kind for text in drawn))
    same = "the same text" if record in drawn else "another text, the wording changed"
    yield f"layout: {layouts}; rendered again: {same}"


_NOTES: dict[str, Callable[[Artifact, int, Traced], Iterator[str]]] = {
    "Read": _read_notes,
    "Split": _split_notes,
    "Synthesize": _pairs_notes,
    "Write": _pairs_notes,
    "Mine": _pairs_notes,
    "Verify": _pairs_notes,
    "Template": _template_notes,
}
"""Stage -> what it adds to the story."""
