"""An agent without a network, so that the loop is tested in a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from wmrun.agents.base import Agent, Entries, Update
from wmrun.errors import TrainingDiverged


class CountingAgent(Agent):
    """Acts with zeros, counts its updates, and diverges at an update of the test's choice.

    With a `context` it keeps an entry `mark` with every row: how often it had acted (negative), or
    how often it had been updated, and the place among the trained rows.
    """

    def __init__(
        self, action_size: int, *, diverge_at: int | None = None, context: int = 0
    ) -> None:
        self.action_size = action_size
        self.diverge_at = diverge_at
        self.replay_context = context
        if context:
            self.replay_entries = {"mark": ((2,), "float32")}
        self.updates = 0
        self.modes: list[str] = []
        self.batches: list[dict[str, np.ndarray]] = []

    def initial_carry(self, num_envs: int) -> Any:
        return np.zeros(num_envs)

    def act(
        self, obs: Mapping[str, np.ndarray], is_first: np.ndarray, carry: Any, mode: str
    ) -> tuple[np.ndarray, Any]:
        self.modes.append(mode)
        return np.zeros((len(is_first), self.action_size), np.float32), carry + 1

    def entries(self, carry: Any) -> Entries:
        if not self.replay_context:
            return {}
        return {"mark": np.stack([-carry, np.arange(len(carry))], axis=1)}

    def seed_evaluation(self, seed: int) -> None:
        self.evaluation_seed = seed

    def update(self, batch: Mapping[str, np.ndarray]) -> Update:
        if self.updates == self.diverge_at:
            raise TrainingDiverged("loss/image is nan")
        self.updates += 1
        self.batches.append({key: value.copy() for key, value in batch.items()})
        return Update({"loss/model": 1.0 / self.updates}, self._marks(batch["reward"]))

    def _marks(self, rows: np.ndarray) -> Entries:
        if not self.replay_context:
            return {}
        places = np.arange(rows.shape[1] - self.replay_context, dtype=np.float32)
        marks = np.stack([np.full_like(places, self.updates), places], axis=1)
        return {"mark": np.broadcast_to(marks, (len(rows), *marks.shape))}

    def save(self) -> dict[str, torch.Tensor]:
        return {"updates": torch.tensor(self.updates)}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        self.updates = int(state["updates"])

    def parameter_counts(self) -> dict[str, int]:
        return {"nothing": 0}
