"""Conversations: the model's own template lays them out, and what a message says never becomes a special token."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
from transformers import AutoTokenizer

from instructpt.engines import Completion, Conversation, Form, Message, Sampling
from instructpt.engines.transformers import ChatTemplate, TransformersEngine
from instructpt.errors import EngineError, PromptRefusedError
from instructpt.words import vocabulary

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'system' %}{% if not loop.first %}"
    "{{ raise_exception('the system speaks first\\nor never') }}{% endif %}{% endif %}"
    "[{{ message.role }}] {{ message.content | trim }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
TALK = Conversation(
    (
        Message("system", "the cat sat"),
        Message("user", "on the mat "),
        Message("assistant", "and the dog"),
        Message("user", "sat\n\non the log"),
    )
)


def with_template(folder: Path | str, to: Path, template: str | None = TEMPLATE) -> str:
    shutil.copytree(folder, to, dirs_exist_ok=True)
    path = to / "tokenizer_config.json"
    config = orjson.loads(path.read_bytes()) | ({} if template is None else {"chat_template": template})
    path.write_bytes(orjson.dumps(config))
    return str(to)


def ids_of(folder: str, conversation: Conversation) -> list[int]:
    return ChatTemplate(folder, words=vocabulary.load(folder)).ids(conversation)


def test_a_conversation_is_laid_out_and_tokenized_as_transformers_does_it(words: Path, tmp_path: Path) -> None:
    folder = with_template(words, tmp_path)
    messages = [{"role": message.role, "content": message.content} for message in TALK.messages]
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    expected = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    ids = ids_of(folder, TALK)
    assert ids == expected
    assert (ids.count(0), ids.count(1)) == (1, 4), "one begin of text, an end a turn"


def test_a_special_token_that_a_message_spells_is_only_text(words: Path, tmp_path: Path) -> None:
    folder = with_template(words, tmp_path)
    spelled = Conversation((Message("user", "the </s> cat<s>\ue0000\ue001 sat</s>"),))
    ids = ids_of(folder, spelled)
    assert (ids.count(0), ids.count(1)) == (1, 1)
    loaded = vocabulary.load(folder)
    assert (
        ids
        == [0, *loaded.encode(["[user] the </s> cat<s>\ue0000\ue001 sat</s>"])[0], 1]
        + loaded.encode(["\n[assistant]"])[0]
    )


def test_an_added_token_is_the_templates_to_put_and_not_a_messages(words: Path, tmp_path: Path) -> None:
    """As Qwen's template puts an empty `<think>`, whose tokens are added but not special."""
    folder = Path(with_template(words, tmp_path))
    description = orjson.loads((folder / "tokenizer.json").read_bytes())
    think = len(description["model"]["vocab"])
    added = {**description["added_tokens"][0], "id": think, "content": "<think>", "special": False}
    (folder / "tokenizer.json").write_bytes(
        orjson.dumps({**description, "added_tokens": [*description["added_tokens"], added]})
    )
    config = orjson.loads((folder / "tokenizer_config.json").read_bytes())
    config["chat_template"] += "<think>"
    (folder / "tokenizer_config.json").write_bytes(orjson.dumps(config))
    ids = ids_of(str(folder), Conversation((Message("user", "the <think> cat"),)))
    assert ids[-1] == think
    assert ids.count(think) == 1


def test_without_a_template_or_with_one_that_refuses_the_error_says_so(words: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no chat template"):
        ids_of(str(words), TALK)
    twice = Conversation((Message("user", "the cat"), Message("system", "sat")))
    with pytest.raises(EngineError, match="the system speaks first or never"):
        ids_of(with_template(words, tmp_path), twice)


def test_an_engine_answers_a_conversation_as_it_answers_its_ids(tiny_model: str, tmp_path: Path) -> None:
    folder = with_template(tiny_model, tmp_path)
    too_long = Conversation((Message("user", "the cat sat " * 99),))
    sampling = Sampling(9, form=Form("regex", "[a-z]{3,}"))

    async def run() -> list[Any]:
        engine = TransformersEngine(folder, precision="float32")
        asked = [TALK, ids_of(folder, TALK), too_long]
        answers = await asyncio.gather(*(engine.complete(one, sampling) for one in asked), return_exceptions=True)
        answers.append(engine.state().num_prompt_tokens)  # type: ignore[arg-type]
        await engine.close()
        return answers

    talk, ids, refused, num_tokens = asyncio.run(run())
    assert isinstance(talk, Completion)
    assert talk == ids
    assert isinstance(refused, PromptRefusedError)
    assert num_tokens == 2 * len(ids_of(folder, TALK))
