r"""The dialect `steered`: the markup of `tags`, and the category of every pair, so that a user can ask for a mix.

A shot as the model sees it (`\n` is a line break; `<s>` and `</s>` are ids):

    <s> <CON> {passage} </CON>\n\n<ASK> 2 {c1} | 1 {c2} </ASK>\n\n<CAT> {c1} <QUE> {q} <ANS> {a} </END>\n\n<CAT> {c1} ... </END></s>
                                  `--------------------- loss: what the model writes unasked ---------------------'

The line `<ASK>` says how many pairs of which category follow. It carries loss, so that a model which nobody asks for
anything chooses its mix itself; a prompt with `categories` holds the line already, and the model goes on from
`</ASK>\n\n`. (A list with a name for every pair does not do: a small model that is not asked goes on with it for ever,
"narrative QA | question writing | narrative QA | ...".) Each pair says its category once more: what a pair is, is read
from its own `<CAT>`, whatever was asked. A text to learn from has pairs of one category together.

A category is a short name without line break, `|`, `<` or `>`; a pair without one cannot be written. The fields of a
pair, and what becomes of tags inside texts, are those of `markup`.
"""  # noqa: E501  (the drawn line)

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from instructpt.engines import Form
from instructpt.errors import RecipeError
from instructpt.records import Group, Pair, Reject, Shot, Text
from instructpt.synthesis.markup import NO_TAG, NOTHING_KNOWN, Markup, literal, read_pieces, trimmed, write_group

MARKS = ("<CON>", "</CON>", "<ASK>", "</ASK>", "<CAT>", "<QUE>", "<ANS>", "</END>")
_ASK_LINE = re.compile(r"\s*<ASK>[^<]*(?:</ASK>)?")
"""At the beginning of an answer, whole or cut off."""
_UNWRITABLE = re.compile(r"[|<>\n\r]")
NAME = r"[^\s|<>][^|<>\n\r]*"
"""A category, as a form describes it."""
_COUNTED = f"[1-9][0-9]* {NAME}"
ASK_LINE_FORM = rf"<ASK> {_COUNTED}(?: \| {_COUNTED})* </ASK>\n\n"


class Steered:
    """The contract is `dialects.Dialect`. Stateless."""

    marks: ClassVar[tuple[str, ...]] = MARKS
    can_steer: ClassVar[bool] = True
    asks_apart: ClassVar[bool] = False
    markup: ClassVar[Markup] = Markup(MARKS)
    """How one pair is written, after its category."""

    def arrange(self, shot: Shot) -> Shot:
        """See `Dialect.arrange`. Pairs of one category come together, categories in the order of their first pairs."""
        places: dict[str | None, int] = {}
        for pair in shot.pairs:
            places.setdefault(pair.category, len(places))
        return replace(shot, pairs=tuple(sorted(shot.pairs, key=lambda pair: places[pair.category])))

    def write(self, group: Group) -> Text:
        """See `Dialect.write`. One span a shot: from `<ASK>` to the end of its last `</END>`."""
        return write_group(group, self._shots(group.shots))

    def prompt(self, earlier: Sequence[Shot], passage: str, *, categories: Sequence[str] = ()) -> list[str]:
        r"""See `Dialect.prompt`. The last string ends in ` </CON>\n\n`, with categories in ` </ASK>\n\n`."""
        check_categories(categories)
        asked = _ask_line(categories) if categories else ""
        return [*map("".join, self._shots(earlier)), self.markup.passage(passage) + asked]

    def form(
        self,
        categories: Sequence[str] = (),
        *,
        passage: str = "",
        spans: Sequence[str] = (),
        field_characters: int | None = None,
        answers: Mapping[str, str] = NOTHING_KNOWN,
    ) -> Form:
        """See `Dialect.form`. Unasked it begins with the line `<ASK>`; what a field may hold is said at `Markup.form`.

        Pairs of one category come together, as the line `<ASK>` counts them and training text has them.
        """
        check_categories(categories)
        pair = self.markup.form(passage=passage, field_characters=field_characters)
        if not categories:
            piece = f"<CAT> {NAME} {pair}"
            return Form("regex", rf"{ASK_LINE_FORM}(?:{piece}\n\n)*{piece}")
        names = counts(categories).elements()
        return Form("regex", r"\n\n".join(f"<CAT> {literal(name)} {pair}" for name in names))

    def ask(self, earlier: Sequence[Shot], passage: str, pair: Pair) -> list[str]:
        """See `Dialect.ask`. The last string ends in ` <ANS>`."""
        assert self.refuse(pair) is None, f"{pair} cannot be asked: {self.refuse(pair)}"
        opening = self.markup.passage(passage) + _ask_line([pair.category or ""])
        return [*map("".join, self._shots(earlier)), opening + _category(pair) + self.markup.question(pair)]

    def answer(self, text: str, pair: Pair) -> Pair | Reject:
        """See `Dialect.answer`."""
        return self.markup.answer(text, pair)

    def parse(self, answer: str) -> tuple[Sequence[Pair], Sequence[Reject]]:
        """See `Dialect.parse`; the rules are `read_pieces`'s. The line `<ASK>` may be there, be cut off, or be missing.

        A piece without `<CAT>` is a reject `no_category_tag`; `empty_category` and `broken_category` say the rest.
        """
        asked = _ASK_LINE.match(answer)
        return read_pieces(answer[asked.end() :] if asked else answer, read=self._read)

    def refuse(self, pair: Pair) -> str | None:
        """See `Dialect.refuse`. Written, read again, compared; `no_category` for a pair without one."""
        if pair.category is None:
            return "no_category"
        if reason := _refuse_category(pair.category):
            return reason
        read = self._read(_category(pair) + self.markup.write(pair).removesuffix("</END>"))
        if isinstance(read, str):
            return read
        return None if read == replace(trimmed(pair), category=pair.category.strip()) else "ambiguous_markup"

    def _shots(self, shots: Sequence[Shot]) -> Iterator[tuple[str, str]]:
        for shot in shots:
            if pairs := [pair for pair in shot.pairs if self.refuse(pair) is None]:
                pieces = "\n\n".join(_category(pair) + self.markup.write(pair) for pair in pairs)
                asked = _ask_line([pair.category or "" for pair in pairs])
                yield self.markup.passage(shot.document.text), asked + pieces

    def _read(self, piece: str) -> Pair | str:
        category_tag, first_tag = piece.find("<CAT>"), piece.find(self.markup.first_tag)
        if category_tag < 0 or piece[:category_tag].strip():
            return "no_category_tag"
        if first_tag < category_tag:
            return NO_TAG[self.markup.first_tag]
        category = piece[category_tag + 5 : first_tag].strip()
        if reason := _refuse_category(category):
            return reason
        pair = self.markup.read(piece[first_tag:])
        return replace(pair, category=category) if isinstance(pair, Pair) else pair


def counts(categories: Sequence[str]) -> Counter[str]:
    """How many pairs of each category, in the order of their first."""
    return Counter(category.strip() for category in categories)


def check_categories(categories: Sequence[str]) -> None:
    """Raises RecipeError for a category that cannot be written."""
    for category in categories:
        if reason := _refuse_category(category):
            raise RecipeError(f"{category!r} cannot be asked for ({reason}): give a name without | < > on one line")


def _ask_line(categories: Sequence[str]) -> str:
    asked = counts(categories).items()
    return f"<ASK> {' | '.join(f'{count} {category}' for category, count in asked)} </ASK>\n\n"


def _category(pair: Pair) -> str:
    return f"<CAT> {(pair.category or '').strip()} "


def _refuse_category(category: str) -> str | None:
    category = category.strip()
    if not category:
        return "empty_category"
    return "broken_category" if _UNWRITABLE.search(category) else None
