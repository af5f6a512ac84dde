r"""Regular expressions that engines can hold a model to: without looks ahead or back, which grammar compilers refuse.

What they lack is "any text in which this string does not occur", and a field between tags is just that. Here it is
spelled out, character after character, from the beginnings of the strings:

    without "</" and "<Q"     [^\s<][^<]*          a run of other characters, the first of them no blank
                              <(?:[^/<Q][^<]*)?    a "<", and after it nothing that makes it one of the two
                              ...                  more of the second kind, as many as wanted
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_META = frozenset("\\.+*?()|[]{}^$-")


def literal(text: str) -> str:
    """`text` and nothing else. Only what must be is escaped: not every compiler takes more, as `re.escape` gives it."""
    return "".join("\\n" if char == "\n" else f"\\{char}" if char in _META else char for char in text)


def text_without(strings: Sequence[str], *, most: int | None = None) -> str:
    r"""Any text of a character or more in which none of `strings` occurs, and that does not begin with a blank.

    The text counts as the beginning of a line: without `"\nNote:"` means that neither a later line nor the text itself
    begins with `Note:`. strings: none may hold, after its first character, the first character of another.
    most: of characters between two with which a string could begin, and of such places: enough to end a loop, and as
    near to a length as an expression without a counter for each path comes. None sets no bound.
    """
    longer = [string for string in strings if len(string) > 1]
    single = {string for string in strings if len(string) == 1}
    first = sorted({string[0] for string in longer})
    assert not any(set(string[1:]) & {*first, *single} for string in longer), f"{strings} overlap"
    often = "*" if most is None else f"{{0,{most}}}"
    other = _none_of([*first, *single]) + often

    def leaving(read: str, *, excluded: str = "") -> list[str]:
        """The ways on after `read`, with which one of the strings begins, that do not lead to the whole of it."""
        ends: dict[str, list[bool]] = {}
        for string in longer:
            if string.startswith(read) and string != read:
                ends.setdefault(string[len(read)], []).append(len(string) == len(read) + 1)
        ways = [_none_of([*ends, *first, *single], also=excluded) + other]
        return ways + [literal(char) + rest(read + char) for char, is_end in sorted(ends.items()) if not any(is_end)]

    def rest(read: str) -> str:
        return f"(?:{'|'.join(leaving(read))})?"

    later = [literal(char) + rest(char) for char in first]
    begin = leaving("\n" if "\n" in first else "\0", excluded=r"\s\x1c-\x1f")
    begin += [way for char, way in zip(first, later, strict=True) if not char.isspace()]
    return f"(?:{'|'.join(begin)})" + (f"(?:{'|'.join(later)}){often}" if later else "")


def _none_of(chars: Iterable[str], *, also: str = "") -> str:
    return f"[^{also}{literal(''.join(sorted(set(chars))))}]"
