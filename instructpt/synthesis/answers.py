r"""The dialect `answers`: the markup of `steered`, each pair with its answer before its question.

    <s> <CON> {passage} </CON>\n\n<ASK> 2 {c1} | 1 {c2} </ASK>\n\n<CAT> {c1} <ANS> {a} <QUE> {q} </END>\n\n<CAT> {c2} ... </END></s>

A small model writes better pairs if it names something in the passage first and then asks for it (arXiv 2102.07033; our
own trial: 40 of 44 answers of a base of 135 M parameters were spans after 300,000 tokens). Pairs stand in the order in
which the passage bears them out, whatever their category, so that they spread over it.

While an answer is decoded, `form` holds it to a substring of the passage, in categories whose answers are spans. So
many spans as are asked for lie in so many parts of the passage, one after the other: a model that chose freely asked
six times about the first sentence, and nothing about the rest.

    start: s_2_1                                      two spans and one free answer, in any order
    s_2_1: P0_0 "\n\n" s_1_1 | P1 "\n\n" s_2_0
    P0_0: "<CAT> c1 <ANS> " HELD0 " <QUE> question </END>"
    HELD0: %regex {"substring_chunks": ["The", " ", "heron", ...]}        of the first half of the sentences

A question that is to be answered (`ask`) is asked as in `tags`: the question first.
"""  # noqa: E501  (the drawn line)

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from itertools import product
from typing import ClassVar

from instructpt.engines import Form
from instructpt.records import Pair, Reject, Shot
from instructpt.synthesis.markup import NOTHING_KNOWN, Markup
from instructpt.synthesis.patterns import literal
from instructpt.synthesis.steered import ASK_LINE_FORM, MARKS, NAME, Steered, check_categories, counts
from instructpt.synthesis.tags import Tags
from instructpt.words.evidence import bearing, sentences

_MAX_RULES = 256
"""Of a grammar that counts each category: five pairs of five categories take 31. Beyond, only pairs are counted."""
_CHUNK = re.compile(
    r"\d+(?:[.,:]\d+)*|[^\W\d\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]+|.", re.S
)
"""What a span is made of: words, numbers, and single characters of all else, also of scripts without blanks."""
_SPAN = r"/[^\s\x1c-\x1f](?:(?:.|\n)*[^\s\x1c-\x1f])?/"
"""Not empty, and no blank at either end: what Python strips and a grammar does not call a blank is named."""
_TAGS = Tags()


class Answers(Steered):
    """The contract is `dialects.Dialect`. Stateless."""

    markup: ClassVar[Markup] = Markup(MARKS, answer_first=True)

    def arrange(self, shot: Shot) -> Shot:
        """See `Dialect.arrange`. In the order in which the passage bears them out; others come last."""
        passage = shot.document.text
        within = sentences(passage)

        def place(pair: Pair) -> float:
            found = bearing(passage, question=pair.question, answer=pair.answer, within=within)
            return math.inf if found is None else found[0]

        return replace(shot, pairs=tuple(sorted(shot.pairs, key=place)))

    def form(
        self,
        categories: Sequence[str] = (),
        *,
        passage: str = "",
        field_characters: int | None = None,
        answers: Mapping[str, str] = NOTHING_KNOWN,
    ) -> Form:
        """See `Dialect.form`. Pairs of the categories asked for come in any order; unasked, of those in `answers`.

        An answer is a span of the passage, where it has a word and `answers` calls its category's answers spans.
        """
        check_categories(categories)
        asked = counts(categories) or Counter(dict.fromkeys(answers, 1))
        names, numbers = list(asked) or [""], list(asked.values())
        has_words = bool(passage.strip())
        spans = {place for place, name in enumerate(names) if has_words and answers.get(name) == "span"}
        is_counted = bool(categories) and math.prod(number + 1 for number in numbers) <= _MAX_RULES
        hidden = self.markup.hide(passage)
        num_spans = sum(numbers[place] for place in spans)
        part_of_span = _parts(hidden, num_spans) if is_counted else [hidden]
        parts = list(dict.fromkeys(part_of_span))
        begin, free, end = self.markup.form_parts(passage=passage, field_characters=field_characters)
        lines = ["%llguidance {}"]
        if not categories:
            lines += _any_number(len(asked))
        elif is_counted:
            lines += _so_many(numbers, spans=spans, part_of=list(map(parts.index, part_of_span)))
        else:
            lines += _so_many_in_all(numbers)
        for place, name in enumerate(names):
            opening = f"<CAT> {literal(name) if name else NAME} {begin}"
            if place not in spans:
                lines.append(f"P{place}: {_regex(opening)} {_regex(free)} {_regex(end)}")
                continue
            for number in range(len(parts)):
                mark = f"P{place}_{number}" if is_counted else f"P{place}"
                lines.append(f"{mark}: {_regex(opening)} HELD{number} {_regex(end)}")
        if spans:
            for number, part in enumerate(parts):
                chunks = json.dumps({"substring_chunks": _CHUNK.findall(part)}, ensure_ascii=False)
                lines += [f"SUBSTRING{number}: %regex {chunks}", f"HELD{number}: SUBSTRING{number} & {_SPAN}"]
        return Form("grammar", "\n".join(lines))

    def ask(self, earlier: Sequence[Shot], passage: str, pair: Pair) -> list[str]:
        """See `Dialect.ask`; as in `tags`."""
        return _TAGS.ask(earlier, passage, pair)

    def answer(self, text: str, pair: Pair) -> Pair | Reject:
        """See `Dialect.answer`; as in `tags`."""
        return _TAGS.answer(text, pair)

    def refuse(self, pair: Pair) -> str | None:
        """See `Dialect.refuse`. What `tags` cannot write could not be asked again, and is refused too."""
        return super().refuse(pair) or _TAGS.refuse(pair)


def _any_number(num_categories: int) -> Iterator[str]:
    """Rules for the line of categories, and at least one pair of any of them."""
    pair = " | ".join(f"P{number}" for number in range(max(1, num_categories)))
    yield r'start: ASKED pair ("\n\n" pair)*'
    yield f"pair: {pair}"
    yield f"ASKED: {_regex(ASK_LINE_FORM)}"


def _so_many(numbers: Sequence[int], *, spans: Set[int], part_of: Sequence[int]) -> Iterator[str]:
    """Rules for as many pairs of each category as are asked for, in any order: one for each count of what is left.

    spans: which of the categories have spans for answers; the n-th span of all lies in part `part_of[n]`.
    """
    num_spans = sum(numbers[place] for place in spans)
    yield f"start: {_rule(numbers)}"
    for left in product(*(range(number + 1) for number in numbers)):
        ways = []
        for place, number in enumerate(left):
            if number:
                rest = [*left[:place], number - 1, *left[place + 1 :]]
                written = num_spans - sum(left[other] for other in spans)
                pair = f"P{place}_{part_of[written]}" if place in spans else f"P{place}"
                ways.append(rf'{pair} "\n\n" {_rule(rest)}' if any(rest) else pair)
        if ways:
            yield f"{_rule(left)}: {' | '.join(ways)}"


def _so_many_in_all(numbers: Sequence[int]) -> Iterator[str]:
    """Rules for as many pairs as are asked for, of any of the categories."""
    yield rf'start: pair ("\n\n" pair){{{sum(numbers) - 1}}}'
    yield f"pair: {' | '.join(f'P{place}' for place in range(len(numbers)))}"


def _parts(passage: str, num_spans: int) -> list[str]:
    """The passage in as many runs of sentences as there are spans to be named, in order; a sentence for each, at least.

    Where there are more spans than sentences some parts are the same.
    """
    bounds = sentences(passage)
    parts = []
    for number in range(num_spans):
        first = number * len(bounds) // num_spans
        last = max(first + 1, (number + 1) * len(bounds) // num_spans)
        parts.append(passage[bounds[first][0] : bounds[last - 1][1]])
    return parts


def _rule(left: Sequence[int]) -> str:
    return "_".join(["s", *map(str, left)])


def _regex(pattern: str) -> str:
    """A regular expression as a grammar spells it: on one line, between slashes."""
    escaped = pattern.replace("/", r"\/")
    return f"/{escaped}/"
