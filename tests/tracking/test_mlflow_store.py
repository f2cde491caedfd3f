from __future__ import annotations

from pathlib import Path

import pytest

from wmrun.tracking.mlflow_store import absolute_uri


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_relative_database_lies_in_the_working_directory(here: Path):
    assert absolute_uri("sqlite:///mlflow.db") == f"sqlite:///{here}/mlflow.db"
    assert absolute_uri("sqlite:///s/q.db?timeout=5") == f"sqlite:///{here}/s/q.db?timeout=5"


@pytest.mark.parametrize("uri", ["sqlite:////data/mlflow.db", "http://host:5000", "databricks"])
def test_other_stores_are_what_they_are(here: Path, uri: str):
    assert absolute_uri(uri) == uri


def test_a_run_resumed_elsewhere_keeps_its_database(here: Path):
    earlier = "sqlite:////home/me/project/mlflow.db"
    assert absolute_uri("sqlite:///mlflow.db", earlier) == earlier


@pytest.mark.parametrize("uri", ["sqlite:////data/mlflow.db", "http://host:5000"])
def test_a_store_that_is_named_in_full_wins_over_the_earlier_one(here: Path, uri: str):
    assert absolute_uri(uri, "sqlite:////home/me/mlflow.db") == uri


def test_another_database_wins_over_the_earlier_one(here: Path):
    uri = absolute_uri("sqlite:///other.db", "sqlite:////home/me/mlflow.db")
    assert uri == f"sqlite:///{here}/other.db"
