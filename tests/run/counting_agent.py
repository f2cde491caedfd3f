"""An agent without a network, so that the loop is tested in a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from wmrun.agents.base import Agent, Update
from wmrun.errors import TrainingDiverged


class CountingAgent(Agent):
    """Acts with zeros, counts its updates, and diverges at an update of the test's choice."""

    def __init__(self, action_size: int, *, diverge_at: int | None = None) -> None:
        self.action_size = action_size
        self.diverge_at = diverge_at
        self.updates = 0
        self.modes: list[str] = []
        self.batches: list[dict[str, np.ndarray]] = []

    def initial_carry(self, num_envs: int) -> Any:
        return np.zeros(num_envs)

    def act(
        self, obs: Mapping[str, np.ndarray], is_first: np.ndarray, carry: Any, mode: str
    ) -> tuple[np.ndarray, Any]:
        self.modes.append(mode)
        return np.zeros((len(is_first), self.action_size), np.float32), carry

    def seed_evaluation(self, seed: int) -> None:
        self.evaluation_seed = seed

    def update(self, batch: Mapping[str, np.ndarray]) -> Update:
        if self.updates == self.diverge_at:
            raise TrainingDiverged("loss/image is nan")
        self.updates += 1
        self.batches.append({key: value.copy() for key, value in batch.items()})
        return Update({"loss/model": 1.0 / self.updates})

    def save(self) -> dict[str, torch.Tensor]:
        return {"updates": torch.tensor(self.updates)}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        self.updates = int(state["updates"])

    def parameter_counts(self) -> dict[str, int]:
        return {"nothing": 0}
