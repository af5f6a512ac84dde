"""What people bring, read as they expect: the reading rows of docs/trouble.md, through the command."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from instructpt.artifacts import Run, remembered
from instructpt.cli.commands import main
from instructpt.corpus.readers import not_read, read, shards, sources
from instructpt.errors import InputError, RecipeError
from instructpt.files import content_digest, finding
from instructpt.records import Document, Reject

INPUTS = Path(__file__).parents[1] / "fixtures" / "trouble"
LONG = json.loads((INPUTS / "pretty.json").read_text())["text"]
TEXT = "Childhood vascular tumors form from cells that make blood vessels or lymph vessels."


def items(*urls: str | Path, text_field: str = "text", shard_bytes: int = 1 << 20) -> list[Document | Reject]:
    cut = shards([str(url) for url in urls], shard_bytes=shard_bytes)
    return [item for shard in cut for item in read(shard, text_field=text_field)]


def documents(*urls: str | Path, text_field: str = "text") -> list[Document]:
    return [item for item in items(*urls, text_field=text_field) if isinstance(item, Document)]


def rows(path: Path, *texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


# --- what a file holds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text_field", "number"),
    [
        ("rows.csv", "text", 3),
        ("rows.jsonl.bz2", "text", 3),
        ("array.json", "text", 3),
        ("pretty.json", "text", 1),
        ("nested.jsonl", "content.text", 3),
        ("conversation.jsonl", "text", 3),
        ("field_body.jsonl", "body", 3),
        ("latin1.txt", "text", 1),
        ("sample.warc.wet.gz", "text", 2),
        ("saved_to_disk", "text", 4),
        ("page.html", "text", 1),
    ],
)
def test_the_inputs_of_the_table_are_read(name: str, text_field: str, number: int) -> None:
    found = items(INPUTS / name, text_field=text_field)
    assert [type(item) for item in found] == [Document] * number
    assert all(len(item.text) > 200 for item in found)


def test_a_run_says_what_it_read_and_what_it_left(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "clone"
    shutil.copytree(INPUTS / "saved_to_disk", folder)
    for name in ("LICENSE", "README.md", ".gitattributes", "dataset_infos.json", "loader.py"):
        (folder / name).write_text("{}")
    assert main(["augment", str(folder), "--out", str(tmp_path / "out"), "--mine", "--workers", "1"]) == 0
    said = capfd.readouterr().err
    assert "not read: " in said
    for kind in ("1 hidden", "1 LICENSE", "1 README.md", "1 dataset_infos.json", "1 *.py"):
        assert kind in said
    manifest = json.loads((tmp_path / "out" / "documents" / "manifest.json").read_text())
    assert manifest["tally"]["taken"] == 4
    assert manifest["tally"]["counts"]["not_read/README.md"] == 1


def test_rows_of_json_dumps_are_read_with_nan_and_long_ids(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    ids = [2**127 + number for number in range(3)]
    path.write_text(
        "".join(json.dumps({"text": TEXT, "id": i, "x": float("nan"), "y": [float("inf"), 1e30]}) + "\n" for i in ids)
        + '{"text": "t", "id": 340282366920938463463374607431768211455}\n'
    )
    found = documents(path)
    assert [document.id for document in found] == [*map(str, ids), str(2**128 - 1)]
    assert found[0].meta == {"x": None, "y": [None, 1e30]}


def test_a_binary_column_of_text_is_text_and_of_bytes_is_refused(tmp_path: Path) -> None:
    column = pa.array(["Grüße".encode(), b"\xff\xfe\xfd"], pa.binary())
    pq.write_table(pa.table({"text": column, "key": column}), tmp_path / "a.parquet")
    first, second = items(tmp_path / "a.parquet")
    assert isinstance(first, Document)
    assert (first.text, first.meta) == ("Grüße", {"key": "Grüße"})
    assert isinstance(second, Reject)
    assert second.reason == "not_utf8"


def test_a_key_with_a_dot_wins_over_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"a.b": "key", "a": {"b": "path", "c": 1}}) + "\n" + json.dumps({"a": {"b": "path"}}))
    first, second = documents(path, text_field="a.b")
    assert (first.text, first.meta) == ("key", {"a": {"b": "path", "c": 1}})
    assert (second.text, second.meta) == ("path", {"a": {}})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["one", "two"], "one\n\ntwo"),
        ([{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}], "one\n\ntwo"),
        ([{"from": "human", "value": "one"}, {"from": "gpt", "value": "two"}], "one\n\ntwo"),
        ([{"role": "user", "content": [{"type": "text", "text": "one"}]}], "one"),
        ([{"role": "user", "content": [{"type": "image", "image": "a.png"}]}], None),
        (["one", 2], None),
        ([], None),
    ],
)
def test_turns_and_pieces_are_joined_or_refused_with_a_reason(tmp_path: Path, value: object, text: str | None) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "first"}) + "\n" + json.dumps({"text": value}) + "\n")
    _, item = items(path)
    if text is None:
        assert isinstance(item, Reject)
        assert item.reason == "text_not_a_string"
    else:
        assert item.text == text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1251", "shift_jis"])
@pytest.mark.parametrize("ending", [".txt", ".csv", ".jsonl", ".json"])
def test_encodings_are_told_by_their_mark_or_a_sure_detector(tmp_path: Path, encoding: str, ending: str) -> None:
    word = {"cp1251": "Москва является столицей и крупнейшим городом страны в ней живут двенадцать миллионов человек"}
    text = word.get(
        encoding,
        "Straße and words in English"
        if encoding != "shift_jis"
        else "東京は日本の首都であり、世界最大の都市圏の一つです",
    )
    whole = {
        ".txt": text,
        ".csv": f"id,text\n1,{text}\n",
        ".jsonl": json.dumps({"text": text}, ensure_ascii=False) + "\n",
        ".json": json.dumps([{"text": text}], ensure_ascii=False, indent=1),
    }[ending]
    path = tmp_path / f"a{ending}"
    path.write_bytes(whole.encode(encoding))
    assert [document.text.strip() for document in documents(path)] == [text]


def test_docx_is_read_or_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docx = pytest.importorskip("docx")
    document = docx.Document()
    document.add_paragraph(TEXT)
    document.save(str(tmp_path / "a.docx"))
    assert [item.text for item in documents(tmp_path / "a.docx")] == [TEXT]
    (tmp_path / "b.docx").write_bytes(b"no archive")
    assert [item.reason for item in items(tmp_path / "b.docx") if isinstance(item, Reject)] == ["cannot_be_converted"]
    monkeypatch.setitem(sys.modules, "docx", None)
    with pytest.raises(InputError, match=r"pip install 'instructpt\[docs\]'"):
        items(tmp_path / "a.docx")


def pdf(text: str) -> bytes:
    """A page with one line on it, as small as the format allows."""
    content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
    ]
    written, places = b"%PDF-1.4\n", []
    for number, item in enumerate(objects, start=1):
        places.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return (
        written
        + b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
        + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(written))
    )


def test_a_pdf_is_read_and_a_damaged_one_is_left_out_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf(TEXT))
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.4 and no more")
    assert [item.text.strip() for item in documents(tmp_path / "a.pdf")] == [TEXT]
    assert [item.reason for item in items(tmp_path / "b.pdf") if isinstance(item, Reject)] == ["cannot_be_converted"]


def test_of_a_web_archive_each_page_is_a_document(tmp_path: Path) -> None:
    page = f"<html><nav>Home</nav><main><p>{TEXT}</p></main><script>alert(1)</script></html>".encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + page
    records = b""
    for number in range(2):
        head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://example.org/{number}\r\n"
        head += f"WARC-Record-ID: <urn:uuid:{number}>\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
        head += f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(answer)}\r\n\r\n"
        records += gzip.compress(head.encode() + answer + b"\r\n\r\n")
    (tmp_path / "a.warc.gz").write_bytes(records)
    found = documents(tmp_path / "a.warc.gz")
    assert len(found) == 2
    for document in found:
        assert TEXT in document.text
        assert "alert" not in document.text


@pytest.mark.parametrize("data", [b"[{", b'[{"text": "a"} {', b'{"a": [1, 2', b'[{"text": "a"},\n{"te'])
def test_json_that_breaks_off_is_named_in_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.json") as error:
        items(tmp_path / "a.json")
    assert "\n" not in str(error.value)


# --- where files lie -------------------------------------------------------------------------------------------------


def test_a_cache_snapshot_whose_files_are_links_is_read(tmp_path: Path) -> None:
    home = tmp_path / "datasets--owner--name"
    rows(home / "blobs" / "5f0c", "one", "two")
    snapshot = home / "snapshots" / "abc"
    (snapshot / "data").mkdir(parents=True)
    (snapshot / "data" / "train.jsonl").symlink_to("../../../blobs/5f0c")
    (snapshot / "again").symlink_to("data")  # a folder by another name, and a circle
    (snapshot / "data" / "up").symlink_to("..")
    for url in (snapshot, f"{snapshot}/**/*.jsonl", snapshot / "data" / "train.jsonl", home):
        assert [document.text for document in documents(url)] == ["one", "two"], url
    assert main(["augment", str(snapshot), "--out", str(tmp_path / "out"), "--mine", "--workers", "1"]) in (0, 2)
    (home / "blobs" / "5f0c").unlink()
    with pytest.raises(InputError, match=r"train\.jsonl is a link to .*5f0c, which is not there"):
        items(snapshot)


def test_a_folder_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows(tmp_path / "a.jsonl", "one")
    rows(tmp_path / "closed" / "b.jsonl", "two")
    plain = os.scandir

    def scandir(folder: Path) -> object:
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied")
        return plain(folder)

    monkeypatch.setattr(finding.os, "scandir", scandir)
    with pytest.raises(InputError, match="closed is not allowed"):
        items(tmp_path)


def test_part_files_of_one_name_have_ids_of_their_own_and_are_traced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for year in ("2023", "2024"):
        rows(Path(f"data/year={year}/part-0.jsonl"), f"{LONG} It was the year {year}.")
    Path("data/_SUCCESS").touch()
    found = documents("data")
    assert [document.id for document in found] == ["year=2023/part-0.jsonl:0", "year=2024/part-0.jsonl:0"]
    assert [document.meta for document in found] == [{"year": "2023"}, {"year": "2024"}]
    assert main(["augment", "data", "--out", "out", "--mine", "--workers", "1"]) == 0
    capfd.readouterr()
    assert main(["show", "out/documents", "--trace", "year=2024/part-0.jsonl:0"]) == 0
    assert "data/year=2024/part-0.jsonl, row 1" in capfd.readouterr().out


def test_own_output_below_the_input_is_never_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows(Path("a.jsonl"), LONG)
    for out in ("runs/mine", "."):
        assert main(["augment", ".", "--out", out, "--mine", "--workers", "1"]) == 0
        assert main(["augment", ".", "--out", out, "--mine", "--workers", "1"]) == 0
        assert [document.source for document in documents(".")] == ["./a.jsonl"]
        assert not_read(["."])["our output"]


def test_brackets_in_the_working_folder_are_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows(tmp_path / "set [1]" / "a.jsonl", "one")
    monkeypatch.chdir(tmp_path / "set [1]")
    for url in (".", "a.jsonl", "*.jsonl", "**/a.jsonl", "[a].jsonl", str(Path.cwd())):
        assert [document.text for document in documents(url)] == ["one"], url


def test_an_empty_argument_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["augment", "", "--out", str(tmp_path / "out"), "--mine"]) == 2
    assert "an input is empty ('')" in capfd.readouterr().err
    assert not (tmp_path / "out" / "documents").exists()


def test_names_that_are_not_utf8_are_read_and_shown_escaped(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jsonl")
    rows(tmp_path / name, "one")
    assert [document.source for document in documents(tmp_path)] == [f"{tmp_path}/caf\\xe9.jsonl"]
    assert [document.id for document in documents(f"{tmp_path}/caf\\xe9.jsonl")] == ["caf\\xe9.jsonl:0"]


def test_standard_input_is_read(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"text": f"{TEXT} {number}. " * 3}) + "\n" for number in range(40))
    command = [sys.executable, "-m", "instructpt", "augment", "-", "--out", str(tmp_path / "out"), "--mine"]
    done = subprocess.run([*command, "--workers", "1"], input=lines, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "documents" / "manifest.json").read_text())["tally"]["made"] == 40
    command[4] = "/dev/stdin"
    done = subprocess.run(command, input="", text=True, capture_output=True)
    assert done.returncode == 2
    assert "nothing came from /dev/stdin" in done.stderr


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A web server that knows no ranges: Python's own."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_web_server_without_ranges_is_read_from_the_beginning(tmp_path: Path) -> None:
    texts = [f"{number} " * 200 for number in range(300)]
    rows(tmp_path / "a.jsonl", *texts)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    pq.write_table(pa.table({"text": texts}), tmp_path / "c.parquet")
    with served(tmp_path) as url:
        for name in ("a.jsonl", "b.jsonl.gz"):
            found = items(f"{url}/{name}", shard_bytes=30_000)
            assert [item.text for item in found] == texts
            assert len(sources([f"{url}/{name}"])) == 1
        with pytest.raises(InputError, match="download it first") as error:
            items(f"{url}/c.parquet")
        assert "\n" not in str(error.value)


def test_shards_without_number_are_refused(tmp_path: Path) -> None:
    rows(tmp_path / "a.jsonl", "x" * 200_000)
    with pytest.raises(RecipeError, match="give at least 3"):
        items(tmp_path / "a.jsonl", shard_bytes=1)
    assert (
        main(["augment", str(tmp_path / "a.jsonl"), "--out", str(tmp_path / "o"), "--mine", "--shard-bytes", "1"]) == 2
    )


# --- a restart -------------------------------------------------------------------------------------------------------


def test_a_restart_digests_no_file_again_unless_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [rows(tmp_path / "in" / f"{number}.jsonl", TEXT * 9) for number in range(3)]
    digested = []

    def counted(file: finding.File) -> str:
        digested.append(Path(file.url).name)
        return content_digest(file)

    monkeypatch.setattr(remembered.files, "content_digest", counted)
    monkeypatch.setattr(remembered, "_YOUNG_SECONDS", 0.0)
    (tmp_path / "out").mkdir()

    def told() -> dict[str, str]:
        with remembered.remembered_digests(Run(root=str(tmp_path / "out"))) as digest:
            return sources([str(tmp_path / "in")], digest=digest)

    first = told()
    assert digested == ["0.jsonl", "1.jsonl", "2.jsonl"]
    assert told() == first
    assert len(digested) == 3
    rows(names[1], TEXT * 8)
    assert told() != first
    assert digested[3:] == ["1.jsonl"]
    (tmp_path / "out" / ".inputs.json").write_text("{broken")
    assert len(told()) == 3
    assert len(digested) == 7
