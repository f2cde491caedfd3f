"""imagine_*.npz: imagined sequences under a policy, their discounts and weights."""

from __future__ import annotations

import pytest
import torch

from tests.golden.agents import (
    CONTINUOUS,
    DISCRETE,
    VECTORS,
    dreamer,
    load,
    replay_actions,
    replay_stochs,
)
from tests.golden.archives import Archive, archive, close
from wmrun.agents.dreamer_v2 import DreamerV2
from wmrun.agents.imagination import Trajectory, discount_weights, imagine
from wmrun.world_model import State

TOLERANCE = 1e-5


@pytest.mark.parametrize("through_dynamics", [True, False])
def test_with_continue_head(through_dynamics: bool) -> None:
    data = archive("imagine_discount")
    head = {"type": "bernoulli", "layers": 2, "units": 16}
    agent = dreamer(VECTORS, DISCRETE, discount=0.97, continue_head=head)
    trajectory = _imagine(agent, data, through_dynamics)
    continue_head = agent.world_model.continue_head
    assert continue_head is not None
    close(continue_head(trajectory.feat).mean, data["discount_head_mean"], TOLERANCE)
    is_terminal = data.tensor("is_terminal").flatten()
    discount = agent._imagined_discount(trajectory.feat, is_terminal)
    close(discount, data["seq.discount"], TOLERANCE)
    close(discount_weights(discount), data["seq.weight"], TOLERANCE)
    predicted = agent._imagined_discount(trajectory.feat)[0]
    difference = (predicted - data.tensor("discount_head_mean")[0]).abs().max()
    close(difference, data["seq_noterm.first_discount_is_predicted"], TOLERANCE)


def test_without_continue_head_the_discount_is_constant() -> None:
    data = archive("imagine_nodiscount")
    agent = dreamer(VECTORS, CONTINUOUS, discount=0.99)
    trajectory = _imagine(agent, data, through_dynamics=True)
    is_terminal = data.tensor("is_terminal").flatten()
    discount = agent._imagined_discount(trajectory.feat, is_terminal)
    close(discount, data["seq.discount"], TOLERANCE)
    close(discount_weights(discount), data["seq.weight"], TOLERANCE)
    policy = trajectory.policy
    action = policy.loc + policy.scale * data.tensor("action_eps")
    close(action, data["seq.action"][1:], TOLERANCE)


def _imagine(agent: DreamerV2, data: Archive, through_dynamics: bool) -> Trajectory:
    """Imagine from the archive's start states with its draws, and check the sequence."""
    rssm = agent.world_model.rssm
    load(agent, data)
    replay_stochs(rssm.latent, data["seq.stoch"][1:])
    replay_actions(agent.actor, data["seq.action"][1:])
    stoch = data.tensor("start.stoch").flatten(-2)
    start = State(data.tensor("start.deter"), stoch).flatten()
    trajectory = imagine(
        agent.world_model,
        agent.actor,
        start,
        5,
        torch.Generator(),
        through_dynamics=through_dynamics,
    )
    close(trajectory.feat, data["seq.feat"], TOLERANCE)
    close(trajectory.action, data["seq.action"][1:], TOLERANCE)
    deter = trajectory.feat[..., 20:]
    close(deter, data["seq.deter"], TOLERANCE)
    close(rssm.prior(deter[1:]), data["seq.logit"][1:].reshape(5, 24, 20), TOLERANCE)
    return trajectory
