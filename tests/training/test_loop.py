import dataclasses
import itertools
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
import toy_training
from forked import fork
from toy_training import ToyOrder, toy_model, toy_run, toy_settings
from transformers import AutoModelForCausalLM, AutoTokenizer

from instructpt.errors import ArtifactError, InputError, RecipeError, TrainingError
from instructpt.training import checkpoints
from instructpt.training.settings import Execution

GOLDEN = Path(__file__).parents[1] / "golden" / "losses_20_steps.txt"


def weights(folder):
    return (folder / "model" / "model.safetensors").read_bytes()


def lines(folder):
    """metrics.jsonl without its timings."""
    rows = [orjson.loads(line) for line in (folder / "metrics.jsonl").read_bytes().splitlines()]
    return [{key: row[key] for key in ("step", "tokens", "loss", "learning_rate", "gradient_norm")} for row in rows]


def after(num_steps):
    """A stop that says yes once it has been asked `num_steps` times."""
    answers = iter([False] * (num_steps - 1) + [True])
    return lambda: next(answers)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, vocabulary_folder):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, list(toy_run(folder, vocabulary_folder))


def test_losses_are_golden(tmp_path, vocabulary_folder):
    steps = toy_run(tmp_path, vocabulary_folder, steps=20)
    losses = {step.step: step.loss for step in steps}
    golden = {int(step): float(loss) for step, loss in (line.split() for line in GOLDEN.read_text().splitlines())}
    assert losses == pytest.approx(golden, abs=1e-3)
    assert golden[20] < golden[1] - 0.5, "the toy order is there to be learned"


def test_every_step_is_given_and_noted(undisturbed):
    folder, steps = undisturbed
    assert [step.step for step in steps] == list(range(1, 13))
    assert lines(folder)[-1]["loss"] == steps[-1].loss
    unused = 5
    assert steps[-1].tokens == 12 * (4 * 32 - unused)
    assert steps[2].learning_rate == pytest.approx(1e-2)
    assert steps[-1].learning_rate == pytest.approx(1e-3)
    assert all(step.tokens_per_second > 0 and step.mfu is None for step in steps)


def test_the_model_is_a_hugging_face_folder(undisturbed):
    folder, _ = undisturbed
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    assert model.dtype == torch.float32
    ids = tokenizer("two three", return_tensors="pt").input_ids
    assert ids[0, 0] == model.config.bos_token_id
    assert torch.isfinite(model(ids).logits).all()
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.jsonl", "model", "settings.json"]


@pytest.mark.parametrize("end", [1, 4, 7, 11])
def test_stopped_and_resumed_equals_undisturbed_bit_for_bit(tmp_path, vocabulary_folder, undisturbed, end):
    folder, steps = undisturbed
    assert len(list(toy_run(tmp_path, vocabulary_folder, stop=after(end)))) == end
    assert checkpoints.step_of(checkpoints.latest(tmp_path)) == end
    again = list(toy_run(tmp_path, vocabulary_folder))
    assert [step.loss for step in again] == [step.loss for step in steps], "earlier steps are given again"
    assert weights(tmp_path) == weights(folder)
    assert lines(tmp_path) == lines(folder)


def test_killed_and_resumed_equals_undisturbed_bit_for_bit(tmp_path, vocabulary_folder, undisturbed):
    folder, _ = undisturbed
    run, threads = tmp_path / "run", torch.get_num_threads()
    process = fork(toy_training.main, str(run), str(vocabulary_folder), folder=tmp_path / "said", num_threads=threads)
    while process.said().count("\n") < 6:
        assert process.is_alive(), process.complained()
        time.sleep(0.01)
    process.send(signal.SIGKILL)
    assert process.end() == -signal.SIGKILL
    assert not (run / "model").exists()
    assert checkpoints.latest(run) is not None
    assert len(list(toy_run(run, vocabulary_folder))) == 12
    assert weights(run) == weights(folder)
    assert lines(run) == lines(folder)


def test_a_line_cut_short_by_a_kill_is_written_anew(tmp_path, vocabulary_folder, undisturbed):
    list(toy_run(tmp_path, vocabulary_folder, stop=after(5)))
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step":6,"tok')
    list(toy_run(tmp_path, vocabulary_folder))
    assert lines(tmp_path) == lines(undisturbed[0])


def test_lost_metrics_are_not_papered_over(tmp_path, vocabulary_folder):
    list(toy_run(tmp_path, vocabulary_folder, stop=lambda: True))
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.raises(ArtifactError, match="steps 1 to 1"):
        list(toy_run(tmp_path, vocabulary_folder))


def test_a_finished_run_is_not_run_again(undisturbed, vocabulary_folder):
    folder, steps = undisturbed

    class Untouched(ToyOrder):
        def batch(self, step, **_):
            raise AssertionError("a finished run reads no batch")

    before = weights(folder)
    assert list(toy_run(folder, vocabulary_folder, order=Untouched())) == steps
    assert weights(folder) == before


def test_another_run_may_not_go_on_in_this_folder(undisturbed, vocabulary_folder):
    with pytest.raises(ArtifactError, match=r"learning_rate: 0\.01 -> 0\.02"):
        list(toy_run(undisturbed[0], vocabulary_folder, learning_rate=0.02))


@pytest.mark.parametrize("rows", [1, 3])
def test_rows_at_a_time_do_not_change_the_result(tmp_path, vocabulary_folder, undisturbed, rows):
    execution = Execution(device="cpu", micro_batch_rows=rows)
    steps = list(toy_run(tmp_path, vocabulary_folder, execution=execution))
    assert [s.loss for s in steps] == pytest.approx([s.loss for s in undisturbed[1]], abs=1e-4)
    assert [s.gradient_norm for s in steps[:3]] == pytest.approx(
        [s.gradient_norm for s in undisturbed[1][:3]], rel=1e-4
    )


def test_the_loss_is_the_mean_over_the_weighted_targets(tmp_path, vocabulary_folder):
    first = next(toy_run(tmp_path, vocabulary_folder))
    batch = ToyOrder().batch(0)
    model, total = toy_model(), 0.0
    for row in range(4):
        for document in range(batch.documents[row].max() + 1):
            here = batch.documents[row] == document
            inputs, targets = (torch.from_numpy(x[row][here]) for x in (batch.inputs, batch.targets))
            logits = model(inputs[None]).logits[0].detach()
            losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
            total += float((losses * torch.from_numpy(batch.weights[row][here])).sum())
    assert first.loss == pytest.approx(total / batch.weights.sum(), abs=1e-5)


def test_documents_that_see_each_other_learn_differently(tmp_path, vocabulary_folder, undisturbed):
    steps = list(toy_run(tmp_path, vocabulary_folder, attend_across_documents=True))
    assert steps[0].loss != undisturbed[1][0].loss
    assert steps[-1].loss < steps[0].loss


def test_bfloat16_follows_float32_and_exports_what_was_asked(tmp_path, vocabulary_folder, undisturbed):
    steps = list(toy_run(tmp_path, vocabulary_folder, precision="bfloat16", export="bfloat16"))
    assert [s.loss for s in steps] == pytest.approx([s.loss for s in undisturbed[1]], rel=0.02)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").dtype == torch.bfloat16


def test_dropout_too_is_drawn_anew_after_a_resume(tmp_path, vocabulary_folder, monkeypatch):
    def with_dropout():
        model = toy_model()
        for layer in model.model.layers:
            layer.self_attn.attention_dropout = 0.3
        return model

    monkeypatch.setattr(toy_training, "toy_model", with_dropout)
    whole = [step.loss for step in toy_run(tmp_path / "whole", vocabulary_folder, steps=4)]
    list(toy_run(tmp_path / "stopped", vocabulary_folder, steps=4, stop=lambda: True))
    torch.manual_seed(123)
    assert [step.loss for step in toy_run(tmp_path / "stopped", vocabulary_folder, steps=4)] == whole


def test_norms_and_embeddings_do_not_decay(tmp_path, vocabulary_folder):
    class Silent(ToyOrder):
        """Loss on one token only, so that most rows of the table get no gradient."""

        def batch(self, step, **_):
            batch = super().batch(0)
            only = np.zeros_like(batch.weights)
            only[0, 0] = 1.0
            return dataclasses.replace(batch, weights=only)

    settings = {"steps": 1, "learning_rate": 1e-2, "warmup_steps": 0, "weight_decay": 1.0}
    model = toy_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    decayed, kept = (tmp_path / name for name in ("decayed", "kept"))
    list(toy_run(decayed, vocabulary_folder, order=Silent(), **settings))
    list(toy_run(kept, vocabulary_folder, order=Silent(), **(settings | {"weight_decay": 0.0})))
    after, plain = (AutoModelForCausalLM.from_pretrained(f / "model").state_dict() for f in (decayed, kept))
    for name, value in before.items():
        shrunk = not torch.equal(after[name], plain[name])
        assert shrunk == ("proj" in name), name
        if shrunk:
            torch.testing.assert_close(after[name], plain[name] - 1e-2 * value, rtol=1e-4, atol=1e-6)


class Poisoned(ToyOrder):
    """Learnable rows, and from step 8 on targets at random."""

    def batch(self, step, **_):
        batch = super().batch(0)
        if step >= 7:
            return dataclasses.replace(batch, targets=(batch.targets * 7 + step) % 300)
        return batch


def test_an_exploding_loss_ends_the_run_with_names(tmp_path, vocabulary_folder):
    run = toy_run(tmp_path, vocabulary_folder, order=Poisoned(), learning_rate=0.05, explode_factor=1.2)
    with pytest.raises(
        TrainingError, match=r"step 8: the loss exploded .*text-7-0, text-7-1, .* and 3 more.*step-00000004"
    ):
        list(run)
    assert len(lines(tmp_path)) == 7


def test_a_loss_that_is_not_a_number_ends_the_run_before_it_spoils_the_weights(
    tmp_path, vocabulary_folder, monkeypatch
):
    def broken():
        model = toy_model()
        with torch.no_grad():
            model.model.norm.weight[0] = torch.nan
        return model

    monkeypatch.setattr(toy_training, "toy_model", broken)
    with pytest.raises(TrainingError, match=r"step 1: the loss is nan; in its batch: text-0-0, .*not written yet"):
        list(toy_run(tmp_path, vocabulary_folder))


def too_much():
    """More than any machine has: torch's own refusal."""
    torch.empty(1 << 60)


def too_much_for_a_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("refusal", [too_much, too_much_for_a_gpu])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"with 4 rows at a time .*try --training-options micro_batch_rows=2, or .*checkpoint_activations=true"),
        ({"micro_batch_rows": 3}, r"with 3 rows at a time .*micro_batch_rows=1, or"),
        ({"micro_batch_rows": 1}, r"with 1 rows at a time .*try --training-options checkpoint_activations=true"),
        ({"micro_batch_rows": 1, "checkpoint_activations": True}, r"try more processes \(torchrun\).*shorter rows"),
    ],
)
def test_memory_that_runs_out_says_what_to_lower_and_the_run_goes_on_later(
    tmp_path, vocabulary_folder, monkeypatch, undisturbed, refusal, options, message
):
    def hungry():
        model = toy_model()
        steps_before = 6 * -(-4 // options.get("micro_batch_rows", 4))
        calls = itertools.count()
        model.model.norm.register_forward_pre_hook(lambda *_: refusal() if next(calls) == steps_before else None)
        return model

    monkeypatch.setattr(toy_training, "toy_model", hungry)
    execution = Execution(device="cpu", checkpoint_every_steps=4, **options)
    with pytest.raises(TrainingError, match=message) as error:
        list(toy_run(tmp_path, vocabulary_folder, execution=execution))
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    again = [step.loss for step in toy_run(tmp_path, vocabulary_folder)]
    assert again == pytest.approx([step.loss for step in undisturbed[1]], abs=1e-4)


def test_memory_that_runs_out_for_the_moments_is_another_matter(tmp_path, vocabulary_folder, monkeypatch):
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *_: too_much())
    with pytest.raises(TrainingError, match=r"for weights and moments .*try more processes .*a smaller model"):
        list(toy_run(tmp_path, vocabulary_folder))


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
def test_a_checkpoint_that_cannot_be_read_is_named(tmp_path, vocabulary_folder, undisturbed, name):
    list(toy_run(tmp_path, vocabulary_folder, stop=after(6)))
    damaged = checkpoints.latest(tmp_path) / name
    data = damaged.read_bytes()
    damaged.write_bytes(b"\xff" * 16 + data[16:])
    with pytest.raises(ArtifactError, match=r"step-00000006 is damaged .*remove it, and the same command goes on"):
        list(toy_run(tmp_path, vocabulary_folder))
    shutil.rmtree(damaged.parent)
    list(toy_run(tmp_path, vocabulary_folder))
    assert weights(tmp_path) == weights(undisturbed[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: dataclasses.replace(b, inputs=b.inputs + 300), "the model's own vocabulary"),
        (lambda b: type(b)(*(np.tile(getattr(b, f.name), 3) for f in dataclasses.fields(b))), "reads at most 64"),
    ],
)
def test_batches_that_do_not_fit_the_model_are_refused(tmp_path, vocabulary_folder, change, message):
    class Odd(ToyOrder):
        def batch(self, step, **_):
            return change(super().batch(step))

    with pytest.raises(InputError, match=message):
        list(toy_run(tmp_path, vocabulary_folder, order=Odd()))


def test_a_step_without_loss_changes_nothing_and_the_run_goes_on(tmp_path, vocabulary_folder):
    class Silent(ToyOrder):
        def batch(self, step, **_):
            batch = super().batch(step)
            return dataclasses.replace(batch, weights=batch.weights * 0) if step == 1 else batch

    steps = list(toy_run(tmp_path, vocabulary_folder, order=Silent()))
    assert steps[1].loss == steps[1].gradient_norm == 0.0
    assert all(step.loss > 0 for step in (*steps[:1], *steps[2:]))


def test_models_that_reshape_their_logits_are_refused(tmp_path, vocabulary_folder, monkeypatch):
    def capped():
        model = toy_model()
        model.config.final_logit_softcapping = 30.0
        return model

    monkeypatch.setattr(toy_training, "toy_model", capped)
    with pytest.raises(InputError, match="final_logit_softcapping"):
        list(toy_run(tmp_path, vocabulary_folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"schedule": "sawtooth"}, "choose one of cosine"),
        ({"warmup_steps": 13}, "warmup_steps is 13 of 12"),
        ({"min_learning_rate_share": 2.0}, "give a share"),
        ({"weight_decay": -1.0}, "weight_decay is -1"),
        ({"clip": 0.0}, "clip is 0"),
        ({"explode_factor": 1.0}, "explode_factor is 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(RecipeError, match=message):
        toy_settings(**changes)


def test_execution_that_makes_no_sense_is_refused(tmp_path, vocabulary_folder):
    for values in ({"micro_batch_rows": 0}, {"checkpoint_every_steps": 0}, {"keep_checkpoints": 0}):
        with pytest.raises(RecipeError, match="give at least 1"):
            Execution(**values)
    if not torch.cuda.is_available():
        with pytest.raises(RecipeError, match="finds no GPU"):
            list(toy_run(tmp_path, vocabulary_folder, execution=Execution(device="cuda")))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile warns about torch itself
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_losses_follow_the_cpu(tmp_path, vocabulary_folder, undisturbed):
    execution = Execution(device="cuda", compile=True)
    steps = list(toy_run(tmp_path, vocabulary_folder, execution=execution, precision="bfloat16"))
    assert [s.loss for s in steps] == pytest.approx([s.loss for s in undisturbed[1]], rel=0.03)
