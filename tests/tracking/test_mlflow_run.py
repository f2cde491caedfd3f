from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from wmrun.tracking.jsonl import MetricsLine
from wmrun.tracking.mlflow_run import MlflowRun, flatten, metric_name

from .conftest import counters, make_run


class Server:
    """What a tracking server takes: SQLite would take batches of any size."""

    def __init__(self) -> None:
        self.metrics: list[Any] = []
        self.params: list[Any] = []

    def log_batch(self, run_id, metrics=(), params=(), tags=(), synchronous=None) -> None:
        assert len(metrics) <= 1000
        assert len(params) <= 100
        assert len(tags) <= 100
        self.metrics += metrics
        self.params += params

    def get_run(self, run_id) -> Any:
        return SimpleNamespace(data=SimpleNamespace(params={}, tags={}))

    def update_run(self, run_id, status) -> None:
        assert status == "RUNNING"


def test_no_call_holds_more_than_a_server_takes(tmp_path: Path):
    server = Server()
    run = MlflowRun(server, "id")  # type: ignore[arg-type]
    run.send([MetricsLine(counters(n), 1.5, {f"m{i}": i for i in range(340)}) for n in range(6)])
    assert len(server.metrics) == 6 * 342
    assert {point.timestamp for point in server.metrics} == {1500}
    config = {f"key_{number}": number for number in range(250)}
    run.describe(make_run(tmp_path, config=config))
    assert {param.key: param.value for param in server.params} == flatten(config)


def test_config_leaves_are_named_by_their_path_and_written_as_json():
    config = {"a": {"b": {"c": 1e-4}, "d": []}, "e": "text", "f": None, "g": {}, "h": True}
    assert flatten(config) == {
        "a.b.c": "0.0001",
        "a.d": "[]",
        "e": "text",
        "f": "null",
        "g": "{}",
        "h": "true",
    }


def test_names_keep_what_mlflow_accepts():
    assert metric_name("loss/image: a-b_c.d 2") == "loss/image: a-b_c.d 2"
    assert metric_name("loss/[0]|é") == "loss/_0___"
    assert len(metric_name("x" * 300)) == 250
