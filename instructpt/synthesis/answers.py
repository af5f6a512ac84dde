r"""The dialect `answers`: the markup of `steered`, each pair with its answer before its question.

    <s> <CON> {passage} </CON>\n\n<ASK> 2 {c1} | 1 {c2} </ASK>\n\n<CAT> {c1} <ANS> {a} <QUE> {q} </END>\n\n<CAT> {c2} ... </END></s>

A small model writes better pairs if it names something in the passage first and then asks for it (arXiv 2102.07033; our
own trial: 40 of 44 answers of a base of 135 M parameters were spans after 300,000 tokens). Pairs stand in the order in
which the passage bears them out, whatever their category, so that they spread over it.

A model that writes several pairs in a row copies the pattern of the first ("What is the prize ...?", eight times): so each
pair that is asked for is written by itself (`chains.turns`), beside the passage alone, with an answer out of some of what
the passage holds (`spans`).

While an answer is decoded, `form` holds it to a substring of the passage, in categories whose answers are spans:

    start: s_1_1                                      one pair of each of two categories, in any order
    s_1_1: P0 "\n\n" s_0_1 | P1 "\n\n" s_1_0
    P0: "<CAT> c1 <ANS> " SPAN " <QUE> question </END>"
    SPAN: %regex {"substring_chunks": ["The", " ", "heron", ...]}

A question that is to be answered (`ask`) is asked as in `tags`: the question first.
"""  # noqa: E501  (the drawn line)

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import ClassVar

from instructpt.engines import Form
from instructpt.records import Pair, Reject, Shot
from instructpt.synthesis.markup import NOTHING_KNOWN, Markup, literal
from instructpt.synthesis.spans import CHUNK
from instructpt.synthesis.steered import ASK_LINE_FORM, MARKS, NAME, Steered, check_categories, counts
from instructpt.synthesis.tags import Tags
from instructpt.words.evidence import bearing, sentences

_MAX_RULES = 256
"""Of a grammar that counts each category: five pairs of five categories take 31. Beyond, only pairs are counted."""
_WORD = re.compile(r"\w")
_SPAN = r"/[^\s\x1c-\x1f](?:(?:.|\n)*[^\s\x1c-\x1f])?/"
"""Not empty, and no blank at either end: what Python strips and a grammar does not call a blank is named."""
_WITH_WORD = r"/(?:.|\n)*\w(?:.|\n)*/"
"""Something to ask for: a full stop is a span, too."""
_TAGS = Tags()


class Answers(Steered):
    """The contract is `dialects.Dialect`. Stateless."""

    markup: ClassVar[Markup] = Markup(MARKS, answer_first=True)
    asks_apart: ClassVar[bool] = True

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
        spans: Sequence[str] = (),
        field_characters: int | None = None,
        answers: Mapping[str, str] = NOTHING_KNOWN,
    ) -> Form:
        """See `Dialect.form`. Pairs of the categories asked for come in any order; unasked, of those in `answers`.

        An answer is a span of the passage, where it has a word and `answers` calls its category's answers spans; with
        `spans`, one of these.
        """
        check_categories(categories)
        asked = counts(categories) or Counter(dict.fromkeys(answers, 1))
        begin, free, end = self.markup.form_parts(passage=passage, field_characters=field_characters)
        lines = ["%llguidance {}", *(_any_number(len(asked)) if not categories else _so_many(asked))]
        hidden = self.markup.hide(passage)
        has_spans = bool(_WORD.search(hidden)) and any(answers.get(name) == "span" for name in asked)
        for number, name in enumerate(asked or [""]):
            is_span = has_spans and answers.get(name) == "span"
            opening = f"<CAT> {literal(name) if name else NAME} {begin}"
            held = "HELD" if is_span else _regex(free)
            lines.append(f"P{number}: {_regex(opening)} {held} {_regex(end)}")
        if spans and has_spans:
            lines.append(f"HELD: {_regex('|'.join(literal(self.markup.hide(span)) for span in spans))}")
        elif has_spans:
            chunks = json.dumps({"substring_chunks": CHUNK.findall(hidden)}, ensure_ascii=False)
            lines += [f"SUBSTRING: %regex {chunks}", f"HELD: SUBSTRING & {_SPAN} & {_WITH_WORD}"]
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


def _so_many(asked: Mapping[str, int]) -> Iterator[str]:
    """Rules for as many pairs of each category as are asked for, in any order: one for each count of what is left."""
    numbers = list(asked.values())
    if math.prod(number + 1 for number in numbers) > _MAX_RULES:
        pair = " | ".join(f"P{number}" for number in range(len(numbers)))
        yield rf'start: pair ("\n\n" pair){{{sum(numbers) - 1}}}'
        yield f"pair: {pair}"
        return
    yield f"start: {_rule(numbers)}"
    for left in product(*(range(number + 1) for number in numbers)):
        ways = []
        for place, number in enumerate(left):
            if number:
                rest = [*left[:place], number - 1, *left[place + 1 :]]
                ways.append(rf'P{place} "\n\n" {_rule(rest)}' if any(rest) else f"P{place}")
        if ways:
            yield f"{_rule(left)}: {' | '.join(ways)}"


def _rule(left: Sequence[int]) -> str:
    return "_".join(["s", *map(str, left)])


def _regex(pattern: str) -> str:
    """A regular expression as a grammar spells it: on one line, between slashes."""
    escaped = pattern.replace("/", r"\/")
    return f"/{escaped}/"
