"""Steps all slots at once and builds the transitions that agents act on and replay stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from wmrun_envserver.wire.status import Reason

from wmrun.envs.actions import ActionAdapter
from wmrun.envs.errors import EnvBudgetSpent, EnvDataError, EnvProtocolError
from wmrun.envs.rows import InfoColumn, Rows, SlotFailure


@dataclass(frozen=True)
class Transitions:
    """One row to store for each of `n` slots, of which there are `N` in all; `1 <= n <= N`.

    Row `i` is of slot `slots[i]`. Whoever got these rows answers exactly their slots next; the rows
    after that may be of other slots, as some may be on their way back from a failure.

    `action` led to `obs`, and `reward` came with it. An episode is a row with `is_first`, whose
    action and reward are zero, then rows up to and with `is_last`, which holds the final
    observation. `is_terminal` implies `is_last` and says that the episode reached an end state;
    without it there is a future to bootstrap from. Each row that is not `is_first` is one agent
    step.
    """

    slots: np.ndarray
    """int64 `[n]`, ascending"""
    obs: dict[str, np.ndarray]
    """`[n, ...]` by key; may be read-only views."""
    action: np.ndarray
    """float32 `[n, A]`"""
    reward: np.ndarray
    """float32 `[n]`"""
    is_first: np.ndarray
    """bool `[n]`"""
    is_last: np.ndarray
    """bool `[n]`"""
    is_terminal: np.ndarray
    """bool `[n]`"""
    broken: tuple[int, ...]
    """Slots whose episode was cut off: the row stored before this one must become `is_last`."""
    errors: tuple[SlotFailure, ...]
    info: dict[str, InfoColumn]


class SteppedSlots(Protocol):
    """What the driver needs of an `EnvPool`."""

    @property
    def num_envs(self) -> int: ...
    def reset(self, seeds: Sequence[int] = ()) -> Rows: ...
    def step(self, actions: Sequence[np.ndarray]) -> Rows: ...
    def step_begin(self, actions: Sequence[np.ndarray]) -> None: ...
    def step_end(self) -> Rows: ...
    def report(self) -> str: ...


class Driver:
    """Drives the slots of one pool with the policy's actions.

    Raises `EnvDataError` for an observation or reward that is not finite or not what the spaces
    promise, `EnvBudgetSpent` when a slot stays away for good or the pool cannot be revived.
    """

    def __init__(self, pool: SteppedSlots, adapter: ActionAdapter) -> None:
        self.num_envs = pool.num_envs
        self.adapter = adapter
        self._pool = pool
        self._open = np.zeros(self.num_envs, np.bool_)
        self._action = np.zeros((self.num_envs, adapter.size), np.float32)

    def reset(self, seeds: Sequence[int] = ()) -> Transitions:
        """Begin an episode in every slot; episodes that were under way count as broken."""
        return self._transitions(self._pool.reset(seeds), began=np.ones_like(self._open))

    def step(self, action: np.ndarray) -> Transitions:
        """Apply the actions `[N, A]`; slots whose last row was `is_last` begin anew instead."""
        self._action = action
        return self._stepped(self._pool.step(self.adapter.to_env(action)))

    def step_begin(self, action: np.ndarray) -> None:
        """Start a step and return at once, so that learning can go on; `step_end` must follow."""
        self._action = action
        self._pool.step_begin(self.adapter.to_env(action))

    def step_end(self) -> Transitions:
        """Return the transitions of the step begun."""
        return self._stepped(self._pool.step_end())

    def _stepped(self, rows: Rows) -> Transitions:
        began = ~self._open
        began[list(rows.broken)] = True
        return self._transitions(rows, began)

    def _transitions(self, rows: Rows, began: np.ndarray) -> Transitions:
        """Build the transitions of `rows`; `began` says which slots must be at their first row."""
        _check_contract(rows)
        _check_failed(rows, self._pool)
        _check_boundaries(rows.is_first, began)
        with np.errstate(over="ignore"):  # becomes infinite, which the check refuses
            reward = np.where(rows.is_first, 0.0, rows.reward).astype(np.float32)
        _check_finite(rows.obs, reward)
        cut_off = tuple(int(slot) for slot in np.flatnonzero(rows.is_first & self._open))
        is_last = rows.terminated | rows.truncated
        self._open = ~is_last
        return Transitions(
            slots=rows.slots,
            obs=rows.obs,
            action=np.where(rows.is_first[:, None], 0.0, self._action).astype(np.float32),
            reward=reward,
            is_first=rows.is_first,
            is_last=is_last,
            is_terminal=rows.terminated,
            broken=cut_off,
            errors=rows.errors,
            info=rows.info,
        )


def _check_contract(rows: Rows) -> None:
    """Stop at what a restart would only hide: a mistake in the environment, not an accident."""
    for error in rows.errors:
        if error.reason == Reason.ENV_CONTRACT:
            raise EnvDataError(
                f"the environment of slot {error.slots[0]} returned what it may not: "
                f"{error.message}",
                hint="Mend the environment: what it returns has to be finite and fit its spaces.",
            )


def _check_failed(rows: Rows, pool: SteppedSlots) -> None:
    if rows.failed:
        said = "\n".join(
            error.message for error in rows.errors if set(error.slots) & set(rows.failed)
        )
        raise EnvBudgetSpent(
            f"the environments of slots {list(rows.failed)} failed too often to be restarted: "
            f"{said}\n{pool.report()}"
        )


def _check_boundaries(is_first: np.ndarray, began: np.ndarray) -> None:
    wrong = np.flatnonzero(is_first != began)
    if wrong.size:
        slot = int(wrong[0])
        what = "no episode began" if began[slot] else "an episode began while the last one was open"
        raise EnvProtocolError(f"the env server broke the order of episodes: {what} in slot {slot}")


def _check_finite(obs: dict[str, np.ndarray], reward: np.ndarray) -> None:
    for key, values in {**obs, "reward": reward}.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            what = "reward" if values is reward else f"observation {key!r}"
            element = f", element {list(index[1:])}" if index[1:] else ""
            raise EnvDataError(f"{what} of slot {index[0]}{element} is {values[index]}")
