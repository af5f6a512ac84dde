"""The page: one HTML file without scripts or requests. Whatever comes from a corpus passes through `escape`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape as _escape
from unicodedata import category

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5a6474; --line: #d9dee7; --paper: #ffffff; --panel: #f5f7fa;
  --c0: #3b6fd4; --c1: #d9822b; --c2: #2a9d6f; --c3: #a855b5; --c4: #c2413b; --c5: #6b7280 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa5b5; --line: #343c4a; --paper: #14181f;
  --panel: #1c222c; --c0: #7aa2f7; --c1: #f0a35e; --c2: #5fcf9f; --c3: #cf8fe0; --c4: #ef7a73; --c5: #9ca3af } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1080px; padding: 24px 20px 80px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 26px; margin: 0 0 4px } h2 { font-size: 19px; margin: 40px 0 8px; padding-top: 8px;
  border-top: 1px solid var(--line) } h3 { font-size: 15px; margin: 20px 0 6px }
p { margin: 6px 0 } .soft { color: var(--soft) }
.answers { display: grid; grid-template-columns: 1fr 1fr; gap: 16px; margin: 12px 0 }
.answer { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 4px 16px 10px;
  min-width: 0 }
.answer h2 { border: 0; margin: 4px 0; padding: 0 } .answer table { font-size: 13px } .told { font-weight: 600 }
code { font: 13px ui-monospace, monospace; white-space: nowrap }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100%; font-size: 14px }
th, td { text-align: left; padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--panel); border: 1px solid var(--line);
  border-radius: 8px; padding: 10px 12px; margin: 6px 0; font: 12.5px/1.5 ui-monospace, monospace; max-height: 26em;
  overflow-y: auto } .two { display: grid; grid-template-columns: 1fr 1fr; gap: 16px } .two > div { min-width: 0 }
.two > div:last-child pre { max-height: none }
@media screen and (max-width: 760px) { .two, .answers { grid-template-columns: 1fr } body { padding: 16px 12px 60px }
  code { white-space: normal } .answers { gap: 4px } .answer { display: contents } .answer > * { order: 1;
  min-width: 0 } .answer > h2, .answer > .told { order: 0 } .told { font-size: 14px; margin: 2px 0 }
  .answer::before { content: attr(data-title); order: 1; margin: 16px 0 4px; font-weight: 700 } }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin: 0 6px 0 0 }
.legend span { margin-right: 16px; white-space: nowrap } svg { max-width: 100%; height: auto; display: block }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif } details { margin: 8px 0 } summary { cursor: pointer }
@page { size: A4; margin: 14mm }
@media print { :root { color-scheme: light; --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --panel: #fff;
  --c0: #3b6fd4; --c1: #d9822b; --c2: #2a9d6f; --c3: #a855b5; --c4: #c2413b; --c5: #6b7280 }
  * { print-color-adjust: exact } body { max-width: none; padding: 0; font-size: 10.5px }
  .two, .answers { grid-template-columns: 1fr } .scroll { overflow: visible } table, .answer table { font-size: 9px }
  th, td, td.n, th.n { white-space: normal; overflow-wrap: break-word; padding-right: 6px }
  pre { max-height: none; overflow: visible; font-size: 9px } h1, h2, h3, summary { break-after: avoid }
  section { break-before: page } section > h2 { margin-top: 0; border: 0 } .answer svg { max-width: 360px }
  code { font-size: 9px; white-space: normal } .scroll, svg, tr, .answer { break-inside: avoid }
  details::details-content { content-visibility: visible; display: block } }
"""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page; an empty body leaves it out."""

    title: str
    body: str


def page(title: str, *, lead: str, sections: Iterable[Section]) -> str:
    """The whole HTML document. `title` is escaped here; `lead` and bodies are HTML already."""
    body = "".join(f"<section><h2>{escape(s.title)}</h2>{s.body}</section>\n" for s in sections if s.body)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>{lead}\n{body}</body></html>\n"
    )


def escape(text: object) -> str:
    """Text made harmless inside an element or a quoted attribute; control characters are shown, not obeyed."""
    return _escape(printable(str(text)), quote=True)


def printable(text: str) -> str:
    """Text whose control and format characters (terminal codes, direction marks) are spelled out."""
    return "".join(c if c in "\n\t" or c.isprintable() or category(c) == "Zs" else f"\\x{ord(c):02x}" for c in text)


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, numeric: Iterable[int] = ()) -> str:
    """A table of escaped cells; columns in `numeric` are set to the right. Cells of type `Html` go in as they are."""
    right = set(numeric)

    def line(tag: str, cells: Sequence[object]) -> str:
        parts = []
        for i, cell in enumerate(cells):
            shown = cell.text if isinstance(cell, Html) else escape(cell)
            parts.append(f"<{tag}{' class=n' if i in right else ''}>{shown}</{tag}>")
        return "<tr>" + "".join(parts) + "</tr>"

    body = "".join(line("td", row) for row in rows)
    return f'<div class="scroll"><table><thead>{line("th", head)}</thead><tbody>{body}</tbody></table></div>'


@dataclass(frozen=True, slots=True)
class Html:
    """A cell that is HTML already, made by this package from escaped parts."""

    text: str


def legend(names: Sequence[str]) -> str:
    """Names with the colours that charts give them, in order."""
    keys = (
        f'<span><i class="key" style="background:var(--c{i % 6})"></i>{escape(n)}</span>' for i, n in enumerate(names)
    )
    return '<p class="legend soft">' + "".join(keys) + "</p>"
