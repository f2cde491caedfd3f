"""How fast env servers are, each case beside what it is to be compared with."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from math import inf, isqrt

from wmrun.bench.env_bare import BareServer, sample_step
from wmrun.bench.env_peers import async_vector_env
from wmrun.bench.env_stepping import Timer, driven, in_turn, timer
from wmrun.bench.env_tcp import on_tcp
from wmrun.config.schema import EnvConfig, ImageConfig, ServerConfig, ServerShareConfig
from wmrun.envs.errors import EnvStartError

NUM_SLOTS = 16
_REPLY_MEGABYTES = (0.2, 0.5, 1, 2, 4)

Source = Callable[[], AbstractContextManager[Timer]]


@dataclass(frozen=True)
class Target:
    """What a figure should be at least or at most."""

    of: str
    """ratio, env_steps_per_s or ms"""
    at_least: float = -inf
    at_most: float = inf

    def __str__(self) -> str:
        unit = {"ratio": "x", "ms": " ms", "env_steps_per_s": " env steps/s"}[self.of]
        if self.at_least > -inf:
            return f">= {self.at_least:,g}{unit}"
        return f"<= {self.at_most:,g}{unit}"


@dataclass(frozen=True)
class Case:
    """Batched steps of `slots` slots, and others to compare them with, if any."""

    name: str
    slots: int
    steps: Source
    baseline_name: str = ""
    baseline: Source | None = None
    ratio_of: str = "rate"
    """rate: how many times as fast as the baseline; time: how many times as long."""
    target: Target | None = None


@dataclass(frozen=True)
class Measured:
    """Milliseconds per batched step, one figure per round."""

    case: Case
    ms: tuple[float, ...]
    baseline_ms: tuple[float, ...] = ()

    @property
    def median_ms(self) -> float:
        return statistics.median(self.ms)

    @property
    def env_steps_per_s(self) -> float:
        return self.case.slots * 1000 / self.median_ms

    @property
    def ratio(self) -> float | None:
        """The median over the rounds; what the machine did meanwhile met both."""
        if not self.baseline_ms:
            return None
        ratio = statistics.median(a / b for a, b in zip(self.ms, self.baseline_ms, strict=True))
        return ratio if self.case.ratio_of == "time" else 1 / ratio

    @property
    def is_met(self) -> bool | None:
        """Whether the figure is what it should be; None where nothing is said of it."""
        target = self.case.target
        if target is None:
            return None
        figures = {
            "ratio": self.ratio,
            "ms": self.median_ms,
            "env_steps_per_s": self.env_steps_per_s,
        }
        figure = figures[target.of]
        return figure is not None and target.at_least <= figure <= target.at_most


@dataclass(frozen=True)
class Skipped:
    """A case that this machine cannot run."""

    case: Case
    why: str


def bench_env(
    *, seconds: float = 1.0, rounds: int = 5, only: str = ""
) -> Iterator[Measured | Skipped]:
    """Measure every case whose name has `only` in it, over `rounds` of `seconds` each.

    Servers are started here, on Unix sockets.
    """
    for case in cases():
        if only.lower() in case.name.lower():
            yield _measure(case, seconds, rounds)


def cases() -> list[Case]:
    """Return the cases in the order in which they are measured."""
    echo = EnvConfig(backend="echo", task="echo", num_envs=1)
    cartpole = EnvConfig(backend="gym", task="CartPole-v1", num_envs=NUM_SLOTS)
    envpool = cartpole.model_copy(update={"backend": "envpool"})
    frames = echo.model_copy(update={"num_envs": NUM_SLOTS, "image": ImageConfig()})
    walker = cartpole.model_copy(update={"backend": "dmc", "task": "walker-walk"})
    return [
        _beside_bare("echo, 4 floats", echo, Target("ratio", at_most=1.3)),
        _beside_bare("echo, 4 floats", echo.model_copy(update={"num_envs": NUM_SLOTS})),
        _by_calls("echo by gRPC alone, over TCP", echo),
        _beside_gymnasium("CartPole-v1", cartpole, Target("ratio", at_least=3)),
        _beside_gymnasium("CartPole-v1 through envpool", envpool, Target("ratio", at_least=5)),
        _beside_bare("64x64x3 frames", frames, Target("env_steps_per_s", at_least=10_000)),
        Case(
            "64x64x3 frames, CPU time of the learner",
            NUM_SLOTS,
            lambda: driven(frames, time.process_time),
            target=Target("ms", at_most=0.5),
        ),
        _on_two_servers(cartpole),
        _on_two_servers(walker),
        _in_two_workers(cartpole),
        _in_two_workers(walker),
        *(_of_size(megabytes, frames) for megabytes in _REPLY_MEGABYTES),
    ]


def _on_two_servers(config: EnvConfig) -> Case:
    shares = [ServerShareConfig(num_envs=config.num_envs // 2) for _ in range(2)]
    return Case(
        f"{config.task} on two servers",
        config.num_envs,
        lambda: driven(config.model_copy(update={"servers": shares})),
        "one server",
        lambda: driven(config),
        target=Target("ratio", at_least=1),
    )


def _in_two_workers(config: EnvConfig) -> Case:
    return Case(
        f"{config.task} in two worker processes",
        config.num_envs,
        lambda: driven(config.model_copy(update={"server": ServerConfig(workers=2)})),
        "in the server process",
        lambda: driven(config),
    )


def _of_size(megabytes: float, frames: EnvConfig) -> Case:
    side = isqrt(round(megabytes * 1e6 / NUM_SLOTS / 3))
    config = frames.model_copy(update={"image": ImageConfig(size=(side, side))})
    return _beside_bare(f"replies of {megabytes:g} MB", config)


def _beside_bare(name: str, config: EnvConfig, target: Target | None = None) -> Case:
    return Case(
        name,
        config.num_envs,
        lambda: driven(config),
        "bare gRPC round trip",
        lambda: _bare(config),
        "time",
        target,
    )


def _by_calls(name: str, config: EnvConfig) -> Case:
    return Case(
        name,
        config.num_envs,
        lambda: _driven_on_tcp(config),
        "bare gRPC round trip",
        lambda: _bare(config),
        "time",
    )


def _beside_gymnasium(name: str, config: EnvConfig, target: Target) -> Case:
    return Case(
        name,
        config.num_envs,
        lambda: driven(config),
        "AsyncVectorEnv",
        lambda: async_vector_env(config.task, config.num_envs),
        target=target,
    )


@contextmanager
def _driven_on_tcp(config: EnvConfig) -> Iterator[Timer]:
    with on_tcp(config) as at_address, driven(at_address) as timed:
        yield timed


@contextmanager
def _bare(config: EnvConfig) -> Iterator[Timer]:
    with BareServer(*sample_step(config)) as server:
        yield timer(server.call)


def _measure(case: Case, seconds: float, rounds: int) -> Measured | Skipped:
    try:
        with ExitStack() as stack:
            sources = [case.steps] if case.baseline is None else [case.steps, case.baseline]
            timers = [stack.enter_context(source()) for source in sources]
            results = in_turn(timers, seconds=seconds, rounds=rounds)
    except (ImportError, EnvStartError) as error:
        return Skipped(case, str(error))
    return Measured(case, *(tuple(1000 * second for second in result) for result in results))
