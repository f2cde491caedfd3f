"""Acting for some of the slots: what is carried for each of them is its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.agents.small import small_dreamer
from tests.agents.small_v3 import small_v3
from wmrun.agents.carry import put_slots, select_slots
from wmrun.agents.dreamer import Dreamer
from wmrun.agents.policy import Carry

NUM_ENVS = 4


class Named(NamedTuple):
    number: Tensor
    rest: dict[str, np.ndarray]


@dataclass(frozen=True)
class Remembered:
    pair: tuple[np.ndarray, Named]


def carry(offset: float) -> Remembered:
    number = torch.arange(NUM_ENVS, dtype=torch.float32) + offset
    array = np.arange(2.0 * NUM_ENVS).reshape(NUM_ENVS, 2) + offset
    return Remembered((array, Named(number, {"more": array + 100})))


def leaves(carry: Remembered) -> list[list[float]]:
    array, named = carry.pair
    return [array.tolist(), named.number.tolist(), named.rest["more"].tolist()]


def test_selected_rows_are_those_of_the_slots_in_every_tensor_and_array():
    part = select_slots(carry(0.5), np.array([1, 3]))
    assert leaves(part) == [[[2.5, 3.5], [6.5, 7.5]], [1.5, 3.5], [[102.5, 103.5], [106.5, 107.5]]]
    assert isinstance(part, Remembered)
    assert isinstance(part.pair[1], Named)


def test_rows_are_put_back_to_their_slots_and_the_old_carry_stays_as_it_was():
    old, part = carry(0), select_slots(carry(0.5), np.array([0, 2]))
    new = put_slots(old, np.array([0, 2]), part)
    assert leaves(new) == [
        [[0.5, 1.5], [2, 3], [4.5, 5.5], [6, 7]],
        [0.5, 1, 2.5, 3],
        [[100.5, 101.5], [102, 103], [104.5, 105.5], [106, 107]],
    ]
    assert leaves(old) == leaves(carry(0))


def test_nothing_is_copied_where_all_slots_are_there():
    old, new, slots = carry(0), carry(1), np.arange(NUM_ENVS)
    assert select_slots(old, slots).pair[1].number is old.pair[1].number
    assert select_slots(old, slots).pair[0] is old.pair[0]
    assert put_slots(old, slots, new).pair[1].number is new.pair[1].number
    assert put_slots(old, slots, new).pair[0] is new.pair[0]


def test_a_carry_of_something_else_is_refused():
    with pytest.raises(TypeError, match=r"carry holds a list; expected tensors and arrays"):
        select_slots(([1, 2],), np.arange(2))


@pytest.mark.parametrize("build", [small_dreamer, small_v3])
def test_a_slot_is_acted_for_alike_whoever_else_is_there(build: Callable[[], Dreamer]):
    """With the same noise for a slot at every decision."""
    agent, decisions = build(), 6
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(decisions, NUM_ENVS, 3)).astype(np.float32)
    is_first = np.zeros((decisions, NUM_ENVS), bool)
    is_first[0] = is_first[3, 1] = is_first[2, 2] = True
    latent, actor = agent.world_model.rssm.latent, agent.actor
    generator = torch.Generator().manual_seed(0)
    latent_noise = latent.noise((NUM_ENVS,), generator)
    actor_noise = actor.noise((NUM_ENVS,), generator)

    def act(carry: Carry, slots: np.ndarray, done: np.ndarray) -> tuple[np.ndarray, Carry]:
        latent.noise = lambda shape, generator: latent_noise[torch.tensor(slots)]
        actor.noise = lambda shape, generator: actor_noise[torch.tensor(slots)]
        rows = {"vector": obs[done[slots], slots]}
        part = select_slots(carry, slots)
        action, part = agent.act(rows, is_first[done[slots], slots], part, "train")
        return action, put_slots(carry, slots, part)

    every, together = np.arange(NUM_ENVS), agent.initial_carry(NUM_ENVS)
    expected = np.zeros((decisions, NUM_ENVS, 2), np.float32)
    for number in range(decisions):
        expected[number], together = act(together, every, np.full(NUM_ENVS, number))

    apart, done = agent.initial_carry(NUM_ENVS), np.zeros(NUM_ENVS, int)
    while (waiting := np.flatnonzero(done < decisions)).size:
        slots = np.sort(rng.choice(waiting, rng.integers(1, waiting.size + 1), replace=False))
        action, apart = act(apart, slots, done)
        np.testing.assert_allclose(action, expected[done[slots], slots], atol=1e-6)
        done[slots] += 1
    np.testing.assert_allclose(apart.state.feat, together.state.feat, atol=1e-6)
    np.testing.assert_allclose(apart.action, together.action, atol=1e-6)
    assert not np.allclose(expected[0], expected[1])
