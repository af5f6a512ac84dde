"""What a model that was not tuned to answer makes of questions: the log-probability of answers, no text written.

    The bridge over the Cole was built in 1843.      the context             values of the item
                                                                             bits_per_byte     of " in 1843"
    When was it built?                               the question            choice_accuracy   is gold the likeliest?
    - in 1843                                        its options, if any     gold_probability  how likely is it?
    - in 1921
    Answer: in 1843                                  each option is scored; without options, the gold answer alone

A small model sits at chance in accuracy for most of its training, since an item flips only where gold overtakes all
others; the probability of gold and its bits move from the first step on. So models that are too small for a benchmark's
accuracy are told apart by these (Schaeffer et al., arXiv 2304.15004 and 2406.04391).

What rows share at their beginning is read once. The rows of a context become a tree of tokens, read as one sequence in
which every token sees its ancestors alone, at the position that it has in its row:

    rows   a b c d    tokens     a b c d e f        a  b  c  d  e  f
           a b e      positions  0 1 2 3 2 3     d  x  x  x  x  .  .      d sees a b c d
           a b e f                               f  x  x  .  .  x  x      f sees a b e f
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructpt.models.loading import load_causal_model
from instructpt.records import Item, Pair, Shot
from instructpt.words import vocabulary
from instructpt.words.evidence import sentence_starts

if TYPE_CHECKING:
    import numpy as np
    import torch

MAX_TREE_TOKENS = 4096
"""Of a tree, unless a single row has more: attention takes the square of it."""
MAX_LOGITS = 2**25
"""Tokens that are predicted at once times the vocabulary: 128 MiB of float32."""
_JOINT_TOKENS = 8
"""Kept free where a passage is cut: blank lines between it and the question, tokens that fall otherwise at the cut."""
_TOLERANCE_NATS = 1e-3
"""What two ways to read the same tokens may differ by in float32; float16 and bfloat16 are read row by row."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A model with its vocabulary, ready to say how likely texts are."""

    model: Any
    vocabulary: vocabulary.Vocabulary
    positions: int
    """The longest row, in tokens."""
    reads_trees: bool
    """Whether it goes by positions and mask alone; otherwise rows are read one by one, several times slower."""


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """Tokens of which the last ones are predicted."""

    tokens: tuple[int, ...]
    start: int
    """The first that is predicted, at least 1."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one passage."""

    items: tuple[Item, ...]
    is_cut: bool
    """Whether the beginning of the passage was left out for want of positions."""
    too_long: tuple[Pair, ...]
    """Questions that do not fit even without the passage."""
    prompts: tuple[tuple[int, ...], ...]
    """Of each item: all tokens before the answer."""


def load_reader(model_folder: Path, *, device: str = "cpu") -> Reader:
    """The model in a Hugging Face folder; in float32 on a CPU, whatever the folder holds.

    Raises InputError if there is no causal language model or no tokenizer.json in it.
    """
    import torch
    from transformers import GenerationConfig

    model: Any = load_causal_model(model_folder, dtype=torch.float32 if device == "cpu" else "auto")
    words = vocabulary.load(model_folder)
    model.to(device).eval()
    ends = model.generation_config.eos_token_id
    ends = sorted({words.eos, *([ends] if isinstance(ends, int) else ends or ())})
    # Of how its maker would have it write, with penalties and the like, nothing is kept but where it ends.
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=words.eos)
    positions = int(getattr(model.config, "max_position_embeddings", None) or MAX_TREE_TOKENS)
    return Reader(model, words, positions, _reads_trees(model))


def prompt(context: str, pair: Pair) -> str:
    """All that stands before the answer: one wording for all sets. The answer follows after a blank."""
    options = "".join(f"\n- {option}" for option in pair.options)
    return f"{context}\n\n{pair.question}{options}\nAnswer:".lstrip("\n")


def answer(
    reader: Reader,
    shot: Shot,
    *,
    task: str,
    place: int,
    spare_tokens: int = 0,
) -> Answered:
    """The items of one passage, one a question, numbered in `part`.

    A passage that is too long with its longest question is cut between sentences, from the left.
    place: the passage's number in the set.
    spare_tokens: kept free of the passage, for an answer that is to be written.
    """
    lengths = [max(len(row.tokens) for row in _rows(reader, "", pair)) for pair in shot.pairs]
    fits = [length <= reader.positions for length in lengths]
    fitting = [(number, pair) for number, pair in enumerate(shot.pairs) if fits[number]]
    longest = max((length for length, fit in zip(lengths, fits, strict=True) if fit), default=0)
    text = shot.document.text
    room = reader.positions - longest - spare_tokens - _JOINT_TOKENS
    context = _end_of(text, reader, room=room)
    rows = [_rows(reader, context, pair) for _, pair in fitting]
    nats = iter(row_nats(reader, [row for asked in rows for row in asked]))
    items = []
    for (number, pair), asked in zip(fitting, rows, strict=True):
        found = [next(nats) for _ in asked]
        items.append(_item(pair, found, task=task, place=place, number=number))
    too_long = tuple(pair for pair, fit in zip(shot.pairs, fits, strict=True) if not fit)
    prompts = tuple(asked[0].tokens[: asked[0].start] for asked in rows)
    return Answered(tuple(items), context != text, too_long, prompts)


def choice_values(nats: Sequence[float], *, num_bytes: Sequence[int], gold: int) -> dict[str, float]:
    """What the log-probabilities of a question's options say of the gold one.

    nats: log-probability of each option's text.
    num_bytes: of each option's text, at least 1.

    `gold_probability`: softmax over log-probabilities per byte, so that a long option is as likely as a short one;
    `gold_probability_plain`: over log-probabilities as they are; `bits_per_byte`: of the gold option alone.
    """
    return {
        "gold_probability": _softmax([each / length for each, length in zip(nats, num_bytes, strict=True)])[gold],
        "gold_probability_plain": _softmax(nats)[gold],
        "bits_per_byte": bits_per_byte(nats[gold], num_bytes[gold]),
    }


def bits_per_byte(nats: float, num_bytes: int) -> float:
    """From a log-probability; the smaller, the likelier."""
    return -nats / math.log(2) / num_bytes


def size(text: str) -> int:
    """Bytes of an answer in UTF-8, the blank before it aside; 1 at least, so that one can divide by it."""
    return max(1, len(text.strip().encode()))


def row_nats(reader: Reader, rows: Sequence[ScoredRow]) -> list[float]:
    """The summed log-probability of each row's predicted tokens, in order. Memory is bounded whatever the number."""
    found: list[float] = []
    for chunk in _chunks(reader, rows):
        found += _read(reader.model, chunk)
    return found


def _rows(reader: Reader, context: str, pair: Pair) -> list[ScoredRow]:
    """A row an option, or the one of the gold answer. The answer begins where the tokens leave those of the prompt."""
    words, before = reader.vocabulary, prompt(context, pair)
    begin = () if words.bos is None else (words.bos,)
    asked, *whole = words.encode_arrays([before, *(f"{before} {text}" for text in pair.options or (pair.answer,))])
    rows = []
    for tokens in whole:
        both = zip(asked, tokens, strict=False)
        start = next((place for place, (a, b) in enumerate(both) if a != b), min(len(asked), len(tokens) - 1))
        rows.append(ScoredRow((*begin, *tokens.tolist()), max(1, start + len(begin))))
    return rows


def _end_of(text: str, reader: Reader, *, room: int) -> str:
    """As many sentences from the end of a text as fit; where the last one does not, the end of that."""
    ids, starts = reader.vocabulary.encode_with_starts([text])[0]
    if len(ids) <= room:
        return text
    if room <= 0:
        return ""
    first = int(starts[len(ids) - room])
    return text[next((start for start in sentence_starts(text) if first <= start < len(text)), first) :]


def _item(pair: Pair, nats: Sequence[float], *, task: str, place: int, number: int) -> Item:
    num_bytes = size(pair.answer)
    if not pair.options:
        values: Mapping[str, float] = {"bits_per_byte": bits_per_byte(nats[0], num_bytes)}
        return Item(task, place, str(number), pair.answer, "", values, num_bytes)
    sizes = [size(option) for option in pair.options]
    gold = pair.options.index(pair.answer)
    best = max(range(len(nats)), key=lambda place: nats[place] / sizes[place])
    values = {"choice_accuracy": float(best == gold), **choice_values(nats, num_bytes=sizes, gold=gold)}
    return Item(task, place, str(number), pair.answer, pair.options[best], values, num_bytes)


def _softmax(values: Sequence[float]) -> list[float]:
    highest = max(values)
    weights = [math.exp(value - highest) for value in values]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


# Trees


@dataclass(frozen=True, slots=True)
class _Tree:
    """Rows as one sequence. All arrays are [num_tokens]."""

    tokens: list[int]
    positions: list[int]
    parents: list[int]
    """-1 for a token that begins a row."""
    paths: list[list[int]]
    """For each row, the places of its tokens from the last before the predicted ones on."""


def _tree(rows: Sequence[ScoredRow]) -> _Tree:
    tokens: list[int] = []
    positions: list[int] = []
    parents: list[int] = []
    paths: list[list[int]] = []
    children: dict[tuple[int, int], int] = {}
    for row in rows:
        place, path = -1, []
        for position, token in enumerate(row.tokens):
            key = (place, token)
            if key not in children:
                children[key] = len(tokens)
                tokens.append(token)
                positions.append(position)
                parents.append(place)
            place = children[key]
            path.append(place)
        paths.append(path[row.start - 1 :])
    return _Tree(tokens, positions, parents, paths)


def _chunks(reader: Reader, rows: Sequence[ScoredRow]) -> Iterator[_Tree]:
    """Neighbouring rows together, as many as memory is kept for; all alone for a model that reads no trees."""
    most_predicted = max(1, MAX_LOGITS // reader.vocabulary.size)
    chunk: list[ScoredRow] = []
    num_tokens = num_predicted = 0
    for row in rows:
        shared = _num_shared(chunk[-1], row) if chunk else 0
        new, predicted = len(row.tokens) - shared, len(row.tokens) - row.start
        is_full = num_tokens + new > MAX_TREE_TOKENS or num_predicted + predicted > most_predicted
        if chunk and (is_full or not reader.reads_trees):
            yield _tree(chunk)
            chunk, num_tokens, num_predicted, new = [], 0, 0, len(row.tokens)
        chunk.append(row)
        num_tokens += new
        num_predicted += predicted
    if chunk:
        yield _tree(chunk)


def _num_shared(one: ScoredRow, other: ScoredRow) -> int:
    both = zip(one.tokens, other.tokens, strict=False)
    return next((place for place, (a, b) in enumerate(both) if a != b), min(len(one.tokens), len(other.tokens)))


def _read(model: Any, tree: _Tree) -> list[float]:
    """The summed log-probability of each row of a tree; of a single row as any model reads it."""
    import torch

    device = model.device
    tokens_1N = torch.tensor([tree.tokens], device=device)
    seen = {} if len(tree.paths) == 1 else _sight(tree, dtype=model.dtype, device=device)
    predicting = sorted({place for path in tree.paths for place in path[:-1]})
    with torch.inference_mode():
        logits_KV = model(
            input_ids=tokens_1N, use_cache=False, logits_to_keep=torch.tensor(predicting, device=device), **seen
        ).logits[0]
        logs_KV = logits_KV.float().log_softmax(dim=-1)
    rank = {place: number for number, place in enumerate(predicting)}
    from_places = torch.tensor([rank[place] for path in tree.paths for place in path[:-1]], device=device)
    targets = torch.tensor([tree.tokens[place] for path in tree.paths for place in path[1:]], device=device)
    found = logs_KV[from_places, targets].double().cpu()
    return [float(part.sum()) for part in found.split([len(path) - 1 for path in tree.paths])]


def _sight(tree: _Tree, *, dtype: torch.dtype, device: torch.device) -> dict[str, torch.Tensor]:
    """Positions, and who sees whom: 0 where a token is seen, the lowest number where not, [1, 1, N, N]."""
    import numpy as np
    import torch

    number = len(tree.tokens)
    sees_NN: np.ndarray = np.zeros((number, number), bool)
    for place, parent in enumerate(tree.parents):  # parents come first
        if parent >= 0:
            sees_NN[place] = sees_NN[parent]
        sees_NN[place, place] = True
    mask_NN = torch.zeros((number, number), dtype=dtype).masked_fill_(
        ~torch.from_numpy(sees_NN), torch.finfo(dtype).min
    )
    return {
        "attention_mask": mask_NN[None, None].to(device),
        "position_ids": torch.tensor([tree.positions], device=device),
    }


def _reads_trees(model: Any) -> bool:
    """Whether a tree gives a model's rows the values that they have alone: tried on a few tokens.

    Not tried with what may not take a mask as it is: windows of attention, layers of another kind, positions that are
    not rotary, attention that knows no masks.
    """
    import torch

    config = model.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if (
        getattr(config, "rope_parameters", None) is None
        or getattr(config, "sliding_window", None) is not None
        or kinds != {"full_attention"}
        or config._attn_implementation not in ("sdpa", "eager")
        or model.dtype != torch.float32
    ):
        return False
    ids = [place % config.vocab_size for place in range(2, 9)]
    rows = [
        ScoredRow((*ids[:3], ids[3]), 3),
        ScoredRow((*ids[:3], ids[4], ids[5]), 3),
        ScoredRow((*ids[:2], ids[6]), 2),
    ]
    together = _read(model, _tree(rows))
    alone = [_read(model, _tree([row]))[0] for row in rows]
    return all(abs(a - b) < _TOLERANCE_NATS for a, b in zip(together, alone, strict=True))
