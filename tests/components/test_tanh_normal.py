"""The tanh_normal actor: its distribution at the start and the spaces it refuses."""

from __future__ import annotations

import pytest
import torch
from wmrun_envserver.wire.spaces import Box, Discrete

from wmrun.actors.tanh_normal import TanhNormalActor
from wmrun.errors import ComponentError


def test_starts_centred_with_standard_deviation_5_0001() -> None:
    policy = TanhNormalActor(230, Box((6,), low=-1, high=1))(torch.zeros(1, 230))
    assert policy.mean.tolist() == [[0.0] * 6]
    assert policy.std.tolist() == [[pytest.approx(5.0001)] * 6]


def test_mean_stays_within_mean_scale() -> None:
    actor = TanhNormalActor(1, Box((1,), low=-1, high=1), layers=0, mean_scale=2.0)
    torch.nn.init.ones_(actor.out.weight)
    means = actor(torch.tensor([[-1e3], [0.1], [1e3]])).mean
    assert means.flatten().tolist() == pytest.approx([-2, 0.1, 2], abs=1e-3)


def test_samples_are_actions_within_the_bounds() -> None:
    actor = TanhNormalActor(3, Box((2, 3), low=-1, high=1), layers=1, units=4)
    sample = actor(torch.zeros(5, 7, 3)).sample(actor.noise((5, 7), torch.Generator()))
    assert sample.shape == (5, 7, 6)
    assert sample.abs().max().item() <= 1


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (Discrete(2), "takes a Box action space, but this one is Discrete"),
        (Box((1,), low=-2, high=2), r"chooses actions in \[-1, 1\]"),
    ],
)
def test_refuses_other_actions(space: Box | Discrete, words: str) -> None:
    with pytest.raises(ComponentError, match=f"the tanh_normal actor {words}"):
        TanhNormalActor(3, space)
