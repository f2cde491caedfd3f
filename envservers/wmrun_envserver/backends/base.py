"""What an environment family promises to the server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from wmrun_envserver.wire import spaces


class ConfigError(ValueError):
    """An env option is unknown or has a value that cannot work; `field` names it."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class UnknownEnvError(LookupError):
    """The env id is not one that this server offers; the message names the closest ones."""


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


@dataclass(frozen=True)
class EnvTraits:
    """What a client may rely on for one env id and config."""

    max_episode_steps: int = 0
    """Agent steps until truncation; 0: unknown or unlimited."""
    deterministic: bool = True
    """Same seeds and actions give byte-equal rows."""
    reward_low: float = -np.inf
    reward_high: float = np.inf


@dataclass(frozen=True)
class EnvFamily:
    """What a family says of itself before any env is made."""

    name: str
    env_ids: tuple[str, ...] = ()
    """Every env id on offer, for listings and for the closest match."""
    renderer: str | None = None
    """The rendering backend in use (egl, osmesa, glfw), once one was chosen."""
    notes: tuple[str, ...] = field(default_factory=tuple)


class Backend(ABC):
    """An env family: one instance in a server process.

    Its module must not import the simulator; `__init__` may.
    """

    @abstractmethod
    def family(self) -> EnvFamily:
        """Return the family's name, its env ids and its renderer."""

    @abstractmethod
    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        """Check an env id and its options before a session is opened, building no env.

        Raises `UnknownEnvError` or `ConfigError`.
        """

    @abstractmethod
    def make(self, env_id: str, config: Mapping[str, Any]) -> Env:
        """Build one slot. Called with what `prepare` accepted."""
