"""LoRA through the one training loop: what is trained, what is left alone, and what comes out."""

import copy

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from toy_training import ToyOrder, toy_model, toy_run, toy_settings
from transformers import AutoModelForCausalLM

from instructpt.errors import InputError, RecipeError
from instructpt.training import adapters, checkpoints
from instructpt.training.loop import train
from instructpt.training.settings import Execution, Lora

LORA = Lora(rank=4, alpha=8)
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's own
INPUTS = torch.arange(2, 30)[None]


def after(num_steps):
    """A stop that says yes once it has been asked `num_steps` times."""
    answers = iter([False] * (num_steps - 1) + [True])
    return lambda: next(answers)


def logits(model):
    with torch.no_grad():
        return model.eval()(INPUTS).logits


def learned(model):
    """A wrapped model whose adapters are no longer zero."""
    adapters.wrap(model, LORA, seed=0)
    with torch.no_grad():
        for number, parameter in enumerate(adapters.adapters(model).values()):
            parameter.add_(0.01 * (number + 1))
    return model


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, vocabulary_folder):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, list(toy_run(folder, vocabulary_folder, lora=LORA))


def test_a_new_adapter_changes_nothing_and_is_the_same_everywhere():
    model, before = toy_model(), logits(toy_model())
    adapters.wrap(model, LORA, seed=3)
    assert torch.equal(logits(model), before)
    again, other = toy_model(), toy_model()
    with torch.random.fork_rng():
        torch.manual_seed(99)
        adapters.wrap(again, LORA, seed=3)
    adapters.wrap(other, LORA, seed=4)
    first, *_ = adapters.adapters(model)
    assert all(torch.equal(p, adapters.adapters(again)[name]) for name, p in adapters.adapters(model).items())
    assert not torch.equal(adapters.adapters(model)[first], adapters.adapters(other)[first])


def test_every_linear_layer_but_the_output_has_one():
    model = toy_model()
    num_linear = sum(isinstance(module, torch.nn.Linear) for module in model.model.modules())
    adapters.wrap(model, LORA, seed=0)
    assert len(adapters.adapters(model)) == 2 * num_linear
    assert not any(name.startswith(("lm_head", "model.embed")) for name in adapters.adapters(model))


def test_adapters_in_the_last_layers_alone_and_peft_reads_them(tmp_path):
    model = toy_model()
    adapters.wrap(model, Lora(rank=4, alpha=8, last_layers=1), seed=0)
    last = f"model.layers.{model.config.num_hidden_layers - 1}."
    assert model.config.num_hidden_layers > 1
    assert all(name.startswith(last) for name in adapters.adapters(model))
    with torch.no_grad():
        for parameter in adapters.adapters(model).values():
            parameter.add_(0.01)
    adapters.save(model, tmp_path)
    assert torch.equal(logits(PeftModel.from_pretrained(toy_model(), tmp_path)), logits(model))
    with pytest.raises(InputError, match="the last 99 layers are to have adapters, the model has"):
        adapters.wrap(toy_model(), Lora(rank=4, alpha=8, last_layers=99), seed=0)


def test_merged_equals_adapted_and_is_a_plain_model_again():
    model = learned(toy_model())
    adapted = logits(model)
    assert not torch.allclose(adapted, logits(toy_model()), atol=1e-2)
    adapters.merge(model)
    assert torch.allclose(logits(model), adapted, atol=1e-5)
    assert list(model.state_dict()) == list(toy_model().state_dict())
    assert not adapters.is_wrapped(model)


def test_only_adapters_are_trained(tmp_path, vocabulary_folder):
    model = toy_model()
    before = copy.deepcopy(model.state_dict())
    steps = train(
        toy_settings(lora=LORA),
        model=model,
        order=ToyOrder(),
        vocabulary_folder=vocabulary_folder,
        folder=tmp_path,
        execution=Execution(device="cpu"),
    )
    for step in steps:
        if step.step == 11:
            break
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)
    after_eleven = {name.replace(".base_layer", ""): value for name, value in model.state_dict().items()}
    assert all(torch.equal(after_eleven[name], value) for name, value in before.items())
    assert any(p.abs().sum() > 0 for name, p in adapters.adapters(model).items() if "lora_B" in name)


def test_it_learns_and_gives_a_hugging_face_model_without_adapters(undisturbed, vocabulary_folder):
    folder, steps = undisturbed
    assert steps[-1].loss < steps[0].loss
    assert all(step.mfu is None for step in steps)
    trained = AutoModelForCausalLM.from_pretrained(folder / "model")
    assert list(trained.state_dict()) == list(toy_model().state_dict())
    assert torch.equal(trained.model.embed_tokens.weight, toy_model().model.embed_tokens.weight)
    weight = "model.layers.0.mlp.up_proj.weight"
    change = trained.get_parameter(weight) - toy_model().get_parameter(weight)
    assert 0 < torch.linalg.matrix_rank(change, atol=1e-5) <= LORA.rank
    assert sorted(path.name for path in folder.iterdir()) == ["adapters", "metrics.jsonl", "model", "settings.json"]
    alone = PeftModel.from_pretrained(toy_model(), folder / "adapters").merge_and_unload()
    assert torch.allclose(logits(alone), logits(trained), atol=1e-4)


@pytest.mark.parametrize("end", [1, 6, 11])
def test_stopped_and_resumed_equals_undisturbed_bit_for_bit(tmp_path, vocabulary_folder, undisturbed, end):
    folder, steps = undisturbed
    list(toy_run(tmp_path, vocabulary_folder, lora=LORA, stop=after(end)))
    again = list(toy_run(tmp_path, vocabulary_folder, lora=LORA))
    assert [step.loss for step in again] == [step.loss for step in steps]
    saved = [path / "model" / "model.safetensors" for path in (tmp_path, folder)]
    assert saved[0].read_bytes() == saved[1].read_bytes()


def test_a_checkpoint_holds_the_adapters_alone_and_peft_reads_it(tmp_path, vocabulary_folder):
    list(toy_run(tmp_path, vocabulary_folder, lora=LORA, stop=after(5)))
    checkpoint = checkpoints.latest(tmp_path)
    names = {path.name for path in checkpoint.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors", "state.json"} <= names
    assert "model.safetensors" not in names
    assert all("lora_" in name for name in load_file(checkpoint / "adapter_model.safetensors"))
    ours = toy_model()
    adapters.wrap(ours, LORA, seed=1)
    adapters.load(ours, checkpoint)
    theirs = PeftModel.from_pretrained(toy_model(), checkpoint)
    assert torch.equal(logits(theirs), logits(ours))


@pytest.mark.parametrize("number", [0, -1])
def test_no_layers_are_refused(number):
    with pytest.raises(RecipeError, match=f"the last {number} layers are to have adapters: give at least 1"):
        Lora(rank=4, alpha=8, last_layers=number)


@pytest.mark.parametrize("change", [{"rank": 0}, {"alpha": 0}, {"dropout": 1.0}])
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(RecipeError, match=f"the {next(iter(change))} of LoRA is"):
        Lora(**({"rank": 4, "alpha": 8} | change))


def test_a_full_tuning_may_not_go_on_as_lora(undisturbed, vocabulary_folder):
    with pytest.raises(ValueError, match="lora"):
        list(toy_run(undisturbed[0], vocabulary_folder))


@pytest.mark.parametrize("alphas", [(8, 8), (8, 2)])
def test_adapters_on_top_of_adapters_come_out_as_one(tmp_path, alphas):
    base, below, above, out = (tmp_path / name for name in ("base", "below", "above", "out"))
    toy_model().save_pretrained(base)
    model = toy_model()
    for folder, alpha, rank in zip((below, above), alphas, (4, 2), strict=True):
        adapters.wrap(model, Lora(rank=rank, alpha=alpha), seed=rank)
        with torch.no_grad():
            for number, parameter in enumerate(adapters.adapters(model).values()):
                parameter.add_(0.01 * (number + 1))
        folder.mkdir()
        adapters.save(model, folder)
        adapters.merge(model)
    out.mkdir()
    num_numbers = adapters.write_adapters(above, out, base=str(base), dtype=torch.float32, below=below)
    assert num_numbers == sum(value.numel() for value in load_file(out / "adapter_model.safetensors").values())
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(out))
    assert torch.allclose(logits(loaded.merge_and_unload()), logits(model), atol=1e-5)


def test_adapters_of_other_layers_are_not_put_together(tmp_path):
    for name, layers in (("below", None), ("above", 1)):
        model = toy_model()
        adapters.wrap(model, Lora(rank=2, alpha=4, last_layers=layers), seed=0)
        (tmp_path / name).mkdir()
        adapters.save(model, tmp_path / name)
    above, below = tmp_path / "above", tmp_path / "below"
    with pytest.raises(InputError, match="other layers than the new ones: give the same --lora-layers"):
        adapters.write_adapters(above, tmp_path, base="x", dtype=torch.float32, below=below)
    config = below / "adapter_config.json"
    config.write_text(config.read_text().replace('"use_rslora": false', '"use_rslora": true'))
    with pytest.raises(InputError, match="have use_rslora: leave --adapters-only out"):
        adapters.write_adapters(above, tmp_path, base="x", dtype=torch.float32, below=below)
