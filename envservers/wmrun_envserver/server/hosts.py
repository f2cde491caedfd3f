"""Where the simulators of a session live, and what is asked of them."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np

from wmrun_envserver.backends.base import EnvContractError
from wmrun_envserver.server.refusal import public_text
from wmrun_envserver.server.rows import RowTable
from wmrun_envserver.wire import spaces
from wmrun_envserver.wire.status import Reason

_LOG = logging.getLogger(__name__)

# A simulator may call sys.exit(), or raise what a Ctrl-C would: that costs its slots an episode,
# not the session its thread.
ENV_ERRORS = (Exception, SystemExit, KeyboardInterrupt)

Until = Literal["all", "any", "now"]
"""How long to wait for restarts: for all of them, for the first row or failure, or not at all."""


class Move(NamedTuple):
    """What slots do next: row `i` of every action is for `step[i]`, `seeds[i]` for `reset[i]`."""

    step: Sequence[int]
    action: Sequence[np.ndarray]
    reset: Sequence[int]
    seeds: Sequence[int | None]

    def within(self, slots: range) -> Move:
        """Return the part of the move that concerns `slots`."""
        rows = [row for row, slot in enumerate(self.step) if slot in slots]
        resets = [row for row, slot in enumerate(self.reset) if slot in slots]
        if len(rows) == len(self.step) and len(resets) == len(self.reset):
            return self
        return Move(
            [self.step[row] for row in rows],
            [leaf[rows] for leaf in self.action],
            [self.reset[row] for row in resets],
            [self.seeds[row] for row in resets],
        )

    @property
    def is_empty(self) -> bool:
        """Whether nobody moves."""
        return not self.step and not self.reset


class Failure(NamedTuple):
    """Slots that lost their simulator in one accident, in words fit for the client."""

    slots: tuple[int, ...]
    reason: str
    message: str


class Restart(NamedTuple):
    """Simulators to build anew, and which of their slots to reset then, after `delay_s`."""

    slots: tuple[int, ...]
    reset: tuple[int, ...]
    seeds: Mapping[int, int]
    """By slot; a slot that is not in it goes without."""
    delay_s: float


class Simulator(Protocol):
    """What `Env` and `VectorEnv` have in common."""

    observation_space: spaces.Space
    action_space: spaces.Space

    def close(self) -> None: ...

    def child_pids(self) -> Sequence[int]: ...


class Spec:
    """The spaces that all simulators of a session share; those of the first one admitted."""

    def __init__(self, on_first: Callable[[spaces.Space, spaces.Space], None]) -> None:
        """`on_first` is told the spaces as soon as they are known; what it raises is raised."""
        self._on_first = on_first
        self._spaces: tuple[spaces.Space, spaces.Space] | None = None

    @property
    def observation_space(self) -> spaces.Space:
        """Known once a simulator was admitted."""
        assert self._spaces is not None
        return self._spaces[0]

    @property
    def action_space(self) -> spaces.Space:
        """Known once a simulator was admitted."""
        assert self._spaces is not None
        return self._spaces[1]

    @property
    def no_action(self) -> list[np.ndarray]:
        """The action of no slot: one array `[0, …leaf shape]` per leaf."""
        leaves = spaces.leaves(self.action_space)
        return [np.zeros((0, *leaf.space.shape), leaf.space.dtype) for leaf in leaves]

    def admit(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        """Raise `EnvContractError` where these are not the spaces of the first."""
        got = observation_space, action_space
        if self._spaces is None:
            self._on_first(*got)
            self._spaces = got
        elif self._spaces != got:
            raise EnvContractError("the slots of one session have different spaces")


class Host(ABC):
    """The simulators of one session. A failure costs only the slots that it names their simulator.

    `slots_per_simulator` consecutive slots share one simulator.
    """

    slots_per_simulator: int

    @property
    def renderer(self) -> str:
        """What draws the images, where the host knows better than the server process."""
        return ""

    def mates(self, slot: int) -> tuple[int, ...]:
        """Return the slots that share the simulator of `slot`."""
        start = slot - slot % self.slots_per_simulator
        return tuple(range(start, start + self.slots_per_simulator))

    @abstractmethod
    def advance(self, move: Move, table: RowTable) -> list[Failure]:
        """Step and reset slots whose simulators are there, and add their rows to `table`.

        Raises `NeedsPartialBatch`, or the `Refused` that it comes to: simulators may have moved.
        """

    @abstractmethod
    def restart(self, restart: Restart) -> None:
        """Begin to replace simulators; `collect` returns what came of it."""

    @abstractmethod
    def collect(self, table: RowTable, until: Until) -> tuple[list[int], list[Failure]]:
        """Finish restarts and add the rows of their resets; return the slots rebuilt, and failures.

        A restart whose pause is not over yet keeps nobody waiting unless `until` says so.
        """

    @abstractmethod
    def discard(self, slots: Sequence[int]) -> None:
        """Close the simulators of slots that were given up."""

    @abstractmethod
    def render(self, slot: int) -> np.ndarray:
        """Return the frame of a slot whose simulator is there; raises what went wrong."""

    @abstractmethod
    def close(self) -> None:
        """Close every simulator; one that raises is logged."""


def close_quietly(simulator: Simulator, slot: int) -> None:
    """Close a simulator; one that raises is logged."""
    try:
        simulator.close()
    except ENV_ERRORS:
        _LOG.exception("closing the simulator of slot %d failed", slot)


def failure_of(slots: Sequence[int], error: BaseException, *, debug: bool) -> Failure:
    """Return `error` as the reason why `slots` lost their simulator."""
    broke = isinstance(error, EnvContractError | spaces.SpaceError)
    reason = Reason.ENV_CONTRACT if broke else Reason.ENV_FAILED
    return Failure(tuple(slots), reason, public_text(error, debug=debug))
