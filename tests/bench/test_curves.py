"""Learning curves: read from metrics.jsonl, and from what was published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wmrun.bench import curves
from wmrun.bench.curves import published_curve, run_curve
from wmrun.run.directory import RunDirectory

SPEED = {"speed/env_steps_per_s": 50.0}


def write_metrics(folder: Path, *lines: tuple[int, dict[str, float | None]]) -> RunDirectory:
    text = "".join(
        json.dumps({"env_steps": s, "agent_steps": s, "updates": 0, "time": 0.0, "metrics": m})
        + "\n"
        for s, m in lines
    )
    (folder / "metrics.jsonl").write_text(text)
    return RunDirectory(folder)


def test_evaluations_stand_where_they_were_played(tmp_path: Path):
    run = write_metrics(
        tmp_path,
        (10, {"train/return": 1.0, **SPEED}),
        (20, {"eval/return_mean": 5.0}),
        (40, {"eval/return_mean": 7.0}),
    )
    curve = run_curve(run, "eval/return_mean")
    assert curve.frames.tolist() == [20, 40]
    assert curve.returns.tolist() == [5, 7]


def test_training_returns_stand_in_the_middle_of_what_they_average(tmp_path: Path):
    run = write_metrics(
        tmp_path,
        (10, {"train/return": 1.0, **SPEED}),
        (10, {"eval/return_mean": 9.0}),
        (20, SPEED),  # no episode ended
        (40, {"train/return": 3.0, **SPEED}),
        (50, {"train/return": None, **SPEED}),  # was not finite
    )
    curve = run_curve(run, "train/return")
    assert curve.frames.tolist() == [5, 30]
    assert curve.returns.tolist() == [1, 3]


def test_a_run_without_metrics_has_an_empty_curve(tmp_path: Path):
    assert run_curve(RunDirectory(tmp_path), "train/return").frames.size == 0


def test_published_bins_stand_at_their_middles(monkeypatch: pytest.MonkeyPatch):
    scores = {"mean": [0, 100, 300], "std": [10, 150, 20], "seeds": 5, "source": "s", "note": "n"}
    tasks = {"from 0": {"xs": [100, 200, 300], **scores}, "from 5": {"xs": [5, 105, 205], **scores}}
    monkeypatch.setattr(curves, "_reference_scores", lambda: {"method": tasks})
    assert published_curve("method", "from 0").mean.frames.tolist() == [50, 150, 250]
    assert published_curve("method", "from 5").mean.frames.tolist() == [2.5, 55, 155]


def test_published_curves_are_those_of_the_reference_file():
    walker = published_curve("dreamerv2_dmc_vision", "dmc_walker_walk")
    assert walker.seeds == 5
    assert walker.source == "danijar/dreamerv2:scores/dmc-vision-dreamerv2.json"
    assert walker.mean.frames[[0, -1]].tolist() == [30_000, 1_950_000]
    assert walker.mean.returns[[1, 7]].round().tolist() == [441, 918]
