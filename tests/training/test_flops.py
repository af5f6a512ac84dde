import pytest
import torch
from toy_training import SHAPE, toy_model

from instructpt.training.shapes import Shape, flops_per_token, new_model, peak_flops, peak_flops_named, utilisation


def test_a_token_costs_six_operations_a_weight_and_twelve_a_place_it_could_see():
    model = toy_model()
    expected = 6 * sum(p.numel() for p in model.parameters()) + 12 * SHAPE.layers * SHAPE.hidden * 32
    assert flops_per_token(model, row_tokens=32) == expected


def test_a_table_that_is_only_looked_up_costs_nothing():
    sizes = {"vocabulary_size": 300, "bos": 0, "eos": 1, "max_positions": 64, "seed": 0}
    tied, untied = (
        new_model(Shape(hidden=32, layers=2, heads=2, feed_forward=64, tied=tied), **sizes) for tied in (True, False)
    )
    assert flops_per_token(tied, row_tokens=32) == flops_per_token(untied, row_tokens=32)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA L40S", 362e12),
        ("Some other card", None),
    ],
)
def test_peaks_by_name(name, peak):
    assert peak_flops_named(name) == peak


def test_a_cpu_has_no_known_peak():
    assert peak_flops(torch.device("cpu")) is None
    assert utilisation(toy_model(), tokens_per_second=100.0, row_tokens=32) is None
