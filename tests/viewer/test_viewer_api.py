"""What the viewer's server says: pages, search, lineage, rows, and whom it refuses."""

from __future__ import annotations

import asyncio
from mimetypes import MimeTypes
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import ClientSession
from conftest import corpus_rows, write_corpus
from viewing import answer, answers, viewed
from written_artifact import seal, write_artifact

from instructpt.artifacts import Run
from instructpt.artifacts.storage import ROWS_PER_CHUNK, read_parquet
from instructpt.artifacts.tally import Tally
from instructpt.assembly.stages import Pack
from instructpt.cli.commands import main
from instructpt.errors import ArtifactError, InputError
from instructpt.executors.make import make
from instructpt.recipes.augment import augment
from instructpt.records import Document, Group, Item, Match, Pair, Reject, Score, Shot, Text
from instructpt.viewer.server import MAX_HITS, SECURITY, is_loopback, is_ours
from instructpt.viewer.shelf import Library, Shelf

NUM_MANY = 1_000_000


def group(number: int) -> Group:
    """Even ones have a pair about a heron, odd ones a reject."""
    document = Document(f"p{number}", f"Passage {number}. The Heron waits in London.", f"corpus/{number % 3}.jsonl")
    pairs = (Pair("Who waits?", "the heron", category="who"), Pair("Is it so?", "yes", ("yes", "no"), None, "verdict"))
    shot = Shot(document, pairs[: 2 - number % 2], rejects=(Reject("Q?\nA", "no_end_tag"),) * (number % 2))
    return Group(f"g{number}", (shot,))


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 groups in two shards."""
    folder = tmp_path_factory.mktemp("viewed") / "groups"
    tally = Tally(300, 300, 300, 300, counts={"pairs": 450, "rejects/no_end_tag": 150})
    return write_artifact(folder, Group, [map(group, range(100)), map(group, range(100, 300))], tally=tally)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, vocabulary_folder: Path) -> Path:
    """A corpus augmented by rules and packed."""
    folder = tmp_path_factory.mktemp("augmented")
    corpus = write_corpus(folder / "my.jsonl", corpus_rows(12))
    texts = augment((str(corpus),), mine=True, passage_tokens=120)
    rows = Pack(name="rows", texts=texts, vocabulary=str(vocabulary_folder), row_tokens=256)
    make(rows, Run(root=str(folder / "run"), workers=1))
    return folder / "run"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A million documents in two shards, cheaply: in each row group the same texts, under their own numbers."""
    folder = tmp_path_factory.mktemp("viewed") / "many"
    folder.mkdir()
    texts = pa.array([f"{number * 2654435761 % 2**64:x} heron" for number in range(ROWS_PER_CHUNK)], pa.large_string())
    counts, first = [NUM_MANY // 4, NUM_MANY - NUM_MANY // 4], 0
    schema = pa.schema(
        [("id", pa.string()), ("text", pa.large_string()), ("source", pa.string()), ("meta", pa.large_string())]
    )
    for shard, count in enumerate(counts):
        with pq.ParquetWriter(folder / f"{shard:05d}.parquet", schema, compression="zstd") as writer:
            for start in range(first, first + count, ROWS_PER_CHUNK):
                number = min(ROWS_PER_CHUNK, first + count - start)
                ids = pa.array(range(start, start + number)).cast(pa.string())
                source = pa.repeat(f"file-{start // ROWS_PER_CHUNK:05d}", number)
                meta = pa.repeat("{}", number).cast(pa.large_string())
                columns = [ids, texts.slice(0, number), source, meta]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=ROWS_PER_CHUNK)
        first += count
    seal(folder, Document, counts)
    return folder


def shelf(library: Library, name: str) -> Shelf:
    content = library.opened(name).content
    assert isinstance(content, Shelf)
    return content


def hits(lines: list[dict[str, Any]]) -> list[int]:
    return [hit["row"] for line in lines for hit in line["hits"]]


# Pages


def test_records_are_numbered_through_the_shards(groups: Path) -> None:
    page = answer(groups, "/api/groups/records?start=98&count=4")["records"]
    assert [(record["row"], record["id"]) for record in page] == [(n, f"g{n}") for n in range(98, 102)]
    assert page[1]["tags"] == ["1 passage", "1 pair", "1 left out"]
    about = answer(groups, "/api/groups/about")
    assert (about["num_records"], about["num_shards"], about["record"]) == (300, 2, "Group")
    assert about["filters"] == ["category", "reason", "source"]
    assert answer(groups, "/api/groups/records?start=299&count=25")["records"][0]["id"] == "g299"
    assert answer(groups, "/api/groups/records?start=300")["records"] == []


def test_a_million_records_open_by_a_few_reads(many: Path) -> None:
    library = Library(str(many))
    opened = shelf(library, "many")
    about, middle, end, one = (
        said
        for _, said in answers(
            library,
            "/api/many/about",
            "/api/many/records?start=500000&count=25",
            "/api/many/records?start=999990",
            "/api/many/records/999999",
        )
    )
    assert about["num_records"] == NUM_MANY
    assert [record["id"] for record in middle["records"]] == [str(n) for n in range(500_000, 500_025)]
    assert len(end["records"]) == 10
    assert one["id"] == "999999"
    assert opened.num_blocks_read <= 3
    sampled = answer(library, "/api/many/charts")
    assert (sampled["of"], sampled["sampled"] <= 8_192) == (NUM_MANY, True)
    assert opened.num_blocks_read <= 30


def test_opening_reads_no_shard(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.local import LocalFileSystem

    opened, really = [], LocalFileSystem.open
    monkeypatch.setattr(
        LocalFileSystem, "open", lambda self, path, *a, **k: opened.append(path) or really(self, path, *a, **k)
    )
    answer(many, "/api/many/about")
    assert opened
    assert not [path for path in opened if path.endswith(".parquet")]


def test_a_pair_beside_the_words_that_bear_it_out(groups: Path) -> None:
    (shot,) = answer(groups, "/api/groups/records/4")["shots"]
    assert shot["pieces"] == [["Passage 4. ", []], ["The Heron", [0]], [" waits in London.", []]]
    assert [pair["support"] for pair in shot["pairs"]] == ["span", "option"]
    (shot,) = answer(groups, "/api/groups/records/5")["shots"]
    assert shot["rejects"] == [{"text": "Q?\nA", "reason": "no_end_tag"}]


def test_a_text_shows_what_carries_loss_and_where_sequences_end(tmp_path: Path) -> None:
    text = Text("t", "Q: who? A: Mary. Q: when? A: 1843.", "s", "task", spans=((8, 16), (26, 34)), breaks=(17,))
    write_artifact(tmp_path / "texts", Text, [[text, Text("u", "plain", "s", "raw")]])
    (_, one), (_, two) = answers(tmp_path / "texts", "/api/texts/records/0", "/api/texts/records/1")
    assert "".join(piece for piece, _ in one["text_pieces"]) == text.text
    assert [piece for piece, learned in one["text_pieces"] if learned] == ["A: Mary.", "A: 1843."]
    assert [one["text_pieces"][part][0] for part in one["parts"]] == ["Q: when? "]
    assert (two["all_loss"], two["text_pieces"]) == (True, [["plain", True]])


def test_a_long_text_is_cut_unless_all_is_asked_for(tmp_path: Path) -> None:
    write_artifact(tmp_path / "documents", Document, [[Document("d", "x" * 1_000_000, "s")]])
    (_, cut), (_, whole) = answers(tmp_path / "documents", "/api/documents/records/0", "/api/documents/records/0?all=1")
    assert (cut["cut"], cut["characters"], len(cut["pieces"][0][0])) == (True, 1_000_000, 200_000)
    assert (whole["cut"], len(whole["pieces"][0][0])) == (False, 1_000_000)


def test_scores_items_and_matches(tmp_path: Path) -> None:
    write_artifact(
        tmp_path / "scores", Score, [[Score("arc", "acc", 0.5, None, 8, "m"), Score("piqa", "acc", 1, 0.1, 8, "m")]]
    )
    write_artifact(tmp_path / "items", Item, [[Item("arc", 3, "", "b", "a", {"acc": 0.0}, 1)]])
    assert answer(tmp_path / "scores", "/api/scores/records/1")["fields"]["stderr"] == 0.1
    assert hits(answer(tmp_path / "scores", "/api/scores/search?task=piqa")) == [1]
    assert answer(tmp_path / "items", "/api/items/records")["records"][0]["tags"] == ["acc 0"]
    match = Match("boolq", (1,), "passage", 3, 9, "an item", 0, "doc", "s", None, None, ((0, 4),), "a text")
    write_artifact(tmp_path / "matches", Match, [[match]])
    assert answer(tmp_path / "matches", "/api/matches/records")["records"][0]["tags"] == [
        "passage",
        "3 of its 9 n-grams",
    ]
    assert hits(answer(tmp_path / "matches", "/api/matches/search?task=boolq&text=ITEM")) == [0]
    assert answer(tmp_path / "items", "/api/items/charts")["values"]["task"] == [["arc", 1]]


# Search


def test_every_text_is_searched_whatever_its_case(groups: Path) -> None:
    found = answer(groups, "/api/groups/search?text=PASSAGE%20117")
    assert hits(found) == [117]
    snippet = next(line for line in found if line["hits"])["hits"][0]["snippet"]
    assert (snippet["field"], snippet["found"], snippet["after"][:5]) == ("text", "Passage 117", ". The")
    assert found[-1] == {"hits": [], "searched": 300, "next": None}
    assert hits(answer(groups, "/api/groups/search?text=is%20it%20so%3F"))[:3] == [0, 2, 4]
    assert hits(answer(groups, "/api/groups/search?text=.*")) == []


def test_filters_by_category_reason_and_source(groups: Path) -> None:
    assert hits(answer(groups, "/api/groups/search?category=verdict"))[:3] == [0, 2, 4]
    assert hits(answer(groups, "/api/groups/search?reason=no_end_tag"))[:3] == [1, 3, 5]
    both = answer(groups, "/api/groups/search?reason=no_end_tag&source=corpus/1.jsonl&text=passage%202")
    assert hits(both) == [n for n in range(300) if n % 2 and n % 3 == 1 and str(n).startswith("2")]


def test_filters_texts_by_the_layout_of_their_template(tmp_path: Path) -> None:
    layouts = ("classic", "dialog", "", "classic")
    texts = [Text(f"t{i}", "A heron.", "s", "augmented", layout=layout) for i, layout in enumerate(layouts)]
    write_artifact(tmp_path / "texts", Text, [texts])
    assert hits(answer(tmp_path / "texts", "/api/texts/search?layout=classic")) == [0, 3]
    assert answer(tmp_path / "texts", "/api/texts/records/0")["layout"] == "classic"


def test_a_search_stops_and_goes_on(groups: Path) -> None:
    first = answer(groups, "/api/groups/search?text=heron")
    assert len(hits(first)) == MAX_HITS
    assert first[-1]["next"] == MAX_HITS
    second = answer(groups, f"/api/groups/search?text=heron&start={MAX_HITS}")
    assert hits(second) == [*range(MAX_HITS, 2 * MAX_HITS)]


def test_a_filter_reads_only_where_its_value_may_be(many: Path) -> None:
    library = Library(str(many))
    found = answer(library, "/api/many/search?source=file-00700")
    first = next(start for start in range(NUM_MANY // 4, NUM_MANY, ROWS_PER_CHUNK) if start // ROWS_PER_CHUNK == 700)
    assert hits(found) == [*range(first, first + MAX_HITS)]
    assert shelf(library, "many").num_blocks_read <= 4


def test_a_search_whose_page_went_away_stops_reading(many: Path) -> None:
    library = Library(str(many))

    async def leave() -> None:
        async with viewed(library) as url, ClientSession() as session:
            async with session.get(f"{url}/api/many/search?text=nowhere") as response:
                await response.content.readline()
            before = -1
            while before != shelf(library, "many").num_blocks_read:
                before = shelf(library, "many").num_blocks_read
                await asyncio.sleep(0.3)

    asyncio.run(leave())
    assert 0 < shelf(library, "many").num_blocks_read < NUM_MANY / ROWS_PER_CHUNK / 2


# Lineage, rows, charts


def test_from_a_text_to_the_row_of_its_file(root: Path) -> None:
    said = answer(root / "texts", "/api/texts/records/3/way")
    stages = [hop["stage"] for hop in said["hops"]]
    assert (stages[0], stages[-1]) == ("Template", "Read")
    last = said["hops"][-1]
    assert "my.jsonl, row " in last["notes"][0]
    (document,) = [answer(root / "texts", f"/api/{last['artifact']}/records/{last['row']}")]
    assert document["id"] == last["id"]


def test_of_records_with_one_id_each_has_its_own_way(tmp_path: Path) -> None:
    write_artifact(tmp_path / "documents", Document, [[Document("same", text, "s") for text in ("a", "b")]])
    (_, first), (_, second) = answers(
        tmp_path / "documents", "/api/documents/records/0/way", "/api/documents/records/1/way"
    )
    assert [way["hops"][0]["row"] for way in (first, second)] == [0, 1]


def test_a_packed_row_token_by_token(root: Path) -> None:
    listed = answer(root / "rows", "/api/rows/records?start=0&count=100")["records"]
    row = answer(root / "rows", "/api/rows/records/0")
    assert row["row_tokens"] == 256
    assert len(row["ids"]) + row["unused"] == 256
    assert sum(piece["tokens"] for piece in row["pieces_of"]) == len(row["ids"])
    assert f"{len(row['pieces_of'])} document" in listed[0]["tags"][0]
    for place, document in enumerate(row["documents"]):
        is_first = place == 0 or document != row["documents"][place - 1]
        assert (row["positions"][place] == 0) == is_first
        assert not (is_first and row["learned"][place])
    piece = row["pieces_of"][0]
    with (root / piece["text"]["artifact"] / "00000.parquet").open("rb") as file:
        text = [*read_parquet(file, Text)][piece["text"]["row"]]
    assert text.id == piece["id"]
    assert "".join(row["texts"][1 : piece["tokens"]])[:40] in text.text
    assert row["texts"][0] == "<s>"


def test_rows_without_their_vocabulary_are_ids(root: Path, vocabulary_folder: Path) -> None:
    aside = vocabulary_folder.with_name("aside")
    vocabulary_folder.rename(aside)
    try:
        row = answer(root / "rows", "/api/rows/records/0")
    finally:
        aside.rename(vocabulary_folder)
    assert row["texts"] is None
    assert row["ids"]


def test_what_it_was_made_from_and_what_was_left_out(root: Path) -> None:
    about = answer(root, "/api/texts/about")
    assert about["made_from"][0]["name"] == "documents"
    assert about["made_from"][-1]["name"] == "texts"
    assert about["taken"] == about["kept"] + sum(about["dropped"].values())
    assert about["made_by"]["instructpt"]


def test_charts_say_what_they_count(groups: Path) -> None:
    said = answer(groups, "/api/groups/charts")
    assert (said["sampled"], said["of"]) == (300, 300)
    charts = {chart["title"]: chart["bars"] for chart in said["charts"]}
    assert charts["Passages by number of pairs"] == [["0", 0], ["1", 150], ["2", 150]]
    assert charts["Pairs by category"] == [["who", 300], ["verdict", 150]]
    assert said["values"]["reason"] == [["no_end_tag", 150]]


def test_a_run_opens_at_its_last_artifact(root: Path) -> None:
    said = answer(root, "/api/artifacts")
    assert said["first"] == "rows"
    assert {"documents", "texts", "rows"} <= {*said["names"]}


# Mistakes, damage, strangers


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/api/groups/records/300", 404, "has no record 300: give a number below 300"),
        ("/api/groups/records?start=-1", 404, "start is '-1'"),
        ("/api/groups/search?colour=red", 404, "cannot be filtered by 'colour'"),
        ("/api/nothing/about", 404, "no artifact 'nothing'"),
        ("/api/..%2Fgroups/about", 404, "no artifact"),
        ("/api/.../about", 404, "no artifact"),
        ("/etc/passwd", 404, "Not Found"),
    ],
)
def test_a_mistake_is_one_line(groups: Path, path: str, status: int, error: str) -> None:
    ((found, said),) = answers(groups, path)
    assert found == status
    assert error in said["error"]
    assert "\n" not in said["error"]


def test_an_artifact_under_way_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_artifact(tmp_path / "documents", Document, [[Document("d", "x", "s")]])
    (folder / "manifest.json").unlink()
    assert main(["view", str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "run its recipe to the end first" in said
    with pytest.raises(ArtifactError, match="no finished artifact"):
        Library(str(tmp_path / "nothing"))


@pytest.mark.parametrize("damage", ["cut", "gone", "other"])
def test_a_damaged_shard_is_one_line(tmp_path: Path, damage: str) -> None:
    folder = write_artifact(tmp_path / "documents", Document, [[Document(str(n), "x" * 99, "s") for n in range(9)]])
    shard = folder / "00000.parquet"
    if damage == "cut":
        shard.write_bytes(shard.read_bytes()[:200])
    elif damage == "gone":
        shard.unlink()
    else:
        other = write_artifact(tmp_path / "other", Document, [[Document("d", "x", "s")]])
        shard.write_bytes((other / "00000.parquet").read_bytes())
    (status, said), (_, lines) = answers(folder, "/api/documents/records", "/api/documents/search?text=x")
    assert status == 409
    assert "00000.parquet" in said["error"]
    assert "00000.parquet" in lines[-1]["error"]
    assert "\n" not in said["error"]


def test_a_missing_seal_is_told_at_the_start(tmp_path: Path) -> None:
    folder = write_artifact(tmp_path / "documents", Document, [[Document("d", "x", "s")]])
    (folder / "00000.json").unlink()
    with pytest.raises(ArtifactError, match=r"00000\.json is missing or damaged"):
        Library(str(folder))


def test_strangers_are_refused(groups: Path) -> None:
    for headers in ({"Host": "evil.example"}, {"Host": "evil.example:8765"}, {"Sec-Fetch-Site": "cross-site"}):
        ((status, said),) = answers(groups, "/api/artifacts", headers=headers)
        assert (status, list(said)) == (403, ["error"])
    ((status, _),) = answers(groups, "/api/artifacts", headers={"Host": "localhost:9999"})
    assert status == 200


@pytest.mark.parametrize(
    ("name", "host", "is_let_in"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("[::1]", "127.0.0.1", True),
        ("localhost", "127.0.0.1", True),
        ("192.168.1.7", "127.0.0.1", False),
        ("rebound.example", "127.0.0.1", False),
        ("192.168.1.7", "0.0.0.0", True),
        ("rebound.example", "0.0.0.0", False),
        ("big.machine", "big.machine", True),
    ],
)
def test_whose_requests_are_answered(name: str, host: str, is_let_in: bool) -> None:
    assert is_ours(name, host=host) == is_let_in
    assert is_loopback(host) == (host == "127.0.0.1")


def test_everything_is_sent_under_the_policy_and_nothing_is_taken(groups: Path) -> None:
    async def look() -> None:
        async with viewed(Library(str(groups))) as url, ClientSession() as session:
            for path in ("/", "/viewer.js", "/viewer.css", "/api/artifacts", "/nothing", "/api/groups/search?text=x"):
                async with session.get(url + path) as response:
                    for name, value in SECURITY.items():
                        assert response.headers[name] == value, path
            async with session.post(f"{url}/api/artifacts") as response:
                assert response.status == 405

    asyncio.run(look())


def test_the_page_has_its_types_on_a_machine_whose_table_is_wrong(
    groups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = MimeTypes()
    for ending in (".html", ".css", ".js"):
        wrong.add_type("text/plain", ending)
    monkeypatch.setattr("aiohttp.web_fileresponse.CONTENT_TYPES", wrong)

    async def look() -> dict[str, str]:
        found = {}
        async with viewed(Library(str(groups))) as url, ClientSession() as session:
            for path in ("/", "/viewer.css", "/viewer.js"):
                async with session.get(url + path) as response:
                    found[path] = response.content_type
        return found

    assert asyncio.run(look()) == {"/": "text/html", "/viewer.css": "text/css", "/viewer.js": "text/javascript"}


def test_a_port_in_use_is_one_line(groups: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def twice() -> int:
        async with viewed(Library(str(groups))) as url:
            return await asyncio.to_thread(_view, str(groups), int(url.rpartition(":")[2]))

    with pytest.raises(InputError, match="give another --port"):
        asyncio.run(twice())


def _view(folder: str, port: int) -> int:
    from instructpt.viewer.server import view_until_stopped

    view_until_stopped(folder, port=port)
    return port
