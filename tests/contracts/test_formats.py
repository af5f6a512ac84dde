"""What every format of `readers.FORMATS` keeps to: the same documents however a file is cut and compressed, once each,
in order, in one pass, with the text in the field that was named."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from instructpt.corpus import parts
from instructpt.corpus.readers import FORMATS, read, shards
from instructpt.files import streams
from instructpt.records import Document, Reject

TEXTS = [f'Text {i}, naïve 汉字 "quoted",\nsecond line; {"x" * (i % 7)}' for i in range(60)]
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def csv_of(texts: list[str], separator: str) -> bytes:
    quoted = ['"' + text.replace('"', '""') + '"' for text in texts]
    return "\r\n".join([f"n{separator}body", *(f"{i}{separator}{text}" for i, text in enumerate(quoted))]).encode()


def arrow_of(texts: list[str]) -> bytes:
    sink = io.BytesIO()
    table = pa.table({"body": texts})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return sink.getvalue()


def parquet_of(texts: list[str]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"body": texts}), sink, row_group_size=9)
    return sink.getvalue()


def tar_of(texts: list[str]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for number, text in enumerate(texts):
            for ending, data in ((".jpg", b"\xff\xd8"), (".json", b'{"n": 1}'), (".txt", text.encode())):
                info = tarfile.TarInfo(f"set/{number:04d}{ending}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def wet_of(texts: list[str]) -> bytes:
    records = []
    for number, text in enumerate(texts):
        data = text.encode()
        told = {"WARC-Type": "conversion", "WARC-Target-URI": f"http://a.b/{number}", "Content-Length": len(data)}
        head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        records.append(b"WARC/1.0\r\n" + head.encode() + b"\r\n" + data + b"\r\n\r\n")
    return b"".join(records)


MANY = {
    "jsonl": (".jsonl", lambda: b"".join(json.dumps({"body": text}).encode() + b"\n" for text in TEXTS)),
    "json": (".json", lambda: json.dumps([{"body": text} for text in TEXTS], indent=1).encode()),
    "json, held": (".json", lambda: json.dumps({"v": 1, "data": [{"body": text} for text in TEXTS]}).encode()),
    "json, one after another": (".json", lambda: b"\n".join(json.dumps({"body": t}, indent=1).encode() for t in TEXTS)),
    "parquet": (".parquet", lambda: parquet_of(TEXTS)),
    "arrow": (".arrow", lambda: arrow_of(TEXTS)),
    "csv": (".csv", lambda: csv_of(TEXTS, ",")),
    "csv, semicolons": (".csv", lambda: csv_of(TEXTS, ";")),
    "csv, tabs": (".tsv", lambda: csv_of(TEXTS, "\t")),
    "warc": (".warc.wet", lambda: wet_of(TEXTS)),
    "tar": (".tar", lambda: tar_of(TEXTS)),
}
"""Formats whose files hold many documents: ending, and a file with `TEXTS` in its field "body"."""

CASES = [(name, compression) for name in MANY for compression in (COMPRESS if name != "parquet" else [""])]


def documents(path: Path, *, shard_bytes: int, field: str = "body") -> list[Document]:
    items = [item for shard in shards([str(path)], shard_bytes=shard_bytes) for item in read(shard, text_field=field)]
    rejects = [item for item in items if isinstance(item, Reject)]
    assert not rejects
    return [item for item in items if isinstance(item, Document)]


def written(folder: Path, name: str, compression: str) -> Path:
    ending, make = MANY[name]
    path = folder / f"file{ending}{compression}"
    path.write_bytes(COMPRESS[compression](make()))
    return path


@pytest.mark.parametrize(("name", "compression"), CASES)
def test_a_file_holds_the_same_documents_however_it_is_cut(tmp_path: Path, name: str, compression: str) -> None:
    path = written(tmp_path, name, compression)
    whole = documents(path, shard_bytes=1 << 20)
    assert [document.text for document in whole] == TEXTS
    assert len({document.id for document in whole}) == len(TEXTS)
    assert all(document.id.startswith(path.name) for document in whole)
    for shard_bytes in (200, 1500):
        assert documents(path, shard_bytes=shard_bytes) == whole


@pytest.mark.parametrize(("name", "compression"), CASES)
def test_shards_can_be_read_in_any_order_and_again(tmp_path: Path, name: str, compression: str) -> None:
    path = written(tmp_path, name, compression)
    cut = shards([str(path)], shard_bytes=700)
    in_order = [list(read(shard, text_field="body")) for shard in cut]
    for index in (*reversed(range(len(cut))), 0, 0, len(cut) - 1):
        assert list(read(cut[index], text_field="body")) == in_order[index]
    next(iter(read(cut[0], text_field="body")), None)  # and one that is left amid its rows does no harm
    assert [list(read(shard, text_field="body")) for shard in cut] == in_order


@pytest.mark.parametrize("compression", [ending for ending in COMPRESS if ending])
@pytest.mark.parametrize("name", [name for name in MANY if name not in ("parquet", "arrow")])
def test_all_parts_of_a_file_cost_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, compression: str
) -> None:
    """Bytes decompressed grow with the file, not with its square: counted, for few parts and many."""
    ending, make = MANY[name]
    path = tmp_path / f"file{ending}{compression}"
    monkeypatch.setitem(globals(), "TEXTS", [f"{number} " * 300 for number in range(1000)])
    data = make()
    path.write_bytes(COMPRESS[compression](data))
    num_bytes = 0
    plain = streams.decompressed

    def counted(file: Any, ending: str) -> Any:
        stream = plain(file, ending)

        class Counted(io.RawIOBase):
            def readable(self) -> bool:
                return True

            def readinto(self, buffer: Any) -> int:
                nonlocal num_bytes
                block = stream.read(len(buffer))
                buffer[: len(block)] = block
                num_bytes += len(block)
                return len(block)

        return Counted()

    monkeypatch.setattr(streams, "decompressed", counted)
    for shard_bytes in (len(data), len(data) // 20 + 1):
        cut = shards([str(path)], shard_bytes=shard_bytes)
        num_bytes = 0
        assert sum(1 for shard in cut for _ in read(shard, text_field="body")) == 1000
        # the file once; and the start of it, to tell its encoding, once a part that is not gone on with
        assert num_bytes <= len(data) + 6 * (1 << 20) + len(cut) * (1 << 20) * (name == "jsonl")


def test_every_format_with_an_ending_is_tried_here() -> None:
    tried = {name.split(",")[0] for name in MANY} | {"text", "page", "dataset"}
    assert tried == set(FORMATS)


def test_a_waiting_file_is_one_at_most(tmp_path: Path) -> None:
    for number in range(3):
        path = tmp_path / f"{number}.csv"
        path.write_bytes(csv_of(TEXTS, ","))
        list(read(shards([str(path)], shard_bytes=500)[0], text_field="body"))
        assert len(parts._waiting) == 1
