"""A model's answers to benchmarks, by lm-evaluation-harness, without a network.

    load_model --> evaluate_task("arc_easy") --> Score(acc), Score(acc_norm)     one task at a time, so that an
               --> evaluate_task("boolq")    --> Score(acc)                      evaluation that was killed goes on

What is asked is `benchmarks`' affair. A prompt begins with what the tokenizer adds itself: for vocabularies trained
here exactly one BOS, as in training.
"""

from __future__ import annotations

import logging
import math
from functools import partial
from pathlib import Path
from typing import Any

from instructpt.errors import InputError
from instructpt.evaluation.benchmarks import SAMPLE, load_parts, quiet_harness
from instructpt.evaluation.models import loading
from instructpt.records import Score

_log = logging.getLogger(__name__)


def load_model(model_folder: Path, *, batch_size: int = 16, device: str = "cpu") -> Any:
    """The harness's model (`lm_eval.models.huggingface.HFLM`) for a Hugging Face model folder.

    On a CPU the weights are float32 whatever the folder holds: exact, and faster than emulated bfloat16.
    Raises InputError where lm-eval is not installed or the folder holds no model that can be loaded.
    """
    with quiet_harness():
        from lm_eval.models.huggingface import HFLM

        with loading(model_folder):
            model = HFLM(
                pretrained=str(model_folder),
                device=device,
                dtype="float32" if device == "cpu" else "auto",
                batch_size=batch_size,
                use_safetensors=True,
            )
    model.loglikelihood = partial(model.loglikelihood, disable_tqdm=True)
    model._loglikelihood_tokens = partial(_score, model, model._loglikelihood_tokens)
    return model


def evaluate_task(
    model: Any,
    *,
    task: str,
    data: Path = SAMPLE,
    limit: int | None = None,
    num_fewshot: int = 0,
    model_name: str,
) -> list[Score]:
    """Score a model from `load_model` on one task: a Score per metric of the task file.

    data: folder with the task's rows.
    limit: at most that many items, evenly spaced over the file (MMLU's is sorted by subject); all if None.
    num_fewshot: examples before each item, drawn from the dev file.
    The standard error is that of a mean of zeros and ones; None for a single item.
    Raises InputError for an unknown task, a missing file, or more shots than there are examples.
    """
    parts = load_parts(task, data=data, limit=limit, num_fewshot=num_fewshot)
    with quiet_harness():
        from lm_eval.evaluator import evaluate as run

        results = run(model, task_dict={"tasks": parts}, bootstrap_iters=0, log_samples=False)
    counts = {name: results["n-samples"][name]["effective"] for name in parts}
    total = sum(counts.values())
    scores = []
    for metric in next(iter(parts.values())).aggregation():
        right = sum(results["results"][name][f"{metric},none"] * count for name, count in counts.items())
        mean = float(right) / total
        stderr = math.sqrt(max(0.0, mean * (1 - mean)) / (total - 1)) if total > 1 else None
        scores.append(Score(task, metric, mean, stderr, total, model_name))
    return scores


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
