"""The rows of one reply, gathered into buffers that are reused from call to call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, prod
from typing import Any

import numpy as np

from wmrun_envserver.backends.base import Batch, EnvContractError, StepResult
from wmrun_envserver.wire import messages, spaces, tensors

_ROW_OVERHEAD_BYTES = 32
_TEXT_BYTES = 256
Encode = Callable[[np.ndarray], messages.Tensor]
_INFO_TYPES = (bool, int, float, str, np.bool_, np.integer, np.floating)


def batch_bytes(leaves: tuple[spaces.Leaf, ...], num_rows: int) -> int:
    """Return about how large a message of `num_rows` rows of `leaves` is; text counts as short."""
    per_row = sum(
        _TEXT_BYTES if leaf.space.dtype == tensors.TEXT else size
        for leaf, size in zip(leaves, leaf_bytes(leaves), strict=True)
    )
    return num_rows * (per_row + _ROW_OVERHEAD_BYTES)


def leaf_bytes(leaves: tuple[spaces.Leaf, ...]) -> list[int]:
    """Return how many bytes each leaf takes in one row; 0 for text."""
    return [
        0
        if leaf.space.dtype == tensors.TEXT
        else prod(leaf.space.shape) * leaf.space.dtype.itemsize
        for leaf in leaves
    ]


class RowTable:
    """Up to `num_rows` rows in order of arrival; each is added whole or, when that raises, not.

    `slot`, `reward`, `terminated`, `truncated`, `is_first` have one element per row, as soon as it
    is added; `episode`, `step` and `status` are for whoever counts episodes to extend.
    """

    def __init__(self, leaves: tuple[spaces.Leaf, ...], num_rows: int) -> None:
        self._leaves = tuple((leaf.path, leaf.space.shape, leaf.space.dtype) for leaf in leaves)
        self._buffers = [np.zeros((num_rows, *shape), dtype) for _, shape, dtype in self._leaves]
        self.begin()

    def __len__(self) -> int:
        return len(self.slot)

    def begin(self) -> None:
        """Forget the rows of the call before."""
        self.slot: list[int] = []
        self.reward: list[float] = []
        self.terminated: list[bool] = []
        self.truncated: list[bool] = []
        self.is_first: list[bool] = []
        self.episode: list[int] = []
        self.step: list[int] = []
        self.status: list[int] = []
        self._info: dict[str, list[_Chunk]] = {}
        self._errors: list[messages.SlotError] = []

    def add(self, slot: int, result: StepResult, *, first: bool) -> None:
        """Add what `slot` just returned; a first row has no reward and no end.

        Raises `EnvContractError` when the observation does not fit the observation space, the
        reward is not finite, or a value of the info has a type that cannot be sent.
        """
        reward = 0.0 if first else float(result.reward)
        if not isfinite(reward):
            raise EnvContractError(f"the reward is {reward}")
        if result.info:
            _check_info(result.info)
        row = len(self.slot)
        self._store(row, result.obs)
        for key, value in result.info.items():
            self._note(row, key, value)
        self.slot.append(slot)
        self.reward.append(reward)
        self.terminated.append(not first and bool(result.terminated))
        self.truncated.append(not first and bool(result.truncated))
        self.is_first.append(first)

    def add_batch(self, batch: Batch) -> None:
        """Add the rows of several slots at once; raises as `add` does."""
        slots = np.asarray(batch.slots)
        count = len(slots)
        first = _flags("is_first", batch.is_first, count)
        ended = [
            _flags(name, getattr(batch, name), count) & ~first
            for name in ("terminated", "truncated")
        ]
        reward = _rewards(batch.reward, first)
        info = {key: _info_chunk(key, *column, count) for key, column in batch.info.items()}
        start = len(self.slot)
        self._store_batch(start, count, batch.obs)
        for key, (rows, values) in info.items():
            if len(rows):
                self._info.setdefault(key, []).append(([start + row for row in rows], values))
        self.slot += slots.tolist()
        self.reward += reward.tolist()
        self.terminated += ended[0].tolist()
        self.truncated += ended[1].tolist()
        self.is_first += first.tolist()

    def add_blank(self, slot: int) -> None:
        """Add a row of zeros for a slot that has nothing to say."""
        row = len(self.slot)
        for buffer in self._buffers:
            buffer[row] = "" if buffer.dtype == tensors.TEXT else 0
        self.slot.append(slot)
        self.reward.append(0.0)
        self.terminated.append(False)
        self.truncated.append(False)
        self.is_first.append(False)

    def add_error(self, slot: int, reason: str, message: str) -> None:
        """Say what happened to `slot`."""
        self._errors.append(messages.SlotError(slot=slot, reason=reason, message=message))

    def cut(self, num_rows: int) -> None:
        """Forget all rows but the first `num_rows`; none of the rest may have been counted yet."""
        for column in (self.slot, self.reward, self.terminated, self.truncated, self.is_first):
            del column[num_rows:]  # type: ignore[attr-defined]
        for key, chunks in list(self._info.items()):
            # What one call added is forgotten whole, so the rows kept are the first of their chunk.
            counts = [sum(row < num_rows for row in rows) for rows, _ in chunks]
            kept = [
                (rows[:n], values[:n]) for (rows, values), n in zip(chunks, counts, strict=True)
            ]
            self._info[key] = [chunk for chunk in kept if chunk[0]]
            if not self._info[key]:
                del self._info[key]

    def write(
        self,
        rows: messages.Rows,
        order: Sequence[int] | None = None,
        encode: Encode = tensors.encode,
    ) -> None:
        """Put everything added since `begin` into the empty message `rows`.

        `order` lists the rows in the order wanted; None: as they arrived. `encode` is for
        observations.
        """
        columns: tuple[tuple[Any, list[Any]], ...] = (
            (rows.slot, self.slot),
            (rows.reward, self.reward),
            (rows.terminated, self.terminated),
            (rows.truncated, self.truncated),
            (rows.is_first, self.is_first),
            (rows.episode, self.episode),
            (rows.step_in_episode, self.step),
            (rows.status, self.status),
        )
        for target, column in columns:
            target.extend(column if order is None else [column[row] for row in order])
        count = len(self.slot)
        parts = (buffer[:count] if order is None else buffer[order] for buffer in self._buffers)
        rows.obs.extend([encode(part) for part in parts])
        places = None if order is None else {row: place for place, row in enumerate(order)}
        # Rows of worker processes arrive in any order: equal rows must be equal bytes all the same.
        for key, chunks in sorted(self._info.items(), key=lambda item: item[0]):
            indices = [row for chunk_rows, _ in chunks for row in chunk_rows]
            values = _column(chunks)
            if places is not None:
                placed = np.array([places[row] for row in indices])
                ranks = placed.argsort()
                indices, values = placed[ranks].tolist(), values[ranks]
            rows.info.add(key=key, rows=indices, values=tensors.encode(values))
        rows.errors.extend(self._errors)

    def _note(self, row: int, key: str, value: Any) -> None:
        chunks = self._info.get(key)
        if chunks is None:
            self._info[key] = [([row], [value])]
        elif isinstance(chunks[-1][1], list):
            chunks[-1][0].append(row)
            chunks[-1][1].append(value)
        else:
            chunks.append(([row], [value]))

    def _store(self, row: int, obs: object) -> None:
        self._check_leaves(obs)
        for leaf, buffer, value in zip(self._leaves, self._buffers, obs, strict=True):  # type: ignore[call-overload]
            path, shape, dtype = leaf
            array = np.asarray(value)
            if dtype == tensors.TEXT:
                buffer[row] = _text(path, array)
            elif array.shape == shape and array.dtype == dtype:
                buffer[row] = array
            else:
                raise _misfit(path, shape, dtype, array)

    def _store_batch(self, start: int, count: int, obs: object) -> None:
        self._check_leaves(obs)
        for leaf, buffer, value in zip(self._leaves, self._buffers, obs, strict=True):  # type: ignore[call-overload]
            path, shape, dtype = leaf
            array = np.asarray(value)
            if array.shape != (count, *shape):
                raise _misfit(path, (count, *shape), dtype, array)
            if dtype == tensors.TEXT:
                array = np.array([_text(path, np.asarray(text)) for text in array], tensors.TEXT)
            elif array.dtype != dtype:
                raise _misfit(path, (count, *shape), dtype, array)
            buffer[start : start + count] = array

    def _check_leaves(self, obs: object) -> None:
        if not isinstance(obs, list | tuple) or len(obs) != len(self._leaves):
            raise EnvContractError(
                f"an observation must be a list of {len(self._leaves)} arrays, one per leaf"
            )


_Chunk = tuple[list[int], "Sequence[Any] | np.ndarray"]


def _check_info(info: Mapping[str, Any]) -> None:
    for key, value in info.items():
        if not isinstance(value, _INFO_TYPES):
            raise EnvContractError(
                f"info {key!r} is a {type(value).__name__}: only numbers, bools and strings"
            )
        if not isinstance(key, str) or not _is_unicode(key):
            raise EnvContractError(f"info key {key!r} is no text")


def _info_chunk(key: str, rows: Sequence[int], values: Sequence[Any], count: int) -> _Chunk:
    indices = np.asarray(rows).tolist()
    if len(indices) != len(values) or not all(0 <= row < count for row in indices):
        raise EnvContractError(
            f"info {key!r} has {len(values)} values for the rows {indices} of {count}"
        )
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "biuf":
        return indices, values
    for value in values:
        _check_info({key: value})
    return indices, list(values)


def _flags(name: str, values: np.ndarray, count: int) -> np.ndarray:
    flags = np.asarray(values)
    if flags.shape != (count,) or flags.dtype != np.bool_:
        raise EnvContractError(f"{name} must be bool[{count}], got {_described(flags)}")
    return flags


def _rewards(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    reward = np.asarray(values)
    if reward.shape != first.shape or reward.dtype.kind not in "biuf":
        raise EnvContractError(f"reward must be float64[{len(first)}], got {_described(reward)}")
    reward = np.where(first, 0.0, reward)
    if not np.isfinite(reward).all():
        raise EnvContractError(f"the reward is {reward[~np.isfinite(reward)][0]}")
    return reward


def _misfit(
    path: str, shape: tuple[int, ...], dtype: np.dtype, got: np.ndarray
) -> EnvContractError:
    return EnvContractError(
        f"observation leaf {path!r} must be {dtype}{list(shape)}, got {_described(got)}"
    )


def _described(array: np.ndarray) -> str:
    return f"{array.dtype}{list(array.shape)}"


def _text(path: str, array: np.ndarray) -> str:
    text = array.item() if array.shape == () else None
    if not isinstance(text, str) or not _is_unicode(text):
        raise EnvContractError(f"observation leaf {path!r} must be a string, got {array!r}")
    return text


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _column(chunks: list[_Chunk]) -> np.ndarray:
    """Return all values as the narrowest of bool, int64, float64 and text that holds them all."""
    (_, values), *others = chunks
    if not others and isinstance(values, np.ndarray) and values.dtype.kind in "bif":
        return values.astype({"b": np.bool_, "i": np.int64, "f": np.float64}[values.dtype.kind])
    return _column_of([value for _, chunk in chunks for value in chunk])


def _column_of(values: list[Any]) -> np.ndarray:
    if any(isinstance(value, str) for value in values):
        texts = [str(value).encode(errors="replace").decode() for value in values]
        return np.array(texts, tensors.TEXT)
    if all(isinstance(value, bool | np.bool_) for value in values):
        return np.array(values, np.bool_)
    if all(isinstance(value, bool | int | np.bool_ | np.integer) for value in values) and all(
        -(2**63) <= value < 2**63 for value in values
    ):
        return np.array(values, np.int64)
    return np.array([float(value) for value in values], np.float64)
