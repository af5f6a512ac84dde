"""Forms: ways of writing about a passage. One file a form, `<form>.toml`: data, not code.

    reads = "lines"                        how the answer is read (`reading`)
    layout = "apart"                       a text of its own, or "pairs" among the passage's pairs
    tokens = 180                           of an answer, about: what a plan without a sample counts with
    checks = ["unsupported_number", ...]   what it must pass
    [english]
    request = '''{passage} Take this passage apart into single facts...'''
    example = '''The lighthouse on Gull Rock was finished in 1871. ...'''

`WritingForm` and `Wording` say what each key is for. A form of your own is a file: `--forms "mine.toml=2"`. What all
forms say alike in a language, and how variants differ, stands in `languages/<language>.toml`. Names in braces are
filled in; a brace that stands for itself is written twice: {{ or }}.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from instructpt.errors import InputError, RecipeError
from instructpt.seeds import digest
from instructpt.synthesis import prompts
from instructpt.synthesis.prompts import ReplyWords
from instructpt.verification.checks import CHECKS
from instructpt.verification.checks.writing import WRITING_CHECKS
from instructpt.words.languages import FALLBACK

FOLDER = Path(__file__).parent
Reads = Literal["pairs", "problem", "text", "lines", "turns", "table"]
FormLayout = Literal["pairs", "apart"]
Topics = Literal["", "one", "pairs"]
Vary = Literal["registers", "genres", "audiences", "focuses"]

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Language:
    """What all forms say in one language."""

    name: str
    system: str
    """The system's turn: what holds for every text. With {fence} and {nothing}."""
    nothing: str
    """What the model replies where the passage has nothing for what is asked."""
    manner: str
    """The line that says how a variant is to differ. With {choices}."""
    registers: tuple[str, ...]
    genres: tuple[str, ...]
    audiences: tuple[str, ...]
    focuses: tuple[str, ...]
    """The last four: what {choices} is drawn from."""
    example_passage: str
    """What the forms' examples are about."""
    which_year: str
    how_many: str
    who_or_what: str
    """What stands in a sentence in place of a year, a number, a name, to ask for it; "" where none fits, as where all
    nouns have capitals."""
    fence: str
    """What the lines around a passage say."""
    words: ReplyWords
    """What stands before the colons of questions and answers."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What one form says in one language."""

    request: str
    """The user's turn. With {passage}; {style} if the form has styles, {topic} if it has topics; {nothing} may be
    there."""
    example: Mapping[str, str]
    """A good answer for `example_passage`, by style; under "" of a form without styles. May be missing."""
    styles: Mapping[str, str] = field(default_factory=dict)
    """Name -> what {style} becomes."""
    first: str = ""
    """Of a form with topics, the user's turn that asks for these, one a line. With {passage} and {number}."""
    first_example: str = ""
    example_topic: str = ""
    example_passage: str = ""
    """Where the example is about another passage than the language's."""


@dataclass(frozen=True, slots=True)
class WritingForm:
    """A way of writing about a passage."""

    name: str
    reads: Reads
    """How the answer is read: question and answer (pairs, problem: with the way to the answer), text, a fact a line,
    turns of a conversation, a table with questions."""
    layout: FormLayout
    """Where it stands: among the passage's pairs, or as a text of its own, never in a row with the passage."""
    tokens: int
    """Of an answer, about."""
    checks: tuple[str, ...]
    """Names in `checks.CHECKS` and `checks.writing.WRITING_CHECKS`."""
    wordings: Mapping[str, Wording]
    """By language; English is always there."""
    fingerprint: str
    """Of the file."""
    numbers: int = 0
    """What a passage must have of numbers to be asked about in this form."""
    length: tuple[float, float] = (0.0, 8.0)
    """The least and the most words, as a multiple of the passage's."""
    vary: tuple[Vary, ...] = ()
    """In what variants are told to differ."""
    topics: Topics = ""
    """Whether the model is asked for topics first: each variant is about one of them, or about a pair of them."""

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of its styles, in the file's order."""
        return tuple(self.wordings[FALLBACK].styles)


@dataclass(frozen=True, slots=True)
class AskedForm:
    """A form as a user asked for it."""

    form: WritingForm
    number: int
    """Texts (or sets of pairs) of it for a passage."""
    style: str = ""
    """The one that was named; "" takes all in turn."""

    @property
    def label(self) -> str:
        """What its texts and counts are called: "facts", "paraphrase:spoken"."""
        return f"{self.form.name}:{self.style}" if self.style else self.form.name


def form_names() -> list[str]:
    """The forms that ship."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def parse_forms(text: str) -> tuple[AskedForm, ...]:
    """The forms in "pairs=2,facts=1,paraphrase:spoken,mine.toml=1"; a name alone asks for one.

    Raises RecipeError for an unknown form or style (with those near it), one that is given twice and a number that is
    not whole and positive; InputError for a file that is no form.
    """
    found: dict[str, AskedForm] = {}
    for item in text.split(","):
        name, sign, number = (part.strip() for part in item.partition("="))
        if not name:
            raise RecipeError(f"the forms {text!r} have an item without a name: write them as name=number,name=number")
        if sign and not (number.isdecimal() and int(number) > 0):
            raise RecipeError(f"the number of {name!r} is {number!r}: give a whole number above 0, as in {name}=2")
        first, colon, style = (name, "", "") if name.endswith(".toml") else name.partition(":")
        form = load_form(first)
        if colon and style not in form.styles:
            raise RecipeError(f"{first} has no style {style!r}: {_nearest(style, form.styles)}")
        asked = AskedForm(form, int(number) if sign else 1, style)
        if asked.label in found:
            raise RecipeError(f"the forms {text!r} name {asked.label!r} twice: give it once, with the sum")
        found[asked.label] = asked
    return tuple(found.values())


def by_label(text: str) -> dict[str, AskedForm]:
    """The forms in a text as `parse_forms` reads it, by what their texts are called; none in ""."""
    return {asked.label: asked for asked in parse_forms(text)} if text else {}


def fingerprint(forms: Iterable[AskedForm]) -> str:
    """Of all that the forms say in all languages: who asks in other words asks another thing."""
    spoken = sorted(path.read_bytes().decode() for path in (FOLDER / "languages").glob("*.toml"))
    own = [(asked.label, asked.number, asked.form.fingerprint) for asked in forms]
    return digest(own, spoken).hex()[:32]


def form_sources(text: str) -> dict[str, str]:
    """What stages that are about the forms in `text` read from outside; nothing for ""."""
    return {"forms": fingerprint(parse_forms(text))} if text else {}


def load_form(name: str) -> WritingForm:
    """The form of this name, or the one in a file of the user's if it ends in `.toml`. Raises as `parse_forms`."""
    path = Path(name).expanduser() if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not name.endswith(".toml") and name not in form_names():
        raise RecipeError(
            f"no form is called {name!r}: {_nearest(name, form_names())} (or give a .toml file of your own)"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the form {path} cannot be read ({error}): give a TOML file in UTF-8") from error
    return parse_form(text, name=path.stem, file=str(path))


def parse_form(text: str, *, name: str, file: str) -> WritingForm:
    """Read and check the text of a form. Raises InputError, naming file and key, in one line."""
    found = _toml(text, file=file)
    wordings = {key: _wording(found.pop(key), file=f"{file}, [{key}]") for key in list(found) if _is_table(found, key)}
    if FALLBACK not in wordings:
        raise InputError(
            f"{file} lacks the table [{FALLBACK}]: add it, with a request, as {FOLDER / 'facts.toml'} has it"
        )
    settings = _settings(found, file=file)
    form = WritingForm(
        name=name, wordings=wordings, fingerprint=digest(text).hex()[:32], **{"length": (0.0, 8.0)} | settings
    )
    for language, wording in wordings.items():
        wanted = {"passage", *(["style"] if form.styles else []), *(["topic"] if form.topics else [])}
        where = f"{file}, [{language}]"
        _check_braces(wording.request, "request", wanted, where, may={"nothing"})
        if form.topics:
            _check_braces(wording.first, "first", {"passage", "number"}, where, may={"nothing"})
        if tuple(wording.styles) != form.styles or not set(wording.example) <= {*(form.styles or [""])}:
            raise InputError(f"{where}: styles and examples are not those of [{FALLBACK}]: {', '.join(form.styles)}")
    return form


@cache
def load_language(name: str) -> Language:
    """What all forms say in a language; in English for one that has no file."""
    path = FOLDER / "languages" / f"{name}.toml"
    if not path.exists():
        return load_language(FALLBACK)
    found = _toml(path.read_text(encoding="utf-8"), file=str(path))
    lists: dict[str, Any] = {key: tuple(map(str, found.pop(key))) for key in get_args(Vary)}
    texts: dict[str, Any] = {key: str(value).strip() for key, value in found.items()}
    _check_braces(texts["system"], "system", {"fence", "nothing"}, str(path))
    _check_braces(texts["manner"], "manner", {"choices"}, str(path))
    said = prompts.load(name, layout="lines")
    assert said.reply_words is not None
    return Language(name=name, fence=said.fence, words=said.reply_words, **lists, **texts)


def fill(template: str, **values: object) -> str:
    """The template with each `{name}` replaced in one pass and doubled braces single; what is filled in stays so."""
    return _PLACEHOLDER.sub(
        lambda match: match[0][0] if match[1] is None else str(values[match[1]]),
        template,
    )


def _toml(text: str, *, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{file} is not TOML: {error}; mend that line") from error


def _is_table(found: Mapping[str, object], key: str) -> bool:
    return isinstance(found[key], dict)


_KEYS = tuple(item.name for item in fields(WritingForm) if item.name not in ("name", "wordings", "fingerprint"))
_NEEDED = ("reads", "layout", "tokens", "checks")


def _settings(found: Mapping[str, Any], *, file: str) -> dict[str, Any]:
    for key in found:
        if key not in _KEYS:
            raise InputError(f"{file}: no setting is called {key}: {_nearest(key, _KEYS)}")
    for key in _NEEDED:
        if key not in found:
            raise InputError(f"{file} lacks {key}: add it, as {FOLDER / 'facts.toml'} has it")
    settings = dict(found)
    for key, known in (("reads", Reads), ("layout", FormLayout), ("topics", Topics)):
        if settings.get(key, "") not in ("", *get_args(known)):
            raise InputError(f"{file}: {key} is {settings[key]!r}: {_nearest(str(settings[key]), get_args(known))}")
    for key in ("checks", "vary"):
        listed = settings.get(key, [])
        choices = (*CHECKS, *WRITING_CHECKS) if key == "checks" else get_args(Vary)
        wrong = [item for item in listed if item not in choices] if isinstance(listed, list) else [listed]
        if wrong:
            raise InputError(f"{file}: {key} holds {wrong[0]!r}: {_nearest(str(wrong[0]), choices)}")
        settings[key] = tuple(listed)
    if settings["layout"] == "pairs" and settings["reads"] not in ("pairs", "problem"):
        raise InputError(f"{file}: layout is pairs and reads {settings['reads']}: only what reads pairs has any")
    for key in ("tokens", "numbers"):
        if not isinstance(settings.get(key, 1), int) or settings.get(key, 1) < (key == "tokens"):
            raise InputError(f"{file}: {key} is {settings[key]!r}: give a whole number above 0")
    length = settings.get("length", [0, 8])
    if not (isinstance(length, list) and len(length) == 2 and 0 <= length[0] < length[1]):
        raise InputError(f"{file}: length is {length!r}: give the least and the most, as in [0.5, 2.0]")
    return settings | {"length": (float(length[0]), float(length[1]))}


def _wording(found: dict[str, Any], *, file: str) -> Wording:
    known = [item.name for item in fields(Wording)]
    for key in found:
        if key not in known:
            raise InputError(f"{file}: no text is called {key}: {_nearest(key, known)}")
    if "request" not in found:
        raise InputError(f"{file} lacks request: add the text that asks for a writing, with {{passage}} in it")
    example = found.pop("example", {})
    texts = {key: value for key, value in found.items() if key != "styles"}
    tables = {"example": example if isinstance(example, dict) else {"": example}, "styles": found.get("styles", {})}
    if not isinstance(tables["styles"], dict):
        raise InputError(f"{file}: styles is {tables['styles']!r}: give a table of names and texts")
    for key, value in [*texts.items(), *(item for table in tables.values() for item in table.items())]:
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"{file}: {key or 'example'} is {value!r}: give a text in quotation marks")
    said: dict[str, Any] = {name: {key: text.strip() for key, text in table.items()} for name, table in tables.items()}
    return Wording(**{key: value.strip() for key, value in texts.items()}, **said)


def _check_braces(text: str, key: str, wanted: set[str], file: str, *, may: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    held = {match[1] for match in _PLACEHOLDER.finditer(text) if match[1]}
    named = ", ".join(f"{{{name}}}" for name in sorted(wanted | may))
    for verb, parts in (("lacks", wanted - held), ("holds", held - wanted - may)):
        if parts:
            wrong = ", ".join(f"{{{part}}}" for part in sorted(parts))
            raise InputError(f"{file}: {key} {verb} {wrong}: its placeholders are {named}; write {{{{ for a brace")
    if stray := re.search(r"[^\n]{0,20}[{}][^\n]{0,20}", _PLACEHOLDER.sub("", text)):
        raise InputError(f"{file}: {key} has a stray brace ({stray[0]!r}): write {{{{ or }}}} for one")


def _nearest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(known) or 'none'}"
