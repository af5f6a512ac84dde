r"""The dialect `tags`: the markup of the paper's released synthesizer (arXiv 2406.14491), so that ours can replace it.

A group of two shots, as the model sees it (`\n` is a line break; `<s>` and `</s>` are ids, put in at `breaks`):

    <s> <CON> {passage} </CON>\n\n<QUE> {q} <ANS> {a} </END>\n\n<QUE> {q} <ANS> {a} </END></s>
    <s> <CON> {passage} </CON>\n\n<QUE> {q} <ANS> {a} </END></s>
                                  `--------- loss: what the model must write -----------'

What stands for {q} and {a}, and what becomes of tags inside texts, is in `markup`. Not carried: blanks around a field,
and `Pair.category`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from instructpt.engines import Form
from instructpt.errors import RecipeError
from instructpt.records import Document, Group, Pair, Reject, Shot, Text
from instructpt.synthesis.markup import NOTHING_KNOWN, Markup, read_pieces, trimmed, write_group

_MARKS = ("<CON>", "</CON>", "<QUE>", "<ANS>", "</END>")
_MARKUP = Markup(_MARKS)


class Tags:
    """The contract is `dialects.Dialect`. Stateless."""

    marks: ClassVar[tuple[str, ...]] = _MARKS
    can_steer: ClassVar[bool] = False
    asks_apart: ClassVar[bool] = False

    def arrange(self, shot: Shot) -> Shot:
        """See `Dialect.arrange`. Any order will do."""
        return shot

    def write(self, group: Group) -> Text:
        """See `Dialect.write`. One span a shot: from its first `<QUE>` to the end of its last `</END>`."""
        return write_group(group, _shots(group.shots))

    def prompt(self, earlier: Sequence[Shot], passage: str, *, categories: Sequence[str] = ()) -> list[str]:
        r"""See `Dialect.prompt`. The last string ends in ` </CON>\n\n`."""
        _refuse_categories(categories)
        return [*map("".join, _shots(earlier)), _MARKUP.passage(passage)]

    def form(
        self,
        categories: Sequence[str] = (),
        *,
        passage: str = "",
        spans: Sequence[str] = (),
        field_characters: int | None = None,
        answers: Mapping[str, str] = NOTHING_KNOWN,
    ) -> Form:
        """See `Dialect.form`; what a field may hold is said at `Markup.form`."""
        _refuse_categories(categories)
        pair = _MARKUP.form(passage=passage, field_characters=field_characters)
        return Form("regex", rf"(?:{pair}\n\n)*{pair}")

    def ask(self, earlier: Sequence[Shot], passage: str, pair: Pair) -> list[str]:
        """See `Dialect.ask`. The last string ends in ` <ANS>`."""
        assert _refuse(pair) is None, f"{pair} cannot be asked: {_refuse(pair)}"
        return [*map("".join, _shots(earlier)), _MARKUP.passage(passage) + _MARKUP.question(pair)]

    def answer(self, text: str, pair: Pair) -> Pair | Reject:
        """See `Dialect.answer`."""
        return _MARKUP.answer(text, pair)

    def parse(self, answer: str) -> tuple[Sequence[Pair], Sequence[Reject]]:
        """See `Dialect.parse`; the rules are `read_pieces`'s."""
        return read_pieces(answer, read=_MARKUP.read)

    def refuse(self, pair: Pair) -> str | None:
        """See `Dialect.refuse`. Written, read again, compared: what comes back different is never written."""
        return _refuse(pair)


def asked_and_answered(passage: str, pair: Pair) -> tuple[list[str], str]:
    """What a model goes on from to answer a pair's question (`Tags.ask`), and how it would write the pair's answer."""
    tags = Tags()
    asked = tags.ask([], passage, pair)
    written = tags.write(Group("", (Shot(Document("", passage, ""), (pair,)),))).text
    return asked, written.removeprefix("".join(asked)).removesuffix(" </END>")


def _refuse_categories(categories: Sequence[str]) -> None:
    if categories:
        raise RecipeError(
            f"the dialect tags cannot ask for categories (asked: {', '.join(categories)}): "
            "leave them out, or use a model that was tuned on the dialect steered"
        )


def _shots(shots: Sequence[Shot]) -> Iterator[tuple[str, str]]:
    for shot in shots:
        if pieces := [_MARKUP.write(pair) for pair in shot.pairs if _refuse(pair) is None]:
            yield _MARKUP.passage(shot.document.text), "\n\n".join(pieces)


def _refuse(pair: Pair) -> str | None:
    read = _MARKUP.read(_MARKUP.write(pair).removesuffix("</END>"))
    if isinstance(read, str):
        return read
    return None if read == trimmed(pair) else "ambiguous_markup"
