"""repl_loss.npz: the critic's loss on replayed rewards."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.golden.archives import archive, close
from tests.golden.v3_agents import CONTINUOUS, VECTOR, Judged, Recorded, dreamer
from wmrun.nn.two_hot import TwoHot, symexp_bins
from wmrun.world_model import Fit, Observed, State

SHAPE = (3, 8)


def test_replay_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    data, agent = archive("v3/repl_loss"), dreamer(VECTOR, CONTINUOUS)
    judged, bins = Judged(agent, monkeypatch), symexp_bins(255)
    agent.critic, agent._slow_critic = (
        Recorded(data.tensor(name).flatten(0, 1), lambda logits: TwoHot(logits, bins))
        for name in ("val_logits", "slow_logits")
    )
    batch = {
        "reward": data.tensor("rew"),
        "is_last": data.tensor("last"),
        "is_terminal": data.tensor("term"),
    }
    loss = agent._replay_critic_loss(_numbered(), batch, data.tensor("boot"))
    ((returns, losses),) = judged.critic
    close(returns, data["ret"], 1e-6, relative=1e-5)
    weighted = data.tensor("weight")[:, :-1] * losses
    close(weighted, data["loss"], relative=1e-4)
    close(loss, data["loss"].mean(), relative=1e-5)
    (gradient,) = torch.autograd.grad(loss, agent.critic.rows)
    close(gradient.view(*SHAPE, -1), data["grad_logits"], 1e-8, relative=1e-4)
    np.testing.assert_array_equal(data["weight"], ~data["last"])


def _numbered() -> Fit:
    """Return a fit whose states are the numbers of their rows."""
    deter = torch.arange(float(np.prod(SHAPE))).view(*SHAPE, 1)
    nothing = torch.zeros(*SHAPE, 0)
    return Fit({}, Observed(State(deter, nothing), nothing, nothing), nothing)
