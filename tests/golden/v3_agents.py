"""Dreamer V3 at the size of its archives, with official weights, and the parts of its losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from torch import Tensor, nn
from wmrun_envserver.wire.spaces import Box, Discrete, Space

from tests.golden import v3_names
from tests.golden.archives import Archive
from tests.golden.v3_names import Table
from wmrun.agents.actor_critic import ActorObjective
from wmrun.agents.base import ObsSpace
from wmrun.agents.dreamer_v3 import DreamerV3
from wmrun.nn.distributions import OneHot, Prediction
from wmrun.nn.return_scale import ReturnScale

VECTOR: ObsSpace = {"vector": Box((7,))}
IMAGE: ObsSpace = {"image": Box((64, 64, 3), "uint8")}
CONTINUOUS = Box((3,), low=-1, high=1)
DISCRETE = Discrete(5)
HORIZON = 5


def dreamer(obs_space: ObsSpace, act_space: Space, **options: Any) -> DreamerV3:
    """Build an agent with deter 32, hidden 16, 4x5 latents, 16 units and depth 4."""
    image, discrete = "image" in obs_space, isinstance(act_space, Discrete)
    vector = {"type": "mlp", "layers": 3, "units": 16, "symlog": True, "act": "silu", "norm": "rms"}
    actor = {"type": "categorical" if discrete else "bounded_normal"}
    defaults = {
        "size": None,
        "encoder": {"type": "cnn_v3", "depth": 4} if image else vector,
        "decoder": {"type": "cnn_v3", "depth": 4, "units": 16} if image else vector,
        "latent": {"type": "categorical", "groups": 4, "classes": 5, "unimix": v3_names.UNIMIX},
        "dynamics": {"type": "gru_block", "deter": 32, "hidden": 16, "blocks": 4},
        "reward_head": {"type": "two_hot", "layers": 1, "units": 16},
        "continue_head": {
            "type": "bernoulli",
            "layers": 1,
            "units": 16,
            "act": "silu",
            "norm": "rms",
        },
        "critic_head": {"type": "two_hot", "layers": 3, "units": 16},
        "actor": actor | {"layers": 3, "units": 16, "act": "silu", "norm": "rms"},
        "hidden": 16,
        "imagine_horizon": HORIZON,
    }
    return DreamerV3(obs_space, act_space, device="cpu", **(defaults | options))


def trained(agent: DreamerV3) -> dict[str, tuple[nn.Module, Table]]:
    """Return the modules that learn, and their tables of names."""
    image = hasattr(agent.world_model.decoder, "from_deter")
    return {
        "world_model": (agent.world_model, v3_names.world_model(image=image)),
        "critic": (agent.critic, v3_names.head("val")),
        "actor": (agent.actor, v3_names.actor(discrete=not hasattr(agent.actor, "std"))),
    }


def load(agent: DreamerV3, data: Archive) -> None:
    """Load every weight that the archive holds."""
    assert agent.slow_critic is not None
    slow = (agent.slow_critic, v3_names.head("slowval"))
    for module, table in (*trained(agent).values(), slow):
        v3_names.load(data, module, table)
    agent._return_scale.low.fill_(float(data["state/retnorm_lo"]))
    agent._return_scale.high.fill_(float(data["state/retnorm_hi"]))


class Judged:
    """What an agent's actor and critic losses are made of, element by element."""

    def __init__(self, agent: DreamerV3, monkeypatch: pytest.MonkeyPatch) -> None:
        self.actor: Mapping[str, Any] = {}
        """The arguments of the actor's objective, `[H, N]`."""
        self.critic: list[tuple[Tensor, Tensor]] = []
        """The targets and losses of the critic, call by call, without weights."""
        score, losses = ActorObjective.loss, agent._critic_losses

        def judge_actor(
            objective: ActorObjective, **judged: Any
        ) -> tuple[Tensor, dict[str, Tensor]]:
            self.actor = judged
            return score(objective, **judged)

        def judge_critic(prediction: Prediction, target: Tensor, slow: Tensor) -> Tensor:
            self.critic.append((target, losses(prediction, target, slow)))
            return self.critic[-1][1]

        monkeypatch.setattr(ActorObjective, "loss", judge_actor)
        monkeypatch.setattr(agent, "_critic_losses", judge_critic)

    @property
    def log_prob(self) -> Tensor:
        return self.actor["policy"].log_prob(self.actor["action"])

    @property
    def entropy(self) -> Tensor:
        return self.actor["policy"].entropy()

    @property
    def advantage(self) -> Tensor:
        return self.actor["returns"] - self.actor["baseline"]

    @property
    def weight(self) -> Tensor:
        return self.actor["weight"]

    def policy_losses(self, entropy_scale: float) -> Tensor:
        """Return the actor's losses `[H, N]`."""
        gain = self.log_prob * self.advantage + entropy_scale * self.entropy
        return -self.weight * gain


def metrics(
    judged: Judged,
    *,
    reward: Tensor,
    continues: Tensor,
    value: Tensor,
    slow: Tensor,
    weight: Tensor,
    scale: ReturnScale,
) -> dict[str, Tensor]:
    """Return what the official code logs of imagination, from values `[H+1, N]` of all states."""
    returns, _ = judged.critic[0]
    size = (scale.high - scale.low).clamp(min=1)
    normed = (returns - scale.low) / size
    entropy = judged.entropy.mean()
    found = {
        "adv": judged.advantage.mean(),
        "adv_std": judged.advantage.std(correction=0),
        "adv_mag": judged.advantage.abs().mean(),
        "rew": reward.mean(),
        "con": continues.mean(),
        "ret": normed.mean(),
        "val": value.mean(),
        "tar": returns.mean(),
        "weight": weight.mean(),
        "slowval": slow.mean(),
        "ret_min": normed.min(),
        "ret_max": normed.max(),
        "ret_rate": (normed.abs() >= 1).float().mean(),
        "ent/action": entropy,
    }
    if isinstance(judged.actor["policy"], OneHot):
        found["rand/action"] = entropy / math.log(DISCRETE.n)
    return found


class Recorded(nn.Module):
    """A head that looks its prediction up: `feat` `[..., 1]` is the number of a row of `rows`."""

    def __init__(self, rows: Tensor, prediction: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows)
        self._prediction = prediction

    def forward(self, feat: Tensor) -> Any:
        return self._prediction(self.rows[feat[..., 0].long()])
