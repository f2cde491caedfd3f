from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from wmrun.run.tracker import Counters
from wmrun.tracking.jsonl import JsonlTracker, MetricsLine, read_lines

from .conftest import counters, make_run


@pytest.fixture
def info(tmp_path: Path):
    return make_run(tmp_path)


def logged(info, steps, *, tail: str = "") -> Path:
    tracker = JsonlTracker()
    tracker.start(info)
    for step in steps:
        tracker.log({"loss/model": step / 10}, counters(step))
    tracker.finish("KILLED")
    path = info.run_dir / "metrics.jsonl"
    with path.open("a") as file:
        file.write(tail)
    return path


def steps_in(path: Path) -> list[int]:
    return [json.loads(line)["env_steps"] for line in path.read_text().splitlines()]


def test_a_line_holds_counters_time_and_metrics_as_soon_as_it_is_logged(info):
    tracker = JsonlTracker()
    tracker.start(info)
    tracker.log({"loss/model": 1.5, "loss/kl": math.nan}, Counters(200, 100, 7))
    (line,) = (info.run_dir / "metrics.jsonl").read_text().splitlines()
    content = json.loads(line, parse_constant=pytest.fail)
    assert content.pop("time") > 1.7e9
    assert content == {
        "env_steps": 200,
        "agent_steps": 100,
        "updates": 7,
        "metrics": {"loss/model": 1.5, "loss/kl": None},
    }
    tracker.finish("FINISHED")


def test_a_resumed_run_drops_the_lines_after_its_checkpoint(info):
    path = logged(info, [100, 200, 300, 400])
    resumed = dataclasses.replace(info, resumed_env_steps=200)
    assert steps_in(logged(resumed, [300])) == [100, 200, 300]
    assert path.read_text().endswith("\n")


@pytest.mark.parametrize("given_up", [12, 1])
def test_a_line_that_was_cut_off_by_a_kill_is_dropped_on_resume(info, given_up: int):
    path = logged(info, [100, 200, 300])
    path.write_bytes(path.read_bytes()[:-given_up])
    resumed = dataclasses.replace(info, resumed_env_steps=1000)
    assert steps_in(logged(resumed, [400])) == [100, 200, 400]


def test_a_damaged_line_costs_no_line_after_it(info):
    path = logged(info, [100], tail="\0\0\0\n")
    logged(info, [200, 300])
    resumed = dataclasses.replace(info, resumed_env_steps=200)
    logged(resumed, [])
    lines, end = read_lines(path, 0, 1 << 20)
    assert [line.counters.env_steps for line in lines] == [100, 200]
    assert end == path.stat().st_size


def test_lines_are_read_on_from_where_reading_stopped(info):
    path = logged(info, [100, 200, 300])
    lines, end = read_lines(path, 0, 1)
    assert lines == [MetricsLine(counters(100), lines[0].time_s, {"loss/model": 10.0})]
    rest, end = read_lines(path, end, 1 << 20)
    assert [line.counters.env_steps for line in rest] == [200, 300]
    assert read_lines(path, end, 1 << 20) == ([], path.stat().st_size)


def test_a_line_still_being_written_is_left_for_later(info):
    path = logged(info, [100], tail='{"env_steps": 200')
    lines, end = read_lines(path, 0, 1 << 20)
    assert [line.counters.env_steps for line in lines] == [100]
    with path.open("a") as file:
        file.write(', "agent_steps": 1, "updates": 0, "time": 1.0, "metrics": {"a": null}}\n')
    ((line,), _) = read_lines(path, end, 1 << 20)
    assert line.counters == Counters(200, 1, 0)
    assert math.isnan(line.metrics["a"])


def test_reading_before_anything_was_logged_gives_nothing(tmp_path: Path):
    assert read_lines(tmp_path / "metrics.jsonl", 0, 100) == ([], 0)
