"""One batch of observations as servers sent it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class SlotFailure:
    """Environments that failed: their slots, the protocol's word for it, what they said."""

    slots: tuple[int, ...]
    reason: str
    message: str

    def __str__(self) -> str:
        return f"environment {name_slots(self.slots)} restarted: {self.message}"


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
    """Slots whose environment failed and begins a new episode, in this row or a later one."""
    failed: tuple[int, ...] = ()
    """Slots that failed too often and stay away; they have no row."""
    errors: tuple[SlotFailure, ...] = ()
    info: dict[str, InfoColumn] = field(default_factory=dict)


def name_slots(slots: Sequence[int]) -> str:
    """Return ascending slots in words: `slot 0`, `slots 0, 1`, `slots 0 to 3, 7`."""
    runs: list[list[int]] = []
    for slot in slots:
        if runs and slot == runs[-1][-1] + 1:
            runs[-1].append(slot)
        else:
            runs.append([slot])
    names = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return f"slot{'' if len(slots) == 1 else 's'} {', '.join(names)}"


def renumbered(rows: Rows, first: int) -> Rows:
    """Return the rows of slots 0, 1, … as those of slots `first`, `first + 1`, …"""
    if first == 0:
        return rows
    return replace(
        rows,
        slots=rows.slots + first,
        broken=_shifted(rows.broken, first),
        failed=_shifted(rows.failed, first),
        errors=tuple(replace(e, slots=_shifted(e.slots, first)) for e in rows.errors),
        info={
            key: column._replace(slots=column.slots + first) for key, column in rows.info.items()
        },
    )


def joined(parts: Sequence[Rows]) -> Rows:
    """Return the rows of all parts, which have other slots each, as one batch."""
    parts = sorted(parts, key=_first_slot)
    if len(parts) == 1:
        return parts[0]
    return Rows(
        slots=np.concatenate([part.slots for part in parts]),
        obs={key: np.concatenate([part.obs[key] for part in parts]) for key in parts[0].obs},
        reward=np.concatenate([part.reward for part in parts]),
        terminated=np.concatenate([part.terminated for part in parts]),
        truncated=np.concatenate([part.truncated for part in parts]),
        is_first=np.concatenate([part.is_first for part in parts]),
        broken=sum((part.broken for part in parts), ()),
        failed=sum((part.failed for part in parts), ()),
        errors=sum((part.errors for part in parts), ()),
        info=_joined_info([part.info for part in parts]),
    )


def _joined_info(parts: Sequence[dict[str, InfoColumn]]) -> dict[str, InfoColumn]:
    columns: dict[str, list[InfoColumn]] = {}
    for part in parts:
        for key, column in part.items():
            columns.setdefault(key, []).append(column)
    return {
        key: InfoColumn(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))
        for key, found in columns.items()
    }


def _first_slot(rows: Rows) -> int:
    return int(rows.slots[0]) if len(rows.slots) else -1


def _shifted(slots: Iterable[int], first: int) -> tuple[int, ...]:
    return tuple(slot + first for slot in slots)
