"""Experiments without environments: spaces made up, batches drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from wmrun_envserver.wire import spaces

from wmrun.agents.base import Agent
from wmrun.config.extends import PRESETS, preset_names
from wmrun.config.load import load_config
from wmrun.config.schema import Config
from wmrun.envs.actions import ActionAdapter
from wmrun.envs.spec import EnvSpec
from wmrun.errors import UsageError
from wmrun.spelling import closest

Observation = Literal["vector", "image"]

_OBSERVATIONS: dict[Observation, spaces.Box] = {
    "vector": spaces.Box((24,)),
    "image": spaces.Box((64, 64, 3), "uint8", role="IMAGE_HWC"),
}
_ACTIONS = spaces.Box((6,), low=-1, high=1)


def preset_config(agent: str, obs: str, overrides: Sequence[str] = ()) -> Config:
    """Return the preset of an agent on spaces of `synthetic_spec`.

    Raises `UsageError` for an unknown name and `ConfigError` for a wrong override.
    """
    known_observation(obs)
    if agent not in preset_names():
        near = closest(agent, preset_names())
        raise UsageError(
            f"no preset is called {agent!r}; there are {', '.join(preset_names())}",
            hint=None if near is None else f"did you mean {near!r}?",
        )
    made_up = (f"name={agent}", f"env.task={obs}", "run.env_steps=1_000_000")
    return load_config(PRESETS / f"{agent}.yaml", [*overrides, *made_up])


def known_observation(obs: str) -> Observation:
    """Return `obs`. Raises `UsageError` with the closest match where it is none."""
    for name in _OBSERVATIONS:
        if name == obs:
            return name
    near = closest(obs, _OBSERVATIONS)
    raise UsageError(
        f"no synthetic observation is called {obs!r}; there are {', '.join(_OBSERVATIONS)}",
        hint=None if near is None else f"did you mean {near!r}?",
    )


def synthetic_spec(obs: Observation) -> EnvSpec:
    """Return one observation, 24 floats or a 64x64x3 image, and 6 continuous actions."""
    return EnvSpec(
        obs_space={obs: _OBSERVATIONS[obs]},
        act_space=_ACTIONS,
        max_episode_steps=None,
        reward_range=(-np.inf, np.inf),
        deterministic=True,
        seeds_per_reset=True,
        spec_hash="",
        renderer=None,
    )


def random_batch(config: Config, spec: EnvSpec, agent: Agent) -> dict[str, np.ndarray]:
    """Return a batch `[B, context + T, ...]` of random observations, actions and rewards.

    What the agent itself stores in replay is 0, as in rows that it has not visited yet.
    """
    rng = np.random.default_rng(0)
    shape = (config.replay.batch_size, agent.replay_context + config.replay.batch_length)
    rows = shape[0] * shape[1]

    def stack(leaf: spaces.Space) -> np.ndarray:
        samples = np.stack([spaces.sample(leaf, rng) for _ in range(rows)])
        return samples.reshape(shape + samples.shape[1:])

    adapter = ActionAdapter(spec.act_space)
    return {
        **{key: stack(leaf) for key, leaf in spec.obs_space.items()},
        **{
            key: np.zeros((*shape, *entry_shape), dtype)
            for key, (entry_shape, dtype) in agent.replay_entries.items()
        },
        "action": adapter.random(rng, rows).reshape(*shape, adapter.size),
        "reward": rng.standard_normal(shape).astype(np.float32),
        "is_first": np.arange(shape[1]) == np.zeros((shape[0], 1)),
        "is_last": np.zeros(shape, np.bool_),
        "is_terminal": np.zeros(shape, np.bool_),
    }
