"""Tasks as people name them: with commas, any of lm-eval's, and YAML files of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from instructpt.cli.commands import main
from instructpt.errors import InputError
from instructpt.evaluation.benchmarks import resolve
from instructpt.words import vocabulary

TASK = """task: my_task
dataset_path: json
dataset_kwargs:
  data_files: my_task_rows.jsonl
output_type: multiple_choice
test_split: train
doc_to_text: "{{question}}"
doc_to_choice: ["A","B"]
doc_to_target: 0
"""


@pytest.fixture
def task(tmp_path: Path) -> Path:
    (tmp_path / "tasks").mkdir()
    path = tmp_path / "tasks" / "my_task.yaml"
    path.write_text(TASK)
    (path.parent / "my_task_rows.jsonl").write_text("".join(f'{{"question": "Is it {i}?"}}\n' for i in range(4)))
    return path


@pytest.fixture
def model(vocabulary_folder: Path, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary.load(vocabulary_folder).size,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=512,
    )
    folder = tmp_path / "model"
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((vocabulary_folder / name).read_bytes())
    return folder


def test_commas_part_names() -> None:
    assert resolve(["arc_easy,boolq", "piqa"]) == ("arc_easy", "boolq", "piqa")
    assert resolve(["arc_easy, boolq"]) == ("arc_easy", "boolq")


def test_files_and_folders_of_ones_own(task: Path, tmp_path: Path) -> None:
    assert resolve([str(task)]) == resolve([str(task.parent)]) == (str(task),)
    with pytest.raises(InputError, match="no such file"):
        resolve([str(tmp_path / "gone.yaml")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.yaml file"):
        resolve([str(tmp_path / "empty")])


def test_a_task_of_ones_own_is_scored(task: Path, model: Path, tmp_path: Path) -> None:
    """Its rows lie beside it, whatever folder the command is given in."""
    out = tmp_path / "out"
    words = ["evaluate", str(model), "--tasks", f"{task},boolq", "--limit", "2", "--out", str(out)]
    assert main(words) == 0
    import pyarrow.parquet as pq

    scores = [row for path in sorted((out / "scores").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert {"my_task", "boolq"} <= {row["task"] for row in scores}
    (accuracy,) = [row for row in scores if (row["task"], row["metric"]) == ("my_task", "acc")]
    assert accuracy["count"] == 2


def test_a_file_that_is_no_task_is_one_line(
    task: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("a: [", "just text", "task: my_task\ndataset_path: json\n"):
        task.write_text(text)
        words = ["evaluate", str(model), "--tasks", str(task), "--out", str(tmp_path / "out")]
        assert main(words) == 2
        assert "Traceback" not in (told := capsys.readouterr().err)
        assert "my_task.yaml" in told


def test_a_model_with_nan_is_refused_before_a_task_is_read(
    task: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    assert main(["evaluate", str(model), "--tasks", str(task), "--out", str(tmp_path / "out")]) == 2
    assert "1 of 16 numbers of model.norm.weight are NaN" in capsys.readouterr().err


def test_rows_without_a_loss_token_do_not_measure(tmp_path: Path) -> None:
    from instructpt.records import Step
    from instructpt.training.guard import trouble
    from instructpt.training.settings import TrainSettings

    def step(number: int, loss: float) -> Step:
        return Step(number, 512 * number, loss, 1e-4, 1.0, 1.0, None)

    settings = TrainSettings(steps=20, learning_rate=1e-4, warmup_steps=0)
    zeros = [step(i + 1, 0.0) for i in range(6)]
    assert trouble(9.06, 1.0, zeros, settings) is None
    assert trouble(9.06, 1.0, [*zeros, step(7, 8.5)], settings) is None
    told = trouble(30.0, 1.0, [*zeros, step(7, 8.5)], settings)
    assert told is not None
    assert "median of 8.5" in told
