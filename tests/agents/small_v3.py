"""A Dreamer V3 small enough for tests, and batches for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from wmrun_envserver.wire.spaces import Discrete, Space

from tests.agents.small import CONTINUOUS, VECTOR, random_batch
from wmrun.agents.base import ObsSpace
from wmrun.agents.dreamer_v3 import DreamerV3

DETER, GROUPS, CLASSES = 8, 3, 4


def small_v3(
    obs_space: ObsSpace = VECTOR, act_space: Space = CONTINUOUS, *, seed: int = 0, **options: Any
) -> DreamerV3:
    """Build an agent of a few thousand parameters that learns from its first update on."""
    torch.manual_seed(seed)
    network = {"layers": 1, "units": 8, "act": "silu", "norm": "rms"}
    vector = {"type": "mlp", "symlog": True, **network}
    image = {"type": "cnn_v3", "depth": 2}
    discrete = isinstance(act_space, Discrete)
    defaults = {
        "size": None,
        "encoder": image if "image" in obs_space else vector,
        "decoder": image | {"units": 4} if "image" in obs_space else vector,
        "latent": {"type": "categorical", "groups": GROUPS, "classes": CLASSES, "unimix": 0.01},
        "dynamics": {"type": "gru_block", "deter": DETER, "hidden": 8, "blocks": 2},
        "reward_head": {"type": "two_hot", **network},
        "continue_head": {"type": "bernoulli", **network},
        "critic_head": {"type": "two_hot", **network},
        "actor": {"type": "categorical" if discrete else "bounded_normal", **network},
        "hidden": 8,
        "imagine_horizon": 3,
        "warmup": 0,
    }
    return DreamerV3(obs_space, act_space, device="cpu", **(defaults | options))


def stored_batch(
    agent: DreamerV3, obs_space: ObsSpace = VECTOR, *, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return a batch [2, 5, ...] with entries; its second sequence crosses an episode's end.

    Where the agent keeps entries, row 0 is the context and begins no episode.
    """
    batch = random_batch(obs_space, seed=seed)
    if not agent.replay_entries:
        return batch
    rng = np.random.default_rng(seed)
    batch["is_first"][:, 0] = False
    packed = (2, 5, agent.world_model.rssm.latent.packed_size)
    stoch = rng.integers(0, CLASSES, packed).astype(agent.replay_entries["stoch"][1])
    deter = rng.uniform(-1, 1, (2, 5, *agent.replay_entries["deter"][0])).astype(np.float16)
    return batch | {"deter": deter, "stoch": stoch}


def parameters(agent: DreamerV3) -> dict[str, torch.Tensor]:
    """Return copies of all networks' parameters."""
    parts = ("world_model", "actor", "critic", "slow_critic")
    return {n: t.clone() for n, t in agent.save().items() if n.split(".")[0] in parts}
