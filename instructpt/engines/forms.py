"""Forms: an answer is held to what its dialect can read, while it is written.

Before each token llguidance says which may come next, and all others lose their logits. With the regular expression
`<QUE> [^<]+ <ANS> [^<]+`:

    written so far                may follow
    <QUE>                         any word without "<"
    <QUE> Who                     the same, or ` <`
    <QUE> Who <                   `ANS`, or its beginning
    <QUE> Who <ANS> A heron       any word without "<", or the end of text

A matcher stands for one answer and moves on with each token that is written. Where the form is complete and nothing
can follow, only an end of text may.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache, cached_property, lru_cache
from threading import Lock

import torch
from llguidance import LLExecutor, LLMatcher, LLTokenizer
from tokenizers import Tokenizer
from torch import Tensor

from instructpt.engines import Form
from instructpt.errors import RecipeError

_MAX_FORMS = 256
"""Compiled forms that are kept: more than there are orders of a mix of four categories in four pairs."""

_log = logging.getLogger(__name__)


class Forms:
    """The forms that answers of one model are held to, each compiled once."""

    def __init__(self, tokenizer: Tokenizer, *, num_ids: int, ends: frozenset[int]) -> None:
        """num_ids: width of the model's logits. ends: ids that end a text."""
        self._tokenizer = tokenizer
        self._num_bits = max(num_ids, tokenizer.get_vocab_size(with_added_tokens=True))
        self._ends = sorted(ends)
        self._lock = Lock()
        self._compiled = lru_cache(maxsize=_MAX_FORMS)(self._compile)

    def matcher(self, form: Form) -> LLMatcher | None:
        """A matcher at the beginning of an answer; None if no answer in this model's tokens can be held to a form.

        From any thread. The first call takes a second where the vocabulary is large. Raises RecipeError for a form that
        does not compile.
        """
        with self._lock:
            return None if self._table is None else self._compiled(form).deep_copy()

    def mask(self, logits_RV: Tensor, matchers: Sequence[tuple[int, LLMatcher]]) -> None:
        """Take the logits from all ids that may not follow. matchers: each with its row."""
        num_ids, device = logits_RV.shape[-1], logits_RV.device
        # llguidance.torch would do this part, but importing it takes five seconds: it compiles what is two lines here.
        packed_HW = torch.empty(len(matchers), -(-self._num_bits // 32), dtype=torch.int32)
        places = [(matcher, place) for place, (_, matcher) in enumerate(matchers)]
        _executor().unsafe_compute_mask_ptr(places, packed_HW.data_ptr(), packed_HW.shape[1] * 4, len(places))
        # Unpacked where the logits are: a bit an id is all that travels.
        bits_8 = 1 << torch.arange(8, dtype=torch.uint8, device=device)
        refused_HV = (packed_HW.to(device).view(torch.uint8)[..., None] & bits_8 == 0).flatten(1)[:, :num_ids]
        if len(matchers) == len(logits_RV):
            logits_RV.masked_fill_(refused_HV, float("-inf"))
        else:
            rows_H = torch.tensor([row for row, _ in matchers], device=device)
            logits_RV[rows_H] = logits_RV[rows_H].masked_fill_(refused_HV, float("-inf"))

    @cached_property
    def _table(self) -> LLTokenizer | None:
        """The bytes of every token."""
        try:
            return LLTokenizer(self._tokenizer.to_str(), n_vocab=self._num_bits, eos_token=self._ends)
        except ValueError as error:
            _log.warning("this model's answers cannot be held to a form and are taken as they come: %s", error)
            return None

    def _compile(self, form: Form) -> LLMatcher:
        try:
            if form.kind == "regex":
                grammar = LLMatcher.grammar_from_regex(form.text)
            elif form.kind == "grammar":
                grammar = LLMatcher.grammar_from_lark(form.text)
            else:
                # Were blanks allowed between its parts, a small model might write nothing else.
                grammar = LLMatcher.grammar_from_json_schema(form.text, defaults={"whitespace_flexible": False})
        except ValueError as error:
            raise _broken(form, str(error)) from error
        matcher = LLMatcher(self._table, grammar, log_level=0)
        if matcher.is_error():
            raise _broken(form, matcher.get_error())
        return matcher


@cache
def _executor() -> LLExecutor:
    """Threads that find out what may follow, for all answers of a step at once."""
    return LLExecutor()


def _broken(form: Form, reason: str) -> RecipeError:
    reason = " ".join(reason.split())
    return RecipeError(f"no answer can be held to the {form.kind} {form.text[:60]!r} ({reason[:200]}): mend the form")
