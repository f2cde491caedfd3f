"""Acting: the world model follows the environment, the actor chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from wmrun.actors.base import Actor
from wmrun.agents.base import ActMode
from wmrun.agents.batch import to_tensors
from wmrun.world_model import State, WorldModel


class Carry(NamedTuple):
    """What is remembered between two decisions of each slot, for all `N` or `n` of them."""

    state: State
    action: Tensor
    """The actions chosen last, `[N, A]`."""


class Exploration(Protocol):
    """Changes the actions that are taken in training; the world model sees what was taken."""

    steps: int
    """Decisions that were explored so far, over all slots."""

    def __call__(self, action: Tensor, generator: torch.Generator) -> Tensor:
        """Return what to do instead of `action` `[n, A]`, and count."""


class Policy:
    """Chooses actions from observations; samples the latent in every mode (V2 agent.py:25-55).

    In mode "train" an action is a sample, then changed by `exploration` if there is one. In mode
    "eval" it is the policy's mode, unless `sample_in_eval`.
    """

    def __init__(
        self,
        world_model: WorldModel,
        actor: Actor,
        generators: Mapping[ActMode, torch.Generator],
        exploration: Exploration | None = None,
        *,
        sample_in_eval: bool = False,
    ) -> None:
        self._world_model = world_model
        self._actor = actor
        self._generators = generators
        self._exploration = exploration
        self._sample_in_eval = sample_in_eval

    def initial_carry(self, num_envs: int) -> Carry:
        """Return the zero state and action of `num_envs` slots."""
        state = self._world_model.rssm.initial(num_envs)
        return Carry(state, state.deter.new_zeros(num_envs, self._actor.action_size))

    @torch.inference_mode()
    def act(
        self, obs: Mapping[str, np.ndarray], is_first: np.ndarray, carry: Carry, mode: ActMode
    ) -> tuple[np.ndarray, Carry]:
        """Return actions `[n, A]` and the next carry."""
        rssm, generator = self._world_model.rssm, self._generators[mode]
        device = generator.device
        shape = (len(is_first),)
        embed = self._world_model.encoder(to_tensors(obs, device))
        first = torch.tensor(is_first, dtype=torch.bool, device=device)
        noise = rssm.noise(shape, generator)
        state, _ = rssm.obs_step(carry.state, carry.action, embed, first, noise)
        distribution = self._actor(state.feat)
        if mode == "eval" and not self._sample_in_eval:
            action = distribution.mode
        else:
            action = distribution.sample(self._actor.noise(shape, generator))
        if mode == "train" and self._exploration is not None:
            action = self._exploration(action, generator)
        return action.cpu().numpy(), Carry(state, action)
