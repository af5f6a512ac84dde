"""The embedded engine: a Hugging Face causal language model in this process, with continuous batching.

    complete, score            this file: checks a prompt, waits for the answer, decodes it
      -> ChatTemplate          by the model's chat template: turns to token ids
      -> forms.Forms           what may follow in an answer that is held to a form
      -> worker.Worker         one thread owns the model; who joins, who waits, what to do without memory
        -> batching.DecodingBatch      a forward a step gives each sequence a token
          -> cache.RowCache    keys and values of sequences that come and go

Any model that keeps keys and values of its past works as it is; one that keeps another state (Mamba, RWKV, hybrids) is
refused when it is loaded. For a large model on a large GPU a server is faster: its kernels are made for serving.

Conversations become token ids by the chat template that came with the model:

    Conversation   system: You write pairs.   user: A text with <|end|> in it.
    template       <|system|>You write pairs.<|end|><|user|>A text with <|end|> in it.<|end|><|assistant|>
                    id                         id    id                  ^^^^^^^    id       id

What the template puts is an id where it spells a special token; what a message says is only text, whatever it spells.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from instructpt import devices
from instructpt.engines import Completion, Conversation, EngineState, Prompt, Sampling
from instructpt.engines.batching import Forward, Request, ScoreRequest
from instructpt.engines.forms import Forms
from instructpt.engines.worker import Worker
from instructpt.errors import EngineError, InputError, PromptRefusedError, RecipeError
from instructpt.models.folders import local_folder
from instructpt.models.loading import load_causal_model
from instructpt.words import vocabulary

Precision = Literal["auto", "float32", "bfloat16", "float16"]

_MAX_SCORED_LOGITS = 1 << 27
"""Logits that scoring holds at once: half a gigabyte in float32."""
_PREFILL_TOKENS = {"cuda": 8192, "cpu": 1024}
"""On a CPU 1024 reads prompts a fifth faster than 8192: less padding, and what a layer writes stays in the cache."""
_MEMORY_SHARE = {"cuda": 0.7, "cpu": 0.25}
"""Of a GPU's free memory or a machine's (or container's) whole memory, for keys and values."""


class TransformersEngine:
    """Completes and scores with a model in this process.

    device: "auto" (the first GPU if there is one, else the CPU) or a torch device. precision: "auto" is bfloat16 where
    the device computes in it, else float32. max_batch: sequences that decode at once. max_batch_tokens: keys and values
    to hold, in tokens, padding included; None = as memory allows. max_prefill_tokens: tokens of prompts read at once;
    None = 1024 on a CPU, 8192 elsewhere. attention: one of transformers' attention implementations; None = its default.
    trust_remote_code: run code that comes with the model.

    Raises InputError for a model that cannot be loaded or batched, RecipeError for settings that cannot be.
    """

    needs_weights = True

    def __init__(
        self,
        model: str,
        *,
        device: str = "auto",
        precision: Precision = "auto",
        max_batch: int = 64,
        max_batch_tokens: int | None = None,
        max_prefill_tokens: int | None = None,
        attention: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        limits = {
            "max_batch": max_batch,
            "max_batch_tokens": max_batch_tokens,
            "max_prefill_tokens": max_prefill_tokens,
        }
        for name, limit in limits.items():
            if limit is not None and limit < 1:
                raise RecipeError(f"{name} is {limit}: give at least 1")
        self._vocabulary = vocabulary.load(model)
        place = devices.find(device)
        files = ["*.json", "*.safetensors", *(["*.py"] if trust_remote_code else [])]
        loaded: Any = load_causal_model(
            local_folder(model, files=files),
            dtype=_dtype(precision, place),
            attention=attention,
            own_code=trust_remote_code,
        )
        loaded = loaded.eval().to(place)
        _refuse_other_states(model, loaded)
        config = loaded.config.get_text_config(decoder=True)
        num_prefill_tokens = max_prefill_tokens or _PREFILL_TOKENS["cpu" if place.type == "cpu" else "cuda"]
        self._num_ids: int = config.vocab_size
        self._context: int | None = getattr(config, "max_position_embeddings", None)
        self.dtype: torch.dtype = loaded.dtype
        """What the model computes in."""
        self._ends = _ends(loaded, self._vocabulary)
        self._template = ChatTemplate(model, words=self._vocabulary)
        self._forms = Forms(self._vocabulary.tokenizer, num_ids=self._num_ids, ends=self._ends)
        self._max_batch = max_batch
        self._num_prompt_tokens = 0
        self._worker: Worker | None = Worker(
            Forward(loaded, device=place),
            forms=self._forms,
            ends=self._ends,
            max_rows=max_batch,
            max_tokens=max_batch_tokens or _room(config, loaded.dtype, place),
            max_prefill_tokens=num_prefill_tokens,
            max_scored_tokens=min(num_prefill_tokens, max(1, _MAX_SCORED_LOGITS // self._num_ids)),
        )

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """Go on from `prompt`, held to `sampling.form`.

        Raises PromptRefusedError if the prompt is empty, too long or holds other ids than the model's, EngineError for
        a conversation if the model has no chat template, RecipeError for a form that is none.
        """
        ids = self._template.ids(prompt) if isinstance(prompt, Conversation) else list(prompt)
        room = self._check(ids, ids)
        if room is not None and room < 1:
            raise PromptRefusedError(
                f"a prompt of {len(ids)} tokens leaves no room in a context of {self._context}: give a shorter one"
            )
        budget = sampling.max_new_tokens if room is None else min(sampling.max_new_tokens, room)
        request = Request(ids, sampling, budget)
        if sampling.form is not None:
            matcher = await asyncio.to_thread(self._forms.matcher, sampling.form)
            if matcher is not None:
                request.hold(matcher)
        self._open_worker().submit(request)
        self._num_prompt_tokens += len(ids)
        written = await asyncio.wrap_future(request.future)
        ended = written[-1] in self._ends
        # An end that its tokenizer does not call special would be text.
        text = self._vocabulary.decode(written[:-1] if ended else written)
        return Completion(text, len(written), "stop" if ended else "length")

    def state(self) -> EngineState:
        """See `Engine.state`. Twice what decodes at once: who leaves is followed by one that waits."""
        return EngineState(capacity=2 * self._max_batch, num_prompt_tokens=self._num_prompt_tokens)

    async def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Sequence[float]:
        """Natural-log probability of each token of `continuation`. Raises PromptRefusedError as `complete` does."""
        before, after = list(prompt), list(continuation)
        room = self._check(before, before + after)
        if room is not None and room < 0:
            raise PromptRefusedError(
                f"{len(before)} tokens and {len(after)} to score exceed a context of {self._context}: give fewer"
            )
        if not after:
            return []
        scoring = ScoreRequest(before, after)
        self._open_worker().submit(scoring)
        return await asyncio.wrap_future(scoring.future)

    async def close(self) -> None:
        """Let go of the model. Requests under way raise EngineError; a closed engine may be closed again."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await asyncio.to_thread(worker.close)

    def _check(self, prompt: list[int], ids: list[int]) -> int | None:
        """How many tokens the context has left after `ids`; None if it has no end."""
        if not prompt:
            raise PromptRefusedError("the prompt is empty: give at least one token, such as the begin of text")
        if min(ids) < 0 or max(ids) >= self._num_ids:
            stranger = next(i for i in ids if not 0 <= i < self._num_ids)
            raise PromptRefusedError(
                f"token id {stranger} is none of the model's {self._num_ids}: use the model's vocabulary"
            )
        return None if self._context is None else self._context - len(ids)

    def _open_worker(self) -> Worker:
        if self._worker is None:
            raise EngineError("the engine is closed: open a new one")
        return self._worker


def _dtype(precision: Precision, device: torch.device) -> torch.dtype:
    if precision == "auto":
        precision = devices.fast_precision(device)
    names = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if precision not in names:
        raise RecipeError(f"precision is {precision!r}: choose one of auto, {', '.join(names)}")
    return names[precision]


def _refuse_other_states(name: str, model: Any) -> None:
    """Raises InputError unless all that `model` keeps of its past are keys and values, a layer of them each."""
    expected = (DynamicLayer, DynamicSlidingWindowLayer)
    kind = type(model).__name__
    if not model._supports_default_dynamic_cache() or model.config.is_encoder_decoder:
        raise InputError(f"{name} ({kind}) keeps no cache of keys and values: use another model, or a server")
    try:
        layers = DynamicCache(config=model.config).layers
    except KeyError as error:
        raise InputError(f"{name} ({kind}) has layers of type {error}: use another model, or a server") from error
    others = sorted({type(layer).__name__ for layer in layers if type(layer) not in expected})
    if others:
        raise InputError(f"{name} ({kind}) keeps {', '.join(others)}, not keys and values alone: use a server for it")


def _ends(model: Any, words: vocabulary.Vocabulary) -> frozenset[int]:
    """Every id that the model, its generation settings or its tokenizer calls an end of text."""
    ends = {words.eos}
    for config in (model.config, model.generation_config):
        named: int | Iterable[int] | None = getattr(config, "eos_token_id", None)
        ends.update([named] if isinstance(named, int) else named or [])
    return frozenset(ends)


def _room(config: Any, dtype: torch.dtype, device: torch.device) -> int:
    """Tokens whose keys and values fit into the share of memory that is meant for them."""
    num_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token_bytes: int = 2 * config.num_hidden_layers * num_heads * width * dtype.itemsize
    memory_bytes = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else devices.memory_bytes()
    share = _MEMORY_SHARE["cuda" if device.type == "cuda" else "cpu"]
    return int(memory_bytes * share) // token_bytes


_FILES = ("*.json", "*.jinja", "*.model", "*.txt")


class ChatTemplate:
    """The chat template of a model folder or Hub model, read when the first conversation comes."""

    def __init__(self, model: str, *, words: vocabulary.Vocabulary) -> None:
        self._model = model
        self._words = words

    def ids(self, conversation: Conversation) -> list[int]:
        """What the model reads, up to where its own turn begins.

        Raises EngineError if the model has no template, or its template takes no such conversation.
        """
        said = "".join(message.content for message in conversation.messages)
        # From the private use area of Unicode, where hardly any text has a character and none has them all.
        unused = next(char for char in map(chr, range(0xE000, 0xF900)) if char not in said)
        stand_ins = {spelled: f"{unused}{number}{unused}" for number, spelled in enumerate(self._special)}
        messages = [
            {"role": message.role, "content": _replace(message.content, stand_ins)} for message in conversation.messages
        ]
        parts = self._split(self._render(messages))
        spelled = {stand_in: text for text, stand_in in stand_ins.items()}
        encoded = iter(self._words.encode([_replace(text, spelled) for text in parts[::2]]))
        ids = next(encoded)
        for special in parts[1::2]:
            ids += [self._special[special][0], *next(encoded)]
        return ids

    def _render(self, messages: list[dict[str, str]]) -> str:
        from jinja2 import TemplateError

        if not self._tokenizer.chat_template:
            raise EngineError(f"{self._model} has no chat template: take a model that was tuned to chat")
        try:
            text: str = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        except TemplateError as error:
            reason = " ".join(str(error).split())
            raise EngineError(f"the chat template of {self._model} refuses the conversation: {reason}") from error
        return text

    def _split(self, rendered: str) -> list[str]:
        """Text, special token, text, ..., text. Some special tokens swallow the blanks beside them."""
        if not self._special:
            return [rendered]
        longest_first = sorted(self._special, key=len, reverse=True)
        parts = re.split(f"({'|'.join(map(re.escape, longest_first))})", rendered)
        for place in range(1, len(parts), 2):
            _, strips_left, strips_right = self._special[parts[place]]
            parts[place - 1] = parts[place - 1].rstrip() if strips_left else parts[place - 1]
            parts[place + 1] = parts[place + 1].lstrip() if strips_right else parts[place + 1]
        return parts

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(local_folder(self._model, files=_FILES))

    @cached_property
    def _special(self) -> dict[str, tuple[int, bool, bool]]:
        """Spelling -> id, and whether it swallows blanks on its left and on its right."""
        added = self._words.tokenizer.get_added_tokens_decoder()
        return {token.content: (id_, token.lstrip, token.rstrip) for id_, token in added.items() if token.special}


def _replace(text: str, by: Mapping[str, str]) -> str:
    for old, new in by.items():
        text = text.replace(old, new)
    return text
