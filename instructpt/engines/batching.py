"""Sequences that decode together: one forward of the model gives each of them a token; they come and go as they like.

    step          1  2  3  4  5  6  7
    sequence A    p  a  a  a  .             p  its prompt is read, with all that join in the same step
    sequence B    p  b  b  b  b  b  .       a  one token of A
    sequence C                p  c  c  c    C waited for a place and got the one of A

Where a form leaves no choice, the tokens that must come are written at once and the model is not asked for them: those
that open an answer are read with its prompt, those within it one a step, those that end it never.

Everything here runs in one thread. `instructpt.engines.worker` decides who joins and who waits.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from llguidance import LLMatcher
from torch import Tensor
from transformers.cache_utils import DynamicCache

from instructpt.engines import Sampling
from instructpt.engines.cache import RowCache
from instructpt.engines.forms import Forms
from instructpt.seeds import digest

MIN_SHARED_TOKENS = 32
"""Prompts that begin with as many equal tokens are read together; more than any common opening."""


@dataclass(slots=True, eq=False)
class Request:
    """A prompt that is being completed."""

    prompt: list[int]
    sampling: Sampling
    budget: int
    """Most tokens it may write: max_new_tokens, or what the context leaves."""
    matcher: LLMatcher | None = None
    """Holds the answer to its form; it has read what is written."""
    written: list[int] = field(default_factory=list)
    num_ahead: int = 0
    """Of `written`, the last tokens that the next step does not read yet: its form left no choice about them."""
    future: Future[list[int]] = field(default_factory=Future)
    """Of `written`, the end of text included."""
    _stream: str = field(init=False)

    def __post_init__(self) -> None:
        self._stream = digest(self.sampling.seed, "completion", self.prompt).hex()

    def hold(self, matcher: LLMatcher) -> None:
        """Hold the answer to a form, and write how all of them begin, but for the last token of the budget."""
        self.matcher = matcher
        opening: list[int] = matcher.compute_ff_tokens()[: self.budget - 1]
        matcher.consume_tokens(opening)
        self.written += opening

    def following(self, token: int, *, ends: frozenset[int]) -> list[int]:
        """`token`, and the tokens that must come after it, an end of text included, up to the budget."""
        matcher = self.matcher
        if matcher is None or token < 0 or token in ends or not matcher.consume_token(token):
            return [token]
        forced: list[int] = matcher.compute_ff_tokens()
        matcher.consume_tokens(forced)
        end = [min(ends)] if matcher.is_stopped() else []
        matcher.rollback(1 + len(forced))  # nothing is written before it cannot be lost any more
        return [token, *forced, *end][: self.budget - len(self.written)]

    @property
    def tokens(self) -> list[int]:
        """What the model reads to go on."""
        return self.prompt + self.written

    @property
    def most_tokens(self) -> int:
        """What it may grow to."""
        return len(self.prompt) + self.budget

    def draw(self) -> float:
        """A number in [0, 1) for the next token, of its own: it depends on seed, prompt and place alone."""
        return (int.from_bytes(digest(self._stream, len(self.written))[:8], "little") >> 11) / 2**53


@dataclass(slots=True, eq=False)
class ScoreRequest:
    """A continuation that waits for the log-probability of each of its tokens."""

    prompt: list[int]
    continuation: list[int]
    future: Future[list[float]] = field(default_factory=Future)

    @property
    def tokens(self) -> list[int]:
        """What the model reads: all but the last token, which predicts nothing that was asked."""
        return self.prompt + self.continuation[:-1]


Waiting = TypeVar("Waiting", Request, ScoreRequest)


class Forward:
    """A causal language model, called with the arguments that its kind takes."""

    def __init__(self, model: Any, *, device: torch.device) -> None:
        self.device = device
        self._model = model
        self._accepted = set(inspect.signature(model.forward).parameters)

    def step(self, tokens: Sequence[int], rows: RowCache) -> Tensor:
        """Logits [R, vocabulary] after one more token for each row."""
        attended_RT, positions_R1 = rows.prepare()
        inputs_R1 = torch.tensor(tokens, device=self.device)[:, None]
        logits_R1V = self._call(inputs_R1, attended_RT, positions_R1, past_key_values=rows.past, use_cache=True)
        rows.advance()
        return logits_R1V[:, -1]

    def prefill(self, sequences: Sequence[Sequence[int]], *, num_last: int = 1) -> tuple[Tensor, DynamicCache]:
        """Logits [R, num_last, vocabulary] after the last tokens of each sequence, and keys and values of all tokens.

        Shorter sequences are padded on the left.

        Tokens with which all of them begin are read once, if they are the larger part (`shared_tokens`):

            column      0 1 2 3 4 5 6 7         p   of the beginning, read once for all rows and copied
            row 0       . . p p p p b c         .   padding
            row 1       . p p p p p d e         b   read for each row: the last columns, in the short rows also
            row 2       p p p p p p f g             the end of the beginning
        """
        num_shared = max(0, min(shared_tokens(sequences), max(map(len, sequences)) - num_last))
        # Without a configuration all layers keep all keys, also those with a sliding window.
        past = self._repeated(sequences, num_shared) if num_shared else DynamicCache()
        inputs_RT, attended_RT, positions_RT = self._pad(sequences)
        logits_RTV = self._call(
            inputs_RT[:, num_shared:],
            attended_RT,
            positions_RT[:, num_shared:],
            past_key_values=past,
            use_cache=True,
            logits_to_keep=num_last,
        )
        return logits_RTV[:, -num_last:], past

    def _repeated(self, sequences: Sequence[Sequence[int]], num_columns: int) -> DynamicCache:
        """Keys and values of the first columns of the padded sequences, from one reading of their common beginning."""
        one, past, longest = DynamicCache(), DynamicCache(), max(map(len, sequences))
        self._call(*self._pad([sequences[0][:num_columns]]), past_key_values=one, use_cache=True, logits_to_keep=1)
        for number, layer in enumerate(one.layers):
            parts = []
            for source in (layer.keys, layer.values):
                part = source.new_zeros(len(sequences), *source.shape[1:])
                for row, ids in enumerate(sequences):
                    start = longest - len(ids)
                    part[row, :, start:] = source[0, :, : num_columns - start]
                parts.append(part)
            past.update(*parts, number)
        return past

    def _pad(self, sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
        longest = max(map(len, sequences))
        inputs_RT = torch.tensor([[0] * (longest - len(ids)) + list(ids) for ids in sequences], device=self.device)
        starts_R1 = torch.tensor([longest - len(ids) for ids in sequences], device=self.device)[:, None]
        positions_RT = torch.arange(longest, device=self.device) - starts_R1
        return inputs_RT, positions_RT >= 0, positions_RT.clamp(min=0)

    def _call(self, inputs: Tensor, attended: Tensor, positions: Tensor, **options: Any) -> Tensor:
        # Models whose positions are distances take no position_ids; some older ones no logits_to_keep.
        options["position_ids"] = positions
        accepted = {name: value for name, value in options.items() if name in self._accepted}
        logits: Tensor = self._model(input_ids=inputs, attention_mask=attended, **accepted).logits
        return logits


class DecodingBatch:
    """The sequences that decode together.

    If a method runs out of memory, no sequence has lost or won a token by it; `drop_all` gives them all back.
    """

    def __init__(self, forward: Forward, *, forms: Forms, ends: frozenset[int], max_rows: int) -> None:
        self.requests: list[Request] = []
        self._forward = forward
        self._forms = forms
        self._ends = ends
        self._rows = RowCache(device=forward.device, max_rows=max_rows)

    def __len__(self) -> int:
        return len(self.requests)

    def join(self, requests: Sequence[Request]) -> list[Request]:
        """Read what `requests` hold and write a token each; those that go on join. Returns those that are done."""
        sequences, rows = _distinct(requests)
        logits_R1V, past = self._forward.prefill(sequences)
        pieces = self._next(requests, logits_R1V[rows, -1])
        staying = [row for row, request in enumerate(requests) if not self._ends_with(pieces[row], request)]
        if staying:
            lengths = [len(requests[row].tokens) for row in staying]
            self._rows.add(past, rows=[rows[row] for row in staying], lengths=lengths)
        self._write(pieces, to=requests)
        self.requests += [requests[row] for row in staying]
        return [request for row, request in enumerate(requests) if row not in staying]

    def step(self) -> list[Request]:
        """Each sequence reads a token, and writes if it has read all. Returns those that are done; they have left."""
        tokens = [request.written[-1 - request.num_ahead] for request in self.requests]
        logits_RV = self._forward.step(tokens, self._rows)
        choosing = [row for row, request in enumerate(self.requests) if not request.num_ahead]
        requests = [self.requests[row] for row in choosing]
        pieces = self._next(requests, logits_RV if len(requests) == len(tokens) else logits_RV[choosing])
        done = [place for place, request in enumerate(requests) if self._ends_with(pieces[place], request)]
        left = [self.requests[row] for row in self._rows.remove([choosing[place] for place in done])] if done else None
        for request in self.requests:
            request.num_ahead = max(0, request.num_ahead - 1)
        self._write(pieces, to=requests)
        self.requests = self.requests if left is None else left
        return [requests[place] for place in done]

    def drop_cancelled(self) -> None:
        """Let those leave for which nobody waits any more."""
        cancelled = [row for row, request in enumerate(self.requests) if request.future.cancelled()]
        if cancelled:
            self.requests = [self.requests[row] for row in self._rows.remove(cancelled)]

    def drop_all(self) -> list[Request]:
        """Let all leave and give their memory back. What they wrote stays written; they may join again."""
        left, self.requests = self.requests, []
        self._rows.clear()
        return left

    def _next(self, requests: Sequence[Request], logits_RV: Tensor) -> list[list[int]]:
        """What each of them writes next: a token, and those that must follow it."""
        tokens = _choose(requests, logits_RV, forms=self._forms) if requests else []
        return [request.following(token, ends=self._ends) for request, token in zip(requests, tokens, strict=True)]

    def _ends_with(self, piece: Sequence[int], request: Request) -> bool:
        return piece[-1] < 0 or piece[-1] in self._ends or len(request.written) + len(piece) >= request.budget

    def _write(self, pieces: Sequence[Sequence[int]], *, to: Sequence[Request]) -> None:
        """Last of all, when nothing can run out of memory any more: a matcher reads each token once."""
        for request, piece in zip(to, pieces, strict=True):
            request.written += piece
            request.num_ahead = len(piece) - 1
            if request.matcher is not None:
                request.matcher.consume_tokens([token for token in piece if token >= 0 and token not in self._ends])


def _choose(requests: Sequence[Request], logits: Tensor, *, forms: Forms) -> list[int]:
    """The next token of each row of logits, [R, vocabulary]: the likeliest or a drawn one of those that may follow.

    -1 where the logits are no numbers, or a matcher failed.
    """
    best_R, tokens_R = logits.max(dim=-1)
    are_numbers_R = best_R.isfinite()
    held = [(row, request.matcher) for row, request in enumerate(requests) if request.matcher is not None]
    if held:
        forms.mask(logits, held)
        best_R, tokens_R = logits.max(dim=-1)
        failed = [row for row, matcher in held if matcher.is_error()]
        are_numbers_R = are_numbers_R & best_R.isfinite()
        are_numbers_R[failed] = False
    sampled = [row for row, request in enumerate(requests) if request.sampling.temperature > 0]
    if sampled:
        draws = [(requests[row].sampling.temperature, requests[row].draw()) for row in sampled]
        temperatures_S1, draws_S1 = torch.tensor(draws, device=logits.device, dtype=torch.float64).T[..., None]
        # Double precision: in a vocabulary of 100,000 a sum of floats would lose the rare tokens.
        scaled_SV = (logits[sampled].double() - best_R[sampled, None]) / temperatures_S1
        sums_SV = scaled_SV.softmax(dim=-1).cumsum(dim=-1)
        # The last sum stands for 1, from which it may differ in the last digit.
        drawn_S1 = torch.searchsorted(sums_SV, draws_S1 * sums_SV[:, -1:], right=True)
        tokens_R[sampled] = drawn_S1[:, 0].clamp(max=logits.shape[-1] - 1)
    chosen: list[int] = torch.where(are_numbers_R, tokens_R, -1).tolist()
    return chosen


def score(forward: Forward, scorings: Sequence[ScoreRequest]) -> list[list[float]]:
    """Natural-log probabilities of each continuation; not finite where the model's output is not."""
    num_last = max(len(scoring.continuation) for scoring in scorings)
    sequences, rows = _distinct(scorings)
    logits_RTV, _ = forward.prefill(sequences, num_last=num_last)
    scores = []
    for scoring, row in zip(scorings, rows, strict=True):
        targets_T1 = torch.tensor(scoring.continuation, device=forward.device)[:, None]
        own_TV = logits_RTV[row, -len(scoring.continuation) :].float()
        scores.append(own_TV.log_softmax(dim=-1).gather(1, targets_T1)[:, 0].tolist())
    return scores


def _distinct(waiting: Sequence[Waiting]) -> tuple[list[tuple[int, ...]], list[int]]:
    """What they hold, equal ones once, and which of it is whose."""
    sequences = [tuple(one.tokens) for one in waiting]
    rows = {ids: row for row, ids in enumerate(dict.fromkeys(sequences))}
    return list(rows), [rows[ids] for ids in sequences]


def shared_tokens(sequences: Sequence[Sequence[int]]) -> int:
    """With how many equal tokens the sequences begin; 0 where it is not worth reading them apart.

    That is where there is one sequence, the beginning is short, or what follows it is longer.
    """
    if len(sequences) < 2:
        return 0
    first, last, shortest = min(map(list, sequences)), max(map(list, sequences)), min(map(len, sequences))
    num_equal = next((place for place in range(shortest) if first[place] != last[place]), shortest)
    num_shared = min(num_equal, shortest - 1)  # something must be read for the logits after it
    is_worth_it = num_shared >= max(MIN_SHARED_TOKENS, max(map(len, sequences)) - num_shared)
    return num_shared if is_worth_it else 0


def group_to_read(waiting: Sequence[Waiting], *, max_tokens: int) -> list[list[Waiting]]:
    """Cut `waiting` into groups to be read at once: those that begin alike, and others by `group_by_length`.

    Equal ones are in one group and count as one: they are read once.
    """
    same: dict[tuple[int, ...], list[Waiting]] = {}
    for request in waiting:
        same.setdefault(tuple(request.tokens), []).append(request)
    alike: dict[tuple[int, ...], list[Waiting]] = {}
    for ids, (request, *_) in same.items():
        alike.setdefault(ids[:MIN_SHARED_TOKENS], []).append(request)
    groups, alone = [], list[Waiting]()
    for group in alike.values():
        num_shared = shared_tokens([request.tokens for request in group])
        longest = max(len(request.tokens) for request in group)
        if num_shared and num_shared + len(group) * (longest - num_shared) <= max_tokens:
            groups.append(group)
        else:
            alone += group
    groups += group_by_length(alone, max_tokens=max_tokens)
    return [[one for request in group for one in same[tuple(request.tokens)]] for group in groups]


def group_by_length(waiting: Sequence[Waiting], *, max_tokens: int) -> list[list[Waiting]]:
    """Cut `waiting` into groups of like length, each at most `max_tokens` with its padding, the longest first.

    One that is longer than that is a group of its own. Nothing in a group is shorter than half of its longest.
    """
    groups: list[list[Waiting]] = []
    longest = 0
    for one in sorted(waiting, key=lambda one: len(one.tokens), reverse=True):
        length = len(one.tokens)
        if groups and (len(groups[-1]) + 1) * longest <= max_tokens and 2 * length >= longest:
            groups[-1].append(one)
        else:
            groups.append([one])
            longest = length
    return groups
