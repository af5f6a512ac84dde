"""Reading: every format comes back as it was written, however it is cut; what is broken is counted or named."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import COMPRESS, MIB, json_lines, read_all, reasons, texts, write_parquet

from instructpt.corpus.readers import FORMATS, read, shards
from instructpt.errors import InputError
from instructpt.records import Document, from_row, to_row


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("suffix", FORMATS["jsonl"].suffixes)
def test_json_lines_are_read_back(tmp_path: Path, suffix: str, compression: str) -> None:
    path = tmp_path / f"a{suffix}{compression}"
    rows = [
        {"id": f"r{i}", "text": f"näive {i} 汉字\n\x00", "source": "s", "n": i, "deep": {"k": [None]}} for i in range(5)
    ]
    path.write_bytes(COMPRESS[compression](json_lines(rows)))
    assert read_all(path) == [
        Document(row["id"], row["text"], str(path), {name: row[name] for name in ("source", "n", "deep")})
        for row in rows
    ]


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("suffix", FORMATS["text"].suffixes)
def test_a_text_file_is_one_document(tmp_path: Path, suffix: str, compression: str) -> None:
    path = tmp_path / f"a{suffix}{compression}"
    path.write_bytes(COMPRESS[compression]("\ufeff# Ünicode\r\n\r\ntwo\x00\n".encode()))
    assert read_all(path, text_field="other") == [Document(path.name, "# Ünicode\n\ntwo\x00\n", str(path))]


@pytest.mark.parametrize("shard_bytes", [1, 300, MIB])
def test_parquet_is_read_back_in_runs_of_row_groups(tmp_path: Path, shard_bytes: int) -> None:
    rows = [{"id": i, "text": f"text {i}", "score": i / 2, "tags": ["a", None]} for i in range(23)]
    write_parquet(tmp_path / "a.parquet", rows, row_group_size=4)
    assert read_all(tmp_path / "a.parquet", shard_bytes=shard_bytes) == [
        Document(str(row["id"]), row["text"], str(tmp_path / "a.parquet"), {"score": row["score"], "tags": row["tags"]})
        for row in rows
    ]
    assert len(shards([str(tmp_path / "a.parquet")], shard_bytes=1)) == 6


def test_parquet_rows_are_named_by_their_number_in_the_file(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [{"text": f"{i}"} for i in range(5000)], row_group_size=2200)
    for shard_bytes in (1, MIB):
        items = read_all(tmp_path / "a.parquet", shard_bytes=shard_bytes)
        assert [item.id for item in items if isinstance(item, Document)] == [f"a.parquet:{i}" for i in range(5000)]


def test_parquet_values_become_json_values_that_can_be_stored(tmp_path: Path) -> None:
    row = {
        "text": "t",
        "when": datetime(2024, 5, 6, 7, 8, tzinfo=UTC),
        "day": datetime(2024, 5, 6, tzinfo=UTC).date(),
        "price": Decimal("1.50"),
        "raw": b"\xff",
        "nan": float("nan"),
        "nested": {"times": [datetime(2024, 5, 6, tzinfo=UTC)]},
    }
    write_parquet(tmp_path / "a.parquet", [row], row_group_size=1)
    (document,) = read_all(tmp_path / "a.parquet")
    assert isinstance(document, Document)
    assert document.id == "a.parquet:0"
    assert document.meta == {
        "when": "2024-05-06T07:08:00+00:00",
        "day": "2024-05-06",
        "price": "1.50",
        "raw": "/w==",
        "nan": None,
        "nested": {"times": ["2024-05-06T00:00:00+00:00"]},
    }
    assert from_row(Document, to_row(document)) == document


def test_parquet_string_of_broken_utf8_is_a_reject_and_its_neighbours_are_kept(tmp_path: Path) -> None:
    column = pa.array([b"good", b"\xff\xfe", b"too"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    items = read_all(tmp_path / "a.parquet")
    assert texts(items) == ["good", "too"]
    assert reasons(items) == ["not_utf8"]


def test_other_fields_can_be_the_text_and_the_id(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(json_lines([{"body": "b", "key": "k", "text": 1, "source": 2}]))
    (shard,) = shards([str(tmp_path / "a.jsonl")], shard_bytes=MIB)
    (document,) = read(shard, text_field="body", id_field="key")
    assert document == Document("k", "b", str(tmp_path / "a.jsonl"), {"text": 1, "source": 2})


# Cutting loses and doubles nothing

LINES = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=30).map(lambda text: orjson.dumps({"text": text})),
        st.sampled_from([b"", b"  ", b"\r", b"{", b"\xff\xfe", b"3", b'{"text": null}']),
    ),
    max_size=20,
)


@given(lines=LINES, ending=st.sampled_from([b"\n", b"\r\n"]), last=st.booleans(), shard_bytes=st.integers(1, 200))
def test_parts_of_plain_and_compressed_files_hold_each_row_once(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ending: bytes, last: bool, shard_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    data = ending.join([b'{"text": "first"}', *lines]) + (ending if last else b"")
    rows = [line for line in data.split(b"\n") if line.strip()]
    for compression, compress in COMPRESS.items():
        path = folder / f"a.jsonl{compression}"
        path.write_bytes(compress(data))
        whole = read_all(path, shard_bytes=MIB)
        cut = read_all(path, shard_bytes=shard_bytes)
        assert cut == whole
        assert len(whole) == len(rows)
        expected = [orjson.loads(row)["text"] for row in rows if b'"text": null' not in row and b'"text":' in row]
        assert texts(whole) == expected


def test_lines_longer_than_any_buffer_are_read(tmp_path: Path) -> None:
    rows = [{"text": "a" * 5_000_000}, {"text": "b"}, {"text": "é" * 10_000_000}, {"text": "c"}]
    path = tmp_path / "a.jsonl"
    path.write_bytes(json_lines(rows))
    assert texts(read_all(path, shard_bytes=2_000_000)) == [row["text"] for row in rows]


def test_memory_is_bounded_by_the_line_not_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(24):
            file.write(json_lines([{"text": "x" * 1000}] * 1000))
    (shard,) = shards([str(path)], shard_bytes=1 << 40)
    tracemalloc.start()
    count = sum(1 for _ in read(shard))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 24_000
    assert peak < 8 * MIB


# Rows that are broken are counted, files that are broken stop the run


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "a"', "broken_json"),
        (b"\x00", "broken_json"),
        (b'{"text": "\\ud800"}', "broken_json"),
        (b'{"text": "a", "x": nan}', "broken_json"),
        (b'["text"]', "not_an_object"),
        (b"null", "not_an_object"),
        (b"{}", "missing_text"),
        (b'{"text": null, "id": "x"}', "missing_text"),
        (b'{"text": ["a", {"image": "b.png"}]}', "text_not_a_string"),
        (b'{"text": NaN}', "missing_text"),
        (b'{"text": 3}', "text_not_a_string"),
        ('{"text": "é"}'.encode("latin-1"), "not_utf8"),
        (b'{"text": "a", "x": ' + b"[" * 500 + b"]" * 500 + b"}", "nested_too_deeply"),
        (b'{"text": "a", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}", "broken_json"),
    ],
)
def test_a_broken_row_is_a_reject_with_its_reason(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "before"}\n' + line + b'\n{"text": "after"}\n')
    items = read_all(path)
    assert texts(items) == ["before", "after"]
    assert reasons(items) == [reason]
    assert items[1].text  # a sample of what was left out


def test_rows_that_can_be_read_can_be_written(tmp_path: Path) -> None:
    rows = [{"text": "a", "x": json.loads("[" * depth + "]" * depth)} for depth in (100, 199, 250)]
    (tmp_path / "a.jsonl").write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    for item in read_all(tmp_path / "a.jsonl"):
        assert isinstance(item, Document)
        assert from_row(Document, to_row(item)) == item


def test_byte_order_mark_and_blank_lines_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n\r\n  \n\n{"text": "b"}')
    assert texts(read_all(tmp_path / "a.jsonl")) == ["a", "b"]


def test_text_of_no_certain_encoding_is_a_reject_that_says_how_to_convert_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"na\xefve")
    (tmp_path / "b.txt").write_bytes(b"fine")
    items = read_all(tmp_path)
    assert reasons(items) == ["not_utf8"]
    assert texts(items) == ["fine"]
    assert all(words in items[0].text for words in ("a.txt: byte 2 ", "\\xef", "iconv -f"))


def test_a_wrong_text_field_names_the_fields_there_are(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(json_lines([{"content": "x", "url": "y"}] * 3))
    with pytest.raises(InputError, match=r"a\.jsonl has a field 'text' \(fields: content, url\).*--text-field"):
        read_all(tmp_path / "a.jsonl")
    (tmp_path / "long.jsonl").write_bytes(json_lines([{"content": "x"}] * 100 + [{"text": "late"}]))
    with pytest.raises(InputError, match="no row of"):
        read_all(tmp_path / "long.jsonl")
    (tmp_path / "soon.jsonl").write_bytes(json_lines([{"content": "x"}] * 99 + [{"text": "soon"}]))
    assert reasons(read_all(tmp_path / "soon.jsonl")) == ["missing_text"] * 99
    write_parquet(tmp_path / "a.parquet", [{"content": "x"}], row_group_size=1)
    with pytest.raises(InputError, match="fields: content"):
        read_all(tmp_path / "a.parquet")


@pytest.mark.parametrize("compression", [ending for ending in COMPRESS if ending])
def test_a_damaged_compressed_file_stops_the_run(tmp_path: Path, compression: str) -> None:
    data = COMPRESS[compression](json_lines([{"text": str(i**50)} for i in range(5000)]))
    cut, junk, tail = (tmp_path / f"{name}.jsonl{compression}" for name in ("cut", "junk", "tail"))
    cut.write_bytes(data[:-5])
    junk.write_bytes(b"this is no compressed file")
    tail.write_bytes(data + b"more")
    for path in (cut, junk, tail):
        with pytest.raises(InputError, match=path.name) as error:
            read_all(path)
        assert "\n" not in str(error.value)


def test_files_of_several_compressed_frames_are_read_to_the_end(tmp_path: Path) -> None:
    for compression, compress in COMPRESS.items():
        path = tmp_path / f"a.jsonl{compression}"
        path.write_bytes(compress(json_lines([{"text": "a"}])) + compress(json_lines([{"text": "b"}])))
        assert texts(read_all(path)) == ["a", "b"]


def test_a_damaged_parquet_file_stops_the_run(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, [{"text": str(i**40)} for i in range(3000)], row_group_size=1000)
    data = path.read_bytes()
    for damaged in (b"", b"PAR1", data[:-20], data[:1000] + bytes(1000) + data[2000:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"a\.parquet"):
            read_all(path)


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    write_parquet(tmp_path / "b.parquet", [{"text": "x"}], row_group_size=1)
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "c.parquet")
    assert texts(read_all(tmp_path)) == ["x"]
