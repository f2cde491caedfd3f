"""The rows of one reply, gathered slot by slot into buffers that are reused from call to call."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, prod
from typing import Any, NamedTuple

import numpy as np

from wmrun_envserver.backends.base import StepResult
from wmrun_envserver.wire import messages, spaces, tensors

_ROW_OVERHEAD_BYTES = 32
_TEXT_BYTES = 256
_INFO_TYPES = (bool, int, float, str, np.bool_, np.integer, np.floating)


class EnvContractError(Exception):
    """An environment returned what its own spaces, or the backend contract, do not allow."""


class _Row(NamedTuple):
    """One element of each parallel array of `Rows`, by its name there."""

    slot: int
    reward: float
    terminated: bool
    truncated: bool
    is_first: bool
    episode: int
    step_in_episode: int
    status: int


def batch_bytes(leaves: tuple[spaces.Leaf, ...], num_rows: int) -> int:
    """Return about how large a message of `num_rows` rows of `leaves` is; text counts as short."""
    per_row = sum(
        _TEXT_BYTES
        if leaf.space.dtype == tensors.TEXT
        else prod(leaf.space.shape) * leaf.space.dtype.itemsize
        for leaf in leaves
    )
    return num_rows * (per_row + _ROW_OVERHEAD_BYTES)


class RowWriter:
    """Collects up to `num_rows` rows, then writes them into a message in one go.

    A row is either added whole or, when `add` raises, not at all.
    """

    def __init__(self, leaves: tuple[spaces.Leaf, ...], num_rows: int) -> None:
        self._leaves = tuple((leaf.path, leaf.space.shape, leaf.space.dtype) for leaf in leaves)
        self._buffers = [np.zeros((num_rows, *shape), dtype) for _, shape, dtype in self._leaves]
        self.begin()

    def begin(self) -> None:
        """Forget the rows of the call before."""
        self._rows: list[_Row] = []
        self._info: dict[str, tuple[list[int], list[Any]]] = {}
        self._errors: list[messages.SlotError] = []

    def add(
        self,
        slot: int,
        result: StepResult,
        *,
        episode: int,
        step: int,
        status: int = messages.SLOT_OK,
    ) -> None:
        """Add what `slot` just returned; step 0 makes a first row, without reward or end flags.

        Raises `EnvContractError` when the observation does not fit the observation space, or the
        reward is not finite.
        """
        first = step == 0
        reward = 0.0 if first else float(result.reward)
        if not isfinite(reward):
            raise EnvContractError(f"the reward is {reward}")
        self._store(result.obs)
        if result.info:
            self._note(result.info)
        self._rows.append(
            _Row(
                slot,
                reward,
                bool(result.terminated) and not first,
                bool(result.truncated) and not first,
                first,
                episode,
                step,
                status,
            )
        )

    def add_failed(self, slot: int, *, episode: int) -> None:
        """Add a row of zeros for a slot that was given up."""
        row = len(self._rows)
        for buffer in self._buffers:
            buffer[row] = "" if buffer.dtype == tensors.TEXT else 0
        self._rows.append(_Row(slot, 0.0, False, False, False, episode, 0, messages.SLOT_FAILED))

    def add_error(self, slot: int, reason: str, message: str) -> None:
        """Say what happened to `slot`."""
        self._errors.append(messages.SlotError(slot=slot, reason=reason, message=message))

    def write(self, rows: messages.Rows) -> None:
        """Put everything added since `begin` into the empty message `rows`."""
        for name, column in zip(_Row._fields, zip(*self._rows, strict=True), strict=True):
            getattr(rows, name).extend(column)
        count = len(self._rows)
        rows.obs.extend([tensors.encode(buffer[:count]) for buffer in self._buffers])
        for key, (indices, values) in self._info.items():
            rows.info.add(key=key, rows=indices, values=tensors.encode(_column(values)))
        rows.errors.extend(self._errors)

    def _store(self, obs: object) -> None:
        if not isinstance(obs, list | tuple) or len(obs) != len(self._leaves):
            raise EnvContractError(
                f"an observation must be a list of {len(self._leaves)} arrays, one per leaf"
            )
        row = len(self._rows)
        for leaf, buffer, value in zip(self._leaves, self._buffers, obs, strict=True):
            path, shape, dtype = leaf
            array = np.asarray(value)
            if dtype == tensors.TEXT:
                buffer[row] = _text(path, array)
            elif array.shape == shape and array.dtype == dtype:
                buffer[row] = array
            else:
                raise EnvContractError(
                    f"observation leaf {path!r} must be {dtype}{list(shape)}, "
                    f"got {array.dtype}{list(array.shape)}"
                )

    def _note(self, info: Mapping[str, Any]) -> None:
        for key, value in info.items():
            if not isinstance(value, _INFO_TYPES):
                raise EnvContractError(
                    f"info {key!r} is a {type(value).__name__}: only numbers, bools and strings"
                )
        row = len(self._rows)
        for key, value in info.items():
            indices, values = self._info.setdefault(key, ([], []))
            indices.append(row)
            values.append(value)


def _text(path: str, array: np.ndarray) -> str:
    text = array.item() if array.shape == () else None
    if not isinstance(text, str) or not _is_unicode(text):
        raise EnvContractError(f"observation leaf {path!r} must be a string, got {array!r}")
    return text


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _column(values: list[Any]) -> np.ndarray:
    """Return `values` as the narrowest of bool, int64, float64 and text that holds them all."""
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
