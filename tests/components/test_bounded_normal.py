"""The bounded_normal actor."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from wmrun_envserver.wire.spaces import Box, Discrete

from wmrun.actors.bounded_normal import BoundedNormalActor
from wmrun.errors import ComponentError

SPACE = Box((3,), low=-1, high=1)


def test_starts_nearly_centred_with_standard_deviation_0_893() -> None:
    torch.manual_seed(0)
    policy = BoundedNormalActor(6, SPACE, units=8)(torch.randn(100, 6))
    assert policy.mean.abs().max() < 0.05
    np.testing.assert_allclose(policy.std.detach(), 0.9 / (1 + math.exp(-2)) + 0.1, atol=0.005)


def test_mean_and_standard_deviation_stay_within_their_bounds() -> None:
    actor = BoundedNormalActor(2, SPACE, layers=0, units=1, min_std=0.25, max_std=0.75)
    for layer in (actor.out, actor.std):
        torch.nn.init.constant_(layer.weight, 1.0)
    policy = actor(torch.tensor([[100.0, 0.0], [-100.0, 0.0]]))
    assert policy.mean.tolist() == [[1.0] * 3, [-1.0] * 3]
    np.testing.assert_allclose(policy.std.detach(), [[0.75] * 3, [0.25] * 3], atol=1e-6)


def test_samples_are_neither_squashed_nor_clipped() -> None:
    policy = BoundedNormalActor(6, SPACE, units=8)(torch.zeros(6))
    noise = torch.tensor([10.0, -10.0, 0.0])
    sample = policy.sample(noise).detach()
    expected = policy.mean + policy.std * noise
    torch.testing.assert_close(sample, expected.detach())
    assert sample.abs().max() > 5
    assert torch.equal(policy.mode, policy.mean)


def test_log_prob_and_entropy_sum_over_actions() -> None:
    policy = BoundedNormalActor(6, SPACE, units=8)(torch.zeros(4, 6))
    action = torch.randn(4, 3)
    normal = torch.distributions.Normal(policy.mean.double(), policy.std.double())
    np.testing.assert_allclose(
        policy.log_prob(action).detach(), normal.log_prob(action).sum(-1).detach(), rtol=1e-5
    )
    np.testing.assert_allclose(
        policy.entropy().detach(), normal.entropy().sum(-1).detach(), rtol=1e-5
    )


def test_noise_is_standard_normal_for_every_action() -> None:
    noise = BoundedNormalActor(6, SPACE, units=8).noise((500, 4), torch.Generator().manual_seed(0))
    assert noise.shape == (500, 4, 3)
    assert noise.mean().item() == pytest.approx(0, abs=0.05)
    assert noise.std().item() == pytest.approx(1, abs=0.05)


def test_refuses_discrete_actions() -> None:
    with pytest.raises(ComponentError) as caught:
        BoundedNormalActor(6, Discrete(3), units=8)
    assert "takes a Box action space, but this one is Discrete(3)" in caught.value.message
    assert "agent.actor.type" in caught.value.hint


def test_refuses_actions_that_are_not_normalised() -> None:
    with pytest.raises(ComponentError, match=r"env\.normalize_actions: true"):
        BoundedNormalActor(6, Box((1,), low=-2, high=2), units=8)
