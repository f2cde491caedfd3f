"""Pitfalls of Dreamer implementations that no other test guards; docs/pitfalls.md lists all."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.agents.small import DISCRETE, random_batch, small_dreamer
from tests.agents.small_v3 import small_v3, stored_batch
from tests.agents.test_dreamer_v1 import CONTINUE, small_v1
from tests.named_tests import missing, named_tests
from wmrun.agents.base import Metrics
from wmrun.agents.dreamer import Dreamer
from wmrun.heads.base import Head

ROOT = Path(__file__).parents[2]
AGENTS: dict[str, Callable[..., Dreamer]] = {
    "v1": lambda **options: small_v1(continue_head=CONTINUE, **options),
    "v2": small_dreamer,
    "v3": small_v3,
}
Batch = dict[str, np.ndarray]
all_agents = pytest.mark.parametrize("version", AGENTS)


@all_agents
def test_the_discount_that_the_continue_head_has_learnt_is_not_applied_again(version: str) -> None:
    """Nor is a likely end taken for a certain one: 0.3 stays 0.3."""
    agent = AGENTS[version](discount=0.3)
    assert agent.world_model.continue_head is not None
    _predict(agent.world_model.continue_head, torch.logit(torch.tensor(0.3)).item())
    batch = _batch(agent)
    batch["is_terminal"][:] = False
    assert _update(agent, batch)["imagined/discount"] == pytest.approx(0.3, rel=1e-6)


def test_v3_multiplies_the_discount_in_where_the_continue_head_has_not_learnt_it() -> None:
    agent = small_v3(discount=0.5, continue_discount=False)
    assert agent.world_model.continue_head is not None
    _predict(agent.world_model.continue_head, torch.logit(torch.tensor(0.6)).item())
    assert _update(agent)["imagined/discount"] == pytest.approx(0.3, rel=1e-6)
    assert agent._prepare(stored_batch(agent))["continue"].unique().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("version", "options", "follows"),
    [
        ("v2", {}, True),
        ("v3", {"return_norm_rate": 0.0}, False),
        ("v3", {"return_norm_rate": 0.0, "slow_critic_targets": True}, True),
    ],
)
def test_whose_values_returns_bootstrap_from(
    version: str, options: dict[str, object], follows: bool
) -> None:
    """V2's slow critic makes targets and baselines, V3's is only what its critic stays close to."""
    targets = []
    for value in (0.0, 7.0):
        agent = AGENTS[version](**options)
        assert agent.slow_critic is not None
        if version == "v2":
            _predict(agent.slow_critic, value)
        else:
            _predict_two_hot(agent.slow_critic, value)
        targets.append(_update(agent)["critic/target"])
    assert (targets[1] - targets[0] > 1) is follows


def test_the_slow_critic_is_v2s_baseline_too() -> None:
    """With constant rewards, discounts and slow values, no action has an advantage."""
    agent = small_dreamer(
        act_space=DISCRETE,
        actor_grad="reinforce",
        actor_entropy=0.0,
        discount=0.5,
        model_lr=1e-9,
    )
    assert agent.slow_critic is not None
    assert agent.world_model.continue_head is not None
    _predict(agent.world_model.continue_head, 0.0)
    _predict(agent.world_model.reward_head, 2.0)
    _predict(agent.slow_critic, 4.0)
    batch = random_batch()
    batch["is_terminal"][:] = False
    metrics = agent.update(batch).metrics
    assert metrics["critic/target"] == pytest.approx(4)
    assert metrics["grad_norm/actor"] < 1e-5


@pytest.mark.parametrize(("version", "first"), [("v1", False), ("v2", True), ("v3", False)])
def test_whether_the_world_model_steps_before_it_is_imagined_with(
    version: str, first: bool
) -> None:
    rate = "lr" if version == "v3" else "model_lr"
    rewards = []
    for lr in (1e-9, 1e-1):
        agent = AGENTS[version](**{rate: lr})
        _wake(agent.world_model.reward_head)
        rewards.append(_update(agent)["imagined/reward"])
    assert (rewards[0] != rewards[1]) is first


@all_agents
@pytest.mark.parametrize("gradient", ["dynamics", "mix"])
def test_policies_see_states_without_gradients(version: str, gradient: str) -> None:
    agent, seen = AGENTS[version](actor_grad=gradient), []
    agent.actor.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].requires_grad))
    _update(agent)
    assert seen
    assert not any(seen)


def test_every_test_that_the_table_names_exists() -> None:
    named = named_tests("pitfalls.md")
    assert len(named) > 40
    assert missing(named) == []


def test_the_table_has_every_pitfall_and_every_check() -> None:
    text = (ROOT / "docs/pitfalls.md").read_text(encoding="utf-8")
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    assert numbers == [*range(1, 33), *range(1, 11)]


def _batch(agent: Dreamer) -> Batch:
    return stored_batch(agent) if agent.replay_context else random_batch()


def _update(agent: Dreamer, batch: Batch | None = None) -> Metrics:
    return agent.update(_batch(agent) if batch is None else batch).metrics


def _predict(head: Head, output: float) -> None:
    """Let a head put out one number, whatever it sees."""
    torch.nn.init.zeros_(head.get_parameter("out.weight"))
    torch.nn.init.constant_(head.get_parameter("out.bias"), output)


def _predict_two_hot(head: Head, value: float) -> None:
    """Let a two-hot head predict the bin next to a value."""
    torch.nn.init.zeros_(head.get_parameter("out.weight"))
    bias = torch.full((255,), -1e9)
    bias[(head.bins - value).abs().argmin()] = 0.0
    head.get_parameter("out.bias").data.copy_(bias)


def _wake(head: Head) -> None:
    torch.nn.init.normal_(head.get_parameter("out.weight"))
