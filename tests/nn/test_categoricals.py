"""Several categorical variables against sums over single ones, worked out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wmrun.nn.categoricals import Categoricals

COUNTS = (2, 3, 3, 1)
ENDS = np.cumsum(COUNTS)[:-1]
LOGITS = np.random.default_rng(0).normal(size=(5, 9))
CLASSES = np.array([[0, 2, 1, 0], [1, 0, 0, 0], [1, 1, 2, 0], [0, 0, 1, 0], [1, 2, 2, 0]])


def log_probs() -> list[np.ndarray]:
    parts = np.split(LOGITS, ENDS, -1)
    return [part - np.log(np.exp(part).sum(-1, keepdims=True)) for part in parts]


def one_hot(classes: np.ndarray) -> np.ndarray:
    parts = [np.eye(n)[classes[:, i]] for i, n in enumerate(COUNTS)]
    return np.concatenate(parts, -1)


EXPECTED = sum(part[np.arange(5), CLASSES[:, i]] for i, part in enumerate(log_probs()))


def categoricals() -> Categoricals:
    return Categoricals.of(torch.tensor(LOGITS), COUNTS)


def test_log_prob_sums_over_variables() -> None:
    value = torch.tensor(one_hot(CLASSES))
    np.testing.assert_allclose(categoricals().log_prob(value), EXPECTED, rtol=1e-12)


def test_loss_is_the_cross_entropy_of_the_classes() -> None:
    loss = categoricals().loss(torch.tensor(CLASSES))
    np.testing.assert_allclose(loss, -EXPECTED, rtol=1e-12)


def test_entropy_sums_over_variables() -> None:
    expected = -sum((np.exp(part) * part).sum(-1) for part in log_probs())
    np.testing.assert_allclose(categoricals().entropy(), expected, rtol=1e-12)


def test_mean_and_mode_stand_in_the_order_of_the_variables() -> None:
    parts = log_probs()
    np.testing.assert_allclose(categoricals().mean, np.exp(np.concatenate(parts, -1)), rtol=1e-12)
    classes = np.stack([part.argmax(-1) for part in parts], -1)
    np.testing.assert_array_equal(categoricals().mode, one_hot(classes))


def test_each_variable_is_drawn_by_its_own_noise() -> None:
    noise = np.random.default_rng(1).uniform(size=(5, 4))
    cumulative = [np.exp(part).cumsum(-1) for part in log_probs()]
    classes = [(c <= noise[:, [i]]).sum(-1) for i, c in enumerate(cumulative)]
    sample = categoricals().sample(torch.tensor(noise))
    np.testing.assert_array_equal(sample, one_hot(np.stack(classes, -1)))


def test_the_gradient_of_a_sample_is_that_of_the_probabilities() -> None:
    logits = torch.tensor(LOGITS, requires_grad=True)
    weight = torch.arange(9.0, dtype=torch.float64)
    both = Categoricals.of(logits, COUNTS)
    (ours,) = torch.autograd.grad((both.sample(torch.rand(5, 4)) * weight).sum(), logits)
    (expected,) = torch.autograd.grad((both.mean * weight).sum(), logits)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("rows", [slice(0, 2), slice(3, 5)])
def test_a_slice_of_its_tensors_is_the_distribution_of_these_rows(rows: slice) -> None:
    part = Categoricals(*(tensor[rows] for tensor in categoricals()))
    torch.testing.assert_close(part.entropy(), categoricals().entropy()[rows])
