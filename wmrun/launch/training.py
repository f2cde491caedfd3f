"""Starting and resuming runs."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from rich.console import Console

from wmrun.config.dump import dump_yaml
from wmrun.config.load import load_config
from wmrun.config.schema import Config
from wmrun.envs.errors import EnvStartError, EnvStopped, EnvUnreachable
from wmrun.errors import ExitCode, RunError
from wmrun.launch.banner import describe_run
from wmrun.launch.changes import changed_keys
from wmrun.launch.evaluation import Evaluator, save_video
from wmrun.launch.parts import (
    build_agent,
    build_replay,
    build_sampler,
    build_tracker,
    choose_device,
    open_envs,
    replay_rows,
)
from wmrun.launch.room import missing_room
from wmrun.run.checkpoint import Checkpoint, CheckpointStore
from wmrun.run.directory import RUNS, RunDirectory, create_run
from wmrun.run.evaluate import Evaluation
from wmrun.run.files import write_atomically
from wmrun.run.progress import RunProgress
from wmrun.run.provenance import describe_process
from wmrun.run.signals import StopSignals
from wmrun.run.tracker import Counters, RunInfo, Status
from wmrun.run.train import Trainer, TrainingParts


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    run: RunDirectory
    status: Status
    exit_code: ExitCode
    counters: Counters


def start_run(config: Config, *, console: Console, root: Path = RUNS) -> Outcome:
    """Train from scratch in a fresh run directory; one that never began is removed again."""
    run = create_run(config.name, dump_yaml(config), root=root)
    try:
        return _train(config, run, console, checkpoint=None)
    except BaseException:
        if run.read_record()["status"] == "STARTING":
            run.discard()
        raise


def resume_run(
    run: RunDirectory,
    overrides: Sequence[str],
    *,
    console: Console,
    checkpoint: str = "last",
) -> Outcome:
    """Continue a stopped run from a checkpoint, with `overrides` applied to its config.

    What changes is shown and becomes the run's config. Raises `RunError` when a live process writes
    the run, or when it has no checkpoint or nothing left to do.
    """
    config = load_config(run.config_file, overrides)
    start = CheckpointStore(run.checkpoints).find(checkpoint)
    if start.env_steps >= config.run.env_steps:
        raise RunError(
            f"run {run.run_id} is complete: it has {start.env_steps:,} of "
            f"{config.run.env_steps:,} env steps",
            hint=f"To train longer: wmrun resume {run.path} run.env_steps="
            f"{2 * config.run.env_steps}",
        )
    run.claim()
    changes = changed_keys(load_config(run.config_file), config)
    console.print(f"resuming {run.path} at {start.env_steps:,} env steps", soft_wrap=True)
    for key, (before, after) in changes.items():
        console.print(f"  {key}: {before} -> {after}", markup=False)
    return _train(config, run, console, start)


def _train(
    config: Config, run: RunDirectory, console: Console, checkpoint: Checkpoint | None
) -> Outcome:
    with ExitStack() as stack:
        signals = stack.enter_context(StopSignals())
        progress = stack.enter_context(RunProgress(config.run.env_steps, console=console))
        try:
            trainer = _build_trainer(config, run, stack, signals, progress, checkpoint)
        except EnvStopped as stopped:
            stopped.exit_code = signals.exit_code
            raise
        write_atomically(run.config_file, dump_yaml(config))
        return _run(trainer, run, run_info(config, run, checkpoint))


def _build_trainer(
    config: Config,
    run: RunDirectory,
    stack: ExitStack,
    signals: StopSignals,
    progress: RunProgress,
    checkpoint: Checkpoint | None,
) -> Trainer:
    """Open and build everything, in the order in which mistakes are cheapest to find."""
    progress.phase("starting the environment server")
    pool_state = None if checkpoint is None else checkpoint.state()["envs"]

    def should_stop() -> bool:
        return signals.received is not None

    envs = stack.enter_context(
        open_envs(config, run, role="train", pool_state=pool_state, should_stop=should_stop)
    )
    progress.phase("building the agent")
    device = choose_device(config.device.name)
    agent = build_agent(config, envs.spec, device)
    rows = replay_rows(envs)
    replay = stack.enter_context(build_replay(config, rows, agent, run))
    for line in describe_run(config, run, envs, agent, rows, device):
        progress.say(line)
    run.update_record(**describe_process(device))
    for line in missing_room(config, envs.spec):
        progress.say(line)
    evaluator = stack.enter_context(
        Evaluator(
            config,
            run,
            agent,
            episodes=config.run.eval_episodes,
            say=progress.say,
            should_stop=should_stop,
        )
    )
    tracker = build_tracker(config)

    def evaluate(counters: Counters) -> Evaluation | None:
        try:
            evaluation = evaluator.evaluate(video=config.run.video)
        except (EnvStartError, EnvUnreachable) as error:
            progress.say(
                f"no evaluation at {counters.env_steps:,} env steps, the next will be tried: "
                f"{error.message}"
            )
            return None
        if evaluation is not None:
            video = save_video(run, evaluation, f"eval_step_{counters.env_steps:012d}")
            if video is not None:
                tracker.artifact(video, "videos")
        return evaluation

    parts = TrainingParts(
        agent=agent,
        driver=envs.driver,
        save_envs=envs.save,
        replay=replay,
        sampler=build_sampler(config, replay, agent, longest_episode=envs.spec.max_episode_steps),
        evaluate=evaluate,
        tracker=tracker,
        checkpoints=CheckpointStore(run.checkpoints, keep=config.run.keep_checkpoints),
        progress=progress,
        signals=signals,
        diverged_dir=run.path / "diverged",
    )
    trainer = Trainer(config.run, parts, action_repeat=config.env.action_repeat, seed=config.seed)
    if checkpoint is not None:
        trainer.restore(checkpoint)
    return trainer


def _run(trainer: Trainer, run: RunDirectory, info: RunInfo) -> Outcome:
    """Train, and leave the final status in run.json and with the tracker however it ends."""
    signals, tracker = trainer.parts.signals, trainer.parts.tracker
    run.update_record(status="RUNNING")
    tracker.start(info)
    status: Status = "FAILED"
    try:
        counters = trainer.run()
        status = "FINISHED" if signals.received is None else "KILLED"
    finally:
        trainer.parts.progress.phase("sending the last metrics")
        tracker.finish(status)
        ended = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with contextlib.suppress(OSError):  # a full disk has its own error on the way
            run.update_record(status=status, env_steps=trainer.counters.env_steps, ended=ended)
    return Outcome(run, status, signals.exit_code, counters)


def run_info(config: Config, run: RunDirectory, checkpoint: Checkpoint | None) -> RunInfo:
    """Describe the run to its trackers."""
    record = run.read_record()
    tags = {
        "wmrun.run_dir": str(run.path.absolute()),
        "wmrun.run_id": run.run_id,
        "wmrun.version": record["versions"]["wmrun"],
        "wmrun.command": shlex.join(record["command"]),
        "wmrun.git_commit": record["git_commit"],
    }
    return RunInfo(
        run_dir=run.path,
        run_id=run.run_id,
        name=config.name,
        experiment=config.tracking.experiment or config.name,
        config=config.model_dump(mode="json"),
        config_file=run.config_file,
        tags={key: value for key, value in tags.items() if value},
        resumed_env_steps=None if checkpoint is None else checkpoint.env_steps,
    )
