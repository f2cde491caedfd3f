"""What an agent promises to the training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from wmrun_envserver.wire import spaces

from wmrun.agents.acceleration import Acceleration

ObsSpace = Mapping[str, spaces.Space]
"""Leaf spaces by observation key, in the order of the environment's observation space."""

ActMode = Literal["train", "eval"]
Metrics = dict[str, float]
Entries = Mapping[str, np.ndarray]
"""Values that an agent keeps with each row of the replay, by key."""
EntrySpec = Mapping[str, tuple[tuple[int, ...], str]]
"""Shape and dtype of each of them."""


class Update(NamedTuple):
    """What one gradient step leaves behind."""

    metrics: Metrics
    entries: Entries = MappingProxyType({})
    """New values `[B, T, ...]` for the entries of the rows that were trained on."""


class Agent(ABC):
    """A learner that acts on observations and is updated from replayed batches.

    Registered classes are built as `cls(obs_space, act_space, device=..., **options)`; the options
    are the keyword-only parameters after `device`. Axes: `N` env slots, `n` of them that wait for a
    decision, `B` batch, `T` time, `A` action size (one-hot for discrete actions).
    """

    replay_context: int = 0
    """Rows that come before the trained ones in every window that is sampled."""
    replay_entries: EntrySpec = MappingProxyType({})
    """What `entries` and `update` return for each row."""

    def accelerate(self, acceleration: Acceleration) -> None:  # noqa: B027
        """Compute as `acceleration` says from now on, as far as the agent can."""

    @abstractmethod
    def initial_carry(self, num_envs: int) -> Any:
        """Return the recurrent state of `num_envs` slots before their first observation.

        Whoever acts keeps it for all slots, and gives and takes the rows of those that wait for a
        decision: it is made of tensors and arrays `[N, ...]`, in tuples, mappings or dataclasses.
        """

    @abstractmethod
    def act(
        self, obs: Mapping[str, np.ndarray], is_first: np.ndarray, carry: Any, mode: ActMode
    ) -> tuple[np.ndarray, Any]:
        """Choose actions for one row of observations each of `n` slots.

        `obs` values are `[n, ...]` as the environment sent them (images uint8 `[n, H, W, C]`),
        `is_first` is bool `[n]`: where true, that slot's carry is reset before use. Returns float32
        actions `[n, A]` and the next carry of these slots. In mode "eval" the action is the
        policy's mode, and what else is random is drawn from the stream that `seed_evaluation`
        began: evaluating changes nothing of what is learnt.
        """

    def entries(self, carry: Any) -> Entries:
        """Return what to keep `[n, ...]` with the rows that led `act` to `carry`."""
        return {}

    @abstractmethod
    def seed_evaluation(self, seed: int) -> None:
        """Begin the random stream of mode "eval" anew, so that an evaluation can be repeated."""

    @abstractmethod
    def update(self, batch: Mapping[str, np.ndarray]) -> Update:
        """Take one gradient step on a replayed batch.

        `batch` holds the observation keys, `action` `[B, T, A]` (which led to the observation),
        `reward` `[B, T]`, `is_first`, `is_last`, `is_terminal` bool `[B, T]`, and the entries. The
        first `replay_context` rows of each sequence are not trained on.
        Raises `TrainingDiverged` naming the loss that is not finite, before any parameter is
        changed by it.
        """

    @abstractmethod
    def save(self) -> dict[str, torch.Tensor]:
        """Return every tensor that training depends on, under stable dotted names.

        These are parameters, slow copies, optimiser moments, counters and generator states.
        """

    @abstractmethod
    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `save` returned.

        Raises `RunError` naming missing, unexpected or misshapen tensors.
        """

    @abstractmethod
    def parameter_counts(self) -> dict[str, int]:
        """Return the number of trainable parameters by part: world_model, actor, ..."""
