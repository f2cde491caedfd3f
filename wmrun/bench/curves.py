"""Learning curves: returns over env frames, of our runs and as published."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wmrun.run.directory import RunDirectory
from wmrun.tracking.jsonl import FILE, read_lines

Metric = Literal["eval/return_mean", "train/return"]

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
_SPEED = "speed/env_steps_per_s"
"""In every line of metrics.jsonl that is not an evaluation's."""


@dataclass(frozen=True)
class Curve:
    """Mean return `[P]` at env frames `[P]`, which rise.

    A value that is a mean over a span of frames stands at the middle of its span.
    """

    frames: np.ndarray
    returns: np.ndarray

    def at(self, frames: np.ndarray) -> np.ndarray:
        """Return the returns at `frames`, linear between the curve's points."""
        return np.interp(frames, self.frames, self.returns)


@dataclass(frozen=True)
class PublishedCurve:
    """Mean and standard deviation over the seeds of a published experiment."""

    mean: Curve
    std: Curve
    seeds: int
    source: str
    note: str


def run_curve(run: RunDirectory, metric: Metric) -> Curve:
    """Read the curve of a run from its metrics.jsonl.

    Evaluations stand where they were played. Returns of training episodes are means over the
    episodes since the line before, and stand halfway.
    """
    points = list(_points(run.path / FILE, metric))
    frames, returns = zip(*points, strict=True) if points else ((), ())
    return Curve(np.array(frames, np.float64), np.array(returns, np.float64))


def published_curve(method: str, task: str) -> PublishedCurve:
    """Return a curve of the reference scores that ship with wmrun.

    Published points stand at the right edges of equal bins, and are moved to their middles.
    """
    scores = _reference_scores()[method][task]
    edges = np.array(scores["xs"], np.float64)
    middles = edges - np.minimum(edges[1] - edges[0], edges) / 2
    return PublishedCurve(
        mean=Curve(middles, np.array(scores["mean"], np.float64)),
        std=Curve(middles, np.array(scores["std"], np.float64)),
        seeds=scores["seeds"],
        source=scores["source"],
        note=scores["note"],
    )


def _points(file: Path, metric: Metric) -> Iterator[tuple[float, float]]:
    lines, _ = read_lines(file, 0, file.stat().st_size + 1) if file.exists() else ([], 0)
    logged = 0
    for line in lines:
        frames, value = line.counters.env_steps, line.metrics.get(metric, math.nan)
        if math.isfinite(value):
            yield (frames if metric == "eval/return_mean" else (logged + frames) / 2), value
        if _SPEED in line.metrics:
            logged = frames


@cache
def _reference_scores() -> dict[str, Any]:
    scores: dict[str, Any] = json.loads((BENCHMARKS / "reference_scores.json").read_text())
    return scores
