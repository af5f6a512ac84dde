import pytest
import torch
from torch.nn.functional import cross_entropy

from instructpt.training import learner
from instructpt.training.learner import weighted_cross_entropy


def problem(num_places=150, width=16, vocabulary_size=50):
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(num_places, width, generator=draw).requires_grad_()
    head = torch.randn(vocabulary_size, width, generator=draw).requires_grad_()
    targets = torch.randint(vocabulary_size, (num_places,), generator=draw)
    weights = torch.rand(num_places, generator=draw) * (torch.rand(num_places, generator=draw) < 0.6)
    return hidden, head, targets, weights


@pytest.mark.parametrize("chunk_bytes", [1, 10_000, 2**30])
def test_equals_the_plain_loss_and_its_gradients(monkeypatch, chunk_bytes):
    monkeypatch.setitem(learner._CHUNK_BYTES, "cpu", chunk_bytes)
    hidden, head, targets, weights = problem()
    plain = (cross_entropy(hidden @ head.T, targets, reduction="none") * weights).sum()
    expected = torch.autograd.grad(plain * 3, (hidden, head))
    ours = weighted_cross_entropy(hidden, head, targets_N=targets, weights_N=weights, dtype=torch.float32)
    got = torch.autograd.grad(ours * 3, (hidden, head))
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_bfloat16_products_change_little():
    hidden, head, targets, weights = problem()
    exact = weighted_cross_entropy(hidden, head, targets_N=targets, weights_N=weights, dtype=torch.float32)
    rough = weighted_cross_entropy(hidden, head, targets_N=targets, weights_N=weights, dtype=torch.bfloat16)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=1e-2, atol=0)


def test_places_without_loss_get_no_gradient_and_may_hold_anything():
    hidden, head, targets, weights = problem()
    broken = hidden.detach().clone()
    broken[weights == 0] = torch.nan
    broken.requires_grad_()
    loss = weighted_cross_entropy(broken, head, targets_N=targets, weights_N=weights, dtype=torch.float32)
    (gradient,) = torch.autograd.grad(loss, broken)
    assert torch.isfinite(loss)
    assert not gradient[weights == 0].any()


def test_a_part_of_a_batch_may_carry_no_loss_at_all():
    hidden, head, targets, weights = problem()
    loss = weighted_cross_entropy(hidden, head, targets_N=targets, weights_N=weights * 0, dtype=torch.float32)
    gradients = torch.autograd.grad(loss, (hidden, head))
    assert loss == 0
    assert not any(gradient.any() for gradient in gradients)
