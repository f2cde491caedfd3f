"""The two-hot distribution: its bins, where targets go, and its mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from wmrun.nn.two_hot import TwoHot, symexp_bins

BINS = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0])


def test_bins_are_equally_spaced_in_symlog_space_and_mirrored_around_exactly_zero() -> None:
    exponents = np.linspace(0, 20, 128)
    positive = np.expm1(exponents)
    bins = symexp_bins(255)
    assert bins[127] == 0
    np.testing.assert_allclose(bins[127:], positive, rtol=1e-5)
    assert torch.equal(bins[:127], -bins[128:].flip(0))


@pytest.mark.parametrize(
    ("target", "weights"),
    [
        (-1.0, [0, 1, 0, 0, 0]),
        (0.0, [0, 0, 1, 0, 0]),
        (0.25, [0, 0, 0.75, 0.25, 0]),
        (1.5, [0, 0, 0, 0.75, 0.25]),
        (3.0, [0, 0, 0, 0, 1]),
        (-2.5, [0.75, 0.25, 0, 0, 0]),
        (1e9, [0, 0, 0, 0, 1]),
        (-math.inf, [1, 0, 0, 0, 0]),
    ],
)
def test_targets_are_spread_over_their_two_neighbours(target: float, weights: list[float]) -> None:
    np.testing.assert_allclose(_weights(torch.tensor([target]))[0], weights, atol=1e-6)


def test_loss_is_the_cross_entropy_with_the_spread_target() -> None:
    logits = torch.tensor([[0.5, -1.0, 2.0, 0.0, 1.0]])
    wide = logits.double().numpy()[0]
    log_probs = wide - math.log(np.exp(wide).sum())
    loss = TwoHot(logits, BINS).loss(torch.tensor([0.25]))
    assert loss.item() == pytest.approx(-(0.75 * log_probs[2] + 0.25 * log_probs[3]), abs=1e-6)


def test_no_gradient_flows_into_targets() -> None:
    target = torch.tensor([0.25], requires_grad=True)
    assert not TwoHot(torch.zeros(1, 5), BINS).loss(target).requires_grad


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_symmetric_logits_have_a_mean_of_exactly_zero(scale: float) -> None:
    half = scale * torch.randn(7, 127, generator=torch.Generator().manual_seed(0))
    logits = torch.cat([half, torch.zeros(7, 1), half.flip(-1)], -1)
    assert (TwoHot(logits, symexp_bins(255)).mean == 0).all()


def test_mean_is_the_expected_bin() -> None:
    probs = torch.tensor([0.125, 0.25, 0.25, 0.25, 0.125])
    skewed = torch.tensor([0.0, 0.0, 0.5, 0.25, 0.25])
    logits = torch.stack([probs, skewed]).log()
    assert TwoHot(logits, BINS).mean.tolist() == pytest.approx([0.0, 1.0])


def test_any_batch_shape_is_kept() -> None:
    prediction = TwoHot(torch.zeros(3, 4, 5), BINS)
    assert prediction.mean.shape == prediction.loss(torch.zeros(4, 3).T).shape == (3, 4)


def _weights(target: Tensor) -> Tensor:
    """Return the weights by the gradient of the loss, softmax - weights, at equal logits."""
    logits = torch.zeros(len(target), len(BINS), requires_grad=True)
    (gradient,) = torch.autograd.grad(TwoHot(logits, BINS).loss(target).sum(), logits)
    return 1 / len(BINS) - gradient
