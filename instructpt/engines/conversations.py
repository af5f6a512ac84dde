"""Conversations as token ids, laid out by the chat template that came with the model.

    Conversation   system: You write pairs.   user: A text with <|end|> in it.
    template       <|system|>You write pairs.<|end|><|user|>A text with <|end|> in it.<|end|><|assistant|>
                    id                         id    id                  ^^^^^^^    id       id

What the template puts is an id where it spells a special token; what a message says is only text, whatever it spells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from instructpt.engines import Conversation
from instructpt.errors import EngineError
from instructpt.models.folders import local_folder
from instructpt.words import vocabulary

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
