"""The training loop around an agent that only counts, on the echo environment's real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import numpy as np
from rich.console import Console

from tests.run.counting_agent import CountingAgent
from wmrun.config.schema import EnvConfig, RunConfig
from wmrun.envs.actions import ActionAdapter
from wmrun.envs.driver import Driver
from wmrun.envs.pool import EnvPool, Role
from wmrun.replay.rows import row_spec
from wmrun.replay.sampler import Sampler
from wmrun.replay.storage import Replay
from wmrun.replay.windows import UniformWindows, WindowSource
from wmrun.run.checkpoint import CheckpointStore
from wmrun.run.evaluate import Evaluation, evaluate
from wmrun.run.progress import RunProgress
from wmrun.run.signals import StopSignals
from wmrun.run.tracker import Counters, RunInfo, Status
from wmrun.run.train import Trainer, TrainingParts

EPISODE_LENGTH = 5
NUM_ENVS = 2
BATCH = (2, 4)
SETTINGS = RunConfig(
    env_steps=60,
    prefill=20,
    pretrain=3,
    train_ratio=4.0,
    eval_every=30,
    eval_episodes=2,
    checkpoint_every=25,
    log_every=10,
)


MakeSource = Callable[[Replay, int], WindowSource]


@dataclass
class ListTracker:
    points: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    def start(self, run: RunInfo) -> None: ...

    def log(self, metrics: Mapping[str, float], counters: Counters) -> None:
        self.points.append((counters.env_steps, dict(metrics)))

    def artifact(self, path: Path, folder: str = "") -> None: ...

    def finish(self, status: Status) -> None: ...

    def steps_of(self, name: str) -> list[int]:
        return [step for step, metrics in self.points if name in metrics]


def open_driver(logs: Path, role: Role) -> Iterator[Driver]:
    config = EnvConfig(
        backend="echo", task="echo", num_envs=NUM_ENVS, options={"length": EPISODE_LENGTH}
    )
    with EnvPool(config, log_dir=logs, seed=0, role=role) as pool:
        yield Driver(pool, ActionAdapter(pool.spec.act_space))


@dataclass
class Loop:
    trainer: Trainer
    agent: CountingAgent
    replay: Replay
    tracker: ListTracker
    signals: StopSignals
    output: StringIO


def build_loop(
    driver: Driver,
    eval_driver: Driver,
    folder: Path,
    settings: RunConfig = SETTINGS,
    *,
    source: MakeSource = UniformWindows,
    context: int = 0,
    diverge_at: int | None = None,
    agent: CountingAgent | None = None,
) -> Loop:
    agent = agent or CountingAgent(driver.adapter.size, diverge_at=diverge_at, context=context)
    rows = row_spec({"vector": ((4,), np.float32)}, driver.adapter.size)
    replay = Replay(
        folder / "replay",
        rows,
        capacity=100 * driver.num_envs,
        num_envs=driver.num_envs,
        entries=agent.replay_entries,
    )
    windows = source(replay, context + BATCH[1])
    tracker, signals, output = ListTracker(), StopSignals(), StringIO()

    def play(counters: Counters) -> Evaluation | None:
        return evaluate(agent, eval_driver, episodes=settings.eval_episodes)

    parts = TrainingParts(
        agent=agent,
        driver=driver,
        save_envs=dict,
        replay=replay,
        sampler=Sampler(replay, windows, batch_size=BATCH[0], seed=0, context=context),
        evaluate=play,
        tracker=tracker,
        checkpoints=CheckpointStore(folder / "checkpoints"),
        progress=RunProgress(settings.env_steps, console=Console(file=output)),
        signals=signals,
        diverged_dir=folder / "diverged",
    )
    trainer = Trainer(settings, parts, action_repeat=1, seed=0)
    return Loop(trainer, agent, replay, tracker, signals, output)
