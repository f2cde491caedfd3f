"""Rows of a reply, taken apart and compared with what the protocol says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wmrun_envserver.conformance.check import Unmet, equal, require
from wmrun_envserver.wire import messages, spaces, tensors

_PER_ROW = (
    "reward", "terminated", "truncated", "is_first", "episode", "step_in_episode", "status",
)  # fmt: skip


class Row(NamedTuple):
    """One observation of one slot."""

    slot: int
    obs: list[np.ndarray]
    """One array of the leaf's shape per leaf."""
    reward: float
    terminated: bool
    truncated: bool
    is_first: bool
    episode: int
    step: int
    status: int

    @property
    def ended(self) -> bool:
        """Whether it is the last of its episode."""
        return self.terminated or self.truncated

    @property
    def counters(self) -> tuple[int, int]:
        """Episode, and step in it."""
        return self.episode, self.step


def read_rows(rows: messages.Rows, leaves: Sequence[spaces.Leaf], where: str) -> list[Row]:
    """Return the rows one by one.

    Raises `Unmet` where arrays differ in length, or a tensor is not what its leaf promises.
    """
    count = len(rows.slot)
    for name in _PER_ROW:
        equal(f"{where}, len(rows.{name})", len(getattr(rows, name)), count)
    equal(f"{where}, len(rows.obs)", len(rows.obs), len(leaves))
    columns = [
        _decoded(tensor, leaf, count, where) for tensor, leaf in zip(rows.obs, leaves, strict=True)
    ]
    return [
        Row(
            rows.slot[i],
            [column[i, ...] for column in columns],
            rows.reward[i],
            rows.terminated[i],
            rows.truncated[i],
            rows.is_first[i],
            rows.episode[i],
            rows.step_in_episode[i],
            rows.status[i],
        )
        for i in range(count)
    ]


def check_row(row: Row, leaves: Sequence[spaces.Leaf], where: str) -> None:
    """Raise `Unmet` unless the row is sound by itself: values in bounds, reward, flags, status."""
    where = f"{where}, slot {row.slot}"
    equal(f"{where}, status", status_name(row.status), "SLOT_OK")
    for leaf, array in zip(leaves, row.obs, strict=True):
        try:
            spaces.check(leaf, array[None])
        except spaces.SpaceError as error:
            raise Unmet(f"{where}, obs {leaf.path!r}", "a value of its space", error) from None
    require(bool(np.isfinite(row.reward)), f"{where}, reward", "a finite number", row.reward)
    if row.is_first:
        check_first(row, where)
    else:
        require(row.step > 0, f"{where}, step_in_episode", "at least 1 (not is_first)", row.step)


def check_first(row: Row, where: str, *, episode: int | None = None) -> None:
    """Raise `Unmet` unless `row` begins an episode."""
    equal(f"{where}, is_first", row.is_first, True)
    equal(f"{where}, reward of the first row", row.reward, 0.0)
    equal(f"{where}, terminated of the first row", row.terminated, False)
    equal(f"{where}, truncated of the first row", row.truncated, False)
    equal(f"{where}, step_in_episode of the first row", row.step, 0)
    if episode is not None:
        equal(f"{where}, episode", row.episode, episode)


def check_successor(last: Row, row: Row, where: str) -> None:
    """Raise `Unmet` unless `row` may follow `last` in a session with NEXT_STEP."""
    where = f"{where}, slot {row.slot}"
    if last.ended:
        check_first(row, where, episode=last.episode + 1)
    else:
        equal(f"{where}, is_first", row.is_first, False)
        equal(f"{where}, episode", row.episode, last.episode)
        equal(f"{where}, step_in_episode", row.step, last.step + 1)


def check_info(rows: messages.Rows, where: str) -> None:
    """Raise `Unmet` unless every info column is parallel to rows that exist."""
    for column in rows.info:
        place = f"{where}, info {column.key!r}"
        try:
            values = tensors.decode(column.values)
        except tensors.TensorError as error:
            raise Unmet(place, "a tensor", error) from None
        equal(f"{place}, shape of values", values.shape, (len(column.rows),))
        stray = [row for row in column.rows if row >= len(rows.slot)]
        require(not stray, f"{place}, rows", f"below {len(rows.slot)}", stray)


def status_name(status: int) -> str:
    """Return the name of a slot status."""
    names: dict[int, str] = {number: name for name, number in messages.SlotStatus.items()}
    return names.get(status, str(status))


def _decoded(tensor: messages.Tensor, leaf: spaces.Leaf, count: int, where: str) -> np.ndarray:
    where = f"{where}, obs {leaf.path!r}"
    try:
        array = tensors.decode(tensor)
    except tensors.TensorError as error:
        raise Unmet(where, "a tensor whose data fit its shape and dtype", error) from None
    expected = (leaf.space.dtype.name, (count, *leaf.space.shape))
    equal(f"{where}, dtype and shape", (array.dtype.name, array.shape), expected)
    return array
