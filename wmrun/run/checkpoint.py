"""Checkpoints on disk: safetensors and JSON, complete or absent, the last few and the best."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from wmrun.errors import RunError
from wmrun.run.files import write_atomically

_DONE = "done"
_BEST = "best.json"


@dataclass(frozen=True)
class Checkpoint:
    """A finished checkpoint: `agent.safetensors`, `generators.safetensors`, `state.json`."""

    path: Path

    @property
    def env_steps(self) -> int:
        return int(self.path.name.removeprefix("step_"))

    def tensors(self, part: str) -> dict[str, torch.Tensor]:
        """Return the tensors of `part` ("agent" or "generators") on the CPU."""
        try:
            return load_file(self.path / f"{part}.safetensors")
        except (OSError, SafetensorError) as error:
            raise RunError(
                f"cannot read {self.path / part}.safetensors: {error}",
                hint="Choose another checkpoint of this run with --checkpoint.",
            ) from error

    def state(self) -> dict[str, Any]:
        """Return the JSON side: counters, schedules, replay cursors, sampler state."""
        try:
            state: dict[str, Any] = json.loads((self.path / "state.json").read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise RunError(f"cannot read {self.path / 'state.json'}: {error}") from error
        return state


class CheckpointStore:
    """The `checkpoints/` folder of a run: the last `keep`, and the best by evaluation return."""

    def __init__(self, directory: Path, *, keep: int = 2) -> None:
        self.directory = directory
        self.keep = keep

    def write(
        self,
        env_steps: int,
        tensors: Mapping[str, Mapping[str, torch.Tensor]],
        state: Mapping[str, Any],
    ) -> Checkpoint:
        """Write a checkpoint under a temporary name and give it its own when it is complete."""
        final = self.directory / f"step_{env_steps:012d}"
        if (final / _DONE).exists():
            return Checkpoint(final)
        partial = self.directory / f".partial_{final.name}"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            _write_parts(partial, tensors, state)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise RunError(
                f"cannot write a checkpoint under {self.directory}: {error}",
                hint="Make room or permission there, then `wmrun resume` from the one before.",
            ) from error
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        self._drop_old()
        return Checkpoint(final)

    def all(self) -> list[Checkpoint]:
        """Return the complete checkpoints, oldest first."""
        return [Checkpoint(path.parent) for path in sorted(self.directory.glob(f"step_*/{_DONE}"))]

    def mark_best(self, checkpoint: Checkpoint, score: float) -> None:
        """Make `checkpoint` the best one, to be kept until a better one is marked."""
        record = {"checkpoint": checkpoint.path.name, "score": score}
        write_atomically(self.directory / _BEST, json.dumps(record) + "\n")
        self._drop_old()

    def drop_after(self, checkpoint: Checkpoint) -> None:
        """Remove later checkpoints: a run that goes on from here takes another way, and its replay
        no longer has their rows.
        """
        for later in self.all():
            if later.env_steps > checkpoint.env_steps:
                shutil.rmtree(later.path)

    def best_score(self) -> float | None:
        """Return the evaluation return of the best checkpoint, if one was marked."""
        record = self._best_record()
        return None if record is None else float(record["score"])

    def find(self, reference: str = "last") -> Checkpoint:
        """Return the checkpoint called "last", "best", a step number, a folder name or a path."""
        complete = {checkpoint.path.name: checkpoint for checkpoint in self.all()}
        if not complete:
            raise RunError(
                f"{self.directory} holds no complete checkpoint",
                hint="A run writes one every run.checkpoint_every env steps and when it stops.",
            )
        if reference == "last":
            return list(complete.values())[-1]
        record = self._best_record()
        if reference == "best" and record is not None and record["checkpoint"] in complete:
            return complete[record["checkpoint"]]
        name = f"step_{int(reference):012d}" if reference.isdigit() else Path(reference).name
        if name in complete:
            return complete[name]
        raise RunError(
            f"there is no checkpoint {reference!r} in {self.directory}",
            hint=f"There are: last, best, {', '.join(complete)}.",
        )

    def _best_record(self) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads((self.directory / _BEST).read_text())
        except FileNotFoundError:
            return None
        return record if (self.directory / record["checkpoint"] / _DONE).exists() else None

    def _drop_old(self) -> None:
        record = self._best_record()
        best = None if record is None else record["checkpoint"]
        for checkpoint in self.all()[: -self.keep]:
            if checkpoint.path.name != best:
                shutil.rmtree(checkpoint.path)


def _write_parts(
    directory: Path, tensors: Mapping[str, Mapping[str, torch.Tensor]], state: Mapping[str, Any]
) -> None:
    directory.mkdir(parents=True)
    for part, values in tensors.items():
        contiguous = {name: value.detach().cpu().contiguous() for name, value in values.items()}
        save_file(contiguous, directory / f"{part}.safetensors")
    write_atomically(directory / "state.json", json.dumps(state) + "\n")
    (directory / _DONE).touch()
