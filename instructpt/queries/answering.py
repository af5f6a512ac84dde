"""A model answers queries from the passages that they were matched to.

passage 7   "how wide is the gate"   -> 4 metres                         a pair
            "who painted the gate"   -> The text does not say.           a reject, passage_does_not_say
            "is the gate open"       -> (no usable answer)               a reject, unanswered/REASON
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.artifacts.tally import Tally
from instructpt.engines.models import Model
from instructpt.records import Document, Group, Pair, Reject, Shot
from instructpt.synthesis.opening import ModelStage
from instructpt.words.batches import batches
from instructpt.words.overlap import exact_match

if TYPE_CHECKING:
    from instructpt.synthesis.asking import Synthesis

MAX_A_PASSAGE = 16
"""Queries of one passage that are asked, those that it matches best, templates last; the others are `surplus`."""
SURPLUS, SAYS_NOT = "surplus", "passage_does_not_say"
_BATCH_QUERIES = 4_096
_NO_ANSWER_YET = "?"
"""A question is asked as a pair, and no dialect takes one with an empty answer."""

Asked = tuple[int, Document, list[str], list[str]]
"""A passage's row, the passage, its queries that are asked, and those too many."""


@dataclass(frozen=True, kw_only=True)
class Answer(ModelStage):
    """The passages that queries were matched to, a group each, with a pair for each query that the model answers.

    Every query that was matched is in one pair or one reject of its passage; no tally has a sample of them.
    """

    takes: ClassVar[str] = "queries"
    makes: ClassVar[str] = "passages"
    may_leave_nothing = True

    passages: Stage[Document]
    matched: Stage[Document]
    """Queries as `Match` or `Spread` leaves them."""
    model: Model
    max_new_tokens: int = 64

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """A group for each of the shard's passages with queries; what the open shard's ledger holds is not asked."""
        unanswerable, num_asked = self.prompting(run).unanswerable, 0
        with self.begun(index, run) as synthesis:
            found = self._asked(index, run)
            for batch in batches(found, size=lambda item: len(item[2]), enough=_BATCH_QUERIES):
                results = iter(_answers(batch, synthesis, unanswerable=unanswerable))
                for row, document, queries, too_many in batch:
                    answers = [next(results) for _ in queries]
                    pairs = tuple(answer for answer in answers if isinstance(answer, Pair))
                    rejects = [answer for answer in answers if isinstance(answer, Reject)]
                    rejects += [Reject(query, SURPLUS) for query in too_many]
                    _count(pairs, rejects, run.tally)
                    yield Group(f"{index:05d}-{row:08d}", (Shot(document, pairs, rejects=tuple(rejects)),))
                num_asked += sum(len(queries) for _, _, queries, _ in batch)
                run.progress.news(self.name, {"asked": f"{num_asked:,}"})

    def _asked(self, index: int, run: Run) -> Iterator[Asked]:
        """The shard's passages that have queries, in order. Memory: about 130 bytes a query of the shard."""
        rows, scores, queries, filled = array("q"), array("d"), list[str](), array("b")
        for query in run.records(self.matched):
            if query.meta.get("shard") == index:
                run.tally.take()
                rows.append(query.meta["row"])
                scores.append(-query.meta["score"])
                filled.append("template" in query.meta)
                queries.append(query.text)
        order = iter(sorted(range(len(queries)), key=lambda i: (rows[i], filled[i], scores[i], i)))
        waiting = next(order, None)
        for row, document in enumerate(run.records(self.passages, index)):
            own = list[str]()
            while waiting is not None and rows[waiting] == row:
                own.append(queries[waiting])
                waiting = next(order, None)
            if own:
                yield row, document, own[:MAX_A_PASSAGE], own[MAX_A_PASSAGE:]
            if waiting is None:
                return


def _answers(batch: Sequence[Asked], synthesis: Synthesis, *, unanswerable: str) -> Iterator[Pair | Reject]:
    """A pair for each query of a batch, or a reject whose text is the query."""
    from instructpt.synthesis.responses import answers_alone

    asked = [(document, Pair(query, _NO_ANSWER_YET)) for _, document, queries, _ in batch for query in queries]
    refused = [synthesis.dialect.refuse(question) for _, question in asked]
    answers = answers_alone(asked, synthesis=synthesis, refused=refused)
    for (_, question), answer in zip(asked, answers, strict=True):
        if isinstance(answer, Reject):
            yield Reject(question.question, answer.reason)
        elif unanswerable and exact_match(answer.answer, unanswerable):
            yield Reject(question.question, SAYS_NOT)
        else:
            yield answer


def _count(pairs: Sequence[Pair], rejects: Sequence[Reject], tally: Tally) -> None:
    tally.keep(len(pairs))
    tally.count("pairs", len(pairs))
    for reject in rejects:
        tally.drop(reject.reason)
