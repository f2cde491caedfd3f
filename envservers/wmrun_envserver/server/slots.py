"""The environments of one session, stepped one after the other in the thread that built them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns

import numpy as np

from wmrun_envserver.backends.base import Env
from wmrun_envserver.server.leases import Clock
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.refusal import Refused, public_text
from wmrun_envserver.server.rows import EnvContractError, RowWriter, batch_bytes
from wmrun_envserver.server.validation import ActionCheck, check_reset, check_step_slots
from wmrun_envserver.wire import messages, spaces
from wmrun_envserver.wire.status import Reason

_LOG = logging.getLogger(__name__)

# A simulator may call sys.exit(): that costs its slot an episode, not the session its thread.
_ENV_ERRORS = (Exception, SystemExit)


@dataclass
class _Slot:
    index: int
    env: Env | None
    """None once the slot was given up."""
    first_seed: int | None = None
    """From OpenSession, for the first reset alone."""
    last_seed: int | None = None
    episode: int = -1
    step: int = 0
    ended: bool = False
    """The next Step resets this slot."""
    restarts: int = 0
    failures: deque[float] = field(default_factory=deque)
    """Times of those within the restart window."""
    error: str = ""
    reason: str = ""
    """Why the last failure was one: the environment failed, or returned what it may not."""


class Slots:
    """Environments with NEXT_STEP autoreset and a restart budget each.

    An environment that raises, or returns what its spaces do not allow, costs its own slot an
    episode: it is rebuilt and reset, and its row says SLOT_RESTARTED. One that fails too often is
    given up (SLOT_FAILED) until a Reset finds that its budget allows another attempt. A rebuilt
    environment is seeded from the slot's last seed, where it had one: a seeded session stays
    reproducible, and does not run into the same crash again.
    """

    def __init__(
        self,
        make: Callable[[], Env],
        num_envs: int,
        *,
        seeds: Sequence[int] = (),
        limits: Limits,
        clock: Clock,
        debug: bool = False,
    ) -> None:
        """Build the environments; raises what `make` raises, or `Refused`, with none left open."""
        self._make = make
        self._limits = limits
        self._clock = clock
        self._debug = debug
        self._slots: list[_Slot] = []
        first = make()
        self._slots.append(_Slot(0, first, seeds[0] if seeds else None))
        self.observation_space = first.observation_space
        self.action_space = first.action_space
        try:
            self._check_size(num_envs)
            for index in range(1, num_envs):
                seed = seeds[index] if seeds else None
                self._slots.append(_Slot(index, self._build(), seed))
            self._writer = RowWriter(spaces.leaves(self.observation_space), num_envs)
            self._check_actions = ActionCheck(self.action_space)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._slots)

    def reset(self, request: messages.ResetRequest, rows: messages.Rows) -> int:
        """Reset the slots named, write a row for each, and return the nanoseconds spent on it.

        Raises `Refused` before any environment is touched.
        """
        indices, seeds = check_reset(request, len(self))
        started = perf_counter_ns()
        self._writer.begin()
        for row, index in enumerate(indices):
            self._reset(self._slots[index], seeds[row] if seeds else None)
        self._writer.write(rows)
        return perf_counter_ns() - started

    def step(self, request: messages.StepRequest, rows: messages.Rows) -> int:
        """Step every slot once, write a row for each, and return the nanoseconds spent on it.

        A slot whose last row ended an episode ignores its action and begins the next episode.
        Raises `Refused` before any environment is touched.
        """
        indices = check_step_slots(request.slots, len(self))
        slots = [self._slots[index] for index in indices]
        unready = [slot.index for slot in slots if slot.episode < 0 and slot.env is not None]
        if unready:
            raise Refused(
                Reason.NOT_RESET, f"Step before the first Reset of slots {unready}", slots=unready
            )
        ignored = [row for row, slot in enumerate(slots) if slot.ended or slot.env is None]
        actions = self._check_actions(request.action, len(slots), ignored)
        started = perf_counter_ns()
        self._writer.begin()
        for row, slot in enumerate(slots):
            self._step(slot, [leaf[row, ...] for leaf in actions])
        self._writer.write(rows)
        return perf_counter_ns() - started

    def close(self) -> None:
        """Close every environment; one that raises is logged."""
        for slot in self._slots:
            self._discard(slot)

    def _reset(self, slot: _Slot, seed: int | None) -> None:
        try:
            if slot.env is not None:
                self._begin_episode(slot, slot.first_seed if seed is None else seed)
            elif self._has_budget(slot):
                self._restart(slot, seed)
            else:
                self._add_failed(slot)
        except _ENV_ERRORS as error:
            self._recover(slot, error)

    def _step(self, slot: _Slot, action: list[np.ndarray]) -> None:
        if slot.env is None:
            self._add_failed(slot)
            return
        try:
            if slot.ended:
                self._begin_episode(slot, None)
                return
            result = slot.env.step(action)
            slot.step += 1
            self._writer.add(slot.index, result, episode=slot.episode, step=slot.step)
            slot.ended = bool(result.terminated or result.truncated)
        except _ENV_ERRORS as error:
            self._recover(slot, error)

    def _begin_episode(self, slot: _Slot, seed: int | None, status: int = messages.SLOT_OK) -> None:
        assert slot.env is not None
        slot.first_seed = None
        if seed is not None:
            slot.last_seed = seed
        result = slot.env.reset(seed)
        self._writer.add(slot.index, result, episode=slot.episode + 1, step=0, status=status)
        slot.episode += 1
        slot.step = 0
        slot.ended = False

    def _recover(self, slot: _Slot, error: BaseException) -> None:
        self._note_failure(slot, error)
        while self._has_budget(slot):
            try:
                self._restart(slot, None)
                return
            except _ENV_ERRORS as again:
                self._note_failure(slot, again)
        self._discard(slot)
        self._add_failed(slot)

    def _note_failure(self, slot: _Slot, error: BaseException) -> None:
        slot.failures.append(self._clock())
        slot.error = public_text(error, debug=self._debug)
        broke = isinstance(error, EnvContractError)
        slot.reason = Reason.ENV_CONTRACT if broke else Reason.ENV_FAILED
        _LOG.error(
            "slot %d failed in episode %d after step %d (failure %d in %.0f s)",
            slot.index,
            slot.episode,
            slot.step,
            len(slot.failures),
            self._limits.restart_window_s,
            exc_info=error,
        )

    def _has_budget(self, slot: _Slot) -> bool:
        horizon = self._clock() - self._limits.restart_window_s
        while slot.failures and slot.failures[0] <= horizon:
            slot.failures.popleft()
        return len(slot.failures) <= self._limits.max_restarts

    def _restart(self, slot: _Slot, seed: int | None) -> None:
        self._discard(slot)
        slot.env = self._build()
        slot.restarts += 1
        if seed is None and slot.last_seed is not None:
            entropy = np.random.SeedSequence([slot.last_seed, slot.restarts])
            seed = int(entropy.generate_state(1)[0])
        self._begin_episode(slot, seed, messages.SLOT_RESTARTED)
        self._writer.add_error(slot.index, slot.reason, slot.error)

    def _add_failed(self, slot: _Slot) -> None:
        self._writer.add_failed(slot.index, episode=max(slot.episode, 0))
        self._writer.add_error(slot.index, slot.reason, slot.error)

    def _build(self) -> Env:
        env = self._make()
        got = env.observation_space, env.action_space
        if got != (self.observation_space, self.action_space):
            env.close()
            raise EnvContractError("the slots of one session have different spaces")
        return env

    def _discard(self, slot: _Slot) -> None:
        env, slot.env = slot.env, None
        if env is None:
            return
        try:
            env.close()
        except _ENV_ERRORS:
            _LOG.exception("closing slot %d failed", slot.index)

    def _check_size(self, num_envs: int) -> None:
        for name, space in (("reply", self.observation_space), ("action", self.action_space)):
            size = batch_bytes(spaces.leaves(space), num_envs)
            if size > self._limits.max_message_bytes:
                raise Refused(
                    Reason.TOO_LARGE,
                    f"one {name} of {num_envs} slots needs about {size} bytes; "
                    f"a message may have {self._limits.max_message_bytes}",
                    field="num_envs",
                )
