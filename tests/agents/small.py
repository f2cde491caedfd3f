"""A Dreamer V2 small enough for tests, and batches for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from wmrun_envserver.wire.spaces import Box, Discrete, Space

from wmrun.agents.base import ObsSpace
from wmrun.agents.dreamer_v2 import DreamerV2

VECTOR: ObsSpace = {"vector": Box((3,))}
IMAGE: ObsSpace = {"image": Box((64, 64, 3), "uint8")}
CONTINUOUS = Box((2,), low=-1, high=1)
DISCRETE = Discrete(2)


def small_dreamer(
    obs_space: ObsSpace = VECTOR, act_space: Space = CONTINUOUS, *, seed: int = 0, **options: Any
) -> DreamerV2:
    """Build an agent of a few thousand parameters, seeded as the run loop does."""
    torch.manual_seed(seed)
    mlp = {"layers": 1, "units": 8}
    network = {"type": "cnn", "depth": 1} if "image" in obs_space else {"type": "mlp", **mlp}
    actor = "categorical" if isinstance(act_space, Discrete) else "truncated_normal"
    defaults = {
        "encoder": network,
        "decoder": network,
        "latent": {"type": "categorical", "groups": 3, "classes": 4},
        "dynamics": {"type": "gru_layernorm", "deter": 6},
        "reward_head": {"type": "mse", **mlp},
        "continue_head": {"type": "bernoulli", **mlp},
        "critic_head": {"type": "mse", **mlp},
        "actor": {"type": actor, **mlp},
        "imagine_horizon": 3,
    }
    return DreamerV2(obs_space, act_space, device="cpu", **(defaults | options))


def random_batch(
    obs_space: ObsSpace = VECTOR, act_space: Space = CONTINUOUS, *, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return a batch [2, 5, ...] whose second sequence crosses from one episode into the next."""
    rng = np.random.default_rng(seed)
    shape = (2, 5)
    is_first, is_last = np.zeros(shape, bool), np.zeros(shape, bool)
    is_first[:, 0] = is_first[1, 3] = True
    is_last[1, 2] = True
    batch = {key: _observation(rng, space, shape) for key, space in obs_space.items()}
    return batch | {
        "action": rng.uniform(-1, 1, (*shape, 2)).astype(np.float32),
        "reward": rng.normal(size=shape).astype(np.float32),
        "is_first": is_first,
        "is_last": is_last,
        "is_terminal": is_last.copy(),
    }


def _observation(rng: np.random.Generator, space: Space, shape: tuple[int, ...]) -> np.ndarray:
    assert isinstance(space, Box)
    if space.dtype.kind == "u":
        return rng.integers(0, 256, (*shape, *space.shape), dtype=np.uint8)
    return rng.normal(size=(*shape, *space.shape)).astype(np.float32)
