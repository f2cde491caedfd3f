"""What one replay row holds, and how large it is on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from wmrun.replay.errors import ReplayError

RowSpec = dict[str, tuple[tuple[int, ...], npt.DTypeLike]]
"""Shape and dtype of every key of a row."""

LARGE_BYTES = 1024
"""Keys of at least this size have a file of their own and are read straight into the batch; smaller
ones share one record per row, so that a window costs one read for all of them."""


class Rows(Protocol):
    """One row per env slot, as the driver makes them: row `i` belongs to slot `i`."""

    @property
    def obs(self) -> Mapping[str, np.ndarray]: ...
    @property
    def action(self) -> np.ndarray: ...
    @property
    def reward(self) -> np.ndarray: ...
    @property
    def is_first(self) -> np.ndarray: ...
    @property
    def is_last(self) -> np.ndarray: ...
    @property
    def is_terminal(self) -> np.ndarray: ...
    @property
    def broken(self) -> tuple[int, ...]: ...


def row_spec(obs: Mapping[str, tuple[tuple[int, ...], npt.DTypeLike]], action_size: int) -> RowSpec:
    """Return the spec of a row with these observations and an action of `action_size` numbers.

    Raises `ReplayError` when an observation is called like another part of the row.
    """
    rest: RowSpec = {
        "action": ((action_size,), np.float32),
        "reward": ((), np.float32),
        "is_first": ((), np.bool_),
        "is_last": ((), np.bool_),
        "is_terminal": ((), np.bool_),
    }
    if taken := sorted(set(obs) & set(rest)):
        raise ReplayError(
            f"The environment has an observation called {taken[0]!r}, which replay rows use for "
            f"something else (they hold {', '.join(rest)}).",
            hint="Rename that observation in the environment.",
        )
    return {**obs, **rest}


class RowLayout:
    """How the keys of a row are spread over files: large keys apart, all others in one record."""

    def __init__(self, spec: RowSpec) -> None:
        keys = {k: (tuple(s), np.dtype(d)) for k, (s, d) in sorted(spec.items())}
        self.keys = keys
        self.large = {
            key: np.dtype((dtype, shape))
            for key, (shape, dtype) in keys.items()
            if dtype.itemsize * int(np.prod(shape)) >= LARGE_BYTES
        }
        small = [(key, d, s) for key, (s, d) in keys.items() if key not in self.large]
        self.record = np.dtype(small, align=True)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in all files."""
        return self.record.itemsize + sum(dtype.itemsize for dtype in self.large.values())

    def empty_batch(self, batch_size: int, length: int) -> dict[str, np.ndarray]:
        """Allocate an array `[B, T, ...]` for every key."""
        return {k: np.empty((batch_size, length, *s), d) for k, (s, d) in self.keys.items()}

    def describe(self) -> dict[str, Any]:
        """Return the keys as JSON: `{"image": {"shape": [64, 64, 3], "dtype": "|u1"}, ...}`."""
        return {k: {"shape": list(s), "dtype": d.str} for k, (s, d) in self.keys.items()}
