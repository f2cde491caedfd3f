"""Starting and resuming runs."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from wmrun.config.dump import dump_yaml
from wmrun.config.load import load_config
from wmrun.config.schema import Config
from wmrun.errors import ExitCode, RunError
from wmrun.launch.banner import describe_run
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
from wmrun.run.checkpoint import Checkpoint, CheckpointStore
from wmrun.run.directory import RUNS, RunDirectory, create_run
from wmrun.run.evaluate import Evaluation
from wmrun.run.progress import RunProgress
from wmrun.run.signals import StopSignals
from wmrun.run.tracker import Counters, RunInfo, Status, Tracker
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
        return _Session(config, run, console).train(checkpoint=None)
    except BaseException:
        if run.read_record()["status"] == "STARTING":
            run.discard()
        raise


def resume_run(run: RunDirectory, overrides: Sequence[str], *, console: Console) -> Outcome:
    """Continue a stopped run from its last checkpoint, with `overrides` applied to its config.

    Raises `RunError` when the run is being written by a live process or has no checkpoint.
    """
    config = load_config(run.config_file, overrides)
    checkpoint = CheckpointStore(run.checkpoints).find("last")
    if checkpoint.env_steps >= config.run.env_steps:
        raise RunError(
            f"run {run.run_id} is complete: it has {checkpoint.env_steps:,} of "
            f"{config.run.env_steps:,} env steps",
            hint=f"To train longer: wmrun resume {run.path} run.env_steps="
            f"{2 * config.run.env_steps}",
        )
    run.claim()
    return _Session(config, run, console).train(checkpoint)


class _Session:
    """One process's work on a run, from opening the environments to the final status."""

    def __init__(self, config: Config, run: RunDirectory, console: Console) -> None:
        self.config = config
        self.run = run
        self.console = console

    def train(self, checkpoint: Checkpoint | None) -> Outcome:
        config, run = self.config, self.run
        with ExitStack() as stack:
            signals = stack.enter_context(StopSignals())
            progress = RunProgress(config.run.env_steps, console=self.console)
            stack.enter_context(progress)
            progress.phase("starting the environment server")
            pool_state = None if checkpoint is None else checkpoint.state()["envs"]
            envs = stack.enter_context(open_envs(config, run, role="train", pool_state=pool_state))
            progress.phase("building the agent")
            device = choose_device(config.device)
            agent = build_agent(config, envs.spec, device)
            rows = replay_rows(envs)
            replay = stack.enter_context(build_replay(config, rows, run))
            for line in describe_run(config, run, envs, agent, rows, device):
                progress.say(line)
            evaluator = stack.enter_context(
                Evaluator(config, run, agent, episodes=config.run.eval_episodes)
            )
            tracker = build_tracker(config)
            tracker.start(run_info(config, run, checkpoint))

            def evaluate(counters: Counters) -> Evaluation | None:
                evaluation = evaluator.evaluate(
                    video=config.run.video, should_stop=lambda: signals.received is not None
                )
                self._track_video(tracker, evaluation, counters)
                return evaluation

            parts = TrainingParts(
                agent=agent,
                driver=envs.driver,
                save_envs=envs.save,
                replay=replay,
                sampler=build_sampler(config, replay),
                evaluate=evaluate,
                tracker=tracker,
                checkpoints=CheckpointStore(run.checkpoints, keep=config.run.keep_checkpoints),
                progress=progress,
                signals=signals,
                diverged_dir=run.path / "diverged",
            )
            trainer = Trainer(
                config.run, parts, action_repeat=config.env.action_repeat, seed=config.seed
            )
            if checkpoint is not None:
                trainer.restore(checkpoint)
            return self._run(trainer, tracker, signals)

    def _run(self, trainer: Trainer, tracker: Tracker, signals: StopSignals) -> Outcome:
        self.run.update_record(status="RUNNING", versions=_versions())
        status: Status = "FAILED"
        try:
            counters = trainer.run()
            status = "FINISHED" if signals.received is None else "KILLED"
        finally:
            trainer.parts.progress.phase("sending the last metrics")
            tracker.finish(status)
            self.run.update_record(status=status, env_steps=trainer.counters.env_steps)
        return Outcome(self.run, status, signals.exit_code, counters)

    def _track_video(
        self, tracker: Tracker, evaluation: Evaluation | None, counters: Counters
    ) -> None:
        if evaluation is None:
            return
        video = save_video(self.run, evaluation, f"eval_step_{counters.env_steps:012d}")
        if video is not None:
            tracker.artifact(video, "videos")


def run_info(config: Config, run: RunDirectory, checkpoint: Checkpoint | None) -> RunInfo:
    """Describe the run to its trackers."""
    return RunInfo(
        run_dir=run.path,
        run_id=run.run_id,
        name=config.name,
        experiment=config.tracking.experiment or config.name,
        config=config.model_dump(mode="json"),
        config_file=run.config_file,
        tags={"wmrun.run_dir": str(run.path.absolute())},
        resumed_env_steps=None if checkpoint is None else checkpoint.env_steps,
    )


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("wmrun", "wmrun-envserver", "numpy", "mlflow", "grpcio")
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: version(name) for name in packages},
    }
