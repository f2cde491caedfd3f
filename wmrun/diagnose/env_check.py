"""Plays random actions in an experiment's environments and looks for what spoils training."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from wmrun_envserver.wire import spaces
from wmrun_envserver.wire.status import Reason

from wmrun.config.schema import Config
from wmrun.diagnose.episode_watch import EpisodeWatch
from wmrun.diagnose.finding import Finding
from wmrun.diagnose.memory_watch import MemoryWatch
from wmrun.diagnose.observation_watch import ObservationWatch
from wmrun.envs.actions import ActionAdapter
from wmrun.envs.pool import EnvPool
from wmrun.envs.rows import Rows
from wmrun.envs.spec import EnvSpec
from wmrun.errors import EnvError

REPEATED_STEPS = 100
"""Steps that are played twice with the same seeds and actions."""
_SEED = 0
_MESSAGE_LENGTH = 300
_MESSAGE_LINES = 5


@dataclass(frozen=True)
class EnvCheck:
    """What was seen; `findings` first those that are wrong, then notes."""

    spec: EnvSpec
    num_envs: int
    steps: int
    """Agent steps, over all slots."""
    seconds_to_open: float
    seconds_to_reset: float
    steps_per_second: float
    episode_lengths: tuple[int, ...]
    episode_returns: tuple[float, ...]
    memory_mib: tuple[float, float] | None
    """Of the server and its processes, after the first quarter of the steps and at the end."""
    findings: tuple[Finding, ...] = field(default=())


def check_env(
    config: Config, log_dir: Path, *, steps: int = 1000, say: Callable[[str], None]
) -> EnvCheck:
    """Open the environments as a run would, step each slot `steps` times, and close them.

    Raises `EnvError` when they cannot be opened or reset. `say` hears what is being done.
    """
    say(f"opening {config.env.num_envs} x {config.env.task}")
    started = time.perf_counter()
    with _pool(config, log_dir) as pool:
        opened = time.perf_counter()
        play = _Play(pool, say)
        rows = play.reset()
        ready = time.perf_counter()
        play.steps(rows, steps)
        spent = time.perf_counter() - ready
        findings = [*play.findings(), *_unusable(pool.spec)]
    if not play.failed:
        say(f"playing {REPEATED_STEPS} steps twice with the same seeds")
        findings += _nondeterminism(config, log_dir, pool.spec)
    return EnvCheck(
        spec=pool.spec,
        num_envs=config.env.num_envs,
        steps=play.num_steps,
        seconds_to_open=opened - started,
        seconds_to_reset=ready - opened,
        steps_per_second=play.num_steps / spent,
        episode_lengths=tuple(play.episodes.lengths),
        episode_returns=tuple(play.episodes.returns),
        memory_mib=play.memory.growth,
        findings=tuple(sorted(findings, key=lambda finding: finding.is_note)),
    )


class _Play:
    """One pass with random actions."""

    def __init__(self, pool: EnvPool, say: Callable[[str], None]) -> None:
        self.num_steps = 0
        self.episodes = EpisodeWatch(pool.num_envs)
        self.memory = MemoryWatch(pool.server_pids())
        self._pool = pool
        self._say = say
        self._observations = ObservationWatch(pool.spec.obs_space)
        self._failures: dict[str, str] = {}

    @property
    def failed(self) -> bool:
        """Whether any environment had to be restarted."""
        return bool(self._failures)

    def reset(self) -> Rows:
        return self._seen(self._pool.reset(), 0)

    def steps(self, rows: Rows, steps: int) -> None:
        actions = _random_actions(self._pool.spec.act_space)
        self._say(f"stepping {steps:,} times with random actions")
        for step in range(1, steps + 1):
            if rows.failed:
                break
            rows = self._seen(self._pool.step(actions(len(rows.slots))), step)
            self.num_steps += int((~rows.is_first).sum())
            if step == steps // 4:
                self.memory.begin()
        self.memory.end(steps)

    def findings(self) -> Iterator[Finding]:
        for reason, message in self._failures.items():
            broke = reason == Reason.ENV_CONTRACT
            yield Finding(
                "env-breaks-contract" if broke else "env-failed",
                f"environments failed: {message}",
                "What an environment returns has to be finite and fit its spaces."
                if broke
                else "Its restarts cost the episode each time; the log of the server says more.",
            )
        yield from self._observations.findings()
        yield from self.episodes.findings()
        yield from self.memory.findings()

    def _seen(self, rows: Rows, step: int) -> Rows:
        for error in rows.errors:
            self._failures.setdefault(error.reason, f"{_cut(error.message)} (step {step})")
        if not rows.failed:
            self._observations.add(rows.slots, rows.obs, rows.is_first, step)
            self.episodes.add(rows)
        return rows


def _pool(config: Config, log_dir: Path) -> EnvPool:
    return EnvPool(config.env, log_dir=log_dir, seed=config.seed, role="probe")


def _random_actions(space: spaces.Space) -> Callable[[int], list[np.ndarray]]:
    rng = np.random.default_rng(_SEED)
    leaves = [leaf.space for leaf in spaces.leaves(space)]

    def draw(rows: int) -> list[np.ndarray]:
        return [
            np.stack([spaces.sample(leaf, rng) for _ in range(rows)]).astype(leaf.dtype)
            for leaf in leaves
        ]

    return draw


def _cut(message: str) -> str:
    """Return the first lines of what may be an exception with a whole array in it."""
    lines = "\n".join(message.splitlines()[:_MESSAGE_LINES])
    return message if len(message) <= _MESSAGE_LENGTH else f"{lines[:_MESSAGE_LENGTH]} …"


def _unusable(spec: EnvSpec) -> Iterator[Finding]:
    if not any(math.prod(leaf.shape) for leaf in spec.obs_space.values()):
        yield Finding(
            "empty-observation",
            "the observations have no elements: there is nothing to learn from",
            "Set env.image or env.vector to have some, or mend the environment's "
            "observation_space.",
        )
    try:
        ActionAdapter(spec.act_space)
    except EnvError as error:
        yield Finding("unusable-actions", error.message, error.hint or "")


def _nondeterminism(config: Config, log_dir: Path, spec: EnvSpec) -> list[Finding]:
    """Compare two sessions that are given the same seeds and actions."""
    if not spec.deterministic:
        message = "the environment says that equal seeds need not give equal episodes"
        return [Finding("not-deterministic", message, is_note=True)]
    streams = [_recorded(config, log_dir) for _ in range(2)]
    for step, (one, two) in enumerate(itertools.zip_longest(*streams)):
        difference = "the number of rows" if one is None or two is None else _differs(one, two)
        if difference:
            message = f"{difference} differs at step {step} under the same seeds and actions"
            hint = "Draw every random number from the generator that reset(seed) seeds."
            return [Finding("nondeterminism", message, hint)]
    return []


def _recorded(config: Config, log_dir: Path) -> list[Rows]:
    with _pool(config, log_dir) as pool:
        actions = _random_actions(pool.spec.act_space)
        rows = [_copy(pool.reset())]
        for _ in range(REPEATED_STEPS):
            rows.append(_copy(pool.step(actions(len(rows[-1].slots)))))
    return rows


def _copy(rows: Rows) -> Rows:
    return replace(rows, obs={key: np.array(value) for key, value in rows.obs.items()})


def _differs(one: Rows, two: Rows) -> str:
    """Return what differs in the first slot where anything does; empty for nothing."""
    if not np.array_equal(one.slots, two.slots):
        return "which slots have a row"
    columns: Sequence[tuple[str, np.ndarray, np.ndarray]] = [
        *((f"observation {key!r}", one.obs[key], two.obs[key]) for key in one.obs),
        ("the reward", one.reward, two.reward),
        ("terminated", one.terminated, two.terminated),
        ("truncated", one.truncated, two.truncated),
    ]
    for name, left, right in columns:
        for row, slot in enumerate(one.slots):
            equal_nan = left.dtype.kind == "f"
            if not np.array_equal(left[row], right[row], equal_nan=equal_nan):
                return f"{name} of slot {slot}"
    return ""
