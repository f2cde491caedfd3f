from __future__ import annotations

import json
from pathlib import Path

import pytest

from wmrun.errors import UsageError
from wmrun.tracking.fanout import FanoutTracker
from wmrun.tracking.jsonl import JsonlTracker

from .conftest import counters, make_run


class Failing:
    """A tracker whose every call raises `error`."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def start(self, run):
        raise self._error

    def log(self, metrics, counters):
        raise self._error

    def artifact(self, path, folder=""):
        raise self._error

    def finish(self, status):
        raise self._error


def test_a_tracker_that_raises_costs_one_warning_and_no_other_tracker(tmp_path: Path, capsys):
    info = make_run(tmp_path)
    tracker = FanoutTracker([Failing(OSError("no route to host\nat all")), JsonlTracker()])
    tracker.start(info)
    for step in (100, 200):
        tracker.log({"loss/model": 1.0}, counters(step))
    tracker.artifact(info.config_file)
    tracker.finish("FINISHED")
    lines = (info.run_dir / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["env_steps"] for line in lines] == [100, 200]
    assert capsys.readouterr().err == (
        "warning: Failing failed (OSError: no route to host); the run goes on\n"
    )


def test_a_mistake_of_the_user_is_told_at_the_start(tmp_path: Path):
    tracker = FanoutTracker([Failing(UsageError("tracking.token is not set"))])
    with pytest.raises(UsageError, match="token is not set"):
        tracker.start(make_run(tmp_path))
    tracker.log({"loss/model": 1.0}, counters(100))
