"""When a benchmark counts as passed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wmrun.bench.curves import Curve, Metric, PublishedCurve, published_curve
from wmrun.errors import RunError

_SHARE = 0.9
"""Compared frames at which the return has to be high enough: one evaluation may be unlucky."""


@dataclass(frozen=True)
class Verdict:
    """Whether the rule holds, and the figures that it was applied to, as rows of a table."""

    passed: bool
    rows: tuple[Mapping[str, Any], ...]


class Rule(ABC):
    """Judges the curves of a benchmark's runs."""

    metric: Metric
    """What the curves show."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The rule in words."""

    @property
    def brief(self) -> str:
        """The rule in a few words, for a table."""
        return self.text

    @property
    def source(self) -> str | None:
        """Where the figures come from that runs are compared with, if they are published."""
        return None

    @abstractmethod
    def judge(self, curves: Mapping[int, Curve]) -> Verdict:
        """Apply the rule to a curve by seed. Raises `RunError` where there is nothing to judge."""


@dataclass(frozen=True)
class Threshold(Rule):
    """Every seed reaches a return in one of its evaluations, by a number of env frames if given."""

    at_least: float
    within_frames: int | None = None
    metric: Metric = "eval/return_mean"

    @property
    def text(self) -> str:
        budget = "" if self.within_frames is None else f" by {self.within_frames:,} env frames"
        return f"best mean evaluation return of every seed at least {self.at_least:g}{budget}"

    @property
    def brief(self) -> str:
        budget = "" if self.within_frames is None else f" by {self.within_frames:,} env frames"
        return f"reaches a mean evaluation return of {self.at_least:g}{budget}"

    def judge(self, curves: Mapping[int, Curve]) -> Verdict:
        rows = [self._judge_seed(seed, curve) for seed, curve in curves.items()]
        return Verdict(all(row["holds"] for row in rows), tuple(rows))

    def _judge_seed(self, seed: int, curve: Curve) -> dict[str, Any]:
        in_budget = curve.frames <= (np.inf if self.within_frames is None else self.within_frames)
        if not in_budget.any():
            raise RunError(
                f"the run with seed {seed} was not evaluated"
                + (f" by {self.within_frames:,} env frames" if self.within_frames else ""),
                hint="Set run.eval_every, or train for longer.",
            )
        best = int(np.argmax(np.where(in_budget, curve.returns, -np.inf)))
        return {
            "seed": seed,
            "env_frames": int(curve.frames[best]),
            "return": float(curve.returns[best]),
            "at_least": self.at_least,
            "holds": bool(curve.returns[best] >= self.at_least),
        }


@dataclass(frozen=True)
class Published(Rule):
    """The mean over seeds keeps up with a published curve at the same env frames."""

    method: str
    task: str
    metric: Metric
    tolerance: float
    """The least distance below the published mean that still counts as keeping up."""

    @property
    def text(self) -> str:
        kind = "evaluation" if self.metric == "eval/return_mean" else "training-episode"
        return (
            f"mean {kind} return over seeds at least the published mean less its std or "
            f"{self.tolerance:g}, whichever is more, at {_SHARE:.0%} of the compared env frames "
            "and at the last"
        )

    @property
    def brief(self) -> str:
        return f"keeps up with {self.source.partition(';')[0]}"

    @property
    def source(self) -> str:
        curve = self.curve
        return f"{curve.source}, {self.task}, {curve.seeds} seeds; {curve.note}"

    @property
    def curve(self) -> PublishedCurve:
        return published_curve(self.method, self.task)

    def judge(self, curves: Mapping[int, Curve]) -> Verdict:
        published = self.curve
        frames = common_frames([*curves.values(), published.mean])
        ours = np.stack([curve.at(frames) for curve in curves.values()])
        rows = [
            {
                "env_frames": int(frame),
                "return": float(mean),
                "std": float(std),
                "published": float(theirs),
                "published_std": float(spread),
                "at_least": float(theirs - max(spread, self.tolerance)),
                "holds": bool(mean >= theirs - max(spread, self.tolerance)),
            }
            for frame, mean, std, theirs, spread in zip(
                frames,
                ours.mean(0),
                ours.std(0),
                published.mean.at(frames),
                published.std.at(frames),
                strict=True,
            )
        ]
        share = np.mean([row["holds"] for row in rows])
        return Verdict(bool(share >= _SHARE and rows[-1]["holds"]), tuple(rows))


def common_frames(curves: Sequence[Curve]) -> np.ndarray:
    """Return the frames of the first curve that lie within all of them.

    Raises `RunError` where there are none.
    """
    if all(curve.frames.size for curve in curves):
        first = max(curve.frames[0] for curve in curves)
        last = min(curve.frames[-1] for curve in curves)
        frames = curves[0].frames
        frames = frames[(frames >= first) & (frames <= last)]
        if frames.size:
            return frames
    spans = ", ".join(
        f"{curve.frames[0]:,.0f} to {curve.frames[-1]:,.0f}" if curve.frames.size else "none"
        for curve in curves
    )
    raise RunError(
        f"the curves have no env frames in common: {spans}",
        hint="Train for longer, or evaluate and log more often (run.eval_every, run.log_every).",
    )
