"""One batch of observations as the server sent it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from wmrun_envserver.wire import messages, spaces, tensors

from wmrun.envs.errors import EnvDataError, EnvProtocolError


@dataclass(frozen=True)
class SlotFailure:
    """Environments that failed: their slots, the protocol's word for it, what they said."""

    slots: tuple[int, ...]
    reason: str
    message: str

    def __str__(self) -> str:
        return f"environment slots {', '.join(map(str, self.slots))} restarted: {self.message}"


class InfoColumn(NamedTuple):
    """A named extra value that the environments of some slots reported; the arrays are parallel."""

    slots: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Rows:
    """Row `i` is what slot `slots[i]` observed; arrays may be read-only views of the reply.

    After a row with `terminated` or `truncated`, which holds the episode's final observation, the
    slot's next row has `is_first`, whatever action it was sent.
    """

    slots: np.ndarray
    """int64 `[n]`, ascending"""
    obs: dict[str, np.ndarray]
    """`[n, ...]` by leaf path."""
    reward: np.ndarray
    """float64 `[n]`; came with `obs`, 0 where `is_first`."""
    terminated: np.ndarray
    """bool `[n]`: the episode reached an end state."""
    truncated: np.ndarray
    """bool `[n]`: the episode was cut short."""
    is_first: np.ndarray
    """bool `[n]`: the observation of a reset."""
    broken: tuple[int, ...] = ()
    """Slots whose environment failed and now begins a new episode."""
    failed: tuple[int, ...] = ()
    """Slots that failed too often and stay away; their values mean nothing."""
    errors: tuple[SlotFailure, ...] = ()
    info: dict[str, InfoColumn] = field(default_factory=dict)


def read_rows(
    message: messages.Rows, obs_space: Mapping[str, spaces.LeafSpace], num_envs: int
) -> Rows:
    """Return the rows of a reply.

    Raises `EnvProtocolError` unless there is one of each slot, and `EnvDataError` for a class that
    its space does not have.
    """
    _check_slots(message, num_envs)
    if len(message.obs) != len(obs_space):
        raise EnvProtocolError(
            f"the env server sent {len(message.obs)} observation leaves where its space has "
            f"{len(obs_space)}"
        )
    try:
        obs = {
            key: _read_leaf(key, space, tensor, num_envs)
            for (key, space), tensor in zip(obs_space.items(), message.obs, strict=True)
        }
        info = {column.key: _read_column(column) for column in message.info}
    except ValueError as error:
        raise EnvProtocolError(f"the env server sent a malformed row: {error}") from error
    status = list(message.status)
    failed = _slots_with(status, messages.SLOT_FAILED)
    if not failed:
        _check_classes(obs, obs_space)
    return Rows(
        slots=np.array(list(message.slot), np.int64),
        obs=obs,
        reward=np.array(list(message.reward), np.float64),
        terminated=np.array(list(message.terminated), np.bool_),
        truncated=np.array(list(message.truncated), np.bool_),
        is_first=np.array(list(message.is_first), np.bool_),
        broken=_slots_with(status, messages.SLOT_RESTARTED),
        failed=failed,
        errors=tuple(SlotFailure((e.slot,), e.reason, e.message) for e in message.errors),
        info=info,
    )


def _check_slots(message: messages.Rows, num_envs: int) -> None:
    slots = list(message.slot)
    if slots != list(range(num_envs)):
        raise EnvProtocolError(
            f"the env server sent rows of slots {slots} where one each of 0 to {num_envs - 1}, "
            "in order, was due"
        )
    absent = _slots_with(list(message.status), messages.SLOT_ABSENT)
    if absent:
        raise EnvProtocolError(f"slots {list(absent)} are absent: every slot must always be there")
    for name in ("reward", "terminated", "truncated", "is_first", "status"):
        if len(getattr(message, name)) != num_envs:
            raise EnvProtocolError(
                f"the env server sent {len(getattr(message, name))} values of {name} for "
                f"{num_envs} rows"
            )


def _read_leaf(
    key: str, space: spaces.LeafSpace, tensor: messages.Tensor, num_envs: int
) -> np.ndarray:
    array = tensors.decode(tensor)
    shape = (num_envs, *space.shape)
    if array.shape != shape or array.dtype != space.dtype:
        raise EnvProtocolError(
            f"the env server sent observation {key!r} as {array.dtype} {list(array.shape)}, "
            f"its space says {space.dtype} {list(shape)}"
        )
    return array


def _check_classes(
    obs: Mapping[str, np.ndarray], obs_space: Mapping[str, spaces.LeafSpace]
) -> None:
    """Refuse what would index a one-hot vector out of its range."""
    for key, space in obs_space.items():
        if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
            try:
                spaces.check(spaces.Leaf(key, space), obs[key])
            except spaces.SpaceError as error:
                raise EnvDataError(f"an observation is outside its space: {error}") from error


def _read_column(column: messages.InfoColumn) -> InfoColumn:
    # With one row per slot, in order, the index of a row is its slot.
    return InfoColumn(np.array(list(column.rows), np.int64), tensors.decode(column.values))


def _slots_with(status: Sequence[int], wanted: int) -> tuple[int, ...]:
    return tuple(slot for slot, value in enumerate(status) if value == wanted)
