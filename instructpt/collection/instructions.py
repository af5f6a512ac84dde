"""Instructions with their responses to groups: what a model is instruction-tuned on, and the general instructions that
are mixed into a domain's corpus (paper, section 5).

    {"dataset": "mine", "context": "", "question": "Name three rivers.", "answer": "Rhine, Loire, Ebro."}    one group
    {"dataset": "mine", "context": "The Rhine ...", "question": "How long is it?", "answer": "1,233 km"}     one group

The neutral layout of task data (docs/formats.md), but a row needs no context; or one that people have:

    question and answer   {"question": ..., "answer": ..., "context": ...}
    Alpaca                {"instruction": ..., "input": ..., "output": ...}
    prompt, completion    {"prompt": ..., "completion": ...}; also response
    messages              {"messages": [{"role": "user", "content": ...}, {"role": "assistant", ...}, ...]}
    ShareGPT              {"conversations": [{"from": "human", "value": ...}, {"from": "gpt", ...}, ...]}

A conversation is one group, a pair a turn; what a system message says is its context, and a turn without an answer is
left out. `Convert` is for annotated sets, whose rows are gathered by context and balanced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, ClassVar

from instructpt import files
from instructpt.artifacts import Run, Stage
from instructpt.artifacts.tally import count_pairs
from instructpt.collection import catalog
from instructpt.collection.neutral import TaskRecord, pair_of, parse, reject, rows
from instructpt.errors import InputError, RecipeError
from instructpt.files import File
from instructpt.records import Document, Group, Pair, Reject, Shot

WANTED = (
    "question and answer; instruction, input and output; prompt and completion; messages of role and content; or "
    "conversations of from and value"
)
_PAIRS = (
    ("question", "answer", "context"),
    ("instruction", "output", "input"),
    ("instruction", "response", "context"),
    ("prompt", "completion", "context"),
    ("prompt", "response", "context"),
)
"""Fields of question, answer and, where it is there, context."""
_TURNS = (("messages", "role", "content"), ("conversations", "from", "value"), ("conversations", "role", "content"))
_SPEAKERS = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}
_KEPT = ("options", "rationale", "meta")


@dataclass(frozen=True, kw_only=True)
class Instructions(Stage[Group]):
    """Rows of question and answer, each a group of its own, with or without a context."""

    takes: ClassVar[str] = "rows"
    makes: ClassVar[str] = "groups"

    files: tuple[str, ...]
    """JSON lines in the neutral layout or another of those above: files, folders or globs."""
    limit: int | None = None
    """Only so many rows a file."""
    seed: int = 0
    """Draws the wording of rows that have none."""

    def __post_init__(self) -> None:
        """Raises RecipeError without a file."""
        if not self.files:
            raise RecipeError(f"{self.name} has no instructions: give files in the neutral layout (docs/formats.md)")

    def check(self, run: Run) -> None:
        """Raises InputError for a file whose first row has no layout that is known."""
        for file in files.find(*self.files):
            row = next((row for _, row in rows(file.url) if isinstance(row, dict)), None)
            if row is not None and neutral_rows(row, dataset=_name(file)) is None:
                raise InputError(f"{file.url} has rows with the fields {', '.join(map(str, row))}: wanted are {WANTED}")

    def sources(self, run: Run) -> Mapping[str, str]:
        """Files and catalog by content: the catalog words what a set asks of all its rows alike."""
        return {file.url: files.content_digest(file) for file in files.find(*self.files)} | catalog.sources()

    def num_shards(self, run: Run) -> int:
        """One a file."""
        return len(files.find(*self.files))

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """The rows of a file, in order; those that are no instruction are counted by reason."""
        known, file = catalog.load(), files.find(*self.files)[index]
        for number, (excerpt, row) in enumerate(islice(rows(file.url), self.limit)):
            run.tally.take()
            shot = self._shot(row, excerpt, number=number, file=file, known=known)
            if isinstance(shot, Reject):
                run.tally.drop(shot.reason, shot.text)
                continue
            run.tally.keep()
            name = row.get("id", "") if isinstance(row, dict) else ""
            yield count_pairs(Group(f"{index:05d}-{number:08d}:{name}", (shot,)), run.tally)

    def _shot(self, row: object, excerpt: str, *, number: int, file: File, known: catalog.Catalog) -> Shot | Reject:
        """A row's context with its pairs, or why there are none."""
        if not isinstance(row, dict):
            return Reject(excerpt, "not_json")
        exchanges = neutral_rows(row, dataset=_name(file))
        if not exchanges:
            return Reject(excerpt, "bad_field" if exchanges is None else "no_answered_turn")
        made: list[tuple[TaskRecord, Pair]] = []
        for exchange in exchanges:
            record = parse(exchange, excerpt=excerpt)
            if isinstance(record, Reject):
                return record
            pair = pair_of(record, catalog=known, seed=self.seed, unanswerable_share=0.0)
            if isinstance(pair, str):
                return reject(record, pair)
            made.append((record, pair))
        first, pairs = made[0][0], tuple(pair for _, pair in made)
        return Shot(Document(first.id or str(number), first.context.strip(), first.dataset), pairs)


def _name(file: File) -> str:
    return files.base_name(file.url).partition(".")[0]


def neutral_rows(row: Mapping[str, Any], *, dataset: str) -> list[dict[str, Any]] | None:
    """The row in the neutral layout, a dictionary an exchange; None if it has none of the layouts above.

    dataset: what the rows are called where they do not say.
    """
    common = {"dataset": row.get("dataset", dataset), "id": row.get("id", "")}
    for question, answer, context in _PAIRS:
        if question in row and answer in row:
            exchange = {"question": row[question], "answer": row[answer], "context": row.get(context) or ""}
            return [common | exchange | {name: row[name] for name in _KEPT if name in row}]
    for turns, speaker, said in _TURNS:
        listed = row.get(turns)
        if isinstance(listed, list) and all(
            isinstance(turn, dict) and {speaker, said} <= turn.keys() for turn in listed
        ):
            found = [(_SPEAKERS.get(str(turn[speaker]), ""), turn[said]) for turn in listed]
            return [common | exchange for exchange in _exchanges(found)]
    return None


def _exchanges(turns: list[tuple[str, Any]]) -> Iterator[dict[str, Any]]:
    context = "\n\n".join(str(said) for speaker, said in turns if speaker == "system")
    for (speaker, question), (next_speaker, answer) in pairwise(turns):
        if (speaker, next_speaker) == ("user", "assistant"):
            yield {"question": question, "answer": answer, "context": context}
