"""A finished artifact in other programs' formats: what `instructpt export` does.

    texts, groups, documents, scores   ->  parquet, jsonl                     a file a shard
    texts, groups, documents           ->  hub                                a data set with its card, for load_dataset
    rows                               ->  parquet, jsonl                     packed rows
                                           megatron, datatrove, olmo          the documents they were packed from

An export appears whole or not at all: it is written under another name, then renamed.
"""

from __future__ import annotations

import dataclasses
import gzip
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from instructpt.artifacts.storage import Folder, read_shard
from instructpt.errors import ArtifactError, RecipeError
from instructpt.records import Document, Group, Record, Text
from instructpt.report.artifacts import Artifact, load_one, road

RECORD_FORMATS = ("parquet", "jsonl")


def export(artifact: str, *, to: str, out: str) -> dict[str, Any]:
    """Write the artifact in the folder `artifact` to `out`, and return what `out/export.json` says of it.

    Both are local folders. Raises ArtifactError if `artifact` is not finished or `out` holds something, RecipeError if
    there is no such format for it.
    """
    source, target = load_one(artifact), Path(out).expanduser()
    if not source.folder.is_local:
        raise RecipeError(f"{artifact} is not on this machine: copy it here, exports are made from local files")
    if not out.strip() or (target.exists() and not target.is_dir()):
        raise ArtifactError(f"{out!r} is no folder: give an empty or new one")
    if target.exists() and any(target.iterdir()):
        raise ArtifactError(f"{out} holds something already: give an empty or new folder")
    write = _export_rows if source.stage == "Pack" else _export_hub if to == "hub" else _export_records
    unfinished = target.with_name(f".{target.name}.exporting")
    shutil.rmtree(unfinished, ignore_errors=True)
    counts = write(source, to, unfinished)
    made = {name: source.manifest[name] for name in ("stage", "fingerprint", "made_by")}
    said = {"format": to, "artifact": source.name, **made, **counts}
    (unfinished / "export.json").write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2))
    Folder.at(str(target.parent)).publish(unfinished, target.name)
    return said


def _export_rows(source: Artifact, to: str, folder: Path) -> dict[str, Any]:
    from instructpt.assembly.exports import ROW_FORMATS, TOKEN_FORMATS, export_rows, export_tokens

    if to not in TOKEN_FORMATS and to not in ROW_FORMATS:
        names = ", ".join(sorted([*TOKEN_FORMATS, *ROW_FORMATS]))
        raise RecipeError(f"rows cannot be exported to {to!r}: choose one of {names}")
    shards = [Path(source.folder.join(f"{index:05d}")) for index in range(source.num_shards)]
    head = orjson.loads((shards[0] / "head.json").read_bytes())
    if to in TOKEN_FORMATS:
        exported = export_tokens(shards, to=to, folder=folder)
    else:
        exported = export_rows(Path(source.folder.join("joined")), shards, to=to, folder=folder)
    return {
        "vocabulary": head["vocabulary"],
        "token_type": head["dtype"],
        **{name: count for name, count in dataclasses.asdict(exported).items() if count},
    }


def _export_records(source: Artifact, to: str, folder: Path) -> dict[str, Any]:
    if source.kind is None:
        raise RecipeError(f"{source.folder.path} holds files, no records or rows: export the texts or rows of the run")
    if to not in RECORD_FORMATS:
        names = ", ".join((*RECORD_FORMATS, "hub"))
        raise RecipeError(f"{source.kind.__name__} records cannot be exported to {to!r}: choose one of {names}")
    folder.mkdir(parents=True)
    for index in range(source.num_shards):
        name = f"{index:05d}"
        if to == "parquet":
            shutil.copyfile(source.folder.join(f"{name}.parquet"), folder / f"{name}.parquet")
        else:
            _write_jsonl(read_shard(source.folder, index, source.kind), folder / f"{name}.jsonl.gz")
    return {"record": source.kind.__name__, "records": source.tally.records}


def _export_hub(source: Artifact, to: str, folder: Path) -> dict[str, Any]:
    """Shards under the names that the Hub looks for, the manifests of all that led to them, and a card."""
    from instructpt.report.cards import dataset_card, sample_of

    del to
    if source.kind not in (Text, Group, Document):
        raise RecipeError(
            f"{source.folder.path} holds no texts, groups or documents: export one of these as a data set"
        )
    (folder / "data").mkdir(parents=True)
    for index in range(source.num_shards):
        name = f"train-{index:05d}-of-{source.num_shards:05d}.parquet"
        shutil.copyfile(source.folder.join(f"{index:05d}.parquet"), folder / "data" / name)
    number, characters, first, sample = 0, 0, None, None
    for record in source.records(source.kind):
        number, characters = number + 1, characters + _characters(record)
        first = first or record
        if sample is None and _has_pairs(record):
            sample = record
    if first is None:
        raise ArtifactError(f"{source.folder.path} holds no record: there is nothing to pass on")
    way, kind = road(source), source.kind.__name__
    (folder / "lineage").mkdir()
    for artifact in way:
        (folder / "lineage" / f"{artifact.name}.json").write_bytes(artifact.folder.read("manifest.json"))
    said = sample_of(sample or first)
    card = dataset_card(way, record=kind, num_records=number, characters=characters, sample=said)
    (folder / "README.md").write_text(card, "utf-8")
    return {"record": kind, "records": number}


def _characters(record: Text | Group | Document) -> int:
    if isinstance(record, Group):
        return sum(len(shot.document.text) for shot in record.shots)
    return len(record.text)


def _has_pairs(record: Text | Group | Document) -> bool:
    if isinstance(record, Group):
        return any(shot.pairs or shot.writings for shot in record.shots)
    return isinstance(record, Text) and record.kind != "raw"


def _write_jsonl(records: Iterable[Record], path: Path) -> None:
    """A line a record, its fields as `docs/formats.md` names them."""
    with path.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
        for record in records:
            packed.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
