"""Batches of sequences, drawn from a replay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from wmrun.replay.errors import ReplayTooShort
from wmrun.replay.storage import Replay
from wmrun.replay.windows import OnlineWindows, Places, WindowSource


class Batch(NamedTuple):
    """Sequences of rows, and where the replay has them."""

    arrays: dict[str, np.ndarray]
    """`[B, T, ...]` by key, rows of context included."""
    slots: np.ndarray
    """int64 `[B]`"""
    starts: np.ndarray
    """Index of each sequence's first row, int64 `[B]`."""


class Sampler:
    """Draws `batch_size` sequences from `source`; those of `online`, while there are any, first.

    The first `context` rows of a sequence are not trained on. Without context every sequence begins
    like an episode: `is_first[:, 0]` is true. Raises `ReplayTooShort` when no slot can ever hold a
    sequence.
    """

    def __init__(
        self,
        replay: Replay,
        source: WindowSource,
        *,
        batch_size: int,
        seed: int,
        context: int = 0,
        online: OnlineWindows | None = None,
    ) -> None:
        _check_capacity(replay, source, context)
        self._replay = replay
        self._source = source
        self._online = online
        self._context = context
        self._batches = [replay.empty_batch(batch_size, source.window) for _ in range(2)]
        self._rng = np.random.default_rng(seed)

    @property
    def ready(self) -> bool:
        """Whether at least one sequence can be drawn."""
        return self._source.ready

    @property
    def hopeless(self) -> bool:
        """Whether what was stored so far suggests that waiting until `ready` is in vain."""
        return self._source.hopeless

    def shortage(self) -> ReplayTooShort:
        """Return why no sequence can be drawn now, with the setting that helps."""
        return self._source.shortage()

    @property
    def rows_per_batch(self) -> int:
        """Rows that one batch replays, without context."""
        return len(self._batches[0]["reward"]) * (self._source.window - self._context)

    def sample(self) -> Batch:
        """Return a batch in the replay's dtypes.

        The arrays are reused: they hold this batch until the second next call.
        Raises `ReplayTooShort` while no sequence exists.
        """
        if not self.ready:
            raise self.shortage()
        self._batches.reverse()
        arrays = self._batches[0]
        slots, starts = self._places(len(arrays["reward"]))
        self._replay.read_into(arrays, slots, starts)
        if self._context == 0:
            arrays["is_first"][:, 0] = True
        return Batch(dict(arrays), slots, starts)

    def save(self) -> dict[str, Any]:
        """Return the random generator's state and what was replayed online, as JSON."""
        online = None if self._online is None else self._online.save()
        return {"random": dict(self._rng.bit_generator.state), "online": online}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue the stream of draws from where `save` was called, after `Replay.load`."""
        self._source.restart()
        self._rng.bit_generator.state = dict(state["random"])
        if self._online is not None and state["online"] is not None:
            self._online.load(state["online"])

    def _places(self, count: int) -> Places:
        if self._online is None:
            return self._source.draw(count, self._rng)
        new = self._online.take(count)
        drawn = self._source.draw(count - len(new.slots), self._rng)
        return Places(*map(np.concatenate, zip(new, drawn, strict=True)))


def _check_capacity(replay: Replay, source: WindowSource, context: int) -> None:
    if source.rows_needed <= replay.slot_capacity:
        return
    rows = f" plus {context} of context" if context else ""
    raise ReplayTooShort(
        f"replay.batch_length {source.window - context}{rows} needs {source.rows_needed} rows of "
        f"one env slot; each of {replay.num_envs} can hold {replay.slot_capacity}.",
        hint=f"Set replay.capacity to at least {source.rows_needed * replay.num_envs}.",
    )
