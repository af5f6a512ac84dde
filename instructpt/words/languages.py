"""Which language a text is in: by its script, and for Latin letters by its commonest words. No model, no dependency.

    "Der Hafen wurde von Hand gegraben ..."   Latin letters; der, wurde, von are German words    german
    "港は手で掘られた。"                         Chinese signs among kana                           japanese
    "Порт вырыли вручную."                    a script that one language is taken to stand for   russian
    "ISBN 3-16-148410-0"                      no common word of any language                     None

A guess is a pure function of the text: the same on every machine. It knows more languages than there is wording for, so
that Portuguese is not taken for Spanish; what it is not sure of it leaves open. A document may also say what it is in
(`meta["language"]`, as a code or a name), which `named` reads.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from instructpt.records import Group, Shot
from instructpt.seeds import digest

AUTO = "auto"
"""In place of a language: each group's own."""
FALLBACK = "english"
"""Of groups in no language that can be told, or in one that there is no wording in."""
VERSION = 1
"""Raised by hand when a text may be told otherwise than before."""
LOOKED_AT_CHARACTERS = 4_000
"""The beginning of a text: about 600 words, of which some 250 are common ones."""
MIN_SCRIPT_SHARE = 0.5
"""Of the letters, that the commonest script must have; a Chinese or Japanese sign counts as two letters."""
MIN_KANA_SHARE = 0.1
"""Of Chinese signs and kana together, from which on a text is Japanese: headlines have a fifth, prose has half."""
MIN_FOREIGN_SHARE = 0.01
"""Of letters of the Arabic script that Arabic does not have, from which on a text is Persian or Urdu."""
MIN_COMMON_WORDS = 3
"""Different ones: "sa" again and again may be any language."""
MIN_COMMON_SHARE = 0.2
"""Of a text's words, that must be common ones of its language; prose has 0.25 to 0.5. Of 10,330 pages of seven English
corpora 1 % are left open (lists, abbreviations), and 5 are called German, which are lists of German books. Of single
sentences in 1,000 languages (language_identification of BIG-bench) 94 of 100 in the seven languages that there is
wording in are told, and 181 of the 9,920 in others taken for English, French, German or Spanish, mostly relatives."""
MIN_LEAD = 0.15
"""By which the best language must lead the next, as a share of its own score."""

FIELDS = ("language", "lang")
"""Of a document's `meta`, in which it may name its language."""

_TABLES = tomllib.loads((files(__package__) / "languages.toml").read_text("utf-8"))
CODES: Mapping[str, tuple[str, ...]] = {language: tuple(table["codes"]) for language, table in _TABLES.items()}
"""Language -> what else it is called: ISO 639 codes, and its own name."""
_COMMON = {language: " ".join(table["common"].split()) for language, table in _TABLES.items() if "common" in table}
"""Language in Latin letters -> what is said most often in it."""
_SCRIPTS = {
    "latin": "A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff",
    "cyrillic": "\u0400-\u04ff",
    "greek": "\u0370-\u03ff",
    "hebrew": "\u05d0-\u05ea",
    "arabic": "\u0620-\u064a\u066e-\u06d3",
    "devanagari": "\u0904-\u0939",
    "thai": "\u0e01-\u0e2e",
    "hangul": "\uac00-\ud7a3",
    "kana": "\u3041-\u3096\u30a1-\u30fa",
    "han": "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff",
}
_ONE_LANGUAGE = {"greek": "greek", "hebrew": "hebrew", "devanagari": "hindi", "thai": "thai", "hangul": "korean"}
_LETTERS = {name: re.compile(f"[{characters}]") for name, characters in _SCRIPTS.items()}
_URDU = re.compile("[ٹڈڑںے]")
_PERSIAN = re.compile("[پچژگکی]")
_UKRAINIAN = re.compile("[іїєґІЇЄҐ]")
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class WordingLanguage:
    """What a group is worded in."""

    language: str
    notes: tuple[str, ...] = ()
    """What is to be counted of it: "language_mixed", "language_unknown", "language_without_templates"."""


def identify(text: str) -> str | None:
    """The language of a text by its first `LOOKED_AT_CHARACTERS`: a name in `CODES`; None where none is likely."""
    text = unicodedata.normalize("NFC", text[:LOOKED_AT_CHARACTERS])
    counts = {name: len(letters.findall(text)) for name, letters in _LETTERS.items()}
    han, kana = counts.pop("han"), counts.pop("kana")
    counts["east_asian"] = 2 * (han + kana)
    script, most = max(counts.items(), key=lambda item: item[1])
    total = sum(counts.values())
    if not most or most < MIN_SCRIPT_SHARE * total:
        return None
    if script == "latin":
        return _by_words(text)
    if script == "east_asian":
        language = "japanese" if kana >= MIN_KANA_SHARE * (han + kana) else "chinese"
    elif script == "arabic":
        language = _of_arabic_script(text, most)
    elif script == "cyrillic":
        language = "ukrainian" if len(_UKRAINIAN.findall(text)) >= MIN_FOREIGN_SHARE * most else "russian"
    else:
        language = _ONE_LANGUAGE[script]
    return language


def named(value: object) -> str | None:
    """The language that a field of a document names: "de", "deu", "de-AT", "German" or "Deutsch" -> "german".

    None for anything else: a file of program code may have a field `language` that says "Python".
    """
    if not isinstance(value, str):
        return None
    name = value.strip().casefold()
    return _names().get(name) or _names().get(re.split("[-_]", name, maxsplit=1)[0])


def choose(group: Group, *, known: Collection[str]) -> WordingLanguage:
    """The language to word a group in, out of those that are known: its own, else `FALLBACK`."""
    language, is_mixed = of_group(group)
    notes = ("language_mixed",) if is_mixed else ()
    if language is not None and language in known:
        return WordingLanguage(language, notes)
    return WordingLanguage(FALLBACK, (*notes, "language_unknown" if language is None else "language_without_templates"))


def of_group(group: Group) -> tuple[str | None, bool]:
    """The language of most of a group's passages that have one, the first of equals, and whether others have another.

    A passage's is what its document's field `language` or `lang` names, else what its text seems to be in, else its
    pairs: task data may come without a text.
    """
    found = Counter(language for shot in group.shots if (language := _of_shot(shot)) is not None)
    return next((language for language, _ in found.most_common(1)), None), len(found) > 1


def common_words(language: str | None) -> frozenset[str]:
    """Words that hold sentences together and name nothing ("the", "of"), in lower case; none of unknown languages."""
    return frozenset(_COMMON.get(language or "", "").split())


def fingerprint() -> str:
    """Of all that a guess depends on."""
    return digest(VERSION, sorted(CODES.items()), sorted(_COMMON.items()), sorted(_SCRIPTS.items())).hex()[:32]


def _of_shot(shot: Shot) -> str | None:
    meta = shot.document.meta
    return (
        next((language for field in FIELDS if (language := named(meta.get(field))) is not None), None)
        or identify(shot.document.text)
        or identify("\n".join(f"{pair.question}\n{pair.answer}" for pair in shot.pairs))
    )


def _of_arabic_script(text: str, num_letters: int) -> str:
    if len(_URDU.findall(text)) >= MIN_FOREIGN_SHARE * num_letters:
        return "urdu"
    return "persian" if len(_PERSIAN.findall(text)) >= MIN_FOREIGN_SHARE * num_letters else "arabic"


def _by_words(text: str) -> str | None:
    """A word counts for each language that has it, the less the more have it: "de" says little, "wurde" much."""
    words: list[str] = _WORD.findall(text.casefold())
    scores: Counter[str] = Counter()
    num_common: Counter[str] = Counter()
    num_different: Counter[str] = Counter()
    for word, times in Counter(words).items():
        languages = _common().get(word, ())
        for language in languages:
            scores[language] += times * 12 // len(languages)
            num_common[language] += times
            num_different[language] += 1
    ranked = sorted(scores, key=lambda language: (-scores[language], language))
    if not ranked or num_different[ranked[0]] < MIN_COMMON_WORDS:
        return None
    best = scores[ranked[0]]
    leads = len(ranked) == 1 or (best - scores[ranked[1]]) / best >= MIN_LEAD
    return ranked[0] if leads and num_common[ranked[0]] >= MIN_COMMON_SHARE * len(words) else None


@cache
def _common() -> Mapping[str, tuple[str, ...]]:
    """Word -> the languages in which it is common."""
    found: dict[str, tuple[str, ...]] = {}
    for language, listed in _COMMON.items():
        for word in dict.fromkeys(listed.split()):
            found[word] = (*found.get(word, ()), language)
    return found


@cache
def _names() -> Mapping[str, str]:
    return {name.casefold(): language for language, names in CODES.items() for name in (language, *names)}
