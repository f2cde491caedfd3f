"""save and load: the loaded agent goes on exactly as the saved one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.agents.small import DISCRETE, random_batch, small_dreamer
from wmrun.agents.base import ActMode
from wmrun.agents.dreamer_v2 import DreamerV2
from wmrun.errors import RunError


def test_loaded_agent_takes_the_same_next_updates() -> None:
    agent = small_dreamer(slow_critic_every=2)
    for seed in range(3):
        agent.update(random_batch(seed=seed))
    other = small_dreamer(slow_critic_every=2, seed=99)
    other.load(_copy(agent))
    for seed in (3, 4):
        batch = random_batch(seed=seed)
        assert agent.update(batch) == other.update(batch)
    assert _equal(_copy(agent), _copy(other))


def test_loaded_agent_acts_the_same() -> None:
    agent = small_dreamer()
    _act(agent)
    other = small_dreamer(seed=99)
    other.load(_copy(agent))
    np.testing.assert_array_equal(_act(agent), _act(other))


def test_acting_does_not_change_what_is_learnt() -> None:
    quiet, busy = small_dreamer(), small_dreamer()
    _act(busy)
    assert quiet.update(random_batch()) == busy.update(random_batch())


def test_evaluating_does_not_change_how_training_acts() -> None:
    quiet, busy = small_dreamer(), small_dreamer()
    _act(busy, "eval")
    np.testing.assert_array_equal(_act(quiet), _act(busy))


def test_an_evaluation_is_repeated_by_its_seed() -> None:
    agent = small_dreamer()
    agent.seed_evaluation(7)
    first = [_act(agent, "eval") for _ in range(3)]
    agent.seed_evaluation(7)
    np.testing.assert_array_equal([_act(agent, "eval") for _ in range(3)], first)
    agent.seed_evaluation(8)
    assert not np.array_equal([_act(agent, "eval") for _ in range(3)], first)


def test_same_seed_builds_the_same_agent() -> None:
    assert _equal(_copy(small_dreamer(seed=4)), _copy(small_dreamer(seed=4)))


def test_slow_critic_is_copied_at_the_first_and_every_nth_update() -> None:
    agent = small_dreamer(slow_critic_every=2)
    copied = []
    for seed in range(4):
        agent.update(random_batch(seed=seed))
        state = agent.save()
        name = "critic.out.weight"
        copied.append(torch.equal(state[name], state[f"slow_{name}"]))
    assert copied == [True, False, True, False]


def test_load_names_what_does_not_fit() -> None:
    agent = small_dreamer()
    state = _copy(agent)
    del state["actor.out.bias"]
    state["actor.extra"] = torch.zeros(1)
    state["critic.out.weight"] = torch.zeros(3, 3)
    before = _copy(agent)
    with pytest.raises(RunError) as caught:
        agent.load(state)
    assert "actor.out.bias is missing" in caught.value.message
    assert "actor.extra is unexpected" in caught.value.message
    assert "critic.out.weight has shape [3, 3], expected [1, 8]" in caught.value.message
    assert _equal(_copy(agent), before)


def test_many_problems_are_counted_not_listed() -> None:
    agent = small_dreamer()
    with pytest.raises(RunError, match=r"and \d+ more"):
        agent.load(_copy(small_dreamer(act_space=DISCRETE, dynamics={"type": "gru_layernorm"})))


def test_stream_of_another_kind_of_device_is_replaced_reproducibly() -> None:
    state = _copy(small_dreamer())
    state["rng.act"] = torch.arange(16, dtype=torch.uint8)
    actions = []
    for seed in (1, 2):
        agent = small_dreamer(seed=seed)
        agent.load(state)
        actions.append(_act(agent))
    np.testing.assert_array_equal(*actions)


def _copy(agent: DreamerV2) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in agent.save().items()}


def _equal(state: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return state.keys() == other.keys() and all(torch.equal(state[n], other[n]) for n in state)


def _act(agent: DreamerV2, mode: ActMode = "train") -> np.ndarray:
    obs = {"vector": np.ones((4, 3), np.float32)}
    action, _ = agent.act(obs, np.ones(4, bool), agent.initial_carry(4), mode)
    return action
