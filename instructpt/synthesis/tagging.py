r"""Groups to the texts that a synthesizer is tuned on: markup, with loss on the pairs.

A reader is tuned on the questions of a passage, with loss on their answers alone, in the markup `tags`:

    shot        X: q1 a1, q2 a2      Y: q3 a3                       X, Y: passages of one group
    swapped     X: q1 a1, q3 -, q2 a2                               "-": the text does not say
    written     <CON> X </CON>\n\n<QUE> q1 <ANS> a1 </END>\n\n<QUE> q3 <ANS> The text does not say. </END> ...
                                               `- loss -'                      `----------- loss --------'

All questions of a passage share it, so that a token of passage teaches several answers; a reader that is asked one
question sees what it saw of the first. Reasons are left out: a reader answers at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from instructpt.artifacts import Run, Stage
from instructpt.errors import RecipeError
from instructpt.records import Group, Pair, Shot, Text
from instructpt.seeds import rng
from instructpt.synthesis.tags import Tags
from instructpt.words.overlap import is_span, words

UNANSWERABLE = "The text does not say."
"""What a reader answers where the passage holds no answer."""
_TAGS = Tags()


def write_reading(group: Group) -> Text:
    """The group's passages with their questions, a sequence each; loss on every answer, from its tag to its end tag.

    What `Tags.refuse` names a reason for is left out, as in `Tags.write`.
    """
    text, spans, breaks = "", list[tuple[int, int]](), list[int]()
    for shot in group.shots:
        pairs = [plain for pair in shot.pairs if _TAGS.refuse(plain := replace(pair, rationale=None)) is None]
        if not pairs:
            continue
        if text:
            breaks.append(len(text))
        for number, pair in enumerate(pairs):
            (asked,) = _TAGS.ask([], shot.document.text, pair)
            (opening,) = _TAGS.prompt([], shot.document.text)
            text += ("\n\n" + asked.removeprefix(opening)) if number else asked
            written = _TAGS.write(Group("", (Shot(shot.document, (pair,)),))).text
            spans.append((len(text), len(text) + len(written) - len(asked)))
            text += written.removeprefix(asked)
    source = group.shots[0].document.source if group.shots else ""
    return Text(group.id, text, source, "task", tuple(spans), tuple(breaks))


def with_swapped(groups: Iterable[Group], *, share: float, seed: int) -> Iterator[Group]:
    """The groups with questions of other passages among each passage's own, which it does not answer.

    share: of all questions, about; at most half. Taken are questions whose answer stands in their own passage and not
    in this one: those of the passage before it in its group, or of the last one of the group before.
    """
    assert 0 <= share <= 0.5, share
    last: Shot | None = None
    for group in groups:
        shots: list[Shot] = []
        for shot in group.shots:
            drawn = rng(seed, "swapped", group.id, len(shots))
            num_wanted = sum(drawn.random() < share / (1 - share) for _ in shot.pairs)
            pairs = list(shot.pairs)
            if last is not None and num_wanted:
                fitting = _strangers(last, shot)
                for pair in drawn.sample(fitting, min(num_wanted, len(fitting))):
                    pairs.insert(drawn.randint(0, len(pairs)), replace(pair, answer=UNANSWERABLE, rationale=None))
            shots.append(replace(shot, pairs=tuple(pairs)))
            last = shot
        yield replace(group, shots=tuple(shots))


def _strangers(other: Shot, shot: Shot) -> list[Pair]:
    """The questions of another passage that this one does not answer, as far as words can tell."""
    if other.document.text == shot.document.text:
        return []
    theirs, ours = words(other.document.text), words(shot.document.text)
    asked = {pair.question for pair in shot.pairs}
    return [
        pair
        for pair in other.pairs
        if not pair.options
        and pair.question not in asked
        and is_span(pair.answer, theirs)
        and not is_span(pair.answer, ours)
    ]


@dataclass(frozen=True, kw_only=True)
class Tag(Stage[Text]):
    """Synthesizer markup, with loss on what the synthesizer is to write (paper, section 1)."""

    takes: ClassVar[str] = "passages"

    groups: Stage[Group]
    dialect: str = "tags"
    min_pairs: int = 1
    """Passages with fewer are left out: a synthesizer writes as many pairs as it was shown (paper, section 1)."""
    loss: Literal["pairs", "answers"] = field(default="pairs", metadata={"later": True})
    """What is learnt: to write pairs, or to answer questions (then the dialect is `tags`)."""
    swapped_share: float = field(default=0.0, metadata={"later": True})
    """Of the questions, how many come from other passages and are answered by `UNANSWERABLE`."""
    seed: int = field(default=0, metadata={"later": True})
    """Of the draw of these."""

    def __post_init__(self) -> None:
        if self.loss == "answers" and self.dialect != "tags":
            raise RecipeError(f"{self.name}: a reader is tuned in the dialect tags, not {self.dialect}: name that")
        if not 0 <= self.swapped_share <= 0.5 or (self.swapped_share and self.loss == "pairs"):
            raise RecipeError(
                f"{self.name}: swapped_share is {self.swapped_share:g} with loss on {self.loss}: give 0 to 0.5, and "
                "more than 0 only where answers are learnt"
            )

    def shard(self, index: int, run: Run) -> Iterator[Text]:
        """A text a group, of its passages that have enough pairs."""
        from instructpt.synthesis.dialects import keep_writable, open_dialect

        dialect = open_dialect(self.dialect)
        write = write_reading if self.loss == "answers" else dialect.write
        taken = run.take(self.groups, index)
        for group in with_swapped(taken, share=self.swapped_share, seed=self.seed) if self.swapped_share else taken:
            kept = []
            for shot in keep_writable(group, dialect=dialect).shots:
                for reject in shot.rejects:
                    run.tally.count(f"rejects/{reject.reason}")
                if len(shot.pairs) >= max(1, self.min_pairs):
                    kept.append(dialect.arrange(shot))
                    run.tally.keep()
                else:
                    run.tally.drop("too_few_pairs" if shot.pairs else "no_pairs", shot.document.text)
            text = write(Group(group.id, tuple(kept)))
            if text.text:
                yield text
