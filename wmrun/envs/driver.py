"""Steps env slots together and builds the transitions that agents act on and replay stores."""

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
    """What the driver needs of an `EnvPool`: each call answers the slots of the last rows."""

    @property
    def num_envs(self) -> int: ...
    def reset(self, seeds: Sequence[int] = ()) -> Rows: ...
    def step(self, actions: Sequence[np.ndarray]) -> Rows: ...
    def step_begin(self, actions: Sequence[np.ndarray]) -> None: ...
    def step_end(self) -> Rows: ...
    def report(self, slots: Sequence[int] = ()) -> str: ...


class Driver:
    """Drives the slots of one pool with the policy's actions.

    Raises `EnvDataError` for an observation or reward that is not finite or not what the spaces
    promise, `EnvBudgetSpent` when a slot stays away for good or the pool cannot be revived.
    """

    def __init__(self, pool: SteppedSlots, adapter: ActionAdapter) -> None:
        self.num_envs = pool.num_envs
        self.adapter = adapter
        self._pool = pool
        self._slots = np.arange(self.num_envs)
        """Whose rows were given out last: the next actions are for them."""
        self._waiting = np.ones(self.num_envs, np.bool_)
        """Slots without a row that is not answered yet: the next may come."""
        self._open = np.zeros(self.num_envs, np.bool_)
        """Slots whose last row did not end an episode."""
        self._begins = np.ones(self.num_envs, np.bool_)
        """Slots whose next row must begin an episode."""
        self._action = np.zeros((self.num_envs, adapter.size), np.float32)

    def reset(self, seeds: Sequence[int] = ()) -> Transitions:
        """Begin an episode in every slot; episodes that were under way count as broken."""
        rows = self._pool.reset(seeds)
        self._waiting[:] = True
        self._begins[:] = True
        return self._transitions(rows)

    def step(self, action: np.ndarray) -> Transitions:
        """Apply the actions `[n, A]` for the slots of the last transitions, in their order.

        Slots whose last row was `is_last` begin anew instead.
        """
        self._note(action)
        return self._transitions(self._pool.step(self.adapter.to_env(action)))

    def step_begin(self, action: np.ndarray) -> None:
        """Start a step and return at once, so that learning can go on; `step_end` must follow."""
        self._note(action)
        self._pool.step_begin(self.adapter.to_env(action))

    def step_end(self) -> Transitions:
        """Return the transitions of the step begun."""
        return self._transitions(self._pool.step_end())

    def _note(self, action: np.ndarray) -> None:
        assert len(action) == len(self._slots), (len(action), self._slots)
        self._action[self._slots] = action
        self._waiting[self._slots] = True

    def _transitions(self, rows: Rows) -> Transitions:
        slots = rows.slots
        _check_contract(rows)
        _check_failed(rows, self._pool)
        _check_turn(slots, self._waiting)
        self._begins[list(rows.broken)] = True
        _check_boundaries(slots, rows.is_first, self._begins[slots])
        with np.errstate(over="ignore"):  # becomes infinite, which the check refuses
            reward = np.where(rows.is_first, 0.0, rows.reward).astype(np.float32)
        _check_finite(slots, rows.obs, reward, rows.reward)
        cut_off = tuple(slots[rows.is_first & self._open[slots]].tolist())
        is_last = rows.terminated | rows.truncated
        self._slots = slots
        self._waiting[slots] = False
        self._open[slots] = ~is_last
        self._begins[slots] = is_last
        return Transitions(
            slots=rows.slots,
            obs=rows.obs,
            action=np.where(rows.is_first[:, None], np.float32(0), self._action[slots]),
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
            f"{said}\n{pool.report(rows.failed)}"
        )


def _check_turn(slots: np.ndarray, waiting: np.ndarray) -> None:
    early = slots[~waiting[slots]]
    if early.size:
        raise EnvProtocolError(
            f"the env server sent a row of slot {early[0]} before its last one was answered"
        )


def _check_boundaries(slots: np.ndarray, is_first: np.ndarray, begins: np.ndarray) -> None:
    wrong = np.flatnonzero(is_first != begins)
    if wrong.size:
        row = wrong[0]
        slot = slots[row]
        what = "no episode began" if begins[row] else "an episode began while the last one was open"
        raise EnvProtocolError(f"the env server broke the order of episodes: {what} in slot {slot}")


def _check_finite(
    slots: np.ndarray, obs: dict[str, np.ndarray], reward: np.ndarray, sent: np.ndarray
) -> None:
    for key, values in {**obs, "reward": reward}.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            what = "reward" if values is reward else f"observation {key!r}"
            if values is reward and np.isfinite(sent[index]):
                raise EnvDataError(
                    f"reward of slot {slots[index[0]]} is {sent[index]:g}, which does not fit "
                    "float32",
                    hint="Scale the rewards down: replay and losses keep them as float32.",
                )
            element = f", element {list(index[1:])}" if index[1:] else ""
            raise EnvDataError(f"{what} of slot {slots[index[0]]}{element} is {values[index]}")
