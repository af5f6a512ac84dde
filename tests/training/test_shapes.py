import hashlib
import math
from itertools import pairwise

import pytest
import torch
from toy_training import toy_model
from transformers import MistralForCausalLM

from instructpt.errors import InputError, RecipeError
from instructpt.training.shapes import SHAPES, Shape, configuration, load_model, shape_named

SIZES = {
    "1m": (4096, 1.3e6, 3.6e-3),
    "3m": (4096, 3.0e6, 2.4e-3),
    "7m": (8192, 6.9e6, 1.8e-3),
    "15m": (8192, 15.5e6, 1.2e-3),
    "30m": (16_384, 30.5e6, 9e-4),
    "60m": (16_384, 60.0e6, 7.2e-4),
    "125m": (32_000, 123.7e6, 6e-4),
    "500m": (32_000, 567.8e6, 3e-4),
    "1.3b": (32_000, 1.34e9, 2e-4),
}
"""Vocabulary, parameters and highest learning rate, as the module's table has them."""


@pytest.mark.parametrize("name", SHAPES)
def test_a_name_says_how_large_a_model_is(name):
    vocabulary_size, num_parameters, learning_rate = SIZES[name]
    shape = shape_named(name)
    config = configuration(shape, vocabulary_size=vocabulary_size, bos=0, eos=1, max_positions=512)
    with torch.device("meta"):
        model = MistralForCausalLM(config)
    assert sum(p.numel() for p in model.parameters()) == shape.num_parameters(vocabulary_size)
    assert shape.num_parameters() == pytest.approx(num_parameters, rel=0.03)
    assert shape.learning_rate == learning_rate


def test_wider_models_learn_more_slowly_and_smaller_ones_have_smaller_vocabularies():
    shapes = list(SHAPES.values())
    for narrow, wide in pairwise(shapes):
        assert narrow.learning_rate > wide.learning_rate
        assert narrow.vocabulary_size <= wide.vocabulary_size
        assert narrow.num_parameters() < wide.num_parameters()
    assert all(shape.vocabulary_size * shape.hidden < shape.num_parameters() / 2 for shape in shapes)


def test_weights_are_the_same_bytes_everywhere_and_follow_the_seed():
    def fingerprint(seed):
        data = b"".join(p.detach().numpy().tobytes() for _, p in sorted(toy_model(seed).named_parameters()))
        return hashlib.blake2b(data, digest_size=8).hexdigest()

    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    assert fingerprint(0) == "d39abf66dfbeb633"
    assert torch.equal(before, torch.random.get_rng_state()), "the user's own random stream was touched"
    assert fingerprint(1) != fingerprint(0)


def test_first_loss_is_that_of_a_uniform_guess():
    ids = torch.randint(2, 300, (8, 64), generator=torch.Generator().manual_seed(0))
    losses = torch.nn.functional.cross_entropy(toy_model()(ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten())
    assert losses.item() == pytest.approx(math.log(300), abs=0.3)


def test_unknown_shapes_and_uneven_heads_are_refused():
    with pytest.raises(RecipeError, match="choose one of 1m, 3m"):
        shape_named("2b")
    with pytest.raises(RecipeError, match="even width"):
        Shape(hidden=33, layers=1, heads=3, feed_forward=8)


def test_a_saved_model_is_loaded_in_float32(tmp_path):
    model = toy_model()
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded.model.embed_tokens.weight, model.float().model.embed_tokens.weight)


def test_pickled_and_unknown_models_are_refused(tmp_path):
    toy_model().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="in a pickle"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "martian"}')
    with pytest.raises(InputError, match="martian"):
        load_model(tmp_path)
