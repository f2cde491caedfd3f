from __future__ import annotations

import dataclasses
import fcntl
import math
import os
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from wmrun.run.directory import RunDirectory
from wmrun.tracking import mlflow as mlflow_tracker
from wmrun.tracking.jsonl import JsonlTracker

from .conftest import Store, counters, first_run_command, make_run, tracked

ROOT = Path(__file__).parents[2]


def test_the_first_run_of_a_database_prints_nothing(store: Store):
    assert store.output == ""


def test_the_database_is_in_wal_mode_and_files_lie_beside_it(store: Store):
    with closing(sqlite3.connect(store.folder / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert list(store.folder.glob("mlartifacts/first/*/artifacts/config.yaml"))
    assert not (store.folder / "mlruns").exists()


def test_a_run_arrives_whole(store: Store, tmp_path: Path):
    config = {
        "name": "walker",
        "agent": {"type": "dreamer_v2", "latent": {"type": "categorical", "groups": 32}},
        "env": {"image": None, "options": {}, "size": [64, 64]},
        "run": {"video": True, "train_ratio": 160.0},
    }
    info = make_run(tmp_path, config=config)
    video = info.run_dir / "step_000000000200.mp4"
    video.write_bytes(b"frames")
    tracker = tracked(store.uri)
    tracker.start(info)
    tracker.log({"loss/model": 3.5, "loss/kl": 0.25}, counters(100))
    tracker.log({"loss/model": 2.5, "eval/return_mean": 7.0}, counters(200))
    tracker.artifact(video, "videos")
    tracker.finish("FINISHED")

    run = store.run_of(info)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == info.run_id
    assert (
        run.info.start_time
        <= store.client.get_metric_history(run.info.run_id, "loss/model")[0].timestamp
    )
    assert store.client.get_experiment(run.info.experiment_id).name == "walker"
    assert run.data.params == {
        "name": "walker",
        "agent.type": "dreamer_v2",
        "agent.latent.type": "categorical",
        "agent.latent.groups": "32",
        "env.image": "null",
        "env.options": "{}",
        "env.size": "[64, 64]",
        "run.video": "true",
        "run.train_ratio": "160.0",
    }
    assert store.history(info, "loss/model") == [(100, 3.5), (200, 2.5)]
    assert store.history(info, "loss/kl") == [(100, 0.25)]
    assert store.history(info, "eval/return_mean") == [(200, 7.0)]
    assert store.history(info, "progress/agent_steps") == [(100, 50), (200, 100)]
    assert store.history(info, "progress/updates") == [(100, 10), (200, 20)]
    assert run.data.tags["wmrun.run_dir"] == str(info.run_dir)
    files = [file.path for file in store.client.list_artifacts(run.info.run_id)]
    assert files == ["config.yaml", "videos"]
    (stored,) = store.client.list_artifacts(run.info.run_id, "videos")
    assert (stored.path, stored.file_size) == ("videos/step_000000000200.mp4", 6)


def test_points_arrive_while_the_run_goes_on(store: Store, tmp_path: Path):
    info = make_run(tmp_path)
    tracker = tracked(store.uri)
    tracker.start(info)
    deadline = time.monotonic() + 30
    while "mlflow_run_id" not in RunDirectory(info.run_dir).read_record():
        assert time.monotonic() < deadline
    expected: list[tuple[int, float]] = []
    for step in (100, 200, 300):
        tracker.log({"loss/model": step / 100}, counters(step))
        expected.append((step, step / 100))
        while store.history(info, "loss/model") != expected:
            assert time.monotonic() < deadline
    tracker.finish("FINISHED")
    assert store.history(info, "loss/model") == expected


def test_a_resumed_run_goes_on_in_the_same_mlflow_run(store: Store, tmp_path: Path):
    info = make_run(tmp_path, config={"agent": {"lr": 0.001, "depth": 48}})
    tracker = tracked(store.uri)
    tracker.start(info)
    for step in (100, 200, 300):
        tracker.log({"loss/model": step / 100}, counters(step))
    tracker.finish("KILLED")
    assert store.run_of(info).info.status == "KILLED"

    resumed = dataclasses.replace(
        info, config={"agent": {"lr": 0.002, "depth": 48, "clip": 1}}, resumed_env_steps=200
    )
    tracker = tracked(store.uri)
    tracker.start(resumed)
    tracker.log({"loss/model": 30.0}, counters(300))
    tracker.log({"loss/model": 40.0}, counters(400))
    tracker.finish("FINISHED")

    run = store.run_of(info)
    assert run.info.status == "FINISHED"
    # Points that were sent cannot be taken back; those after the checkpoint come a second time.
    assert store.history(info, "loss/model") == [(100, 1), (200, 2), (300, 3), (300, 30), (400, 40)]
    assert run.data.params == {"agent.lr": "0.001", "agent.depth": "48", "agent.clip": "1"}
    assert run.data.tags["resumed.agent.lr"] == "0.002"
    assert run.data.tags["wmrun.resumed_at_env_steps"] == "200"
    told = {name for name in run.data.tags if name.startswith("resumed.")}
    assert told == {"resumed.agent.lr"}


def test_every_resume_is_noted_once(store: Store, tmp_path: Path):
    info = make_run(tmp_path)
    for env_steps in (None, 1200, 200, 200):
        tracker = tracked(store.uri)
        tracker.start(dataclasses.replace(info, resumed_env_steps=env_steps))
        tracker.finish("KILLED")
    assert store.run_of(info).data.tags["wmrun.resumed_at_env_steps"] == "1200, 200"


def test_a_run_is_running_again_while_it_is_resumed(store: Store, tmp_path: Path):
    info = make_run(tmp_path)
    first = tracked(store.uri)
    first.start(info)
    first.finish("FAILED")
    tracker = tracked(store.uri)
    tracker.start(dataclasses.replace(info, resumed_env_steps=0))
    deadline = time.monotonic() + 30
    while store.run_of(info).info.status != "RUNNING":
        assert time.monotonic() < deadline
    tracker.finish("FINISHED")
    assert store.run_of(info).info.status == "FINISHED"


def test_points_that_a_killed_run_had_not_sent_are_sent_when_it_is_resumed(
    store: Store, tmp_path: Path
):
    info = make_run(tmp_path)
    tracker = tracked(store.uri)
    tracker.start(info)
    tracker.log({"loss/model": 1.0}, counters(100))
    tracker.finish("KILLED")
    offline = JsonlTracker()
    offline.start(info)
    offline.log({"loss/model": 2.0}, counters(200))
    offline.finish("KILLED")

    tracker = tracked(store.uri)
    tracker.start(dataclasses.replace(info, resumed_env_steps=200))
    tracker.log({"loss/model": 3.0}, counters(300))
    tracker.finish("FINISHED")
    assert store.history(info, "loss/model") == [(100, 1), (200, 2), (300, 3)]


def test_a_line_may_hold_more_than_mlflow_takes_in_one_call(store: Store, tmp_path: Path):
    config = {f"key_{number}": number for number in range(205)}
    info = make_run(tmp_path, config=config)
    tracker = tracked(store.uri)
    tracker.start(info)
    tracker.log({f"loss/{number}": float(number) for number in range(2100)}, counters(100))
    tracker.finish("FINISHED")
    run = store.run_of(info)
    assert run.data.metrics == {
        **{f"loss/{number}": float(number) for number in range(2100)},
        "progress/agent_steps": 50.0,
        "progress/updates": 10.0,
    }
    assert run.data.params == {key: str(value) for key, value in config.items()}


def test_values_that_are_not_finite_show_as_nan(store: Store, tmp_path: Path):
    info = make_run(tmp_path)
    tracker = tracked(store.uri)
    tracker.start(info)
    tracker.log({"loss/model": math.nan, "loss/actor": math.inf}, counters(100))
    tracker.finish("FAILED")
    assert [math.isnan(value) for _, value in store.history(info, "loss/model")] == [True]
    assert [math.isnan(value) for _, value in store.history(info, "loss/actor")] == [True]


def test_what_mlflow_cannot_hold_is_cut_with_one_warning(store: Store, tmp_path: Path, capsys):
    info = make_run(tmp_path, config={"long": "x" * 6001, "fits": "y" * 6000, "odd[key]": 1})
    tracker = tracked(store.uri)
    tracker.start(info)
    tracker.log({"grad norm|total": 1.0}, counters(100))
    tracker.finish("FINISHED")
    assert store.run_of(info).data.params == {
        "long": "x" * 6000,
        "fits": "y" * 6000,
        "odd_key_": "1",
    }
    assert store.history(info, "grad norm_total") == [(100, 1.0)]
    assert capsys.readouterr().err == (
        "warning: MLflow shows only the beginning of long parameters: long\n"
    )


def test_logging_goes_on_while_mlflow_makes_everyone_wait(store: Store, tmp_path: Path):
    info = make_run(tmp_path)
    tracker = tracked(store.uri)
    with (store.folder / "mlflow.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tracker.start(info)
        for step in range(1, 101):
            tracker.log({"loss/model": float(step)}, counters(step))
        tracker.artifact(info.config_file, "again")
        assert "mlflow_run_id" not in RunDirectory(info.run_dir).read_record()
    tracker.finish("FINISHED")
    expected = [(step, float(step)) for step in range(1, 101)]
    assert sorted(store.history(info, "loss/model")) == expected


def test_an_mlflow_that_never_answers_costs_one_warning_and_a_final_count(
    tmp_path: Path, capsys, monkeypatch
):
    monkeypatch.setattr(mlflow_tracker, "FINISH_PAUSE_S", 0.0)
    info = make_run(tmp_path)
    tracker = tracked("http://127.0.0.1:9")
    tracker.start(info)
    for step in (100, 200):
        tracker.log({"loss/model": 1.0, "loss/kl": 2.0}, counters(step))
    tracker.finish("FINISHED")
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("warning: MLflow at http://127.0.0.1:9 does not take the run's records")
    assert last == (
        "warning: 4 points and 1 files were not sent to MLflow at http://127.0.0.1:9, where the "
        f"run is not marked FINISHED; all are in {info.run_dir}"
    )
    assert len((info.run_dir / "metrics.jsonl").read_text().splitlines()) == 2


def test_points_of_an_outage_are_sent_when_it_is_over(store: Store, tmp_path: Path, monkeypatch):
    warned = threading.Event()
    monkeypatch.setattr(mlflow_tracker, "warn", lambda text: warned.set())
    link = tmp_path / "store"
    link.write_text("in the way")
    info = make_run(tmp_path)
    tracker = tracked(f"sqlite:///{link}/mlflow.db")
    tracker.start(info)
    tracker.log({"loss/model": 1.0}, counters(100))
    assert warned.wait(30)
    link.unlink()
    link.symlink_to(store.folder)
    tracker.log({"loss/model": 2.0}, counters(200))
    tracker.finish("FINISHED")
    assert store.history(info, "loss/model") == [(100, 1.0), (200, 2.0)]
    assert store.run_of(info).info.status == "FINISHED"


def test_a_run_that_was_deleted_in_mlflow_starts_there_anew(store: Store, tmp_path: Path):
    info = make_run(tmp_path)
    tracker = tracked(store.uri)
    tracker.start(info)
    tracker.log({"loss/model": 1.0}, counters(100))
    tracker.finish("KILLED")
    deleted = store.run_of(info).info.run_id
    store.client.delete_run(deleted)

    tracker = tracked(store.uri)
    tracker.start(dataclasses.replace(info, resumed_env_steps=100))
    tracker.log({"loss/model": 2.0}, counters(200))
    tracker.finish("FINISHED")
    assert store.run_of(info).info.run_id != deleted
    assert store.history(info, "loss/model") == [(100, 1.0), (200, 2.0)]


@pytest.mark.slow
def test_runs_that_start_at_once_all_register_in_a_new_database(tmp_path: Path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    processes = [
        subprocess.Popen(
            first_run_command(tmp_path / str(number), uri, "shared"),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ,
        )
        for number in range(3)
    ]
    assert [process.communicate()[0] for process in processes] == [b"", b"", b""]
    client = Store(uri, tmp_path, "").client
    experiment = client.get_experiment_by_name("shared")
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
    assert [run.data.metrics["loss/model"] for run in runs] == [1.5] * 3
