"""The learning benchmarks by name: what is run, and when it counts as passed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wmrun.bench.curves import BENCHMARKS as FOLDER
from wmrun.bench.curves import Metric
from wmrun.bench.rules import Published, Rule, Threshold
from wmrun.errors import UsageError
from wmrun.spelling import closest


@dataclass(frozen=True)
class Benchmark:
    """An experiment that ships with wmrun, changes to it, and the rule for its curves."""

    name: str
    file: Path
    rule: Rule
    changes: tuple[str, ...] = ()
    """`key.path=value`, as on the command line."""

    @property
    def overrides(self) -> tuple[str, ...]:
        return (*self.changes, f"name={self.name}")


_DMC = {
    "walker-walk": "walker-walk",
    "cartpole-swingup": "cartpole-swingup",
    "cartpole-balance": "cartpole-balance",
    "reacher-easy": "reacher-easy",
    "finger-spin": "finger-spin",
    "cheetah-run": "cheetah-run",
    "cup-catch": "ball_in_cup-catch",
}
"""Name in dm_control of every task with published curves."""

_DMC_METHODS: dict[str, tuple[str, Metric]] = {
    "v1-dmc": ("dreamerv1_dmc_vision", "eval/return_mean"),
    "v2-dmc": ("dreamerv2_dmc_vision", "eval/return_mean"),
    # V3 published the returns of training episodes, with sampled actions.
    "v3-dmc": ("dreamerv3_dmc_vision", "train/return"),
    "v3-dmc-proprio": ("dreamerv3_dmc_proprio", "train/return"),
}
_DMC_TOLERANCE = 100.0
_PONG_TOLERANCE = 4.2
"""A tenth of the returns that a task can have."""


def _all() -> Iterator[Benchmark]:
    for prefix, (method, metric) in _DMC_METHODS.items():
        for task, env_id in _DMC.items():
            rule = Published(method, f"dmc_{_under(task)}", metric, _DMC_TOLERANCE)
            yield Benchmark(f"{prefix}-{task}", _file(prefix), rule, (f"env.task={env_id}",))
    yield _pong("v2-atari-pong", "dreamerv2_atari", "eval/return_mean")
    yield _pong("v3-atari-pong", "dreamerv3_atari57", "train/return")
    for version in ("v1", "v2", "v3"):
        yield _small(f"{version}-pendulum", Threshold(-250))
    for version in ("v2", "v3"):
        yield _small(f"{version}-cartpole", Threshold(450))
    yield _small("v3-cartpole-balance", Threshold(600, within_frames=60_000))
    yield _small("v2-pixels", Threshold(600))


def _pong(name: str, method: str, metric: Metric) -> Benchmark:
    return Benchmark(name, _file(name), Published(method, "atari_pong", metric, _PONG_TOLERANCE))


def _small(name: str, rule: Threshold) -> Benchmark:
    return Benchmark(name, _file(name), rule)


def _file(name: str) -> Path:
    return FOLDER / f"{_under(name)}.yaml"


def _under(name: str) -> str:
    return name.replace("-", "_")


BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in _all()}


def find_benchmark(name: str) -> Benchmark:
    """Return the benchmark of this name. Raises `UsageError` with the closest match."""
    if name not in BENCHMARKS:
        near = closest(name, BENCHMARKS)
        guess = "" if near is None else f"did you mean {near!r}? "
        raise UsageError(
            f"no benchmark is called {name!r}",
            hint=f"{guess}`wmrun bench learn --list` lists what there is",
        )
    return BENCHMARKS[name]
