"""The wording of the dialect `chat`: data, not code. One file a language, `<language>.toml`, all with the same keys.

    request = '''
    {passage}

    Write instruction-response pairs ... Number of pairs: {number}...'''

`Wording` says what each key is for and `PLACEHOLDERS` which names in braces it must hold. They are filled in one pass:
braces in what is filled in, and all other braces in the file, are only braces. Another language, or another wording,
is another file: `--dialect chat:german`, `--dialect chat:path/to/mine.toml`. The table `[lines]` at the end is for
small models, which reply in lines: shorter instructions, and examples.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from instructpt.errors import InputError, RecipeError
from instructpt.records import Document, Pair, Shot
from instructpt.seeds import digest

FOLDER = Path(__file__).parent

PLACEHOLDERS: Mapping[str, frozenset[str]] = {
    "fence": frozenset(),
    "question_fence": frozenset(),
    "system": frozenset({"fence", "most"}),
    "open_request": frozenset({"passage", "most"}),
    "request": frozenset({"passage", "number", "categories"}),
    "category": frozenset({"name", "count"}),
    "answer_system": frozenset({"fence", "question_fence"}),
    "first_question": frozenset({"passage", "question", "how"}),
    "next_question": frozenset({"question", "how"}),
    "options": frozenset(),
    "plainly": frozenset(),
    "reasoned": frozenset({"conclusion"}),
    "conclusion": frozenset(),
}
"""Key -> the names in braces that its text holds, each at least once."""

LINES: Mapping[str, frozenset[str]] = {
    **{key: PLACEHOLDERS[key] for key in ("system", "open_request", "request")},
    "category_word": frozenset(),
    "question_word": frozenset(),
    "rationale_word": frozenset(),
    "answer_word": frozenset(),
}
"""The same for the table `lines`: three texts that take the place of those above, and the words before the colons."""
LAYOUTS = ("json", "lines")
"""Of replies; see `replies`."""

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class ReplyWords:
    """What stands before the colons of a reply in lines, colon included: "Q:"."""

    category: str
    question: str
    rationale: str
    answer: str


@dataclass(frozen=True, slots=True)
class Wording:
    """What the dialect says, in one language."""

    fence: str
    """What a passage's fence lines say: "PASSAGE"."""
    question_fence: str
    """The same for a question."""
    system: str
    """Explains the task of writing pairs. Equal in all prompts, so that a server reads it once."""
    open_request: str
    """A user's turn that leaves number and kinds of the pairs to the model, up to `most`."""
    request: str
    """A user's turn that asks for categories."""
    category: str
    """A line of `categories`: what to ask for and how often."""
    answer_system: str
    """Explains the task of answering questions."""
    first_question: str
    """A user's turn with a passage and a question; `how` is `plainly` or `reasoned`."""
    next_question: str
    """Another question about the same passage."""
    options: str
    """The line above a question's options."""
    plainly: str
    """How to answer: with the answer alone."""
    reasoned: str
    """How to answer: with reasons, and at last a line that begins with `conclusion`."""
    conclusion: str
    """What stands before the answer on the last line."""
    fingerprint: str
    """Of all texts: who asks with another wording asks another thing."""
    reply_words: ReplyWords | None = None
    """Of replies in lines; None for JSON."""
    examples: tuple[Shot, ...] = ()
    """Passages with their pairs that a small model is shown first."""


def languages() -> list[str]:
    """The languages that the package has a wording for."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def variants() -> list[str]:
    """What the dialect takes behind its colon: a layout of replies or a language."""
    return [*LAYOUTS, *languages()]


def load(language: str, *, layout: str = "json") -> Wording:
    """The wording of a language, or the one in a file of the user's if it ends in `.toml`.

    layout: one of `LAYOUTS`.

    Raises RecipeError for a language that there is none for, InputError as `parse` and for a file that is not there.
    """
    if language.endswith(".toml"):
        return _read(Path(language).expanduser(), layout)
    if language not in languages():
        near = get_close_matches(language, languages(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(languages())},"
        raise RecipeError(f"no chat prompts in {language!r}: {hint} or give a .toml file of your own")
    return _read(FOLDER / f"{language}.toml", layout)


def _read(path: Path, layout: str) -> Wording:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the chat prompts {path} cannot be read ({error}): give a TOML file in UTF-8") from error
    return parse(text, name=str(path), layout=layout)


def parse(text: str, *, name: str, layout: str = "json") -> Wording:
    """Read and check the text of a prompt file; `name` is what an error calls it.

    Raises InputError, naming file and key, for a key that is missing, unknown or no text, and for a text that lacks a
    placeholder of its key, holds another, or is more than one line where it must be one. The table `lines` may be
    missing, unless `layout` is that.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{name} is not TOML: {error}; mend that line") from error
    lines = found.pop("lines", None)
    texts: dict[str, Any] = {**_texts(found, PLACEHOLDERS, name=name)}
    words, examples = (
        (None, ()) if lines is None else _lines(lines, name=name, texts=texts if layout == "lines" else {})
    )
    if layout == "json":
        return Wording(**texts, fingerprint=_fingerprint(texts))
    if words is None:
        raise InputError(
            f"{name} lacks the table [lines]: add it, as {FOLDER / 'english.toml'} has it, or use chat:json"
        )
    shown = {f"example {i}": repr(shot) for i, shot in enumerate(examples)}
    said = {**texts, **{item.name: getattr(words, item.name) for item in fields(words)}, **shown}
    return Wording(**texts, fingerprint=_fingerprint(said), reply_words=words, examples=examples)


def _lines(found: object, *, name: str, texts: dict[str, str]) -> tuple[ReplyWords, tuple[Shot, ...]]:
    """The words and examples of the table `lines`; its texts take their places in `texts`."""
    where = f"{name}, [lines]"
    if not isinstance(found, dict):
        raise InputError(f"{where} is no table: write [lines] on a line of its own, and its keys below")
    examples = found.pop("examples", [])
    own = _texts(found, LINES, name=where)
    words = ReplyWords(**{item.name: own.pop(f"{item.name}_word") for item in fields(ReplyWords)})
    texts.update(own)
    shots = []
    for number, example in enumerate(examples, start=1):
        try:
            pairs = tuple(Pair(str(pair["question"]).strip(), str(pair["answer"]).strip()) for pair in example["pairs"])
            shots.append(Shot(Document(f"example-{number}", str(example["passage"]).strip(), "examples"), pairs))
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{where}: example {number} is not understood ({error}): give it a passage, and pairs with "
                "question and answer"
            ) from error
    return words, tuple(shots)


def _texts(found: Mapping[str, object], keys: Mapping[str, frozenset[str]], *, name: str) -> dict[str, str]:
    for key in found:
        if key not in keys:
            raise InputError(f"{name}: no text is called {key}: the keys are {', '.join(keys)}")
    return {key: _checked(found.get(key), key=key, wanted=keys[key], name=name) for key in keys}


def _fingerprint(texts: Mapping[str, str]) -> str:
    return digest(*(part for item in texts.items() for part in item)).hex()[:32]


def fill(template: str, **values: object) -> str:
    """The template with each `{name}` replaced, in one pass: what is filled in is never looked at."""
    return _PLACEHOLDER.sub(lambda match: str(values[match.group(1)]), template)


def _checked(value: object, *, key: str, wanted: frozenset[str], name: str) -> str:
    if value is None:
        raise InputError(f"{name} lacks {key}: add it, as {FOLDER / 'english.toml'} has it")
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name}: {key} is {value!r}: give a text in quotation marks")
    text = value.strip()
    if not wanted and "\n" in text:
        raise InputError(f"{name}: {key} has more than one line: give one")
    held = frozenset(_PLACEHOLDER.findall(text))
    named = ", ".join(f"{{{part}}}" for part in sorted(wanted)) or "none"
    for verb, parts in (("lacks", wanted - held), ("holds", held - wanted)):
        if parts:
            found = ", ".join(f"{{{part}}}" for part in sorted(parts))
            raise InputError(f"{name}: {key} {verb} {found}: its placeholders are {named}")
    return text


assert {item.name for item in fields(Wording)} == {*PLACEHOLDERS, "fingerprint", "reply_words", "examples"}
