"""Exploration noise: what it does to actions, when, and how much of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from wmrun_envserver.wire.spaces import Box, Discrete, MultiDiscrete, Space

from tests.agents.small import small_dreamer
from wmrun.agents.exploration import ExplorationNoise, Schedule, exploration_noise
from wmrun.errors import ComponentError

BOX = Box((3,), low=-1, high=1)


def test_amount_halves_every_decay_steps_down_to_the_minimum() -> None:
    schedule = Schedule(0.4, decay=100, minimum=0.1)
    amounts = [schedule(steps) for steps in (0, 100, 200, 1000)]
    assert amounts == pytest.approx([0.4, 0.2, 0.1, 0.1])
    assert Schedule(0.4)(10**9) == 0.4


def test_steps_are_counted_over_all_slots_and_lower_the_amount() -> None:
    explore = ExplorationNoise(Schedule(1e6, decay=1))
    far, near = explore(torch.zeros(40, 3), _rng()), explore(torch.zeros(40, 3), _rng())
    assert explore.steps == 80
    assert far.abs().max() == 1
    assert near.abs().max() < 1e-4


def test_continuous_noise_has_its_deviation_and_is_clipped() -> None:
    noisy = _noise(BOX, 0.3)(torch.zeros(5000, 3), _rng())
    assert noisy.std().item() == pytest.approx(0.3, rel=0.03)
    edge = _noise(BOX, 0.3)(torch.ones(5000, 3), _rng())
    assert edge.max() == 1
    assert (edge == 1).float().mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("space", "sizes"), [(Discrete(4), [4]), (MultiDiscrete([3, 2]), [3, 2])], ids=["one", "two"]
)
def test_a_share_of_discrete_actions_is_replaced_by_uniform_ones(
    space: Space, sizes: list[int]
) -> None:
    first = torch.cat([torch.eye(n)[0] for n in sizes]).expand(8000, -1)
    explored = _noise(space, 0.4)(first, _rng())
    parts = explored.split(sizes, -1)
    assert all(torch.equal(part.sum(-1), torch.ones(8000)) for part in parts)
    for part, n in zip(parts, sizes, strict=True):
        expected = [0.6 + 0.4 / n] + [0.4 / n] * (n - 1)
        assert part.mean(0).tolist() == pytest.approx(expected, abs=0.02)


def test_no_noise_is_no_exploration() -> None:
    assert exploration_noise(BOX, amount=0.0, decay=0.0, minimum=0.0) is None


def test_a_minimum_above_the_amount_is_refused() -> None:
    with pytest.raises(ComponentError, match=r"agent\.expl_min is 0\.1, .* agent\.expl_noise, 0"):
        exploration_noise(BOX, amount=0.0, decay=0.0, minimum=0.1)


def test_noise_is_that_of_the_generator() -> None:
    actions = [_noise(BOX, 0.3)(torch.zeros(4, 3), _rng()).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*actions)


def test_dreamer_v2_explores_if_it_is_told_to() -> None:
    obs = {"vector": np.ones((4, 3), np.float32)}
    actions = []
    for agent in (small_dreamer(), small_dreamer(expl_noise=0.3)):
        agent.seed_evaluation(0)
        first, carry = np.ones(4, bool), agent.initial_carry(4)
        actions.append([agent.act(obs, first, carry, mode)[0] for mode in ("eval", "train")])
    (calm, policy), (evaluated, explored) = actions
    np.testing.assert_array_equal(calm, evaluated)
    assert not np.array_equal(policy, explored)


def _noise(space: Space, amount: float) -> ExplorationNoise:
    explore = exploration_noise(space, amount=amount, decay=0.0, minimum=0.0)
    assert explore is not None
    return explore


def _rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)
