"""Whole agents at the fixtures' sizes, with official weights and recorded noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from wmrun_envserver.wire.spaces import Box, Discrete, Space

from tests.golden.archives import (
    ACTOR,
    CNN_DECODER,
    CNN_ENCODER,
    HEAD,
    MLP_ENCODER,
    RSSM,
    Archive,
    Table,
    mlp_decoder,
    one_hot_noise,
)
from wmrun.actors.base import ActionDistribution, Actor
from wmrun.actors.bounded_normal import NormalPolicy
from wmrun.agents.base import ObsSpace
from wmrun.agents.dreamer_v2 import DreamerV2
from wmrun.latents.base import Latent
from wmrun.latents.gaussian import GaussianLatent
from wmrun.nn.distributions import OneHot
from wmrun.nn.truncated_normal import TruncatedNormal

VECTORS: ObsSpace = {"velocity": Box((3,)), "position": Box((5,))}
CONTINUOUS = Box((3,), low=-1, high=1)
DISCRETE = Discrete(3)


def dreamer(obs_space: ObsSpace, act_space: Space, **options: Any) -> DreamerV2:
    """Build an agent with deter 12, hidden 10, 4x5 latents, 2 layers of 16 units, horizon 5."""
    mlp = {"layers": 2, "units": 16}
    image = "image" in obs_space
    network = {"type": "cnn", "depth": 2} if image else {"type": "mlp", **mlp}
    actor = "categorical" if isinstance(act_space, Discrete) else "truncated_normal"
    defaults = {
        "encoder": network,
        "decoder": network,
        "latent": {"type": "categorical", "groups": 4, "classes": 5},
        "dynamics": {"type": "gru_layernorm", "deter": 12, "hidden": 10},
        "hidden": 10,
        "reward_head": {"type": "mse", **mlp},
        "critic_head": {"type": "mse", **mlp},
        "actor": {"type": actor, **mlp},
        "imagine_horizon": 5,
    }
    return DreamerV2(obs_space, act_space, device="cpu", **(defaults | options))


def parts(agent: DreamerV2) -> dict[str, tuple[nn.Module, Table]]:
    """Return our modules and name tables by the official names of the parts."""
    model = agent.world_model
    image = hasattr(model.decoder, "convs")
    found: dict[str, tuple[nn.Module, Table]] = {
        "encoder": (model.encoder, CNN_ENCODER if image else MLP_ENCODER),
        "rssm": (model.rssm, RSSM),
        "decoder": (model.decoder, CNN_DECODER if image else mlp_decoder("velocity", "position")),
        "reward": (model.reward_head, HEAD),
        "actor": (agent.actor, ACTOR),
        "critic": (agent.critic, HEAD),
        "target_critic": (agent.slow_critic, HEAD),
    }
    if model.continue_head is not None:
        found["discount"] = (model.continue_head, HEAD)
    return found


def load(agent: DreamerV2, data: Archive, prefix: str = "") -> None:
    """Load the official weights of every part that the archive holds under `prefix`."""
    for name, (module, table) in parts(agent).items():
        if any(key.startswith(f"{prefix}{name}.") for key in data):
            data.load(module, f"{prefix}{name}.", table)


def replay_stochs(latent: Latent, *recordings: np.ndarray) -> None:
    """Let `latent` draw the recorded states, one recording `[T, N, ...]` per drawing of noise.

    A recording takes the place of the noise and is turned into noise where the distribution is
    known, so that every sample keeps the gradient that it has in training.
    """
    remaining, draw = iter(recordings), latent.sample

    def sample(stats: Tensor, stoch: Tensor) -> Tensor:
        return draw(stats, _latent_noise(latent, stats.detach(), stoch))

    latent.noise = lambda shape, generator: torch.tensor(next(remaining))
    latent.sample = sample


def replay_actions(actor: Actor, *recordings: np.ndarray) -> None:
    """Let `actor` draw the recorded actions, one recording `[H, N, A]` per drawing of noise."""
    remaining, forward = iter(recordings), actor.forward
    actor.noise = lambda shape, generator: torch.tensor(next(remaining))
    actor.forward = lambda feat: _replaying(forward(feat))


class _ReplayedOneHot(OneHot):
    def sample(self, noise: Tensor) -> Tensor:
        return super().sample(one_hot_noise(self.logits.detach().numpy(), noise.numpy()))


class _ReplayedNormal(NormalPolicy):
    def sample(self, noise: Tensor) -> Tensor:
        return super().sample((noise - self.mean.detach()) / self.std.detach())


class _ReplayedTruncatedNormal(TruncatedNormal):
    def standardized(self, noise: Tensor) -> Tensor:
        return (noise - self.loc.detach()) / self.scale.detach()


def _replaying(policy: ActionDistribution) -> ActionDistribution:
    replayed = {
        OneHot: _ReplayedOneHot,
        NormalPolicy: _ReplayedNormal,
        TruncatedNormal: _ReplayedTruncatedNormal,
    }
    return replayed[type(policy)](*policy)


def _latent_noise(latent: Latent, stats: Tensor, stoch: Tensor) -> Tensor:
    if isinstance(latent, GaussianLatent):
        mean, std = latent.normal(stats)
        return (stoch - mean) / std
    return one_hot_noise(latent.probs(stats).log().numpy(), stoch.numpy())
