"""A model, by stage or by name: where it lies and what it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from instructpt import files
from instructpt import models as shipped
from instructpt.artifacts import Run, Stage, fingerprint
from instructpt.errors import InputError, RecipeError
from instructpt.models import folders, loading
from instructpt.models.folders import base_folder, is_local, local_folder
from instructpt.models.inspection import context_tokens, has_chat_template, inspect, num_parameters, parameters_in_name
from instructpt.words import vocabulary

if TYPE_CHECKING:
    from instructpt.engines import Engine

Model = Stage[Any] | str
"""Something with a model or vocabulary in it: a stage that makes one, a folder, a shipped model, a Hub id, or
`remote:NAME`, which only a server has."""


_MODEL_SUFFIXES = (".json", ".jinja", ".safetensors", ".bin", ".model")
"""Of files that say what a model is: its shape, its words, its chat template, its weights."""
_WHOLE_BYTES = 64 * 2**20
"""Larger weights are known by parts of each tensor."""
_BLOCK_BYTES = 4096

AUTO = "auto"
"""The dialect that the model's own folder names; `tags` where it names none."""
SHIPPED, SHIPPED_READER = "shipped:synthesizer", "shipped:reader"
"""The small models that come with the package: one writes pairs, the other answers their questions again."""


DESCRIPTION = ("config.json", "generation_config.json", "tokenizer*.json", "chat_template.jinja", "synthesizer.json")
"""The files that say what a model is and how text becomes ids, all but its weights."""


def description_folder(model: Model, run: Run) -> Path:
    """`model_folder` for those who need no weights: adapters that ship say all the rest without their base."""
    return model_folder(model, run, files=DESCRIPTION)


def model_folder(model: Model, run: Run, *, files: Sequence[str] | None = None) -> Path:
    """The local folder of a model or vocabulary. Raises InputError if there is none.

    A remote model has none: the shipped one stands in for it, so that tokens can be counted, roughly. files: as for
    `local_folder`, of a model that no stage makes.
    """
    if isinstance(model, str):
        return local_folder(SHIPPED if shipped.is_remote(model) else model, files=files)
    folder = run.product(model, "00000")
    return local_folder(folder / "model" if (folder / "model").exists() else folder, files=files)


@dataclass(frozen=True, slots=True)
class Prompting:
    """How a model is asked for pairs: what `synthesizer.json` in its folder says, and the usual where it says nothing.

    Read once, with a user's own wishes put in their place (`wished`), and carried along from there.
    """

    dialect: str = "tags"
    answers: Mapping[str, str] = field(default_factory=dict)
    """Category that it knows -> what its answers are: "span", in the passage as a rule; "label", out of a fixed set or
    options; "free" otherwise. None where its dialect does not name categories."""
    passage_tokens: int = 512
    """The longest passage that it saw."""
    window_tokens: int = 4096
    """The longest sequence that it saw; the usual one and the next are the paper's (section 2)."""
    max_new_tokens: int = 400
    """What the longest answers need."""
    field_characters: int | None = None
    """What a question, an option, a reason or an answer keeps to, where the model's answers are held to a form."""
    mix: str = ""
    """Categories to ask for, "name=weight,..."; empty leaves the choice to the model."""
    pairs: int = 5
    """A passage, where categories are asked for; the paper's synthesizer writes about as many (section 2)."""
    is_small: bool = False
    """Too small to write JSON: in conversations it is asked for plain lines, unless a user says otherwise."""
    reader: str = ""
    """The model that answers the questions of this one's pairs again, so that only confirmed ones are kept; "" if
    nobody does."""
    unanswerable: str = ""
    """What a reader, which was tuned to answer questions, says where the passage holds no answer; "" of a writer."""
    min_likelihood: float | None = None
    """Of a reader: a pair is confirmed if it holds each token of the pair's answer at least so likely; None: if it
    gives the same answer itself."""
    context_tokens: int | None = None
    """What it is to see of a passage where it is asked for one pair at a time, about a part of it; None: all."""

    def wished(self, *, dialect: str = AUTO, **wishes: Any) -> Prompting:
        """With what a user asks for instead; None, and the dialect `AUTO`, leave it as the model says.

        A mix of the model's own is for its own dialect: another one asks for nothing by itself.
        """
        given = {name: value for name, value in wishes.items() if value is not None}
        if self.is_small and dialect != AUTO:
            dialect = _in_lines(dialect)
        if dialect in (AUTO, self.dialect):
            return replace(self, **given)
        return replace(self, **{"dialect": dialect, "mix": ""} | given)


LINES_BELOW_PARAMETERS = 3_000_000_000
"""A smaller instruct model is asked for lines instead of JSON (`synthesis.replies`)."""
INSTRUCT_NEW_TOKENS = 800
"""8 pairs in JSON take 60 to 90 tokens each."""


def remote_prompting(model: str) -> Prompting:
    """How `remote:NAME` is asked: as an instruct model of the size that its name tells, if it does."""
    return _instruct_prompting(is_small=_is_small(parameters_in_name(shipped.remote_name(model))))


def _instruct_prompting(*, is_small: bool) -> Prompting:
    """How a model is asked that was tuned to chat, and not to write pairs."""
    dialect = _in_lines("chat") if is_small else "chat"
    return Prompting(dialect, max_new_tokens=INSTRUCT_NEW_TOKENS, is_small=is_small)


def _is_small(parameters: int | None) -> bool:
    return parameters is not None and parameters < LINES_BELOW_PARAMETERS


def _in_lines(dialect: str) -> str:
    """ "chat:german" with the layout that small models are asked for, unless it names a layout."""
    first, _, rest = dialect.partition(":")
    if first != "chat" or rest.partition(":")[0] in ("json", "lines"):
        return dialect
    return f"chat:lines:{rest}" if rest else "chat:lines"


PROMPTING_FILE = "synthesizer.json"
_NUMBERS = ("passage_tokens", "context_tokens", "window_tokens", "max_new_tokens", "field_characters", "pairs")


def prompting_of(model: Model, run: Run) -> Prompting:
    """How a model says that it is asked. Raises InputError as `read_prompting`.

    A remote one is an instruct model: it is asked in conversations.
    """
    if isinstance(model, str) and shipped.is_remote(model):
        return remote_prompting(model)
    if isinstance(model, str):
        return read_prompting(description_folder(model, run))
    product = run.product(model, "00000")
    return read_prompting(product if (product / PROMPTING_FILE).exists() else model_folder(model, run))


def read_prompting(folder: Path) -> Prompting:
    """What `synthesizer.json` in a model folder says. Raises InputError if it is damaged.

    Without one a model that was tuned to chat is asked in conversations, and any other as the paper's synthesizer is.
    """
    path, is_small = folder / PROMPTING_FILE, _is_small(num_parameters(folder))
    if not path.exists():
        return _instruct_prompting(is_small=is_small) if has_chat_template(folder) else Prompting(is_small=is_small)
    try:
        found = orjson.loads(path.read_bytes())
        answers = {name: str(category["answers"]) for name, category in found.get("categories", {}).items()}
        numbers = {name: found[name] for name in _NUMBERS if found.get(name) is not None}
        said = Prompting(str(found["dialect"]), answers, **numbers)
        said = replace(said, is_small=is_small, mix=str(found.get("mix", "")))
        likelihood = None if found.get("min_likelihood") is None else float(found["min_likelihood"])
        return replace(
            said,
            reader=str(found.get("reader", "")),
            unanswerable=str(found.get("unanswerable", "")),
            min_likelihood=likelihood,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}: {error}): it needs a dialect, and of each category "
            "its answers; take the file from where the model came from"
        ) from error


def longest_text(model: Model, run: Run) -> int | None:
    """What `context_tokens` says of a model; None for a remote one."""
    if isinstance(model, str) and shipped.is_remote(model):
        return None
    return context_tokens(description_folder(model, run))


def quiet_loading() -> None:
    """No bar for each model that is loaded: the panel tells what goes on."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def check_model(model: Model | None, *, own_code: bool = False) -> None:
    """Refuse a model on this machine that cannot be loaded. Raises InputError as `inspect` and `vocabulary.load` do."""
    if isinstance(model, str) and is_local(model):
        inspect(local_folder(model), own_code=own_code)
        vocabulary.load(model)


def model_sources(model: Model, run: Run) -> Mapping[str, str]:
    """The identity of a model that no stage makes: its files by content, a Hub model by its commit."""
    del run
    if not isinstance(model, str):
        return {}
    if shipped.is_remote(model):
        return {"model": model}
    folder = local_folder(model, files=DESCRIPTION)
    if not is_local(model):
        return {"model": folder.name}
    found = {f"model/{path.name}": _digest(path) for path in sorted(folder.iterdir()) if path.suffix in _MODEL_SUFFIXES}
    if loading.are_alone(folder):
        found |= {f"base/{name}": said for name, said in _base_sources(folder).items()}
    return found


def _base_sources(folder: Path) -> Mapping[str, str]:
    """What the adapters in a folder stand beside, without the work of converting it."""
    base = loading.base_of(folder)
    if base.startswith(folders.SCHEME):
        return {"model": folders.identity(base)}
    return {path.name: _digest(path) for path in sorted(base_folder(folder).glob("*.safetensors"))}


def _digest(path: Path) -> str:
    (file,) = files.find(str(path))
    if path.suffix == ".safetensors" and file.num_bytes > _WHOLE_BYTES:
        return weights_digest(path)
    return files.content_digest(file)


def weights_digest(path: Path) -> str:
    """What tells a safetensors file from one with other weights, without reading gigabytes: 32 hex digits.

    Its header, and the first, middle and last 4 KiB of every tensor: tuning, or merging an adapter, changes numbers
    all over the tensors that it touches, but may touch one of a thousand. Raises InputError for a damaged file.
    """
    num_bytes = path.stat().st_size
    state = hashlib.blake2b(num_bytes.to_bytes(8, "little"), digest_size=16)
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > num_bytes:
                raise ValueError(f"its header would have {length:,} bytes")
            header = file.read(length)
            state.update(header)
            tensors = {name: entry for name, entry in orjson.loads(header).items() if name != "__metadata__"}
            for _, entry in sorted(tensors.items()):
                start, stop = entry["data_offsets"]
                for place in (start, (start + stop) // 2, max(start, stop - _BLOCK_BYTES)):
                    file.seek(8 + length + place)
                    state.update(file.read(min(_BLOCK_BYTES, stop - place)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no whole safetensors file ({error}): take it from where it came from") from error
    return state.hexdigest()


def model_identity(model: Model, run: Run) -> str:
    """What a model is, on every machine."""
    if isinstance(model, str):
        return " ".join(f"{name}={value}" for name, value in sorted(model_sources(model, run).items()))
    return fingerprint(model, run)


def model_name(model: Model) -> str:
    """What a report calls it."""
    return model if isinstance(model, str) else model.name


@contextmanager
def opened_engine(model: Model, run: Run) -> Iterator[Engine]:
    """The run's engine with a model loaded; closed on leaving."""
    from instructpt.engines import engine_named
    from instructpt.engines.event_loop import run_in_loop

    engine_class, options = engine_named(run.engine), dict(run.engine_options)
    needs_weights, accepted = getattr(engine_class, "needs_weights", False), signature(engine_class).parameters
    if "device" in accepted:
        quiet_loading()
        options.setdefault("device", run.device)
    if isinstance(model, str) and shipped.is_remote(model):
        if needs_weights:
            raise RecipeError(f"{model} lies on a server: say where with --endpoints URL")
        if "served_model" in accepted:
            options.setdefault("served_model", shipped.remote_name(model))
    name = str(model_folder(model, run) if needs_weights else description_folder(model, run))
    engine: Engine = engine_class(name, **options)
    try:
        yield engine
    finally:
        run_in_loop(engine.close())
