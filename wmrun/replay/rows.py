"""What one replay row holds, and how large it is on disk."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from wmrun.replay.errors import ReplayError

RowSpec = dict[str, tuple[tuple[int, ...], npt.DTypeLike]]
"""Shape and dtype of every key of a row."""

EntrySpec = Mapping[str, tuple[tuple[int, ...], npt.DTypeLike]]
"""Shape and dtype of everything that an agent keeps with a row."""

_Normal = dict[str, tuple[tuple[int, ...], np.dtype]]

LARGE_BYTES = 1024
"""Keys of at least this size have a file of their own and are read straight into the batch; smaller
ones share one record per row, so that a window costs one read for all of them."""


class Rows(Protocol):
    """One row each of some env slots, as the driver makes them: row `i` is of slot `slots[i]`."""

    @property
    def slots(self) -> np.ndarray: ...
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
    """How the keys of a row are spread over files: large keys and entries apart, all others in one
    record.

    Entries are what an agent keeps with a row and may write again. Raises `ReplayError` when one is
    called like another part of the row.
    """

    def __init__(self, spec: RowSpec, entries: EntrySpec = MappingProxyType({})) -> None:
        if taken := sorted(set(spec) & set(entries)):
            raise ReplayError(
                f"The agent keeps an entry called {taken[0]!r} with each replay row, and the rows "
                f"hold something else under that name (they hold {', '.join(sorted(spec))}).",
                hint="Rename the agent's entry, or the observation in the environment.",
            )
        keys = _normal(spec)
        self.keys = keys
        self.entries = _normal(entries)
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
        apart = [*self.large.values(), *self.entry_dtypes.values()]
        return self.record.itemsize + sum(dtype.itemsize for dtype in apart)

    @property
    def entry_dtypes(self) -> dict[str, np.dtype]:
        """The dtype of a whole row of every entry."""
        return {key: np.dtype((dtype, shape)) for key, (shape, dtype) in self.entries.items()}

    def empty_batch(self, batch_size: int, length: int) -> dict[str, np.ndarray]:
        """Allocate an array `[B, T, ...]` for every key and entry."""
        spec = {**self.keys, **self.entries}
        return {k: np.empty((batch_size, length, *s), d) for k, (s, d) in spec.items()}

    def describe(self) -> dict[str, Any]:
        """Return keys and entries as JSON:
        `{"rows": {"image": {"shape": [64, 64, 3], "dtype": "|u1"}, ...}, "entries": {...}}`.
        """
        return {"rows": _describe(self.keys), "entries": _describe(self.entries)}


def _normal(spec: EntrySpec) -> _Normal:
    return {key: (tuple(shape), np.dtype(dtype)) for key, (shape, dtype) in sorted(spec.items())}


def _describe(keys: _Normal) -> dict[str, Any]:
    return {key: {"shape": list(s), "dtype": d.str} for key, (s, d) in keys.items()}
