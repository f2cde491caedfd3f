"""What an environment family promises to the server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from wmrun_envserver.wire import spaces

SeedScope = Literal["reset", "session", "none"]


class ConfigError(ValueError):
    """An env option is unknown or has a value that cannot work; `field` names it."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class UnknownEnvError(LookupError):
    """The env id is not one that this server offers; the message names the closest ones."""


class EnvContractError(Exception):
    """An environment returned what its own spaces, or the backend contract, do not allow.

    A mistake to mend, not an accident: the learner stops at it.
    """


class SourceError(ValueError):
    """What `--env ID=SOURCE` names cannot be an environment of this family."""


class NeedsPartialBatch(Exception):
    """A simulator whose slots move at different times was made without `partial`."""


class StepResult(NamedTuple):
    """One observation and what came with it.

    `obs` holds one array per leaf of the observation space, in depth-first order. `info` values are
    numbers, bools or strings.
    """

    obs: Sequence[np.ndarray]
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: Mapping[str, float | bool | str] = {}


class Env(ABC):
    """One slot: a single simulator that is reset and stepped. Never autoresets; the server does."""

    observation_space: spaces.Space
    action_space: spaces.Space

    @abstractmethod
    def reset(self, seed: int | None) -> StepResult:
        """Start an episode; a seed of None continues the env's own random stream."""

    @abstractmethod
    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        """Apply one action, one array per leaf of the action space, validated by the server.

        Called only between a reset and the end of the episode it began.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the simulator; called once."""

    def render(self) -> np.ndarray:
        """Return the current frame, uint8 `[height, width, 3]`, changing no state.

        Called only on envs that were made with `render`.
        """
        raise NotImplementedError(f"{type(self).__name__} draws nothing")

    def child_pids(self) -> Sequence[int]:
        """Return the processes of this simulator that left the process group of its maker.

        Asked for after every build and reset. They are killed with a worker process that is ended.
        """
        return ()


class Batch(NamedTuple):
    """One row of each of `n` slots of a `VectorEnv`; row `i` is of slot `slots[i]`.

    `obs` holds one array `[n, …leaf shape]` per leaf of the observation space. A row that begins an
    episode has `is_first`, no reward and no end. Arrays belong to the reader until the next call.
    """

    slots: np.ndarray
    """int64 `[n]`, each slot at most once."""
    obs: Sequence[np.ndarray]
    reward: np.ndarray
    """float64 `[n]`"""
    terminated: np.ndarray
    """bool `[n]`"""
    truncated: np.ndarray
    """bool `[n]`"""
    is_first: np.ndarray
    """bool `[n]`"""
    info: Mapping[str, tuple[Sequence[int], Sequence[float | bool | str]]] = {}
    """By key: the rows (indices into this batch) that have a value, and the values."""


class VectorEnv(ABC):
    """The slots of one simulator that moves them together: an EnvPool, the agents of a Unity scene.

    Never resets a slot unasked: one that ended is stepped again only after a reset.
    """

    observation_space: spaces.Space
    action_space: spaces.Space

    @abstractmethod
    def advance(
        self,
        step: Sequence[int],
        action: Sequence[np.ndarray],
        reset: Sequence[int],
        seeds: Sequence[int] | None = None,
    ) -> Batch:
        """Step the slots `step` and begin an episode in the slots `reset`; none is in both.

        `action` has one array `[len(step), …leaf shape]` per leaf, validated by the server; `seeds`
        one per slot of `reset`, or None to go on with the simulator's random stream.

        A simulator that was made without `partial` returns one row for every slot named. One with
        `partial` returns those that are there, which may be none, or also rows of slots that were
        named in a call before: a slot's next row comes once its last was answered, and a simulator
        that waits for more answers before it moves returns what it has.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the simulator; called once."""

    def render(self, slot: int) -> np.ndarray:
        """Return the current frame of a slot, uint8 `[height, width, 3]`, changing no state."""
        raise NotImplementedError(f"{type(self).__name__} draws nothing")

    def child_pids(self) -> Sequence[int]:
        """Return the processes of this simulator that left the process group of its maker.

        Asked for after every build and reset. They are killed with a worker process that is ended.
        """
        return ()


@dataclass(frozen=True)
class EnvTraits:
    """What a client may rely on for one env id and config, and what the server needs to know."""

    max_episode_steps: int = 0
    """Agent steps until truncation; 0: unknown or unlimited."""
    deterministic: bool = True
    """Same seeds and actions give byte-equal rows."""
    reward_low: float = -np.inf
    reward_high: float = np.inf
    seed_scope: SeedScope = "reset"
    """When seeds are used: at every reset, only when the session is opened, or never."""
    render_modes: tuple[str, ...] = ()
    """What OpenSession may ask for as `render_mode`; "rgb_array" where `render` works."""
    slots_per_simulator: int | None = None
    """How many slots one `VectorEnv` of this config holds; None: all slots of the session."""
    resets_together: bool = False
    """Whether a reset in the middle of an episode must name all slots of the simulator that are in
    one; the server refuses one of fewer."""
    any_thread: bool = False
    """Whether simulators may be moved by other threads than the one that built them, one at a time:
    it saves two hand-overs per call. Not those that draw: a drawing context belongs to a thread."""
    isolate: bool = False
    """Whether the server gives simulators a process of their own unless it was told otherwise."""


@dataclass(frozen=True)
class EnvFamily:
    """What a family says of itself before any env is made."""

    name: str
    env_ids: tuple[str, ...] = ()
    """Every env id on offer, for listings and for the closest match."""
    renderer: str | None = None
    """The rendering backend in use (egl, osmesa, glfw), once one was chosen."""
    notes: tuple[str, ...] = field(default_factory=tuple)


class _Family(ABC):
    """What every backend has: one instance in a server process, and one in each worker process.

    Its module must not import the simulator; `__init__` may.
    """

    @abstractmethod
    def family(self) -> EnvFamily:
        """Return the family's name, its env ids and its renderer."""

    def offer(self, env_id: str, source: str) -> None:
        """Offer what `source` names under `env_id`: the server's command line said `--env`.

        Called before anything else. Raises `SourceError`.
        """
        raise SourceError(
            f"--env {env_id}={source}: the {self.family().name} backend takes no environments from "
            "the command line"
        )

    @abstractmethod
    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        """Check an env id and its options before a session is opened, building no env.

        Raises `UnknownEnvError` or `ConfigError`.
        """

    def listed(self, env_id: str) -> EnvTraits:
        """Return the traits of `env_id` without options, for listings.

        Raises what says why it cannot be made here. To be overridden where `prepare` is slow or
        settles something for good, such as the choice of a renderer.
        """
        return self.prepare(env_id, {})


class Backend(_Family):
    """An env family whose slots are simulators of their own."""

    @abstractmethod
    def make(self, env_id: str, config: Mapping[str, Any], *, render: bool = False) -> Env:
        """Build one slot. Called with what `prepare` accepted.

        With `render`, which is asked for only where the traits name a render mode, frames can be
        had from `Env.render` whatever the observations are.
        """


class VectorBackend(_Family):
    """An env family whose simulators hold several slots each."""

    @abstractmethod
    def make_vector(
        self,
        env_id: str,
        config: Mapping[str, Any],
        num_slots: int,
        *,
        seeds: Sequence[int] | None = None,
        partial: bool = False,
        render: bool = False,
    ) -> VectorEnv:
        """Build one simulator with `num_slots` slots. Called with what `prepare` accepted.

        `seeds`, one per slot, are given where the seed scope is the session. `partial` lets
        `VectorEnv.advance` return fewer rows than it was asked for.
        """


AnyBackend = Backend | VectorBackend
