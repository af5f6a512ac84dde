r"""Byte-level BPE, fast: the ids that `tokenizers` gives, several times sooner, and the same ids with or without it.

A vocabulary is of this family if it cuts a text by one of the regular expressions of `PATTERNS`, writes each piece in
UTF-8 and merges bytes, with nothing before or after: no normalizer, no added blank, no token that text can spell. That
holds for those trained here, and for those in the form of GPT-2's and Llama 3's. Three things then follow:

* a text may be cut before a blank that follows a letter or digit, and encoded in parts:  "... heron| waits in ..."
* where each token begins is a sum over the tokens' bytes, so that offsets need no second, slower encoding;
* `tiktoken`, where it is installed, can do the merging. Its ids are the same if (1) no two tokens of the vocabulary
  join to a third without a merge that says so and (2) both libraries put each character in the same class (letter,
  number, blank, other; their Unicode tables differ). (1) is proved when the vocabulary is first used, (2) for each
  character when it is first met. What is not proved goes to `tokenizers`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from instructpt.words.batches import batches

if TYPE_CHECKING:
    from tiktoken import Encoding
    from tokenizers import Tokenizer

WINDOW_CHARACTERS = 1 << 15
"""A longer text is encoded in parts of at least this, for even work among threads and bounded memory."""
_LONGEST_FAST = 4 * WINDOW_CHARACTERS
"""tiktoken's regular expressions overflow their stack on a piece of a million blanks; 2**17 of any class pass. No part
of a text is longer."""
_TASK_CHARACTERS = 1 << 16
_GROUP_CHARACTERS = 1 << 22
"""What `tokenizers` gets at once: its encodings take about 60 bytes a character."""

_GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
OURS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""Words with their leading blank, numbers up to three digits, runs of punctuation, line breaks as one piece. A run of
line breaks is one piece whatever follows, so that a prompt that ends in two is cut as it was in training."""
PATTERNS = (_GPT_2, OURS, _CONTRACTIONS + OURS)
"""Of GPT-2, of the vocabularies trained here, of GPT-4 and Llama 3. In all of them a blank after a letter or digit
begins a piece, and so does a line break after a letter or an ideographic stop after an ideograph."""

_CUT = re.compile("(?<=[^\\W_]) |(?<=[a-zA-Z\u4e00-\u9fa5\u3041-\u3096])[\n\u3002\uff0c]")

_UNKNOWN, _EQUAL, _DIFFERENT = 0, 1, 2

# The class of a character shows in whether it stays with a letter, a digit, a sign before it.
_CLASS_PROBES = (("x", ""), ("1", ""), ("!", ""))
# Contractions match letters of either case, and what is the other case of a letter is a matter of tables, too: of an
# "s" it may be U+017F.
_CASE_PROBES = (("'", "x"), ("'r", "x"), ("'v", "x"), ("'l", "x"), ("'", "ex"), ("'", "lx"))


class BytePairs:
    """A vocabulary of the family. Made by `family`."""

    def __init__(self, tokenizer: Tokenizer, description: Mapping[str, Any], pattern: str) -> None:
        self._tokenizer = tokenizer
        self._model = description["model"]
        self._pattern = pattern
        added = {token["id"] for token in description["added_tokens"]}
        self._tokens = {token: i for token, i in self._model["vocab"].items() if i not in added}
        self._num_bytes = np.zeros(max(self._model["vocab"].values()) + 1, np.int64)
        for token, i in self._tokens.items():
            self._num_bytes[i] = len(token)  # One character a byte, see `_byte_characters`.
        self.has_all_bytes = all(character in self._tokens for character in _byte_characters())
        self._agreement = np.zeros(0x110000, np.uint8)

    @property
    def is_fast(self) -> bool:
        """Whether tiktoken does the merging."""
        return self._fast is not None

    def encode(self, texts: Sequence[str], *, window_characters: int = WINDOW_CHARACTERS) -> list[np.ndarray]:
        """Ids of each text, uint32. Threads: RAYON_NUM_THREADS, as for `tokenizers`; one a core without it."""
        parts: list[str] = []
        owners: list[int] = []
        for i, text in enumerate(texts):
            for part in windows(text, window_characters):
                parts.append(part)
                owners.append(i)
        encoded = self._encode(parts)
        if len(parts) == len(texts):
            return encoded
        firsts = np.searchsorted(owners, np.arange(len(texts) + 1)).tolist()
        return [encoded[a] if b == a + 1 else np.concatenate(encoded[a:b]) for a, b in pairwise(firsts)]

    def starts(self, text: str, ids: np.ndarray) -> np.ndarray:
        """The character of `text` in which each of its ids begins, int64."""
        num_bytes = self._num_bytes[ids]
        first_bytes = np.cumsum(num_bytes) - num_bytes
        if text.isascii():
            return np.asarray(first_bytes)
        is_first = (np.frombuffer(text.encode(), np.uint8) & 0xC0) != 0x80
        return np.asarray((np.cumsum(is_first) - 1)[first_bytes])

    def _encode(self, parts: list[str]) -> list[np.ndarray]:
        fast = self._fast
        if fast is None:
            return encode_plainly(self._tokenizer, parts)
        proved = [self._is_proved(part) for part in parts]
        slow = iter(encode_plainly(self._tokenizer, [part for part, p in zip(parts, proved, strict=True) if not p]))
        quick = iter(_encode_fast(fast, [part for part, p in zip(parts, proved, strict=True) if p]))
        return [next(quick) if p else next(slow) for p in proved]

    @cached_property
    def _fast(self) -> Encoding | None:
        if not find_spec("tiktoken") or not self._merges_are_proved():
            return None
        return _tiktoken(self._pattern, self._tokens)

    def _merges_are_proved(self) -> bool:
        """Whether merging any two neighbours that join to a token is what the list of merges says.

        Were two tokens to meet whose join is a token without their merge being listed, the join's own bytes would pass
        through just these two: what has not been merged across its ends merges as it would alone. So it is enough to
        encode every token. One that stays in two pieces is a counterexample; one that stays in three or more can be had
        only as a whole piece, which tiktoken looks up first and `tokenizers` under `ignore_merges` alone.
        """
        from tokenizers.models import BPE

        merges = (merge.split(" ") if isinstance(merge, str) else merge for merge in self._model["merges"])
        pairs = [(first, second) for first, second in merges]
        made = [self._tokens.get(first + second, -1) for first, second in pairs]
        if any(later < earlier for earlier, later in pairwise([0, *made])):
            return False  # tiktoken merges in the order of the ids; only one of several ways to a token can come up
        looks_up = bool(self._model.get("ignore_merges"))
        if looks_up and len(self._tokens) < len(self._model["vocab"]):
            return False  # a special token that is a whole piece would be found
        model = BPE(vocab=self._model["vocab"], merges=pairs) if looks_up else self._tokenizer.model
        lengths = (len(model.tokenize(token)) for token in self._tokens)
        return all(length == 1 or (looks_up and length > 2) for length in lengths)

    def _is_proved(self, part: str) -> bool:
        if len(part) > _LONGEST_FAST:
            return False
        if part.isascii() and self._ascii_is_proved:  # 0.1 us; what follows takes 50 for a prompt of 900 characters
            return True
        codes = np.frombuffer(part.encode("utf-32-le"), np.uint32)
        agreement = self._agreement[codes]
        if agreement.min(initial=_EQUAL) == _UNKNOWN:
            self._meet(np.unique(codes[agreement == _UNKNOWN]))
            agreement = self._agreement[codes]
        return bool(agreement.max(initial=_EQUAL) == _EQUAL)

    @cached_property
    def _ascii_is_proved(self) -> bool:
        codes = np.arange(128)
        self._meet(codes)
        return bool((self._agreement[codes] == _EQUAL).all())

    def _meet(self, codes: np.ndarray) -> None:
        """Find out for each character whether both libraries cut pieces around it in the same places."""
        plain, fast = self._probes
        around = _CLASS_PROBES + (_CASE_PROBES if _CONTRACTIONS in self._pattern else ())
        texts = [before + chr(code) + after for code in codes for before, after in around]
        pairs = zip(encode_plainly(plain, texts), _encode_fast(fast, texts), strict=True)
        equal = np.array([np.array_equal(ours, theirs) for ours, theirs in pairs]).reshape(len(codes), -1).all(axis=1)
        self._agreement[codes] = np.where(equal, _EQUAL, _DIFFERENT)

    @cached_property
    def _probes(self) -> tuple[Tokenizer, Encoding]:
        """Both libraries with a vocabulary of single bytes and of pairs that show whether a piece begins between."""
        from tokenizers import Tokenizer
        from tokenizers.models import BPE

        letters = _byte_characters()
        merges = [(first, second) for first in "x1!" for second in letters]
        merges += [(first, "x") for first in letters if first not in "x1!"]
        tokens = {token: i for i, token in enumerate([*letters, *(first + second for first, second in merges)])}
        plain = Tokenizer(BPE(vocab=tokens, merges=merges))
        plain.pre_tokenizer = self._tokenizer.pre_tokenizer
        return plain, _tiktoken(self._pattern, tokens)


def family(tokenizer: Tokenizer, description: Mapping[str, Any]) -> BytePairs | None:
    """The vocabulary as one of this family, or None if it is none. description: what its tokenizer.json holds."""
    model, pattern = description["model"], _pattern(description["pre_tokenizer"])
    options = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    is_plain_merging = model["type"] == "BPE" and not any(model.get(name) for name in options)
    is_exact = description["normalizer"] is None and all(token["special"] for token in description["added_tokens"])
    if pattern is None or not is_plain_merging or not is_exact:
        return None
    found = BytePairs(tokenizer, description, pattern)
    return found if found.has_all_bytes else None


def _pattern(pre_tokenizer: Mapping[str, Any] | None) -> str | None:
    match pre_tokenizer:
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}:
            return _GPT_2
        case {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        } if pattern in PATTERNS:
            return str(pattern)
    return None


def windows(text: str, window_characters: int) -> list[str]:
    """The text in parts of at least `window_characters`, cut where that changes no ids; the last may be shorter.

    Where 131,072 characters hold no such place they are cut all the same: `tokenizers` dies of ten million blanks, and
    takes 4 GB for as many Chinese characters.
    """
    starts = [0]
    while len(text) - starts[-1] > window_characters:
        begin = starts[-1] + window_characters
        found = _CUT.search(text, begin, max(begin, starts[-1] + _LONGEST_FAST) + 1)
        if found is None and len(text) - starts[-1] <= _LONGEST_FAST:
            break
        starts.append(found.start() if found else starts[-1] + max(_LONGEST_FAST, window_characters))
    return [text[a:b] for a, b in pairwise([*starts, len(text)])] if len(starts) > 1 else [text]


def encode_plainly(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """Ids of each text by `tokenizers`, uint32, in groups that bound its memory."""
    encoded: list[np.ndarray] = []
    for group in batches(texts, size=len, enough=_GROUP_CHARACTERS):
        encodings = tokenizer.encode_batch_fast(group, add_special_tokens=False)
        encoded += [np.array(encoding.ids, np.uint32) for encoding in encodings]
    return encoded


def _encode_fast(encoding: Encoding, texts: Sequence[str]) -> list[np.ndarray]:
    def encode(group: list[str]) -> list[np.ndarray]:
        return [encoding.encode_to_numpy(text, disallowed_special=()) for text in group]

    groups = list(batches(texts, size=len, enough=_TASK_CHARACTERS))
    # How many cores there are takes the system 20 us to say: a single prompt does not ask.
    if len(groups) < 2 or (num_threads := int(os.environ.get("RAYON_NUM_THREADS", 0)) or os.cpu_count() or 1) < 2:
        return [ids for group in groups for ids in encode(group)]
    with ThreadPoolExecutor(num_threads) as threads:
        return [ids for encoded in threads.map(encode, groups) for ids in encoded]


def _tiktoken(pattern: str, tokens: Mapping[str, int]) -> Encoding:
    from tiktoken import Encoding

    byte_of = {character: byte for byte, character in enumerate(_byte_characters())}
    ranks = {bytes(byte_of[character] for character in token): i for token, i in tokens.items()}
    # Without any special token it looks for the empty one before every character and takes three times as long.
    unused = {"\x00unused\x00": max(ranks.values()) + 1}
    return Encoding("instructpt", pat_str=pattern, mergeable_ranks=ranks, special_tokens=unused)


@cache
def _byte_characters() -> tuple[str, ...]:
    """The character that stands for each byte in a byte-level vocabulary: itself if it can be seen (Latin-1)."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    characters = {byte: chr(byte) for byte in seen}
    unseen = (byte for byte in range(256) if byte not in characters)
    characters |= {byte: chr(0x100 + i) for i, byte in enumerate(unseen)}
    return tuple(characters[byte] for byte in range(256))
