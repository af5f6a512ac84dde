"""Benchmarks by name: prompt, options and metrics from a task file of ours, items from a user's files or the Hub.

    tasks/arc_easy.yaml      prompt, options, metrics, in the harness's own format; says where on the Hub the rows are
    data/arc_easy.jsonl      the items (or arc_easy_test.jsonl); packed (.jsonl.gz, .jsonl.zst) is as good
    data/arc_easy_dev.jsonl  examples for few-shot prompts; only needed when shots are asked for
    data = "hub"             items and examples from there instead; a row has the same fields either way

`metadata` of a task file:

    version    raised when a prompt changes           shots      examples before an item in the paper, 2406.14491
    score      its one number, a metric of the file   shots_by   field of a row: its examples share the value
               or a name in `aggregates`              part       field of a row: the sub-question it belongs to
    choose     token_mean: the model's answer is the option with the highest log-probability a token, not in all

Prompts are those of the harness's well-known tasks, and for `adaptllm_*` the ready ones that the paper scored, so that
numbers compare; `tests/golden/eval_prompts` pins them, since scores move when whitespace moves.
"""

from __future__ import annotations

import difflib
import logging
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson

from instructpt.errors import InputError
from instructpt.evaluation.drawing import spread
from instructpt.files import streams

SUITES = {
    "general": (
        "arc_easy",
        "arc_challenge",
        "boolq",
        "social_iqa",
        "winogrande",
        "piqa",
        "openbookqa",
        "hellaswag",
        "mmlu",
    ),
    "biomedicine": (
        "adaptllm_pubmedqa",
        "adaptllm_chemprot",
        "adaptllm_mqp",
        "adaptllm_rct",
        "adaptllm_usmle",
    ),
    "finance": (
        "adaptllm_convfinqa",
        "adaptllm_fpb",
        "adaptllm_fiqa_sa",
        "adaptllm_headline",
        "adaptllm_ner",
    ),
}
"""Suite -> its tasks: the paper's tables 2 and 3."""

TASKS = {name: f"{name}.yaml" for name in sorted({*sum(SUITES.values(), ()), "medqa", "pubmedqa"})}
"""Task -> its file in `tasks/`. A new task is a file and a name here; a changed prompt raises `metadata.version`."""

SAMPLE = Path(__file__).parent.parent / "sample" / "eval"
"""Some items of eight tasks, which ship with the package. Enough to see that all works, too few to publish a number."""

SAMPLED = ("arc_easy", "arc_challenge", "boolq", "piqa", "winogrande", "mmlu", "pubmedqa", "medqa")
"""The tasks that `SAMPLE` has items of."""

HUB = "hub"
"""As `data`: rows from the Hugging Face Hub."""

PLACE = "instructpt_place"
"""Field that is added to every item: its row number in the file or split, from 0, whatever the limit leaves out."""

_TASK_FOLDER = Path(__file__).parent / "tasks"
_SUFFIXES = ("", ".gz", ".zst")
SHOTS_SEED = 1234
"""The harness's default for drawing examples, so that its few-shot prompts can be repeated."""

T = TypeVar("T")
_Rows = list[dict[str, Any]]


def resolve(names: Sequence[str]) -> tuple[str, ...]:
    """The tasks that names of tasks and suites stand for, each once, in order; commas part names as blanks do.

    A name that is not ours may be one of lm-eval's, a task file or a folder of them (`harness_tasks`). Raises
    InputError for other names.
    """
    from instructpt.evaluation import harness_tasks

    others: dict[str, tuple[str, ...]] = {}
    names = [part.strip() for name in names for part in name.split(",") if part.strip()] or [""]
    for name in names:
        if name not in TASKS and name not in SUITES:
            if name and (tasks := harness_tasks.found(name)):
                others[name] = tasks
                continue
            known = [*TASKS, *SUITES]
            near = [each for each in known if name and name.lower() in each][:3] or difflib.get_close_matches(
                name, known
            )
            guess = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(TASKS)}"
            raise InputError(f"no evaluation task is called {name!r}: {guess} (suites: {', '.join(SUITES)})")
    return tuple(dict.fromkeys(task for name in names for task in others.get(name) or SUITES.get(name, (name,))))


def check_tasks(tasks: Sequence[str]) -> None:
    """Raise InputError for a task that is not in the table, naming those that come near."""
    for task in tasks:
        if task in SUITES:
            raise InputError(f"{task!r} is a suite, not an evaluation task: its tasks are {', '.join(SUITES[task])}")
    resolve(tasks)


def metadata(task: str) -> Mapping[str, Any]:
    """What a task file says beside its prompt: `version`, `score`, `shots`, and some `shots_by`, `part`, `choose`.

    Raises InputError for an unknown task. Needs no lm-eval.
    """
    found: Mapping[str, Any] = _config(task)["metadata"]
    return found


def task_files(task: str, *, data: Path | str = SAMPLE, num_fewshot: int | None = 0) -> tuple[Path, ...]:
    """All that decides what is asked: the task file, the items and, if shots are asked for, the examples.

    num_fewshot: None for the paper's. With `data` "hub" the task file is all, which says where the rows are.
    Raises InputError for an unknown task, a missing file, or shots where a task takes none. Needs no lm-eval.
    """
    if task not in TASKS and task not in SUITES:
        from instructpt.evaluation import harness_tasks

        if harness_tasks.found(task):
            return harness_tasks.task_files(task)
    config = _config(task)
    num_fewshot = _shots(config, num_fewshot)
    found = [_TASK_FOLDER / TASKS[task]]
    if str(data) == HUB:
        return tuple(found)
    names = [(f"{task}.jsonl", f"{task}_test.jsonl")] + ([(f"{task}_dev.jsonl",)] if num_fewshot else [])
    for choices in names:
        paths = [Path(data) / f"{name}{suffix}" for name in choices for suffix in _SUFFIXES]
        path = next((path for path in paths if path.exists()), None)
        if path is None:
            raise InputError(_missing(config, choices, data=Path(data)))
        found.append(path)
    return tuple(found)


def load_parts(
    task: str, *, data: Path | str = SAMPLE, limit: int | None = None, num_fewshot: int | None = 0
) -> dict[str, Any]:
    """The harness's task objects that make up a task, by name: one, or one a subject where shots are the subject's own.

    data: folder with the task's rows, or "hub".
    limit: at most that many items, evenly spaced.
    num_fewshot: examples before each item; None for the paper's.
    Raises InputError for an unknown task, a missing file or field, rows that cannot be fetched, a limit below 1, more
    shots than there are examples, and without lm-eval.
    """
    config = _config(task)
    num_fewshot = _shots(config, num_fewshot)
    with quiet_harness():
        from lm_eval.api.task import ConfigurableTask

        rows = _rows(config, data=data, num_fewshot=num_fewshot)
        rows["test"] = spaced([row | {PLACE: place} for place, row in enumerate(rows["test"])], limit)
        config |= {"num_fewshot": num_fewshot, "dataset_kwargs": None, **_splits(config, num_fewshot=num_fewshot)}
        if "process_results" in config:
            config["process_results"] = pkgutil.resolve_name(config["process_results"])
        parts = {}
        for value, members in _by_field(rows, config["metadata"].get("shots_by") if num_fewshot else None):
            spare = 1 if num_fewshot and config["test_split"] is None else 0
            if len(members["dev"]) < num_fewshot + spare:
                what = task if value is None else f"{task}, {value}"
                raise InputError(
                    f"{num_fewshot} shots asked of {what}, {len(members['dev'])} examples at hand"
                    f"{' (one more is drawn than shown)' if spare else ''}: ask for fewer"
                )
            name = task if value is None else f"{task}_{value}"
            part = ConfigurableTask(config={**config, "task": name, "custom_dataset": partial(_dataset, members)})
            part.set_fewshot_seed(SHOTS_SEED)
            parts[name] = part
        return parts


def _config(task: str) -> dict[str, Any]:
    """A task file as it stands; the harness's tag for a function is left off its name."""
    import yaml  # type: ignore[import-untyped]

    check_tasks([task])
    text = (_TASK_FOLDER / TASKS[task]).read_text("utf-8")
    config: dict[str, Any] = yaml.safe_load(text.replace("!function ", ""))
    return config


def _shots(config: Mapping[str, Any], num_fewshot: int | None) -> int:
    if num_fewshot is None:
        return int(config["metadata"]["shots"])
    if num_fewshot < 0:
        raise InputError(f"num_fewshot is {num_fewshot}: give 0 or more")
    if num_fewshot and config["doc_to_text"] == "input":
        raise InputError(f"{config['task']} has its examples in its prompts: ask for 0 shots, not {num_fewshot}")
    return num_fewshot


def _missing(config: Mapping[str, Any], choices: Sequence[str], *, data: Path) -> str:
    """What to put where, and where to get it."""
    wanted = " or ".join(choices)
    if config["dataset_path"] == "json":
        return f"{data} has no {wanted} (nor .gz, .zst): put the task's rows there as JSON lines"
    return (
        f"{data} has no {wanted} (nor .gz, .zst): put rows of {_address(config)} there as JSON lines, "
        f"or fetch them with --data {HUB}"
    )


def _address(config: Mapping[str, Any]) -> str:
    name = config.get("dataset_name")
    return f"{config['dataset_path']} ({name})" if name else str(config["dataset_path"])


def _rows(config: Mapping[str, Any], *, data: Path | str, num_fewshot: int) -> dict[str, _Rows]:
    """Items ("test") and examples ("dev") of a task, with all fields that its prompt takes."""
    if str(data) == HUB:
        items_split = str(config.get("test_split") or config["validation_split"])
        shots_split = str(config.get("fewshot_split") or config.get("training_split"))
        found = {f"{_address(config)}, {items_split}": _fetch(config, items_split)}
        if num_fewshot:
            found[f"{_address(config)}, {shots_split}"] = _fetch(config, shots_split)
    else:
        _, *paths = task_files(config["task"], data=data, num_fewshot=num_fewshot)
        found = {str(path): _read(path) for path in paths}
    needed = _fields(config)
    for where, rows in found.items():
        for number, row in enumerate(rows, start=1):
            if missing := [field for field in needed if field not in row]:
                raise InputError(
                    f"{where}: row {number} has no field {missing[0]!r}, only {', '.join(row)}; "
                    f"{config['task']} takes {', '.join(needed)}"
                )
    return dict(zip(("test", "dev"), [*found.values(), []], strict=False))


def _fields(config: Mapping[str, Any]) -> list[str]:
    """The fields that a task's templates name: either a field's bare name or Jinja, as in the harness."""
    from jinja2 import meta
    from lm_eval.utils import env

    named = {config["metadata"][key] for key in ("shots_by", "part") if key in config["metadata"]}
    for key in ("description", "doc_to_text", "doc_to_choice", "doc_to_target"):
        template = config.get(key)
        if isinstance(template, str):
            named |= {template} if template.isidentifier() else meta.find_undeclared_variables(env.parse(template))
    return sorted(named)


def _splits(config: Mapping[str, Any], *, num_fewshot: int) -> dict[str, str | None]:
    """What the harness is to call our items and examples: what the file calls them.

    A file that names neither a test split nor one for examples has one more example drawn than shown, by a quirk of the
    harness; with other names our prompts would not be those that everyone else gets.
    """
    items = "test_split" if config.get("test_split") else "validation_split"
    shots = "fewshot_split" if config.get("fewshot_split") else "training_split"
    nothing = dict.fromkeys(("training_split", "validation_split", "test_split", "fewshot_split"))
    return nothing | {items: "test", shots: "dev" if num_fewshot else None}


def _by_field(rows: dict[str, _Rows], field: str | None) -> Iterator[tuple[Any, dict[str, _Rows]]]:
    """Items with the examples that share their value of a field; all of them together without one."""
    if field is None:
        yield None, rows
        return
    for value in dict.fromkeys(row[field] for row in rows["test"]):
        yield value, {split: [row for row in members if row[field] == value] for split, members in rows.items()}


def _dataset(rows: dict[str, _Rows], **_: object) -> dict[str, Any]:
    """In memory: the harness would otherwise copy the files into a cache outside our folders."""
    from datasets import Dataset

    return {split: Dataset.from_list(members) for split, members in rows.items() if members}


def _fetch(config: Mapping[str, Any], split: str) -> _Rows:
    """The rows of a split, as the Hub's own library keeps them; code of a data set is never run."""
    if config["dataset_path"] == "json":
        raise InputError(f"{config['task']} has no rows on the Hub that load without code: give a folder as --data")
    import datasets

    try:
        rows = datasets.load_dataset(
            config["dataset_path"], config.get("dataset_name"), split=split, **config.get("dataset_kwargs") or {}
        )
    except (OSError, ValueError, RuntimeError) as error:  # no connection or permission; unknown split; a script
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"cannot fetch {_address(config)}, split {split}, for {config['task']}: {reason}; check the connection, or "
            "give a folder with its rows as --data"
        ) from error
    return [dict(row) for row in rows]


def _read(path: Path) -> _Rows:
    try:
        rows = [orjson.loads(line) for line in streams.lines(str(path))]
    except orjson.JSONDecodeError as error:
        raise InputError(f"{path} holds a line that is not JSON ({error}): mend or fetch the file again") from error
    if not rows:
        raise InputError(f"{path} is empty: put the task's rows there as JSON lines")
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path} holds a line that is no JSON object: put one row a line there, with its fields")
    return rows


def spaced(rows: list[T], limit: int | None) -> list[T]:
    """At most so many, evenly spaced. Raises InputError for a limit below 1."""
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}: give at least 1, or none for all items")
    return rows if limit is None else [rows[place] for place in spread(len(rows), number=limit)]


@contextmanager
def quiet_harness() -> Iterator[None]:
    """Hold back the harness's notes and bars; turn its absence into a message."""
    try:
        import lm_eval.api.task as task_module
    except ImportError as error:
        raise InputError("benchmarks need lm-eval: pip install 'instructpt[eval]'") from error
    logger, bar = logging.getLogger("lm_eval"), task_module.tqdm
    level = logger.level
    logger.setLevel(logging.ERROR)
    task_module.tqdm = partial(bar, disable=True)  # it has no switch for the bar over prompts
    try:
        yield
    finally:
        task_module.tqdm = bar
        logger.setLevel(level)
