"""An answer in a form: read into pieces, each piece checked, what is left laid out and checked as a whole.

    answer    Here are the facts:              a line that only introduces is taken off
              - The hut burned in 1901.        a piece: kept
              - It was rebuilt in 1950.        a piece: rejected, unsupported_number
    text      The hut burned in 1901.          as a whole: long enough? a copy of the passage?

What is wrong with a piece leaves out that piece; what is wrong with the whole leaves out the answer.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from instructpt.engines import Completion
from instructpt.records import Pair, Reject, Shot, Writing
from instructpt.synthesis.chat import spoken_part
from instructpt.synthesis.forms import Language, WritingForm
from instructpt.synthesis.line_replies import LineReplies
from instructpt.synthesis.replies import restore
from instructpt.verification.checks import CHECKS, Passage, apply_checks
from instructpt.verification.checks.writing import WRITING_CHECKS, unsupported_premise
from instructpt.words import overlap

NOTHING = "nothing_to_write"
"""The model's own word that the passage has nothing for the form."""
CUT_OFF = "cut_off"
COPIED_EXAMPLE = "copied_example"
"""A small model says of any passage what the example says of its own: SmolLM2-135M gave the facts of the example's
lighthouse for two passages of three."""
MAX_EXAMPLE_SHARE = 0.3
"""Of a piece's runs of three words, those of the example that the passage does not have..."""
MIN_EXAMPLE_RUNS = 3
"""...and as many at least: "was finished in 1871" may be said of other things."""
RUN_WORDS = 3
MIN_TURNS = 4
MIN_ROWS = 2
"""Of a table, below its head."""
MIN_TABLE_COLUMNS = 2

SEPARATORS = {"lines": "\n", "pairs": "\n\n", "problem": "\n\n", "table": "\n\n"}
"""How a form reads -> what stands between the pieces of its texts."""

_BULLET = re.compile(r"^\s*(?:[-*•·–]\s+|\(?\d{1,3}[.)、]\s*|#+\s+)?")
_LEAD_IN = re.compile(r"^[^\n|]{1,120}[:：]\s*\n+(?=\S)")
_SPEAKER = re.compile(r"^\W{0,2}([^\W\d_][^:：\n]{0,30})\W{0,2}[:：]\W{0,2}\s*(?=\S)")
_ROW = re.compile(r"^\s*\|.*\|\s*$")
_RULE = re.compile(r"^[\s|:-]*-[\s|:-]*$")


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """What an answer comes to."""

    pairs: tuple[Pair, ...] = ()
    """Of a form whose layout is "pairs"."""
    text: str = ""
    """Of one whose layout is "apart"."""
    rejects: tuple[Reject, ...] = ()
    """What was left out, the answer as a whole included. Whether anything is left, `is_kept` says."""

    @property
    def is_kept(self) -> bool:
        """Whether the answer is of any use."""
        return bool(self.pairs or self.text)

    def without(self, reason: str) -> ReadAnswer:
        """With its text rejected for a reason."""
        return ReadAnswer(rejects=(*self.rejects, Reject(self.text, reason)))


def read(
    completion: Completion,
    *,
    form: WritingForm,
    language: Language,
    passage: Passage,
    said: Sequence[Pair] = (),
    example: str = "",
) -> ReadAnswer:
    """What a model wrote, as the form has it. said: pairs of the form that the passage has already. example: what the
    model was shown."""
    spoken = _bare(completion.text, begins_with_pairs=form.reads in ("pairs", "problem"))
    if spoken is None or not spoken:
        return _rejected(completion.text.strip(), CUT_OFF if spoken is None else "empty")
    if spoken.strip(" .。!\"'").casefold() == language.nothing.casefold():
        return _rejected(spoken, NOTHING)
    shown = frozenset(overlap.grams(example, RUN_WORDS)) - frozenset(overlap.grams(passage.document.text, RUN_WORDS))
    task = _Task(form, language, passage, tuple(said), shown, completion.finish == "length")
    return READERS[form.reads](spoken, task)


def topic_lines(text: str, *, most: int) -> list[str]:
    """The lines of an answer that names topics, without bullets and doubles."""
    spoken = _bare(text, begins_with_pairs=False) or ""
    lines = [restore(_BULLET.sub("", line).strip().strip("*_").strip()) for line in spoken.splitlines()]
    return list(dict.fromkeys(line for line in lines if line))[:most]


@dataclass(frozen=True, slots=True)
class _Task:
    form: WritingForm
    language: Language
    passage: Passage
    said: tuple[Pair, ...]
    shown: frozenset[str]
    """Runs of words that only the example has."""
    is_cut: bool

    def copies_example(self, text: str) -> bool:
        """Whether a piece is the example's, not the passage's."""
        runs = list(overlap.grams(text, RUN_WORDS))
        num_shown = sum(run in self.shown for run in runs)
        return num_shown >= MIN_EXAMPLE_RUNS and num_shown > MAX_EXAMPLE_SHARE * len(runs)


def _bare(text: str, *, begins_with_pairs: bool) -> str | None:
    """Without a thought, a fence of code around all, and a line that only introduces what follows."""
    spoken = spoken_part(text)
    if spoken is None:
        return None
    lines = spoken.strip().splitlines()
    if len(lines) > 1 and lines[0].startswith("```"):
        lines = lines[1:-1] if lines[-1].strip() == "```" else lines[1:]
    bare = "\n".join(line.rstrip() for line in lines).strip()
    return bare if begins_with_pairs else _LEAD_IN.sub("", bare, count=1)


def _text(spoken: str, task: _Task) -> ReadAnswer:
    return _rejected(spoken, CUT_OFF) if task.is_cut else _whole(restore(spoken), (), task)


def _lines(spoken: str, task: _Task) -> ReadAnswer:
    lines = topic_lines(spoken, most=len(spoken))
    kept: list[str] = []
    rejects = [Reject(lines.pop(), CUT_OFF)] if task.is_cut and lines else []
    checks = [WRITING_CHECKS[name] for name in task.form.checks if name in WRITING_CHECKS and name in CHECKS]
    for line in lines:
        reason = next((found for check in checks if (found := check(line, task.passage))), None)
        if task.copies_example(line):
            reason = COPIED_EXAMPLE
        if reason is None:
            kept.append(line)
        else:
            rejects.append(Reject(line, reason))
    return _whole(SEPARATORS["lines"].join(kept), rejects, task)


def _turns(spoken: str, task: _Task) -> ReadAnswer:
    if task.is_cut:
        return _rejected(spoken, CUT_OFF)
    turns: list[str] = []
    speakers: list[str] = []
    for line in filter(None, (line.strip() for line in spoken.splitlines())):
        found = _SPEAKER.match(line)
        name = found.group(1).strip("*_ ") if found else ""
        if found and (not speakers or name in speakers or len(set(speakers)) < 2):
            speakers.append(name)
            turns.append(f"{name}{'：' if '：' in found[0] else ': '}{line[found.end() :]}")
        elif turns:
            turns[-1] += f" {line}"
    if len(turns) < MIN_TURNS or len(set(speakers)) < 2:
        return _rejected(spoken, "no_conversation")
    return _whole(restore("\n".join(turns)), (), task)


def _pairs(spoken: str, task: _Task) -> ReadAnswer:
    return _of_pairs(spoken, *_checked_pairs(spoken, task), task)


def _of_pairs(spoken: str, pairs: Sequence[Pair], rejects: Sequence[Reject], task: _Task) -> ReadAnswer:
    if not pairs:
        return ReadAnswer(rejects=tuple(rejects) or (Reject(spoken, "no_pair"),))
    if task.form.layout == "pairs":
        return ReadAnswer(pairs=tuple(pairs), rejects=tuple(rejects))
    return _whole("\n\n".join(map(_said, pairs)), rejects, task)


def _problem(spoken: str, task: _Task) -> ReadAnswer:
    """Pairs that are worked out, from numbers that the passage has: what is invented is no problem of its."""
    pairs, rejects = _checked_pairs(spoken, task)
    kept: list[Pair] = []
    for pair in pairs:
        reason = unsupported_premise(pair, task.passage) if pair.rationale else "no_reasoning"
        if reason is None:
            kept.append(pair)
        else:
            rejects.append(Reject(_said(pair), reason))
    return _of_pairs(spoken, kept, rejects, task)


def _table(spoken: str, task: _Task) -> ReadAnswer:
    lines = spoken.splitlines()
    first = next((place for place, line in enumerate(lines) if _ROW.match(line)), len(lines))
    last = next((place for place in range(first, len(lines)) if not _ROW.match(lines[place])), len(lines))
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines[first:last]]
    is_table = len(rows) >= 2 + MIN_ROWS and len(rows[0]) >= MIN_TABLE_COLUMNS and bool(_RULE.match(lines[first + 1]))
    if not is_table or any(len(row) != len(rows[0]) for row in rows):
        return _rejected(spoken, "no_table")
    table = "\n".join([_row(rows[0]), _row(["---"] * len(rows[0])), *map(_row, rows[2:])])
    cells = "\n".join(cell for row in (rows[0], *rows[2:]) for cell in row)
    checks = [WRITING_CHECKS[name] for name in task.form.checks if name in WRITING_CHECKS]
    if reason := next((found for check in checks if (found := check(cells, task.passage))), None):
        return _rejected(spoken, reason)
    pairs, rejects = _checked_pairs("\n".join(lines[last:]), task)
    if not pairs:
        return ReadAnswer(rejects=(*rejects, Reject(spoken, "no_question")))
    return _whole("\n\n".join([restore(table), *map(_said, pairs)]), rejects, task)


READERS: dict[str, Callable[[str, _Task], ReadAnswer]] = {
    "text": _text,
    "lines": _lines,
    "turns": _turns,
    "pairs": _pairs,
    "problem": _problem,
    "table": _table,
}
"""How a form reads -> the function that does it."""


def _checked_pairs(spoken: str, task: _Task) -> tuple[list[Pair], list[Reject]]:
    """The pairs in lines that pass the form's checks on pairs; those said before count as the passage's."""
    found, rejects = LineReplies(task.language.words).read(spoken)
    if task.is_cut and found and all(reject.reason != CUT_OFF for reject in rejects):
        rejects.append(Reject(_said(found.pop()), CUT_OFF))
    checks = [name for name in task.form.checks if name in CHECKS]
    shot = apply_checks(Shot(task.passage.document, (*task.said, *found)), checks)
    already = set(task.said)
    copied = [pair for pair in shot.pairs if pair not in already and task.copies_example(_said(pair))]
    kept = [pair for pair in shot.pairs if pair not in already and pair not in copied]
    return kept, [*rejects, *shot.rejects, *(Reject(_said(pair), COPIED_EXAMPLE) for pair in copied)]


def _whole(text: str, rejects: Sequence[Reject], task: _Task) -> ReadAnswer:
    """The text as it is to be trained on, if it is as long as the form wants and passes what is asked of wholes."""
    form, passage = task.form, task.passage
    num_words, least_most = len(overlap.words(text)), [bound * len(passage.words) for bound in form.length]
    reason = "too_short" if not text or num_words < least_most[0] else "too_long" if num_words > least_most[1] else None
    are_pieces_checked = form.reads != "text" and form.reads != "turns"
    for name in form.checks:
        if reason is None and name in WRITING_CHECKS and not (are_pieces_checked and name in CHECKS):
            reason = WRITING_CHECKS[name](text, passage)
    if text and task.copies_example(text):
        reason = COPIED_EXAMPLE
    if reason is not None:
        return ReadAnswer(rejects=(*rejects, Reject(text, reason)))
    return ReadAnswer(text=text, rejects=tuple(rejects))


def _said(pair: Pair) -> str:
    """A pair as part of a text: question, options, the way to the answer and the answer on lines of their own."""
    return "\n".join(
        [pair.question, *(f"- {option}" for option in pair.options), *filter(None, [pair.rationale]), pair.answer]
    )


def pair_in(block: str) -> Pair:
    """The pair that `_said` laid out; of one line, without an answer."""
    question, *lines = block.split("\n")
    options = tuple(line[2:] for line in itertools.takewhile(lambda line: line.startswith("- "), lines))
    *reasons, answer = lines[len(options) :] or [""]
    return Pair(question, answer, options, "\n".join(reasons) or None)


def pieces(text: str, form: WritingForm) -> list[str]:
    """What a text in a form consists of, each of which may be left out by itself: lines, questions with answers after
    a table if there is one, or all of it."""
    return text.split(SEPARATORS[form.reads]) if form.reads in SEPARATORS else [text]


def read_again(writing: Writing, *, form: WritingForm, language: Language, passage: Passage) -> ReadAnswer:
    """A text that stands already, as if a model had just written it: what it comes to by the form's checks."""
    found = pieces(writing.text, form)
    if form.reads in ("pairs", "problem", "table"):
        table = found[: form.reads == "table"]
        pairs = LineReplies(language.words).write([pair_in(block) for block in found[len(table) :]])
        found = [*table, pairs]
    answer = Completion(SEPARATORS.get(form.reads, "").join(found), 0, "stop")
    return read(answer, form=form, language=language, passage=passage)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rejected(text: str, reason: str) -> ReadAnswer:
    return ReadAnswer(rejects=(Reject(text, reason),))


def labelled(rejects: Sequence[Reject], label: str) -> tuple[Reject, ...]:
    """Rejects whose reasons name their form: "facts/unsupported_number"."""
    return tuple(replace(reject, reason=f"{label}/{reject.reason}") for reject in rejects)
