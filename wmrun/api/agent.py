"""Training, resuming and evaluating one of the three Dreamers from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wmrun.api.config import DreamerConfig
from wmrun.config.schema import Config
from wmrun.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from wmrun.launch.evaluation import EvaluatedRun
    from wmrun.launch.training import Outcome
    from wmrun.run.directory import RunDirectory


class DreamerAgent:
    """The experiment of a `DreamerConfig`, ready to be run as `wmrun run` would.

    Later changes of the `DreamerConfig` do not reach it. Progress is told on stderr. Errors are
    raised: `wmrun.errors.WmrunError` and its subclasses say what to do. The first Ctrl-C writes a
    checkpoint and ends training with status KILLED.

    Args:
        config: the experiment.
        runs: folder of all run directories.

    Raises:
        ConfigError: every problem of the configuration.
    """

    def __init__(self, config: DreamerConfig, *, runs: str | os.PathLike[str] = "runs") -> None:
        if not isinstance(config, DreamerConfig):
            raise UsageError(
                f"DreamerAgent takes a DreamerConfig, not {config!r}",
                hint="DreamerConfig.from_yaml(path) reads an experiment file.",
            )
        self.config: Config = config.resolve()
        """The resolved experiment."""
        self._runs = Path(runs)
        self._last: RunDirectory | None = None

    def train(self) -> Outcome:
        """Train from scratch in a fresh run directory.

        Returns the run (`run.path`), its status, exit code and counters (`env_steps`, ...).
        """
        from wmrun.launch.training import start_run

        outcome = start_run(self.config, console=_console(), root=self._runs)
        self._last = outcome.run
        return outcome

    def resume(
        self,
        run: str | os.PathLike[str] | RunDirectory | None = None,
        *,
        overrides: Sequence[str] = (),
        checkpoint: str = "last",
    ) -> Outcome:
        """Continue a run with its own config, changed by `overrides` (`["run.env_steps=2_000"]`).

        `run` is the one that `train` returned, a run directory, a run id, or the name of an
        experiment, which stands for its newest run. Without it, it is the run that this agent
        trained, or else the newest of its name.
        """
        from wmrun.launch.training import resume_run

        found = self._find(run)
        return resume_run(found, overrides, console=_console(), checkpoint=checkpoint)

    def evaluate(
        self,
        run: str | os.PathLike[str] | RunDirectory | None = None,
        *,
        episodes: int = 10,
        checkpoint: str = "last",
        video: bool = False,
        seed: int | None = None,
    ) -> EvaluatedRun:
        """Play episodes with a checkpoint of a run, which is found as in `resume`.

        `seed` is that of environments and latents; None: the run's. Returns the episodes and their
        returns (`evaluation.returns`), and the video's path.
        """
        from wmrun.launch.evaluation import evaluate_run

        found = self._find(run)
        overrides = [] if seed is None else [f"seed={seed}"]
        return evaluate_run(
            found, episodes=episodes, checkpoint=checkpoint, video=video, overrides=overrides
        )

    def _find(self, run: str | os.PathLike[str] | RunDirectory | None) -> RunDirectory:
        from wmrun.run.directory import RunDirectory, find_run

        if run is None and self._last is not None:
            return self._last
        if isinstance(run, RunDirectory):
            return run
        return find_run(self.config.name if run is None else os.fspath(run), root=self._runs)


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)
