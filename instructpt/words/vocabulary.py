"""Text to token ids and back: the one place where this package meets a tokenizer.

Two rules hold everywhere, because each broke another system (`<s>` typed in a corpus, a server that adds a second BOS):

* Text is only text. A document that spells `</s>` gets the ids of those four characters, never the end-of-text id;
  nor the id of a token that was added without being called special, as Qwen's `<think>` and `<tool_call>` are.
* Begin and end of text are ids that we put, never characters. `sequence` puts exactly one BOS before each part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from instructpt.errors import InputError
from instructpt.interrupts import interruptible
from instructpt.models.folders import local_folder

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

    from instructpt.words.byte_pairs import BytePairs

BOS, EOS = "<s>", "</s>"
"""Names of the special tokens in vocabularies trained here; ids 0 and 1."""

MAX_PIECE_CHARACTERS = 32
"""Of a piece of text that training looks at, and so of a token. Each merge goes through the pieces that hold it, which
made 83 s of 100,000 Chinese characters in one piece. Words are shorter; a longer run of one script only loses the
pairs across a cut."""
_PORTION_CHARACTERS = 1 << 16
"""Training gets a text in parts of about this: `tokenizers` holds some 60 bytes a character of what it is given."""

_FILES = ("tokenizer.json", "tokenizer_config.json", "config.json", "special_tokens_map.json")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer with its two special ids."""

    tokenizer: Tokenizer
    bos: int | None
    """None for models that have no begin-of-text token (Qwen, for one)."""
    eos: int
    size: int
    """One more than the largest id."""
    fingerprint: str
    """Of tokenizer.json: rows made with one vocabulary are refused by a model of another."""
    byte_pairs: BytePairs | None = None
    """The same as byte-level BPE, if it is that: faster, and able to cut long texts."""
    unwritten: frozenset[int] = frozenset()
    """Ids that stand for no text: the special ones."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text alone, without special ids. A batch is much faster than a call a text (4.7 to 1.7 MB/s)."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids that `encode` gives, as uint32 arrays: the way for much text, several times as fast."""
        from instructpt.words.byte_pairs import encode_plainly

        return self.byte_pairs.encode(texts) if self.byte_pairs else encode_plainly(self.tokenizer, texts)

    def encode_with_starts(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Ids of each text and, for each id, the character in which it begins (int64, ascending).

        In byte-level BPE a token begins with its blank, and one that begins inside a character begins in it.
        """
        import numpy as np

        if self.byte_pairs:
            encoded = self.byte_pairs.encode(texts)
            return [(ids, self.byte_pairs.starts(text, ids)) for text, ids in zip(texts, encoded, strict=True)]
        encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [
            (np.array(encoding.ids, np.uint32), np.array([start for start, _ in encoding.offsets], np.int64))
            for encoding in encodings
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special ids left out."""
        return self.tokenizer.decode([i for i in ids if i not in self.unwritten], skip_special_tokens=False)

    def sequence(self, parts: Sequence[str]) -> list[int]:
        """BOS part EOS BOS part EOS ... BOS part: the last part stays open, for a model to go on from."""
        begin = [] if self.bos is None else [self.bos]
        ids: list[int] = []
        for i, encoded in enumerate(self.encode_arrays(parts)):
            ids += ([self.eos] if i else []) + begin + encoded.tolist()
        return ids


def _damaged(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    return InputError(f"{path} is damaged ({reason}): take it from where the model came from")


def load(model: str | Path) -> Vocabulary:
    """The vocabulary in a model folder or of a Hub model. Raises InputError where there is no fast tokenizer."""
    from tokenizers import Tokenizer

    from instructpt.words.byte_pairs import family

    folder = local_folder(model, files=_FILES)
    path = folder / "tokenizer.json"
    if not path.exists():
        raise InputError(f"{model} has no tokenizer.json: save its tokenizer in the fast format and give that folder")
    data = path.read_bytes()
    try:
        description = orjson.loads(data)
        unwritten = frozenset(token["id"] for token in description["added_tokens"] if token["special"])
        # Text may spell none of these. Runs of blanks (Pythia's) are how some tokenizers write text itself.
        for token in description["added_tokens"]:
            token["special"] |= bool(token["content"].strip())
        tokenizer = Tokenizer.from_str(orjson.dumps(description).decode())
    except Exception as error:  # of a damaged file tokenizers raises a plain one
        raise _damaged(path, error) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    config = folder / "tokenizer_config.json"
    try:
        names = orjson.loads(config.read_bytes()) if config.exists() else {}
        bos, eos = (_special(tokenizer, names.get(key)) for key in ("bos_token", "eos_token"))
    except (ValueError, TypeError, AttributeError) as error:
        raise _damaged(config, error) from error
    if eos is None:
        raise InputError(f"{model} names no eos_token in tokenizer_config.json: add it, rows need an end of text")
    size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    fingerprint = hashlib.blake2b(data, digest_size=16).hexdigest()
    return Vocabulary(tokenizer, bos, eos, size, fingerprint, family(tokenizer, description), unwritten)


def train(texts: Iterable[str], *, size: int, folder: Path) -> None:
    """Train a byte-level BPE vocabulary of `size` ids and write it to `folder` as a Hugging Face tokenizer.

    Byte-level: any text can be written, whatever its script. No token has more than MAX_PIECE_CHARACTERS characters,
    and the time is in line with the text. Raises InputError if there is no text.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    from instructpt.words.byte_pairs import OURS

    words = pre_tokenizers.Split(Regex(OURS), behavior="isolated")
    short = pre_tokenizers.Split(Regex(rf"[\s\S]{{1,{MAX_PIECE_CHARACTERS}}}"), behavior="isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, short, as_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    portions = (part for text in texts for part in _portions(text))
    interruptible(lambda: tokenizer.train_from_iterator(portions, trainer))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, as_bytes])
    if tokenizer.get_vocab_size() <= len(trainer.special_tokens) + len(trainer.initial_alphabet):
        raise InputError("no text to train a vocabulary on: give a corpus that is not empty")
    # Other programs (lm-eval, vLLM) add what the tokenizer's template says: one BOS.
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 0)])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": EOS,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_bytes(orjson.dumps(config, option=orjson.OPT_INDENT_2))


def _portions(text: str) -> Iterator[str]:
    """The text in parts, cut where that changes no pieces; where there is no such place, anywhere."""
    from instructpt.words.byte_pairs import windows

    for part in windows(text, _PORTION_CHARACTERS):
        for start in range(0, len(part), 2 * _PORTION_CHARACTERS):
            yield part[start : start + 2 * _PORTION_CHARACTERS]


def _special(tokenizer: Tokenizer, name: object) -> int | None:
    content = name.get("content") if isinstance(name, dict) else name
    return tokenizer.token_to_id(content) if isinstance(content, str) else None
