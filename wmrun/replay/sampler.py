"""Batches of windows, drawn uniformly from a replay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from wmrun.replay.errors import ReplayTooShort
from wmrun.replay.storage import Replay


class UniformSampler:
    """Draws `batch_size` windows of `batch_length` rows, every window of every slot equally likely.

    Windows may cross episodes, as in DreamerV3 (core/replay.py); the agent resets its state where
    `is_first` is set. Raises `ReplayTooShort` when no slot can ever hold a window.
    """

    def __init__(self, replay: Replay, *, batch_size: int, batch_length: int, seed: int) -> None:
        if batch_length > replay.slot_capacity:
            raise ReplayTooShort(
                f"replay.batch_length {batch_length} is more than the {replay.slot_capacity} rows "
                f"that each of {replay.num_envs} env slots can hold.",
                hint=f"Set replay.capacity to at least {batch_length * replay.num_envs}.",
            )
        self._replay = replay
        self._batch_length = batch_length
        self._batches = [replay.empty_batch(batch_size, batch_length) for _ in range(2)]
        self._rng = np.random.default_rng(seed)

    @property
    def ready(self) -> bool:
        """Whether at least one window can be drawn."""
        return self._replay.num_windows(self._batch_length) > 0

    @property
    def rows_per_batch(self) -> int:
        """Rows that one batch replays: B x T."""
        return len(self._batches[0]["reward"]) * self._batch_length

    def sample(self) -> dict[str, np.ndarray]:
        """Return a batch of arrays `[B, T, ...]` in the replay's dtypes, `is_first[:, 0]` true.

        The arrays are reused: they hold this batch until the second next call.
        Raises `ReplayTooShort` while no window exists.
        """
        replay, length = self._replay, self._batch_length
        windows = replay.num_windows(length)
        if windows == 0:
            raise ReplayTooShort(
                f"No window of {length} rows can be sampled yet: each of {replay.num_envs} env "
                f"slots has {replay.stop - replay.start} rows.",
                hint=f"Set run.prefill to at least {length * replay.num_envs} agent steps.",
            )
        self._batches.reverse()
        batch = self._batches[0]
        slots, offsets = divmod(
            self._rng.integers(windows, size=len(batch["reward"])), windows // replay.num_envs
        )
        replay.read_into(batch, slots, replay.start + offsets)
        batch["is_first"][:, 0] = True
        return dict(batch)

    def save(self) -> dict[str, Any]:
        """Return the state of the random generator as JSON."""
        return dict(self._rng.bit_generator.state)

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue the stream of draws from where `save` was called."""
        self._rng.bit_generator.state = dict(state)
