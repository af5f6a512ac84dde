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
from typing import Any

from instructpt.artifacts import read_manifest
from instructpt.artifacts.storage import Folder, read_parquet
from instructpt.errors import ArtifactError, UserError
from instructpt.records import Document, Group, Text
from instructpt.report.artifacts import Artifact, load_one
from instructpt.report.tables import printable

Traced = Document | Group | Text
_TRACED: dict[str, type[Traced]] = {kind.__name__: kind for kind in (Document, Group, Text)}
_PASSAGE_IDS = "shots.list.element.document.id"
"""The column of a group's passages' ids."""
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Hop:
    """A record on the way back, and how it was made."""

    depth: int
    """Of the tree: a group has a branch for each of its passages."""
    artifact: str
    stage: str
    fingerprint: str
    """Of the artifact: what was made, from what, how."""
    shard: int
    row: int
    """In its shard, from 0."""
    record: Traced
    notes: tuple[str, ...]


def trace(path: str, name: str) -> Iterator[Hop]:
    """The record called `name` in the artifact at `path`, or in what its rows were packed from, and all it came from.

    name: the id of a text, group, document or passage; where it repeats, its first record. Each hop comes before those
    it was made from. Raises ArtifactError if the artifact is not finished, or holds no such record.
    """
    folder = Folder.at(path)
    artifact = load_one(path)
    root = Folder.at(folder.path.rstrip("/").rpartition("/")[0])
    starts = [artifact] if _kind(artifact) else [made for made in _inputs(artifact, root) if _kind(made)]
    for start in starts:
        place = _find(start, {name}, first_shard=0)
        if place is not None:
            yield from _hops(start, place, root, depth=0)
            return
    searched = ", ".join(start.name for start in starts) or artifact.name
    raise ArtifactError(f"no record {name!r} in {searched}: give an id as `instructpt show {path}` prints them")


def trace_at(path: str, *, shard: int, row: int) -> Iterator[Hop]:
    """The record in this place of the artifact at `path`, and all it came from: exact also where ids repeat."""
    folder = Folder.at(path)
    root = Folder.at(folder.path.rstrip("/").rpartition("/")[0])
    yield from _hops(load_one(path), (shard, row), root, depth=0)


def lines(hop: Hop) -> Iterator[str]:
    """A hop for a terminal: where it is, how it was made, how its text begins. Control characters are shown."""
    indent, record = "  " * hop.depth, hop.record
    place = f"{hop.artifact}/{hop.shard:05d}, row {hop.row:,}"
    yield f"{indent}{place}  {hop.stage}  {printable(record.id)}  fingerprint {hop.fingerprint}"
    text = record.shots[0].document.text if isinstance(record, Group) else record.text
    start = " ".join(text[: 2 * _SHOWN_CHARACTERS].split())
    for note in (*hop.notes, f'"{start[:_SHOWN_CHARACTERS]}{"..." if len(start) > _SHOWN_CHARACTERS else ""}"'):
        yield f"{indent}    {printable(note)}"


def _hops(artifact: Artifact, place: tuple[int, int], root: Folder, *, depth: int) -> Iterator[Hop]:
    shard, row = place
    record = _read(artifact, shard, row)
    fingerprint = read_manifest(artifact.folder)["fingerprint"]
    tell = _NOTES.get(artifact.stage)
    notes = tuple(tell(artifact, shard, record)) if tell else ()
    yield Hop(depth, artifact.name, artifact.stage, fingerprint, shard, row, record, notes)
    inputs = [source for source in _inputs(artifact, root) if _kind(source)]
    for source, found in _origins(record, inputs, shard):
        yield from _hops(source, found, root, depth=depth + 1)


def _origins(record: Traced, inputs: Sequence[Artifact], shard: int) -> Iterator[tuple[Artifact, tuple[int, int]]]:
    """The records of the inputs that a record was made from: of a group itself before checks, or its passages."""

    def first(ids: Collection[str], like: Document | None = None) -> Iterator[tuple[Artifact, tuple[int, int]]]:
        for source in inputs:
            if found := _find(source, ids, first_shard=shard, like=like):
                yield source, found
                return

    if isinstance(record, Group):
        if any(_kind(source) is Group for source in inputs):
            yield from first((record.id,))
        else:
            for shot in record.shots:
                yield from first((shot.document.id,), shot.document)
        return
    mark = "/" if isinstance(record, Text) else "#"  # "{group}/{pair}" of a plain text, "{document}#{passage}"
    whole = record.id.rpartition(mark)[0]
    yield from first((record.id, whole) if whole else (record.id,), record if isinstance(record, Document) else None)


def _holds(parent: Document, like: Document) -> bool:
    """Whether a document is, or has as a passage, one of the same or its name: ids may repeat, texts seldom do."""
    if parent.source != like.source or parent.id == like.id:
        return (parent.source, parent.text) == (like.source, like.text)
    start = like.meta.get("offset")
    return isinstance(start, int) and parent.text.startswith(like.text, start)


def _kind(artifact: Artifact) -> type[Traced] | None:
    return _TRACED.get(read_manifest(artifact.folder)["record"] or "")


def _inputs(artifact: Artifact, root: Folder) -> Iterator[Artifact]:
    """What an artifact was made from, as far as it is still there."""
    for name in artifact.inputs:
        if root.child(name).exists("manifest.json"):
            yield load_one(root.join(name))


def _find(
    artifact: Artifact, wanted: Collection[str], *, first_shard: int, like: Document | None = None
) -> tuple[int, int] | None:
    """Shard and row of the first record with one of the ids, shards that match by number first."""
    import pyarrow.parquet as pq

    kind = _kind(artifact)
    assert kind is not None
    order = sorted(range(artifact.num_shards), key=lambda shard: shard != first_shard)
    for name in wanted:
        for column in ["id", *([_PASSAGE_IDS] if kind is Group else [])]:
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
    kind = _kind(artifact)
    assert kind is not None
    with artifact.folder.fs.open(artifact.folder.join(f"{shard:05d}.parquet"), "rb") as file:
        return next(read_parquet(file, kind, start=row))  # type: ignore[type-var]


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

    settings, (name,) = artifact.settings, artifact.inputs[:1]
    yield f"language: {settings['language']}; kind: {record.kind if isinstance(record, Text) else ''}"
    source = load_one(artifact.folder.path.rstrip("/").rpartition("/")[0] + f"/{name}")
    if _kind(source) is not Group or settings.get("layout", "drawn") != "drawn":
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
