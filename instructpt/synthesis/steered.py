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
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from instructpt.engines import Form
from instructpt.errors import RecipeError
from instructpt.records import Group, Pair, Reject, Shot, Text
from instructpt.synthesis.markup import Markup, read_pieces, trimmed, write_group
from instructpt.synthesis.patterns import literal

_MARKS = ("<CON>", "</CON>", "<ASK>", "</ASK>", "<CAT>", "<QUE>", "<ANS>", "</END>")
_MARKUP = Markup(_MARKS)
_ASK_LINE = re.compile(r"\s*<ASK>[^<]*(?:</ASK>)?")
"""At the beginning of an answer, whole or cut off."""
_UNWRITABLE = re.compile(r"[|<>\n\r]")
_NAME = r"[^\s|<>][^|<>\n\r]*"
"""A category, as a form describes it."""
_COUNTED = f"[1-9][0-9]* {_NAME}"


class Steered:
    """The contract is `dialects.Dialect`. Stateless."""

    marks: ClassVar[tuple[str, ...]] = _MARKS
    can_steer: ClassVar[bool] = True

    def write(self, group: Group) -> Text:
        """See `Dialect.write`. One span a shot: from `<ASK>` to the end of its last `</END>`."""
        return write_group(group, _shots(group.shots))

    def prompt(self, earlier: Sequence[Shot], passage: str, *, categories: Sequence[str] = ()) -> list[str]:
        r"""See `Dialect.prompt`. The last string ends in ` </CON>\n\n`, with categories in ` </ASK>\n\n`."""
        _check(categories)
        asked = _ask_line(categories) if categories else ""
        return [*map("".join, _shots(earlier)), _MARKUP.passage(passage) + asked]

    def form(self, categories: Sequence[str] = (), *, passage: str = "", field_characters: int | None = None) -> Form:
        """See `Dialect.form`. Unasked it begins with the line `<ASK>`; what a field may hold is said at `Markup.form`.

        Pairs of one category come together, as the line `<ASK>` counts them and training text has them.
        """
        _check(categories)
        pair = _MARKUP.form(passage=passage, field_characters=field_characters)
        if not categories:
            piece = f"<CAT> {_NAME} {pair}"
            return Form("regex", rf"<ASK> {_COUNTED}(?: \| {_COUNTED})* </ASK>\n\n(?:{piece}\n\n)*{piece}")
        names = _counts(categories).elements()
        return Form("regex", r"\n\n".join(f"<CAT> {literal(name)} {pair}" for name in names))

    def ask(self, earlier: Sequence[Shot], passage: str, pair: Pair) -> list[str]:
        """See `Dialect.ask`. The last string ends in ` <ANS>`."""
        assert _refuse(pair) is None, f"{pair} cannot be asked: {_refuse(pair)}"
        opening = _MARKUP.passage(passage) + _ask_line([pair.category or ""])
        return [*map("".join, _shots(earlier)), opening + _category(pair) + _MARKUP.question(pair)]

    def answer(self, text: str, pair: Pair) -> Pair | Reject:
        """See `Dialect.answer`."""
        return _MARKUP.answer(text, pair)

    def parse(self, answer: str) -> tuple[Sequence[Pair], Sequence[Reject]]:
        """See `Dialect.parse`; the rules are `read_pieces`'s. The line `<ASK>` may be there, be cut off, or be missing.

        A piece without `<CAT>` is a reject `no_category_tag`; `empty_category` and `broken_category` say the rest.
        """
        asked = _ASK_LINE.match(answer)
        return read_pieces(answer[asked.end() :] if asked else answer, read=_read)

    def refuse(self, pair: Pair) -> str | None:
        """See `Dialect.refuse`. Written, read again, compared; `no_category` for a pair without one."""
        return _refuse(pair)


def _shots(shots: Sequence[Shot]) -> Iterator[tuple[str, str]]:
    for shot in shots:
        if pairs := [pair for pair in shot.pairs if _refuse(pair) is None]:
            pieces = "\n\n".join(_category(pair) + _MARKUP.write(pair) for pair in pairs)
            yield _MARKUP.passage(shot.document.text), _ask_line([pair.category or "" for pair in pairs]) + pieces


def _ask_line(categories: Sequence[str]) -> str:
    counts = _counts(categories).items()
    return f"<ASK> {' | '.join(f'{count} {category}' for category, count in counts)} </ASK>\n\n"


def _counts(categories: Sequence[str]) -> Counter[str]:
    """How many pairs of each category, in the order of their first."""
    return Counter(category.strip() for category in categories)


def _check(categories: Sequence[str]) -> None:
    for category in categories:
        if reason := _refuse_category(category):
            raise RecipeError(f"{category!r} cannot be asked for ({reason}): give a name without | < > on one line")


def _category(pair: Pair) -> str:
    return f"<CAT> {(pair.category or '').strip()} "


def _read(piece: str) -> Pair | str:
    category_tag, question_tag = piece.find("<CAT>"), piece.find("<QUE>")
    if category_tag < 0 or piece[:category_tag].strip():
        return "no_category_tag"
    if question_tag < category_tag:
        return "no_question_tag"
    category = piece[category_tag + 5 : question_tag].strip()
    if reason := _refuse_category(category):
        return reason
    pair = _MARKUP.read(piece[question_tag:])
    return replace(pair, category=category) if isinstance(pair, Pair) else pair


def _refuse(pair: Pair) -> str | None:
    if pair.category is None:
        return "no_category"
    if reason := _refuse_category(pair.category):
        return reason
    read = _read(_category(pair) + _MARKUP.write(pair).removesuffix("</END>"))
    if isinstance(read, str):
        return read
    return None if read == replace(trimmed(pair), category=pair.category.strip()) else "ambiguous_markup"


def _refuse_category(category: str) -> str | None:
    category = category.strip()
    if not category:
        return "empty_category"
    return "broken_category" if _UNWRITABLE.search(category) else None
