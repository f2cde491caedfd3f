"""`wmrun run`, `eval` and `resume` as processes, with a real server, agent, replay and MLflow."""

from __future__ import annotations

import json
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.tiny import start, wmrun, write_tiny
from wmrun.run.directory import RunDirectory

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@dataclass(frozen=True)
class Finished:
    folder: Path
    run: RunDirectory
    result: subprocess.CompletedProcess[str]

    def mlflow_run(self) -> Any:
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{self.folder}/mlflow.db")
        return client, client.get_run(self.run.read_record()["mlflow_run_id"])

    def lines(self) -> list[dict[str, Any]]:
        text = (self.run.path / "metrics.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]


def run_in(folder: Path, result: subprocess.CompletedProcess[str]) -> RunDirectory:
    return RunDirectory(folder / result.stdout.strip())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("finished")
    result = wmrun(folder, "run", str(write_tiny(folder)))
    assert result.returncode == 0, result.stderr
    return Finished(folder, run_in(folder, result), result)


def test_a_run_prints_its_directory_and_says_how_to_go_on(finished):
    assert finished.result.stdout.strip() == f"runs/tiny/{finished.run.run_id}"
    assert "wmrun eval" in finished.result.stderr
    assert "wmrun ui" in finished.result.stderr
    assert "Traceback" not in finished.result.stderr


def test_the_run_directory_is_complete(finished):
    record = finished.run.read_record()
    assert record["status"] == "FINISHED"
    assert record["env_steps"] >= 60
    assert (finished.run.checkpoints / "step_000000000060" / "done").exists()
    assert (finished.run.env_logs / "train.log").exists()
    assert finished.lines()[-1]["env_steps"] >= 60
    names = {name for line in finished.lines() for name in line["metrics"]}
    assert {"loss/vector", "loss/kl", "loss/actor", "eval/return_mean", "train/return"} <= names


def test_mlflow_has_parameters_metrics_config_and_status(finished):
    client, run = finished.mlflow_run()
    assert run.info.status == "FINISHED"
    assert run.data.params["agent.latent.groups"] == "2"
    assert run.data.params["run.train_ratio"] == "8.0"
    history = client.get_metric_history(run.info.run_id, "loss/vector")
    assert [point.step for point in history] == [
        line["env_steps"] for line in finished.lines() if "loss/vector" in line["metrics"]
    ]
    assert "config.yaml" in [file.path for file in client.list_artifacts(run.info.run_id)]


def test_the_resolved_config_can_be_run_again(finished):
    result = wmrun(finished.folder, "validate", str(finished.run.config_file))
    assert result.returncode == 0, result.stderr


def test_eval_prints_every_return_and_repeats_exactly(finished):
    arguments = ("eval", str(finished.run.path), "--episodes", "3", "--json")
    first, second = (wmrun(finished.folder, *arguments) for _ in range(2))
    assert first.returncode == 0, first.stderr
    report = json.loads(first.stdout)
    assert len(report["returns"]) == 3
    assert report["return_mean"] == pytest.approx(sum(report["returns"]) / 3)
    assert first.stdout == second.stdout


def test_resuming_a_complete_run_says_how_to_train_longer(finished):
    result = wmrun(finished.folder, "resume", "tiny")
    assert result.returncode == 5
    assert "is complete" in result.stderr
    assert "run.env_steps=120" in result.stderr


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def stopped(request, tmp_path: Path) -> tuple[Finished, signal.Signals]:
    process = start(tmp_path, "run", str(write_tiny(tmp_path)), "run.env_steps=1_000_000")
    assert process.stderr is not None
    try:
        while "evaluation at" not in process.stderr.readline():
            assert process.poll() is None, "the run ended by itself"
        process.send_signal(request.param)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    result = subprocess.CompletedProcess([], process.returncode, out, err)
    return Finished(tmp_path, run_in(tmp_path, result), result), request.param


def test_a_signal_leaves_a_checkpoint_and_resume_goes_on_in_the_same_mlflow_run(stopped):
    killed, number = stopped
    assert killed.result.returncode == 128 + number
    assert f"wmrun resume runs/tiny/{killed.run.run_id}" in killed.result.stderr
    steps = killed.run.read_record()["env_steps"]
    _, mlflow_run = killed.mlflow_run()
    assert mlflow_run.info.status == "KILLED"

    resumed = wmrun(killed.folder, "resume", "tiny", f"run.env_steps={steps + 40}")
    assert resumed.returncode == 0, resumed.stderr
    assert run_in(killed.folder, resumed) == killed.run
    client, continued = killed.mlflow_run()
    assert continued.info.run_id == mlflow_run.info.run_id
    assert continued.info.status == "FINISHED"
    counted = [line["env_steps"] for line in killed.lines()]
    assert counted == sorted(counted)
    assert counted[-1] >= steps + 40
    updates = [line["updates"] for line in killed.lines()]
    assert updates == sorted(updates)
    history = client.get_metric_history(continued.info.run_id, "loss/vector")
    assert history[-1].step > steps
