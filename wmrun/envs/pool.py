"""The environments of one role of a run, on one server or several that are brought back if lost."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, Future, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from wmrun.config.schema import EnvConfig
from wmrun.envs.background import in_background
from wmrun.envs.errors import EnvProtocolError
from wmrun.envs.member import SERVER_LOST, PoolMember
from wmrun.envs.placement import placements
from wmrun.envs.request import Role
from wmrun.envs.rows import Rows, joined, renumbered
from wmrun.envs.spec import EnvSpec, common_spec, difference
from wmrun.envs.stop_watch import StopWatch

__all__ = ["SERVER_LOST", "EnvPool", "Role"]

T = TypeVar("T")

_STRAGGLER_PATIENCE_S = 5.0
"""How long the servers that have answered wait for one that has not; then they go on without it."""


class EnvPool:
    """`num_envs` slots of `task`, numbered from 0 over the servers in their order.

    Each call answers exactly the slots of the last rows. Servers step at the same time; the slots
    of one that is lost, or much slower than the others, are missing from the rows until it is back,
    while the rest go on. Only when no slot is left does a call wait for the first to return. A lost
    server is brought back as its `restarts` allow; its slots return as first rows and `broken`.

    Logs of own servers are `log_dir/ROLE.log`, or `ROLE-0.log`, `ROLE-1.log`, … where there are
    several. `client_id` names the run, so that one that was killed and resumed takes the place of
    its own dead sessions on servers that it does not own; `run_name` says in their logs whose the
    session is. Once `should_stop()` is true, a call that waits for a server that is away ends with
    `EnvStopped`, and so does one that is not answered soon; the pool can only be closed then.
    """

    def __init__(
        self,
        config: EnvConfig,
        *,
        log_dir: Path,
        seed: int,
        role: Role,
        client_id: str | None = None,
        run_name: str | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        client_id = client_id or uuid.uuid4().hex
        self._config = config
        self._members = [
            PoolMember(
                config,
                place,
                log_dir=log_dir,
                seed=seed,
                role=role,
                client_id=client_id,
                run_name=run_name,
            )
            for place in placements(config, role)
        ]
        self._spec: EnvSpec | None = None
        self._slots = np.arange(config.num_envs)
        self._begun: list[PoolMember] = []
        self._away: dict[PoolMember, Future[Rows]] = {}
        self._should_stop = should_stop
        self._stop_watch: StopWatch | None = None

    def __enter__(self) -> EnvPool:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def num_envs(self) -> int:
        return self._config.num_envs

    @property
    def spec(self) -> EnvSpec:
        assert self._spec is not None, "EnvPool.open was not called"
        return self._spec

    def open(self) -> EnvSpec:
        """Start or reach every server, open a session on each, return what they offer in common.

        Raises `EnvStartError` or `EnvUnreachable`, or `EnvProtocolError` when two servers offer
        different spaces; nothing is left running then.
        """
        if self._should_stop is not None:
            self._stop_watch = StopWatch(self._should_stop, self._members)
        try:
            specs = self._together(PoolMember.open)
            self._check_equal(specs)
        except BaseException:
            self.close()
            raise
        self._spec = common_spec(specs)
        return self._spec

    def reset(self, seeds: Sequence[int] = ()) -> Rows:
        """Begin an episode in every slot; `seeds`, one per slot, start its randomness anew.

        Waits for all servers. Raises `EnvBudgetSpent` when one was lost once too often.
        """
        before = [error for rows in self._waited_for() for error in rows.errors]
        self._begun.clear()
        parts = self._together(
            lambda member: member.reset(seeds[member.place.slots.start : member.place.slots.stop])
        )
        rows = self._arrived(list(zip(self._members, parts, strict=True)))
        return replace(rows, errors=(*before, *rows.errors)) if before else rows

    def step(self, actions: Sequence[np.ndarray]) -> Rows:
        """Apply one action per slot of the last rows: an array `[n, ...]` for each action leaf.

        Raises as `reset` does.
        """
        if len(self._members) == 1:
            (member,) = self._members
            return self._arrived([(member, member.step(actions, self._slots.tolist()))])
        self.step_begin(actions)
        return self.step_end()

    def step_begin(self, actions: Sequence[np.ndarray]) -> None:
        """Send the actions of a step and return at once; the next call must be `step_end`."""
        for member in self._members:
            first, stop = np.searchsorted(
                self._slots, (member.place.slots.start, member.place.slots.stop)
            )
            if first < stop:
                slots = self._slots[first:stop] - member.place.slots.start
                member.step_begin([action[first:stop] for action in actions], slots.tolist())
                self._begun.append(member)

    def step_end(self) -> Rows:
        """Return the rows of the step begun and of slots that came back; raises as `reset` does."""
        begun, self._begun = self._begun, []
        if len(self._members) == 1:
            return self._arrived([(member, member.step_end()) for member in begun])
        there = []
        deadline = time.monotonic() + _STRAGGLER_PATIENCE_S
        for member in begun:
            if member.answered(max(0.0, deadline - time.monotonic())):
                there.append((member, member.step_end()))
            else:
                self._away[member] = in_background(member.step_end)
        there += self._returned()
        while not there:
            wait(self._away.values(), return_when=FIRST_COMPLETED)
            there += self._returned()
        return self._arrived(there)

    def report(self, slots: Sequence[int] = ()) -> str:
        """Say how the servers of `slots`, or all, stand, with the last lines of their logs."""
        reports = [
            member.report()
            for member in self._members
            if not slots or any(slot in member.place.slots for slot in slots)
        ]
        return "\n".join(reports)

    def server_pids(self) -> list[int]:
        """Return the processes of own servers."""
        pids = [member.server_pid for member in self._members]
        return [pid for pid in pids if pid is not None]

    def save(self) -> dict[str, int]:
        """Return what a resumed run needs so that no seed is used twice."""
        return {"times_opened": max(member.times_opened for member in self._members)}

    def load(self, state: dict[str, int]) -> None:
        """Go on from what `save` returned; call it before `open`."""
        for member in self._members:
            member.times_opened = state["times_opened"]

    def close(self) -> None:
        """Close the sessions and stop own servers, also those that are just being brought back."""
        for member in self._away:
            member.cancel()
        wait(self._away.values())
        self._away.clear()
        self._together(PoolMember.close)
        if self._stop_watch is not None:
            self._stop_watch.end()
            self._stop_watch = None

    def _together(self, call: Callable[[PoolMember], T]) -> list[T]:
        """Call all members at the same time.

        When one raises the others are cancelled, as the pool cannot be used without it.
        """
        if len(self._members) == 1:
            return [call(self._members[0])]
        futures = [in_background(partial(call, member)) for member in self._members]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            return [future.result() for future in futures]
        except BaseException:
            for member in self._members:
                member.cancel()
            wait(futures)
            raise

    def _check_equal(self, specs: Sequence[EnvSpec]) -> None:
        for member, spec in zip(self._members, specs, strict=True):
            if spec.spec_hash != specs[0].spec_hash:
                raise EnvProtocolError(
                    f"{self._members[0].place} and {member.place} offer {self._config.task} with "
                    f"different spaces: {difference(specs[0], spec)}",
                    hint="All servers of a run must have the same environment: the same versions "
                    "and the same options.",
                )

    def _returned(self) -> Iterator[tuple[PoolMember, Rows]]:
        """Yield the rows of members that were away and are there again."""
        for member in [member for member, rows in self._away.items() if rows.done()]:
            yield member, self._away.pop(member).result()

    def _waited_for(self) -> Iterator[Rows]:
        """Yield the rows of every member that is away, once it has some."""
        for member in list(self._away):
            yield self._away.pop(member).result()

    def _arrived(self, parts: Sequence[tuple[PoolMember, Rows]]) -> Rows:
        """Return the rows under the pool's slot numbers; they are those to be answered next."""
        rows = joined([renumbered(rows, member.place.slots.start) for member, rows in parts])
        self._slots = rows.slots
        return rows
