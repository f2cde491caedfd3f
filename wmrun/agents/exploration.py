"""Noise on the actions that are taken in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from wmrun_envserver.wire import spaces

from wmrun.actors.base import action_leaf
from wmrun.errors import ComponentError
from wmrun.nn.observations import class_counts


@dataclass(frozen=True)
class Schedule:
    """amount·0.5^(steps / decay), never below `minimum`; constant if `decay` is 0 (V1 dreamer.py).

    `steps` and `decay` count agent steps over all env slots. The original counts env steps, so its
    `expl_decay` has to be divided by the action repeat; it also counts those of the prefill.
    """

    amount: float
    decay: float = 0.0
    minimum: float = 0.0

    def __call__(self, steps: int) -> float:
        """Return the amount after `steps` agent steps."""
        amount = self.amount * 0.5 ** (steps / self.decay) if self.decay else self.amount
        return max(self.minimum, amount)


class ExplorationNoise:
    """Disturbs actions as the action space allows (V1 dreamer.py:246-268).

    Continuous actions get normal noise of standard deviation `schedule` and are clipped to [-1, 1];
    of discrete ones, that share is replaced by uniformly random ones.
    """

    def __init__(self, schedule: Schedule, classes: Sequence[int] = ()) -> None:
        """`classes` has the number of classes of each discrete variable of an action."""
        self._schedule = schedule
        self._classes = tuple(classes)
        self.steps = 0

    def __call__(self, action: Tensor, generator: torch.Generator) -> Tensor:
        """Return what to do instead of `action` `[n, A]`, and count `n` steps."""
        amount = self._schedule(self.steps)
        self.steps += len(action)
        if not self._classes:
            noise = torch.randn(action.shape, generator=generator, device=action.device)
            return disturbed(action, noise, amount)
        chance = torch.rand(len(action), generator=generator, device=action.device)
        return replaced(action, self._random(action, generator), chance, amount)

    def _random(self, action: Tensor, generator: torch.Generator) -> Tensor:
        draws = [
            torch.randint(n, (len(action),), generator=generator, device=action.device)
            for n in self._classes
        ]
        one_hots = [F.one_hot(i, n) for i, n in zip(draws, self._classes, strict=True)]
        return torch.cat(one_hots, -1).to(action.dtype)


def disturbed(action: Tensor, noise: Tensor, amount: float) -> Tensor:
    """Return `action` plus `amount` times the standard normal `noise`, clipped to [-1, 1]."""
    return (action + amount * noise).clamp(-1, 1)


def replaced(action: Tensor, other: Tensor, chance: Tensor, amount: float) -> Tensor:
    """Return `other` in the rows where `chance` `[n]` is less than `amount`, else `action`."""
    return torch.where((chance < amount).unsqueeze(-1), other, action)


def exploration_noise(
    act_space: spaces.Space, *, amount: float, decay: float, minimum: float
) -> ExplorationNoise | None:
    """Return the noise for an agent's options `expl_noise`, `expl_decay` and `expl_min`.

    None if there is none to make. Raises `ComponentError` for a minimum above the amount.
    """
    if minimum > amount:
        raise ComponentError(
            f"agent.expl_min is {minimum:g}, which is more than agent.expl_noise, {amount:g}",
            hint="Exploration decays from expl_noise to expl_min.",
        )
    if amount == 0:
        return None
    return ExplorationNoise(Schedule(amount, decay, minimum), class_counts(action_leaf(act_space)))
