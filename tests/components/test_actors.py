"""Actors: action sizes, initial distributions, and the spaces they refuse."""

from __future__ import annotations

import pytest
import torch
from wmrun_envserver.wire.spaces import Box, Dict, Discrete, MultiDiscrete

from wmrun.actors.base import action_size
from wmrun.actors.categorical import CategoricalActor
from wmrun.actors.truncated_normal import TruncatedNormalActor
from wmrun.errors import ComponentError


def test_truncated_normal_starts_with_scale_1_1() -> None:
    torch.manual_seed(0)
    actor = TruncatedNormalActor(30, Box((6,), low=-1, high=1))
    policy = actor(torch.zeros(1, 30))
    assert policy.scale.tolist() == [[pytest.approx(1.1)] * 6]
    assert policy.loc.tolist() == [[0.0] * 6]


def test_actions_of_a_shaped_box_are_flat() -> None:
    actor = TruncatedNormalActor(3, Box((2, 3), low=-1, high=1), layers=1, units=4)
    noise = actor.noise((5, 7), torch.Generator())
    assert actor(torch.zeros(5, 7, 3)).sample(noise).shape == (5, 7, 6)


def test_categorical_actions_are_one_hot() -> None:
    actor = CategoricalActor(3, Discrete(4, start=2), layers=1, units=4)
    samples = actor(torch.zeros(100, 3)).sample(actor.noise((100,), torch.Generator()))
    assert samples.shape == (100, 4)
    assert samples.detach().sum(-1).tolist() == pytest.approx([1.0] * 100)


def test_the_only_leaf_of_a_dict_is_the_action_space() -> None:
    assert action_size(Dict((("torque", Box((3,), low=-1, high=1)),))) == 3
    assert CategoricalActor(3, Dict((("button", Discrete(2)),))).action_size == 2


def test_truncated_normal_refuses_discrete_actions() -> None:
    with pytest.raises(ComponentError) as caught:
        TruncatedNormalActor(3, Discrete(2))
    assert caught.value.message == (
        "the truncated_normal actor takes a Box action space, but this one is Discrete(2)"
    )
    assert caught.value.hint == "Set agent.actor.type: categorical for Discrete actions."


def test_categorical_refuses_continuous_actions() -> None:
    with pytest.raises(ComponentError, match=r"Set agent\.actor\.type: truncated_normal"):
        CategoricalActor(3, Box((2,), low=-1, high=1))


def test_truncated_normal_refuses_actions_that_are_not_normalised() -> None:
    with pytest.raises(ComponentError, match=r"env\.normalize_actions: true"):
        TruncatedNormalActor(3, Box((1,), low=-2, high=2))


def test_other_action_spaces_are_named() -> None:
    with pytest.raises(ComponentError, match="the action space is MultiDiscrete"):
        action_size(MultiDiscrete([2, 3]))
