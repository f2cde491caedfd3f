import subprocess
from pathlib import Path

import pytest

from wmrun.run.provenance import git_commit


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def git(*arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_is_that_of_the_working_directory_and_says_if_files_differ(outside):
    git("init")
    (outside / "walker.yaml").write_text("name: walker\n")
    git("add", "walker.yaml")
    git("commit", "-m", "Add walker")
    head = git("rev-parse", "HEAD")
    assert git_commit() == head
    (outside / "walker.yaml").write_text("name: changed\n")
    assert git_commit() == f"{head}-dirty"


def test_outside_a_repository_there_is_no_commit(outside):
    assert git_commit() is None
