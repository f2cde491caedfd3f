"""Replies of an env server read into rows; whatever the protocol does not allow is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from wmrun_envserver.wire import messages, spaces, tensors

from wmrun.envs.errors import EnvDataError, EnvProtocolError
from wmrun.envs.rows import InfoColumn, Rows, SlotFailure

_AWAY = (messages.SLOT_FAILED, messages.SLOT_ABSENT)


def read_rows(
    message: messages.Rows,
    obs_space: Mapping[str, spaces.LeafSpace],
    num_envs: int,
    *,
    may_be_absent: bool = False,
    read_shared: tensors.ReadShared | None = None,
) -> Rows:
    """Return the rows of a reply that has one for each slot, less those that are not there.

    `read_shared` is where SHM tensors may be. Raises `EnvProtocolError` unless it has, and
    `EnvDataError` for a class that its space does not have.
    """
    slots = list(message.slot)
    if slots != list(range(num_envs)):
        raise EnvProtocolError(
            f"the env server sent rows of slots {slots} where one each of 0 to {num_envs - 1}, "
            "in order, was due"
        )
    status = list(message.status)
    absent = _slots_with(messages.SLOT_ABSENT, slots, status)
    if absent and not may_be_absent:
        raise EnvProtocolError(f"slots {list(absent)} are absent: every slot must always be there")
    return _read(message, slots, status, obs_space, read_shared)


def read_partial_rows(
    message: messages.Rows,
    obs_space: Mapping[str, spaces.LeafSpace],
    num_envs: int,
    *,
    unanswered: Collection[int] = (),
    read_shared: tensors.ReadShared | None = None,
) -> Rows:
    """Return the rows of a reply that has some of any slots but those that are `unanswered`.

    Raises as `read_rows` does.
    """
    slots = list(message.slot)
    if slots != list(range(num_envs)):
        _check_some(slots, num_envs)
    early = [slot for slot in slots if slot in unanswered] if unanswered else []
    if early:
        raise EnvProtocolError(
            f"the env server sent a row of slot {early[0]} before its last one was answered"
        )
    status = list(message.status)
    absent = _slots_with(messages.SLOT_ABSENT, slots, status)
    if absent:
        raise EnvProtocolError(
            f"the env server sent a row of slot {absent[0]} to say that it is absent, which it may "
            "only after a reset"
        )
    return _read(message, slots, status, obs_space, read_shared)


def _check_some(slots: list[int], num_envs: int) -> None:
    unknown = [slot for slot in slots if slot >= num_envs]
    if unknown:
        raise EnvProtocolError(
            f"the env server sent a row of slot {unknown[0]}; the session has slots 0 to "
            f"{num_envs - 1}"
        )
    repeated = [slot for slot, count in Counter(slots).items() if count > 1]
    if repeated:
        raise EnvProtocolError(f"the env server sent several rows of slot {repeated[0]}")


def _read(
    message: messages.Rows,
    named: list[int],
    status: Sequence[int],
    obs_space: Mapping[str, spaces.LeafSpace],
    read_shared: tensors.ReadShared | None,
) -> Rows:
    _check_columns(message, len(named), len(obs_space))
    slots = np.array(named, np.int64)
    try:
        obs = {
            key: _read_leaf(key, space, tensor, len(slots), read_shared)
            for (key, space), tensor in zip(obs_space.items(), message.obs, strict=True)
        }
        info = {column.key: _read_column(column, slots) for column in message.info}
    except ValueError as error:
        raise EnvProtocolError(f"the env server sent a malformed row: {error}") from error
    rows = Rows(
        slots=slots,
        obs=obs,
        reward=np.array(list(message.reward), np.float64),
        terminated=np.array(list(message.terminated), np.bool_),
        truncated=np.array(list(message.truncated), np.bool_),
        is_first=np.array(list(message.is_first), np.bool_),
        broken=_slots_with(messages.SLOT_RESTARTED, named, status),
        failed=_slots_with(messages.SLOT_FAILED, named, status),
        errors=_failures(message.errors),
        info=info,
    )
    is_away = any(status) and any(value in _AWAY for value in status)
    if is_away or (slots[1:] < slots[:-1]).any():
        there = [row for row, value in enumerate(status) if value not in _AWAY]
        there.sort(key=named.__getitem__)
        rows = _chosen(rows, there)
    _check_classes(rows.obs, obs_space)
    return rows


def _check_columns(message: messages.Rows, count: int, leaves: int) -> None:
    if len(message.obs) != leaves:
        raise EnvProtocolError(
            f"the env server sent {len(message.obs)} observation leaves where its space has "
            f"{leaves}"
        )
    for name in ("reward", "terminated", "truncated", "is_first", "status"):
        if len(getattr(message, name)) != count:
            raise EnvProtocolError(
                f"the env server sent {len(getattr(message, name))} values of {name} for "
                f"{count} rows"
            )


def _chosen(rows: Rows, index: list[int]) -> Rows:
    """Return the rows at `index`; what was said of the others stays."""
    return Rows(
        slots=rows.slots[index],
        obs={key: values[index] for key, values in rows.obs.items()},
        reward=rows.reward[index],
        terminated=rows.terminated[index],
        truncated=rows.truncated[index],
        is_first=rows.is_first[index],
        broken=rows.broken,
        failed=rows.failed,
        errors=rows.errors,
        info=rows.info,
    )


def _read_leaf(
    key: str,
    space: spaces.LeafSpace,
    tensor: messages.Tensor,
    count: int,
    read_shared: tensors.ReadShared | None,
) -> np.ndarray:
    array = tensors.decode(tensor, read_shared)
    shape = (count, *space.shape)
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


def _read_column(column: messages.InfoColumn, slots: np.ndarray) -> InfoColumn:
    rows, values = np.array(list(column.rows), np.int64), tensors.decode(column.values)
    if values.shape != rows.shape or (rows >= len(slots)).any():
        raise ValueError(
            f"info {column.key!r} has values {list(values.shape)} for rows {rows.tolist()} of "
            f"{len(slots)}"
        )
    return InfoColumn(slots[rows], values)


def _failures(errors: Iterable[messages.SlotError]) -> tuple[SlotFailure, ...]:
    """Return one failure for all slots of which the same is said: they shared a simulator."""
    slots: dict[tuple[str, str], list[int]] = {}
    for error in errors:
        slots.setdefault((error.reason, error.message), []).append(error.slot)
    return tuple(SlotFailure(tuple(sorted(found)), *said) for said, found in slots.items())


def _slots_with(wanted: int, slots: list[int], status: Sequence[int]) -> tuple[int, ...]:
    if not any(status):  # SLOT_OK is 0: as a rule they all are
        return ()
    return tuple(slot for slot, value in zip(slots, status, strict=False) if value == wanted)
