"""A model's answers to benchmarks, by lm-evaluation-harness, without a network.

    load_model --> answer_task("arc_easy") --> Item(acc, acc_norm, gold_probability, bits_per_byte), ... --> rating.rate
               --> answer_task("boolq")    --> Item(acc, gold_probability, bits_per_byte), ...

One task at a time, so that an evaluation that was killed goes on. All values come of the log-probabilities that the
harness takes anyway.

What is asked is `benchmarks`' affair. A prompt begins with what the tokenizer adds itself: for vocabularies trained
here exactly one BOS, as in training.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from instructpt.errors import InputError
from instructpt.evaluation.answers import choice_values, size
from instructpt.evaluation.benchmarks import (
    PLACE,
    SAMPLE,
    SHOTS_SEED,
    TASKS,
    load_parts,
    metadata,
    quiet_harness,
    spaced,
)
from instructpt.evaluation.harness_tasks import load
from instructpt.models.loading import load_causal_model
from instructpt.records import Item

_log = logging.getLogger(__name__)


def load_model(model_folder: Path, *, batch_size: int = 16, device: str = "cpu") -> Any:
    """The harness's model (`lm_eval.models.huggingface.HFLM`) for a Hugging Face model folder.

    On a CPU the weights are float32 whatever the folder holds: exact, and faster than emulated bfloat16.
    Raises InputError where lm-eval is not installed or the folder holds no model that can be loaded.
    """
    with quiet_harness():
        from lm_eval.models.huggingface import HFLM
        from transformers import AutoTokenizer

        loaded = load_causal_model(model_folder, dtype="float32" if device == "cpu" else "auto")
        tokenizer = AutoTokenizer.from_pretrained(model_folder)
        model = HFLM(pretrained=loaded.to(device), tokenizer=tokenizer, batch_size=batch_size)
    model.loglikelihood = partial(model.loglikelihood, disable_tqdm=True)
    model.generate_until = partial(model.generate_until, disable_tqdm=True)
    model._loglikelihood_tokens = partial(_score, model, model._loglikelihood_tokens)
    return model


def answer_task(
    model: Any,
    *,
    task: str,
    data: Path | str = SAMPLE,
    limit: int | None = None,
    num_fewshot: int | None = 0,
) -> list[Item]:
    """What a model from `load_model` answers to each item of a task, in the order of the file.

    data: folder with the task's rows, or "hub".
    limit: at most that many items, evenly spaced over the file (MMLU's is sorted by subject); all if None.
    num_fewshot: examples before each item, drawn from the dev file; None for the paper's number.
    Values are the metrics of the task file and, where options are compared, those of `answers.choice_values`.
    Raises InputError for an unknown task, a missing file, or more shots than there are examples.
    """
    if task not in TASKS:
        return _answer_other(model, task, limit=limit, num_fewshot=num_fewshot)
    parts = load_parts(task, data=data, limit=limit, num_fewshot=num_fewshot)
    with quiet_harness():
        from lm_eval.evaluator import evaluate as run

        samples = run(model, task_dict={"tasks": parts}, bootstrap_iters=0, log_samples=True)["samples"]
    told = metadata(task)
    items = [
        _item(model, part, sample, task=task, told=told, place=int(sample["doc"][PLACE]))
        for name, part in parts.items()
        for sample in samples.pop(name)
    ]
    return sorted(items, key=lambda item: item.place)


def _answer_other(model: Any, task: str, *, limit: int | None, num_fewshot: int | None) -> list[Item]:
    """What a model answers to a task that is not ours, as lm-eval asks it; a group's tasks go by their own names."""
    with quiet_harness():
        from lm_eval.evaluator import evaluate as run

        parts = load(task)
        for part in parts.values():
            if num_fewshot is not None:
                part.set_config(key="num_fewshot", value=num_fewshot)
            part.set_fewshot_seed(SHOTS_SEED)
        chosen = {name: spaced(list(range(len(part.eval_docs))), limit) for name, part in parts.items()}
        tasks = {"tasks": parts}
        samples = run(model, task_dict=tasks, samples=chosen, bootstrap_iters=0, log_samples=True)["samples"]
    items = [
        _item(model, part, sample, task=name, told={}, place=int(sample["doc_id"]))
        for name, part in parts.items()
        for sample in samples[name]
    ]
    if unmeasured := [item.task for item in items if not item.values]:
        raise InputError(f"{unmeasured[0]} measures nothing item by item, such as acc: leave it out")
    return sorted(items, key=lambda item: (item.task, item.place))


def _item(model: Any, part: Any, sample: Mapping[str, Any], *, task: str, told: Mapping[str, Any], place: int) -> Item:
    """One item of the harness's log. told: the task's metadata. place: its row."""
    row, replies = sample["doc"], sample["filtered_resps"]
    sub_question = str(row[told["part"]]) if "part" in told else ""
    measured = {metric: sample[metric] for metric in sample["metrics"]}  # some are pairs, to be summed over a corpus
    values = {metric: float(value) for metric, value in measured.items() if not isinstance(value, tuple | list)}
    if part.OUTPUT_TYPE != "multiple_choice":
        written = str(part.doc_to_target(row))
        return Item(task, place, sub_question, written, str(replies[0]), values, size(written))
    options = part.doc_to_choice(row)
    target = part.doc_to_text(row) if part.multiple_input else part.doc_to_target(row)
    gold = options.index(target) if isinstance(target, str) else int(target)
    nats = [nats for nats, _ in replies]
    lengths = [1] * len(nats)
    if told.get("choose") == "token_mean":
        lengths = [max(1, len(model._encode_pair(*arguments)[1])) for arguments in sample["arguments"]]
    chosen = max(range(len(nats)), key=lambda option: nats[option] / lengths[option])
    sizes = [size(continuation) for _, continuation in sample["arguments"]]
    values |= choice_values(nats, num_bytes=sizes, gold=gold)
    return Item(task, place, sub_question, options[gold], options[chosen], values, sizes[gold])


def _score(model: Any, run: Any, requests: list[Any], **settings: Any) -> Any:
    """Run tokenized requests; say how many lose their beginning, which the harness does without a word per task."""
    longest = max((len(answer) for _, _, answer in requests), default=0)
    if longest > model.max_length:
        raise InputError(
            f"an answer has {longest} tokens, the model reads at most {model.max_length}: leave the task out, or take "
            "a model with more positions"
        )
    cut = sum(len(context) + len(answer) > model.max_length + 1 for _, context, answer in requests)
    if cut:
        _log.warning(
            "%d of %d prompts are longer than the model's %d tokens and lose their beginning",
            cut,
            len(requests),
            model.max_length,
        )
    return run(requests, **settings)
