"""Actors: action sizes, initial distributions, and the spaces they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from wmrun_envserver.wire.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space

from wmrun import registry
from wmrun.actors.auto import auto_actor
from wmrun.actors.base import action_size
from wmrun.actors.bounded_normal import BoundedNormalActor
from wmrun.actors.categorical import CategoricalActor
from wmrun.actors.multi_categorical import MultiCategoricalActor
from wmrun.actors.truncated_normal import TruncatedNormalActor
from wmrun.errors import ComponentError
from wmrun.registry import describe


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


def test_categorical_mixes_in_the_uniform_distribution() -> None:
    actor = CategoricalActor(3, Discrete(4), layers=0, unimix=0.2)
    torch.nn.init.zeros_(actor.out.weight)
    actor.out.bias.data = torch.tensor([0.7, 0.1, 0.1, 0.1]).log()
    probs = actor(torch.zeros(3)).logits.softmax(-1)
    assert probs.tolist() == pytest.approx([0.61, 0.13, 0.13, 0.13])


def test_categorical_with_an_out_scale_of_zero_starts_uniform() -> None:
    policy = CategoricalActor(3, Discrete(4), layers=1, units=5, out_scale=0.0)(torch.randn(2, 3))
    assert policy.entropy().tolist() == pytest.approx([math.log(4)] * 2)


def test_the_only_leaf_of_a_dict_is_the_action_space() -> None:
    assert action_size(Dict((("torque", Box((3,), low=-1, high=1)),))) == 3
    assert CategoricalActor(3, Dict((("button", Discrete(2)),))).action_size == 2


def test_truncated_normal_refuses_discrete_actions() -> None:
    with pytest.raises(ComponentError) as caught:
        TruncatedNormalActor(3, Discrete(2))
    assert caught.value.message == (
        "the truncated_normal actor takes a Box action space, but this one is Discrete(2)"
    )
    assert caught.value.hint == "Set agent.actor.type: auto, which takes the actor that fits."


def test_categorical_refuses_continuous_actions() -> None:
    with pytest.raises(ComponentError, match=r"Set agent\.actor\.type: auto"):
        CategoricalActor(3, Box((2,), low=-1, high=1))


@pytest.mark.parametrize(
    ("space", "words", "help_"),
    [
        (Box((1,), low=-2, high=2), "bounded by -2.0 and 2.0", "env.normalize_actions: true."),
        (Box((2,), low=[-1, 0], high=1), "[-1.0, 0.0] and 1.0", "env.normalize_actions: true."),
        (Box((2,)), "bounded by -inf and inf", "agent.actor.type: bounded_normal"),
        (Box((2,), "int64", -1, 1), "a Box int64 [2], is bounded by -1 and 1", "a MultiDiscrete"),
    ],
    ids=["wide", "asymmetric", "unbounded", "integers"],
)
def test_truncated_normal_refuses_actions_that_are_not_normalised(
    space: Space, words: str, help_: str
) -> None:
    with pytest.raises(ComponentError) as caught:
        TruncatedNormalActor(3, space)
    assert words in caught.value.message
    assert help_ in caught.value.hint


def test_bounded_normal_takes_entries_without_bounds() -> None:
    space = Box((2,), low=[-1, -math.inf], high=[1, math.inf])
    assert BoundedNormalActor(3, space, layers=1, units=4).action_size == 2


@pytest.mark.parametrize(("low", "high"), [(-2, 2), (0, math.inf), (3, 10)])
def test_bounded_normal_refuses_bounds_that_its_actions_would_not_fill(
    low: float, high: float
) -> None:
    with pytest.raises(ComponentError, match=r"env\.normalize_actions: true"):
        BoundedNormalActor(3, Box((1,), low=low, high=high), units=4)


def test_spaces_of_several_parts_are_named_with_their_parts() -> None:
    space = Dict((("move", Box((2,), low=-1, high=1)), ("jump", Discrete(2))))
    with pytest.raises(ComponentError) as caught:
        action_size(space)
    assert caught.value.message == (
        "the action space is Dict(move: Box float32 [2], jump: Discrete(2)); "
        "agents take one Box, Discrete, MultiDiscrete or MultiBinary space"
    )


def test_multi_categorical_makes_every_choice_of_a_multi_discrete() -> None:
    actor = MultiCategoricalActor(3, MultiDiscrete([2, 4, 4]), layers=1, units=5)
    policy = actor(torch.randn(6, 3))
    sample = policy.sample(actor.noise((6,), torch.Generator().manual_seed(0))).detach()
    assert actor.action_size == action_size(MultiDiscrete([2, 4, 4])) == 10
    for value in (sample, policy.mode):
        sums = [part.sum(-1) for part in value.split([2, 4, 4], -1)]
        torch.testing.assert_close(torch.stack(sums), torch.ones(3, 6))


def test_multi_categorical_takes_binary_choices_and_a_single_one() -> None:
    assert MultiCategoricalActor(3, MultiBinary((3,)), layers=0).action_size == 6
    assert MultiCategoricalActor(3, Discrete(5, start=1), layers=0).action_size == 5


def test_multi_categorical_with_an_out_scale_of_zero_starts_uniform() -> None:
    actor = MultiCategoricalActor(3, MultiDiscrete([2, 3]), layers=1, units=4, out_scale=0.0)
    entropy = actor(torch.randn(1, 3)).entropy()
    assert entropy.item() == pytest.approx(math.log(2) + math.log(3))


def test_unimix_keeps_every_choice_of_a_multi_categorical_possible() -> None:
    actor = MultiCategoricalActor(3, MultiDiscrete([2, 4]), layers=0, unimix=0.2)
    with torch.no_grad():
        actor.out.bias[:] = torch.tensor([90.0, 0, 0, 0, 0, 90])
    probs = actor(torch.zeros(1, 3)).mean
    torch.testing.assert_close(probs, torch.tensor([[0.9, 0.1, 0.05, 0.05, 0.05, 0.85]]))


def test_multi_categorical_has_every_option_of_categorical() -> None:
    single, several = (describe("actor", name) for name in ("categorical", "multi_categorical"))
    assert {option.name for option in single.options} <= {option.name for option in several.options}


def test_multi_categorical_refuses_a_box() -> None:
    with pytest.raises(ComponentError, match=r"takes a MultiDiscrete .* is Box float32 \[2\]"):
        MultiCategoricalActor(3, Box((2,), low=-1, high=1))


@pytest.mark.parametrize(
    ("space", "family"),
    [
        (Box((2,), low=-1, high=1), TruncatedNormalActor),
        (Discrete(3), CategoricalActor),
        (MultiDiscrete([2, 3]), MultiCategoricalActor),
        (MultiBinary((2,)), MultiCategoricalActor),
        (Dict((("move", Discrete(3)),)), CategoricalActor),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_auto_builds_the_actor_that_fits_with_its_options(space: Space, family: type) -> None:
    actor = registry.build(
        "actor",
        {
            "type": "auto",
            "continuous": {"type": "truncated_normal", "layers": 1, "units": 7},
            "discrete": {"type": "categorical", "layers": 1, "units": 7},
        },
        4,
        space,
    )
    assert type(actor) is family
    assert actor.mlp.out_size == 7


def test_auto_leaves_a_multi_discrete_to_another_discrete_actor_than_categorical() -> None:
    with pytest.raises(ComponentError, match="the truncated_normal actor takes a Box"):
        auto_actor(4, MultiDiscrete([2, 3]), discrete={"type": "truncated_normal"})
