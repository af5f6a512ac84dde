"""Queries to pairs: read, matched to passages, put to others, answered, laid beside what was written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from instructpt.artifacts import Product, Run, Stage, Table
from instructpt.artifacts.remembered import remembered_digests
from instructpt.corpus import readers
from instructpt.engines.models import model_sources
from instructpt.errors import RecipeError
from instructpt.queries.reading import key, read_queries
from instructpt.records import Document, Group, Reject
from instructpt.verification.consistency import Consistency
from instructpt.verification.stages import Verify
from instructpt.words import languages

if TYPE_CHECKING:
    from instructpt.queries.index import Hit, Search

QUERIES_A_SHARD = 20_000
"""Matched as one unit of work, in about a minute."""
PLANNED_ROWS = 100_000
"""Looked at by `instructpt plan`; reading them takes some seconds."""
MIN_COVERED = 0.5
"""Of the weight of a query's words, the share that its passage must have. 5 in 100 questions whose passage was found
have less, and so have 78 in 100 questions on texts that the corpus does not have (docs/log.md)."""
LOOKED_AT = 4
"""Passages for each that a template is to be put to: in many of them a slot stays open."""
MIN_LANGUAGE_SHARE = 0.01
"""Of the passages, that make a language one of the corpus."""
OTHER_LANGUAGE, NO_PASSAGE, NOT_ANSWERED = "other_language", "no_passage", "not_answered"


@dataclass(frozen=True, kw_only=True)
class ReadQueries(Stage[Document]):
    """Queries from files, each once. Nothing else of a row is kept, and no tally has a sample."""

    takes: ClassVar[str] = "rows"
    makes: ClassVar[str] = "queries"
    is_single = True

    files: tuple[str, ...]
    """Text with one query a line, or rows of any format that `corpus.readers` reads."""
    query_field: str = "query"
    """Field of a row that holds the query."""

    def outline(self, run: Run) -> Table:
        """How many queries the first rows hold, and what the others are."""
        rows = islice(read_queries(self.files, field=self.query_field), PLANNED_ROWS)
        found = Counter(row.reason if isinstance(row, Reject) else "queries" for row in rows)
        cells = [(name, f"{count:,}") for name, count in found.most_common()]
        is_cut = found.total() == PLANNED_ROWS
        notes = ("a query with a passage is one request to the model, and one to its reader if that confirms",)
        of = f"the first {PLANNED_ROWS:,} rows" if is_cut else f"{found.total():,} rows"
        return Table(f"{self.name}: {of}", ("", "number"), tuple(cells), notes)

    def sources(self, run: Run) -> Mapping[str, str]:
        """The files by content."""
        with remembered_digests(run) as digest:
            return readers.sources(self.files, digest=digest)

    def shard(self, index: int, run: Run) -> Iterator[Document]:
        """All queries, in the order of the files."""
        for row in read_queries(self.files, field=self.query_field):
            run.tally.take()
            if isinstance(row, Reject):
                run.tally.drop(row.reason)
            else:
                run.tally.keep()
                yield row


@dataclass(frozen=True, kw_only=True)
class Index(Stage[Any]):
    """What stands where in the passages, a folder a shard (`queries.index`)."""

    product: ClassVar[Product] = "folder"
    takes: ClassVar[str] = "passages"
    makes: ClassVar[str] = "passages"
    packages: ClassVar[tuple[str, ...]] = ("bm25s",)

    passages: Stage[Document]

    def build(self, index: int, run: Run, path: Path) -> None:
        """The arrays of a shard's passages."""
        from instructpt.queries.index import build

        run.tally.made = build((document.text for document in run.take(self.passages, index)), path)


@dataclass(frozen=True, kw_only=True)
class Embed(Stage[Any]):
    """An encoder's vectors of the passages, a folder a shard (`queries.embeddings`)."""

    product: ClassVar[Product] = "folder"
    takes: ClassVar[str] = "passages"
    makes: ClassVar[str] = "passages"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    passages: Stage[Document]
    model: str
    """The encoder: a folder or a Hub id."""

    def sources(self, run: Run) -> Mapping[str, str]:
        """The encoder's identity."""
        return model_sources(self.model, run)

    def build(self, index: int, run: Run, path: Path) -> None:
        """The vectors of a shard's passages."""
        from instructpt.queries.embeddings import Encoder, embed

        texts = (document.text for document in run.take(self.passages, index))
        run.tally.made = embed(texts, path, Encoder(self.model, device=run.device))


@dataclass(frozen=True, kw_only=True)
class Match(Stage[Document]):
    """Each query with the passage that may answer it (`meta`: shard, row, score, covered), or with a `reason`.

    Counted are "matched" and "unmatched/REASON", together as many as there are queries.
    """

    takes: ClassVar[str] = "queries"
    makes: ClassVar[str] = "queries"

    queries: Stage[Document]
    index: Index
    min_covered: float = MIN_COVERED
    """Of the weight of a query's words, the share that its passage must have."""
    embeddings: Embed | None = field(default=None, metadata={"later": True})
    """What finds passages by meaning, beside words. A passage that both find early needs no share of the words."""

    def num_shards(self, run: Run) -> int:
        """One for so many queries, so that several processes share them, and one that was killed goes on."""
        return max(1, -(-run.num_made(self.queries, 0) // QUERIES_A_SHARD))

    def shard(self, index: int, run: Run) -> Iterator[Document]:
        """A range of the queries, in their order."""
        from instructpt.queries.index import Search

        search = Search([run.product(self.index, f"{shard:05d}") for shard in range(run.num_shards(self.index))])
        spoken = {name for name, count in search.languages.items() if count >= MIN_LANGUAGE_SHARE * search.num_passages}
        start = index * QUERIES_A_SHARD
        queries = list(islice(run.records(self.queries), start, start + QUERIES_A_SHARD))
        nearest = self._nearest([query.text for query in queries], run)
        for number, query in enumerate(queries):
            run.tally.take()
            meta = self._place(query.text, search, spoken, next(nearest))
            run.tally.count(f"unmatched/{meta['reason']}" if "reason" in meta else "matched")
            if number % 100 == 0:
                run.progress.news(self.name, {"matched": f"{number:,}"})
            yield replace(query, meta=meta)

    def _nearest(self, queries: Sequence[str], run: Run) -> Iterator[Sequence[tuple[int, int]] | None]:
        """The passages that are nearest to each query; None where nothing is embedded."""
        if self.embeddings is None:
            yield from (None for _ in queries)
            return
        from instructpt.queries.embeddings import Encoder, Nearest

        vectors = Encoder(self.embeddings.model, device=run.device).all_vectors(queries)
        folders = [run.product(self.embeddings, f"{shard:05d}") for shard in range(run.num_shards(self.embeddings))]
        yield from map(Nearest(folders).find, vectors)

    def _place(
        self, query: str, search: Search, spoken: set[str], nearest: Sequence[tuple[int, int]] | None
    ) -> dict[str, Any]:
        language = languages.identify(query)
        if spoken and language is not None and language not in spoken:
            return {"reason": OTHER_LANGUAGE, "language": language}
        if nearest is None:
            hits = search.find(query, most=1)
            is_sure = False
        else:
            from instructpt.queries.embeddings import fused
            from instructpt.queries.index import CANDIDATES

            both = fused(search.find(query, most=CANDIDATES), nearest, num_passages=search.num_passages)
            hits, is_sure = [hit for hit, _ in both], both[0][1] if both else False
        if not hits or not (is_sure or hits[0].covered >= self.min_covered):
            return {"reason": NO_PASSAGE}
        return _found(hits[0])


@dataclass(frozen=True, kw_only=True)
class Spread(Stage[Document]):
    """Queries with their passages, each followed by what it asks as a template about other ones (`queries.templates`).

    What a template asks has the query's id as `meta` "template". Counted are "templates" and what they asked ("asked").
    """

    takes: ClassVar[str] = "queries"
    makes: ClassVar[str] = "questions"

    matched: Match
    passages: Stage[Document]
    most: int
    """Other passages that a query is put to."""

    def __post_init__(self) -> None:
        if self.most < 1:
            raise RecipeError(f"{self.name}: {self.most} passages a template: give at least 1")

    def shard(self, index: int, run: Run) -> Iterator[Document]:
        """The shard's queries. Memory: the passages of 20,000 queries, and of the templates that these make."""
        from instructpt.queries.index import Search
        from instructpt.queries.templates import template

        queries = list(run.take(self.matched, index))
        passages = self._texts({_place(query.meta) for query in queries if "shard" in query.meta}, run)
        made = {
            query.id: found
            for query in queries
            if "shard" in query.meta and (found := template(query.text, passages[_place(query.meta)]))
        }
        search = Search([run.product(self.matched.index, f"{n:05d}") for n in range(run.num_shards(self.passages))])
        hits = {name: search.find(one.rest, most=1 + LOOKED_AT * self.most) for name, one in made.items()}
        hits = {name: [hit for hit in found if hit.covered >= MIN_COVERED] for name, found in hits.items()}
        passages = self._texts({(hit.shard, hit.row) for found in hits.values() for hit in found}, run)
        run.tally.count("templates", len(made))
        known = {key(query.text) for query in queries}
        for query in queries:
            run.tally.keep()
            yield query
            num_asked = 0
            for hit in hits.get(query.id, ()):
                text = made[query.id].filled(passages[hit.shard, hit.row])
                if text is None or num_asked == self.most or (named := key(text)) in known:
                    continue
                known.add(named)
                num_asked += 1
                meta = {**_found(hit), "template": query.id}
                yield Document(f"{query.id}.{num_asked}", text, query.source, meta)
            run.tally.count("asked", num_asked)

    def _texts(self, places: set[tuple[int, int]], run: Run) -> dict[tuple[int, int], str]:
        """Passages by shard and row."""
        found = dict[tuple[int, int], str]()
        for shard in sorted({shard for shard, _ in places}):
            for row, document in enumerate(run.records(self.passages, shard)):
                if (shard, row) in places:
                    found[shard, row] = document.text
        return found


def _place(meta: Mapping[str, Any]) -> tuple[int, int]:
    return meta["shard"], meta["row"]


def _found(hit: Hit) -> dict[str, Any]:
    return {"shard": hit.shard, "row": hit.row, "score": hit.score, "covered": hit.covered}


class Confirmed(Consistency):
    """Answers on which a second model agrees; its tally has no samples, since a query may hold personal data."""

    may_leave_nothing = True

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """See `Consistency.shard`."""
        yield from super().shard(index, run)
        run.tally.samples.clear()


class Checked(Verify):
    """Answers that pass the checks; its tally has no samples, since a query may hold personal data."""

    may_leave_nothing = True

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """See `Verify.shard`."""
        yield from super().shard(index, run)
        run.tally.samples.clear()


@dataclass(frozen=True, kw_only=True)
class Unanswered(Stage[Document]):
    """What the corpus cannot answer: each query without a pair, with its reason, in the order of the files.

    What templates asked is no query of a user's, and is left aside.
    Counted are "queries", "queries_answered" and "unanswered/REASON". Memory: about 100 bytes a query.
    """

    takes: ClassVar[str] = "queries"
    makes: ClassVar[str] = "queries"
    is_single = True
    may_leave_nothing = True

    matched: Stage[Document]
    answered: Stage[Group]
    """Passages with the queries' pairs, and rejects of all queries that were asked and have none."""

    def shard(self, index: int, run: Run) -> Iterator[Document]:
        """The queries without a pair."""
        answered, reasons = set[int](), dict[int, str]()
        for group in run.records(self.answered):
            for shot in group.shots:
                answered.update(key(pair.question) for pair in shot.pairs)
                reasons.update((key(reject.text.partition("\n")[0]), reject.reason) for reject in shot.rejects)
        for query in run.take(self.matched):
            named = key(query.text)
            if "template" in query.meta:
                run.tally.drop("template")
                run.tally.count("templates_answered", named in answered)
                continue
            run.tally.count("queries")
            if named in answered:
                run.tally.count("queries_answered")
                run.tally.drop("answered")
                continue
            reason = query.meta.get("reason") or reasons.get(named, NOT_ANSWERED)
            run.tally.count(f"unanswered/{reason}")
            yield replace(query, meta={"reason": reason})
