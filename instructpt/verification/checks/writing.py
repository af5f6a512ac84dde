"""Checks on texts about a passage that are no pairs: nothing that it does not say, nothing of the model's own talk.

    "Sure, here is a summary: ..."                    chatter
    eight words in a row, again and again, as there   copied_passage
    "1895" where the passage has 1859                 unsupported_number

Those that look at an answer's words are the checks on pairs, asked about a pair that is nothing but its answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from instructpt.records import Pair
from instructpt.verification.checks.form import repetition, unsafe_markup
from instructpt.verification.checks.grounding import (
    MIN_TELLING_CHARACTERS,
    language_mismatch,
    unsupported_name,
    unsupported_number,
)
from instructpt.verification.checks.passage import Check, Passage
from instructpt.words import overlap

COPIED_WORDS = 8
"""In a row, that two texts seldom share by chance; of scripts without blanks between words, characters: twice that."""
MAX_COPIED_SHARE = 0.5
"""Of a text's runs of so many words, those that the passage has too. Beyond it the text is the passage once more."""
MIN_COPIED_RUNS = 8
"""Of a text that is judged by them."""
MIN_SHARED_SHARE = 0.15
"""Of a text's telling words (long ones, or of another script), those of the passage: with fewer it is about something
else. A small model began a summary with "I want to tell you about a place that's been in my mind"."""
MIN_TELLING_WORDS = 8
"""Of a text that is judged by them."""

_CHATTER = re.compile(
    r"^\W*(?:(?:sure|certainly|of course|absolutely|okay|ok|great|no problem)\b[!,.:]"
    r"|here(?:'s| is| are)\b[^\n]{0,80}:|(?:below|the following) (?:is|are)\b[^\n]{0,80}:"
    r"|as an? (?:ai|assistant|language model)\b|i(?:'m| am) sorry\b|i (?:cannot|can't|can not)\b"
    r"|(?:gerne|natürlich|selbstverständlich|klar|sicher)[!,.:]|hier (?:ist|sind|kommt)\b[^\n]{0,80}:"
    r"|als (?:ki|sprachmodell)\b|(?:bien sûr|d'accord|voici)\b[^\n]{0,80}[!,:]"
    r"|(?:claro|por supuesto|aquí (?:está|tiene))\b"
    r"|(?:好的|当然|没问题|以下是|下面是|作为(?:一个)?(?:人工智能|语言模型))|(?:はい、|以下は|もちろん))"
    r"|(?:let me know if|i hope this helps|feel free to|if you have any (?:other|more|further) questions"
    r"|ich hoffe, das hilft|sag(?:en sie)? mir bescheid"
    r"|希望(?:这|对你)[^\n]{0,12}有(?:所)?帮助|如果您?你?(?:还)?有(?:其他|任何)问题)",
    re.IGNORECASE,
)
_MENTION = re.compile(
    r"\b(?:this passage|the text above|the above text|according to the passage"
    r"|the passage (?:says|states|describes|tells|mentions|explains|discusses|provides|highlights|is about))\b"
    r"|\b(?:diese[rs]?|obige[rn]?|laut der) textstelle\b|本文段|上述文段|这段文字",
    re.IGNORECASE,
)
_STEP = re.compile(r"^\W*[^\W\d_]+ \d{1,2}\b(?=[.:)]| –| -)|^\W*第\d{1,2}步", re.MULTILINE)

_SENTENCE_END = re.compile(r"[.!?][\"”’)]*\s|[。！？]")
_OPEN = ",;:–—-(，；：、（"

WritingCheck = Callable[[str, Passage], str | None]


def chatter(text: str, passage: Passage) -> str | None:
    """What an assistant says to whom it writes for, or talk of "the passage", which nobody sees beside the text."""
    if _CHATTER.search(text):
        return "chatter"
    return "chatter" if _MENTION.search(text) and not _MENTION.search(passage.document.text) else None


def unrelated(text: str, passage: Passage) -> str | None:
    """A text with hardly a word of the passage's."""
    telling = [word for word in overlap.words(text) if len(word) >= MIN_TELLING_CHARACTERS or not word.isascii()]
    known = frozenset(passage.words)
    if len(telling) < MIN_TELLING_WORDS:
        return None
    return "unrelated" if sum(word in known for word in telling) < MIN_SHARED_SHARE * len(telling) else None


def copied_passage(text: str, passage: Passage) -> str | None:
    """A text of which most is there in the passage, word for word."""
    words = overlap.words(text)
    length = 2 * COPIED_WORDS if overlap.NO_BLANKS.search(text) else COPIED_WORDS
    known = {tuple(passage.words[place : place + length]) for place in range(len(passage.words) - length + 1)}
    runs = [tuple(words[place : place + length]) for place in range(len(words) - length + 1)]
    if len(runs) < MIN_COPIED_RUNS:
        return None
    return "copied_passage" if sum(run in known for run in runs) > MAX_COPIED_SHARE * len(runs) else None


def cut_off(text: str, passage: Passage) -> str | None:
    """A text of whole sentences of which the last one has no end."""
    del passage
    last = text.rstrip()[-1:]
    is_open = last.isalnum() or last in _OPEN
    return "cut_off" if last and is_open and _SENTENCE_END.search(text) else None


def writing_number(text: str, passage: Passage) -> str | None:
    """A number that the passage does not have; that of a step ("Step 2:") is none."""
    return unsupported_number(Pair("", _STEP.sub("", text)), passage)


def unsupported_premise(pair: Pair, passage: Passage) -> str | None:
    """A number in a problem's question that the passage does not have: it was invented."""
    return "unsupported_premise" if writing_number(pair.question, passage) else None


def _of_text(check: Check) -> WritingCheck:
    return lambda text, passage: check(Pair("", text), passage)


WRITING_CHECKS: dict[str, WritingCheck] = {
    "chatter": chatter,
    "unrelated": unrelated,
    "repetition": _of_text(repetition),
    "unsafe_markup": _of_text(unsafe_markup),
    "language_mismatch": _of_text(language_mismatch),
    "unsupported_number": writing_number,
    "unsupported_name": _of_text(unsupported_name),
    "copied_passage": copied_passage,
    "cut_off": cut_off,
}
"""Name -> function. A form's file says which of these its texts pass, in which order."""
