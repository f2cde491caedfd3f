"""Every mistake of the corpus is found, at its place, with exit code 2, without importing torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.config.broken_files import BROKEN, TOY, Broken
from tests.config.conftest import Write
from tests.plugins import TOY as TOY_MODULES
from tests.plugins import TOY_ENTRY_POINTS, write_plugin
from wmrun.cli.app import main
from wmrun.config.load import load_config
from wmrun.errors import ExitCode


def test_the_text_that_the_mistakes_are_put_in_is_valid(write: Write) -> None:
    assert load_config(write("exp.yaml", TOY)).name == "walk"


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name.replace(" ", "_"))
def test_a_mistake_is_the_only_problem_and_found_at_its_place(
    case: Broken, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_case(case, folder)
    with pytest.raises(SystemExit) as ended:
        main(["validate", "--json", "exp.yaml", *case.overrides])
    assert ended.value.code == ExitCode.CONFIG
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert place_of(problem) == case.place
    assert problem["path"] == case.path
    assert problem["message"].startswith(case.message)
    assert problem["suggestion"] == case.suggestion


def test_no_mistake_makes_a_fresh_interpreter_import_torch(tmp_path: Path) -> None:
    write_plugin(tmp_path / "site", "toy", entry_points=TOY_ENTRY_POINTS, modules=TOY_MODULES)
    for number, case in enumerate(BROKEN):
        write_case(case, tmp_path / str(number))
    script = """
import os, sys
from wmrun.config.load import load_config
from wmrun.config.problems import ConfigError
for number in range(int(sys.argv[1])):
    os.chdir(f"{sys.argv[2]}/{number}")
    try:
        load_config("exp.yaml")
    except ConfigError:
        pass
print(sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "mlflow", "grpc"}))
"""
    result = subprocess.run(
        [sys.executable, "-c", script, str(len(BROKEN)), str(tmp_path)],
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "[]\n"


def write_case(case: Broken, folder: Path) -> None:
    for name, text in {**case.files, "exp.yaml": case.text}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def place_of(problem: dict[str, object]) -> str:
    parts = (problem["file"], problem["line"], problem["column"])
    return ":".join(str(part) for part in parts if part is not None)
