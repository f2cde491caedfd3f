"""`wmrun bench learn` on an experiment of a few seconds, from training to exit code."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.tiny import write_tiny
from wmrun.bench import catalogue
from wmrun.bench.catalogue import Benchmark
from wmrun.bench.rules import Threshold
from wmrun.cli.app import main
from wmrun.cli.bench_learn import read_seeds
from wmrun.config.load import load_config
from wmrun.errors import ExitCode, UsageError
from wmrun.run.directory import RunDirectory

EASY, IMPOSSIBLE = Threshold(-1e9), Threshold(1e9)


def learn(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(("bench", "learn", *arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@dataclass(frozen=True)
class Trained:
    folder: Path
    code: int

    @property
    def runs(self) -> list[RunDirectory]:
        return [RunDirectory(file.parent) for file in sorted(self.folder.glob("*/*/run.json"))]

    @property
    def verdicts(self) -> list[dict]:
        files = sorted(self.folder.glob("toy/verdict-*.json"))
        return [json.loads(file.read_text()) for file in files]


def use(rule: Threshold, file: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setitem(catalogue.BENCHMARKS, "toy", Benchmark("toy", file, rule))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two seeds of the benchmark, tracked in MLflow."""
    folder = tmp_path_factory.mktemp("learn")
    with pytest.MonkeyPatch.context() as patch:
        use(EASY, write_tiny(folder), patch)
        patch.chdir(folder)
        code = learn("toy", "--seeds", "3,8", "--device", "cpu", "--env-steps", "70", "--runs", ".")
    return Trained(folder, code)


def test_each_seed_has_a_run_with_the_asked_settings(trained: Trained):
    assert trained.code == ExitCode.OK
    configs = [load_config(run.config_file) for run in trained.runs]
    assert sorted(config.seed for config in configs) == [3, 8]
    assert {config.run.env_steps for config in configs} == {70}
    assert {config.device.name for config in configs} == {"cpu"}


def test_curve_and_verdict_lie_beside_the_runs(trained: Trained):
    verdict = trained.verdicts[0]
    assert verdict["passed"] is True
    assert [run["seed"] for run in verdict["runs"]] == [3, 8]
    frames = verdict["runs"][0]["curve"]["frames"]
    assert len(frames) == len(verdict["runs"][0]["curve"]["returns"]) >= 2
    assert frames[-1] >= 70
    assert verdict["runs"][0]["minutes"] >= 0


def test_mlflow_shows_the_verdict_of_a_run(trained: Trained):
    from mlflow import MlflowClient

    record = trained.runs[0].read_record()
    data = MlflowClient(record["mlflow_uri"]).get_run(record["mlflow_run_id"]).data
    assert data.tags["wmrun.benchmark"] == "toy"
    assert data.tags["wmrun.benchmark.verdict"] == "pass"
    assert data.metrics["benchmark/passed"] == 1


def test_finished_runs_can_be_judged_without_training(
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    use(IMPOSSIBLE, write_tiny(tmp_path), monkeypatch)
    before = len(trained.runs)
    choice = [word for run in trained.runs for word in ("--judge", str(run.path))]
    assert learn("toy", *choice) == ExitCode.BENCHMARK
    out = capsys.readouterr().out
    assert "fail: toy" in out
    assert "rule: best mean evaluation return of every seed at least 1e+09" in out
    assert len(trained.runs) == before
    data = trained.runs[0].read_record()
    assert data["status"] == "FINISHED"


def test_a_run_that_was_stopped_is_not_judged(
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    use(EASY, write_tiny(tmp_path), monkeypatch)
    stopped = RunDirectory(shutil.copytree(trained.runs[0].path, tmp_path / "stopped"))
    stopped.update_record(status="KILLED")
    assert learn("toy", "--judge", str(stopped.path)) == ExitCode.RUN
    assert f"`wmrun resume {stopped.path}` goes on" in capsys.readouterr().err


def test_a_run_of_something_else_is_not_judged(
    trained: Trained, capsys: pytest.CaptureFixture[str]
):
    assert learn("v2-pendulum", "--judge", str(trained.runs[0].path)) == ExitCode.CONFIG
    assert "is a run of 'toy', not of 'v2-pendulum'" in capsys.readouterr().err


def test_an_unknown_name_is_answered_with_the_closest_one(capsys: pytest.CaptureFixture[str]):
    assert learn("v2-cartpol") == ExitCode.CONFIG
    assert "did you mean 'v2-cartpole'?" in capsys.readouterr().err


def test_a_benchmark_without_its_backend_fails_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(
        catalogue.BENCHMARKS,
        "toy",
        Benchmark(
            "toy", write_tiny(tmp_path), EASY, ("env.backend=holodeck", "env.options.length=")
        ),
    )
    assert learn("toy", "--runs", str(tmp_path)) == ExitCode.ENV
    assert "holodeck" in capsys.readouterr().err


def test_the_list_names_every_benchmark(capsys: pytest.CaptureFixture[str]):
    assert learn("--list", "--json") == ExitCode.OK
    names = [row["benchmark"] for row in json.loads(capsys.readouterr().out)]
    assert names == list(catalogue.BENCHMARKS)


def test_seeds_are_integers_with_commas():
    assert read_seeds("0,1, 12") == [0, 1, 12]
    with pytest.raises(UsageError, match="'0-3'"):
        read_seeds("0-3")
