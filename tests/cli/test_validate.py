"""`wmrun validate` and `wmrun config show`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wmrun.cli.app import main
from wmrun.cli.config_show import config_show
from wmrun.cli.validate import validate
from wmrun.config.load import load_config
from wmrun.errors import ExitCode

EXPERIMENT = "extends: dreamer_v2\nname: walk\nenv: {task: x}\nrun: {env_steps: 2_000}\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "walk.yaml").write_text(EXPERIMENT)
    return "walk.yaml"


def ends(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_valid_file_is_said_to_be_valid(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends("validate", file, "seed=3") == ExitCode.OK
    assert capsys.readouterr() == ("walk.yaml is valid\n", "")


def test_problems_are_told_on_stderr_with_exit_code_2(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends("validate", file, "sede=3") == ExitCode.CONFIG
    assert capsys.readouterr() == (
        "",
        """\
error: walk.yaml has 1 problem

command line, argument 1: sede: unknown key
  | sede=3
  | ^^^^
  expected: one of name, seed, device, threads, env, agent, replay, run, tracking
  did you mean: seed
""",
    )


def test_a_report_is_not_wrapped(
    file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    ends("validate", file, "sede=3")
    assert "  expected: one of name, seed, device, threads" in capsys.readouterr().err


def test_json_holds_every_field_of_every_problem(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends("validate", "--json", file) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {"valid": True, "problems": []}
    assert ends("validate", "--json", file, "env.task=3") == ExitCode.CONFIG
    assert json.loads(capsys.readouterr().out) == {
        "valid": False,
        "problems": [
            {
                "path": "env.task",
                "message": "3 is an integer",
                "file": "command line, argument 1",
                "line": None,
                "column": 10,
                "excerpt": "  | env.task=3\n  |          ^",
                "expected": "a string",
                "suggestion": '"3"',
            }
        ],
    }


def test_the_function_returns_the_problems(file: str) -> None:
    assert validate(Path(file)) == ()
    assert [problem.path for problem in validate(Path(file), ["seed=x", "threads=0"])] == [
        "seed",
        "threads",
    ]


def test_config_show_prints_an_experiment_that_means_the_same(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends("config", "show", file, "seed=3") == ExitCode.OK
    Path("shown.yaml").write_text(capsys.readouterr().out)
    assert load_config("shown.yaml") == load_config(file, ["seed=3"])
    assert config_show(Path("shown.yaml")) == Path("shown.yaml").read_text()
