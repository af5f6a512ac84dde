import resource

import pytest
import torch
from toy_training import toy_model

from instructpt.errors import StorageError
from instructpt.training import checkpoints


def stepped(seed=0):
    """A model and an optimizer that has made a step."""
    model = toy_model(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    model(torch.arange(2, 30)[None]).logits.square().mean().backward()
    optimizer.step()
    return model, optimizer


def write(folder, vocabulary_folder, step, *, keep=2):
    model, optimizer = stepped()
    return checkpoints.save(
        folder, step=step, model=model, optimizer=optimizer, vocabulary_folder=vocabulary_folder, keep=keep
    )


def test_what_is_restored_is_what_was_saved_bit_for_bit(tmp_path, vocabulary_folder):
    model, optimizer = stepped()
    path = checkpoints.save(
        tmp_path, step=1, model=model, optimizer=optimizer, vocabulary_folder=vocabulary_folder, keep=1
    )
    other, other_optimizer = stepped(seed=5)
    checkpoints.restore(path, model=other, optimizer=other_optimizer)
    for (name, mine), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs), name
        for key, value in optimizer.state[mine].items():
            assert torch.equal(value, other_optimizer.state[theirs][key]), f"{name} {key}"


def test_parameters_that_never_had_a_gradient_stay_without_moments(tmp_path, vocabulary_folder):
    model = toy_model()
    for parameter in model.model.layers[0].parameters():
        parameter.requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    model(torch.arange(2, 30)[None]).logits.square().mean().backward()
    optimizer.step()
    path = checkpoints.save(
        tmp_path, step=1, model=model, optimizer=optimizer, vocabulary_folder=vocabulary_folder, keep=1
    )
    other = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    checkpoints.restore(path, model=model, optimizer=other)
    assert len(other.state) == len(optimizer.state) == 11


def test_the_newest_are_kept(tmp_path, vocabulary_folder):
    for step in (2, 4, 6):
        write(tmp_path, vocabulary_folder, step)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000004", "step-00000006"]
    assert checkpoints.step_of(checkpoints.latest(tmp_path)) == 6


def test_no_pickle_and_a_tokenizer_beside_the_weights(tmp_path, vocabulary_folder):
    names = {path.name for path in write(tmp_path, vocabulary_folder, 1).iterdir()}
    assert {"config.json", "model.safetensors", "optimizer.safetensors", "tokenizer.json", "state.json"} <= names
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in names)


@pytest.mark.parametrize("damage", ["unfinished", "shortened", "lost"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, vocabulary_folder, damage):
    good, bad = (write(tmp_path, vocabulary_folder, step) for step in (1, 2))
    if damage == "unfinished":
        bad.rename(bad.with_name(f".{bad.name}.writing"))
    elif damage == "shortened":
        data = (bad / "optimizer.safetensors").read_bytes()
        (bad / "optimizer.safetensors").write_bytes(data[:-1])
    else:
        (bad / "model.safetensors").unlink()
    assert checkpoints.latest(tmp_path) == good
    write(tmp_path, vocabulary_folder, 3)
    assert not list((tmp_path / "checkpoints").glob(".*")), "what a kill left is removed by the next save"


def test_nothing_there_is_no_checkpoint(tmp_path):
    assert checkpoints.latest(tmp_path) is None


@pytest.mark.parametrize("limit_bytes", [1_000, 40_000, 150_000])
def test_a_full_disk_is_named_and_costs_no_earlier_checkpoint(tmp_path, vocabulary_folder, limit_bytes):
    earlier = write(tmp_path, vocabulary_folder, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*step-00000002"):
            write(tmp_path, vocabulary_folder, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoints.latest(tmp_path) == earlier
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
