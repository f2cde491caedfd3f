"""Packages that are broken harm nothing that does not use them: real processes, real metadata."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins import write_plugin
from wmrun.errors import ExitCode

ENCODER = "class Encoder:\n    '''An encoder.'''\n    def forward(self, obs): ...\n"
PLUGINS = {
    "raising": ({"late": "raising:Encoder"}, "raise ValueError('the GPU is on fire')\n" + ENCODER),
    "quitting": ({"quit": "quitting:Encoder"}, "raise SystemExit(3)\n" + ENCODER),
    "needy": ({"needy": "needy:Encoder"}, "import no_such_dependency\n" + ENCODER),
    "absent": ({"gone": "absent_module:Encoder"}, ""),
    "left": ({"twin": "left:Encoder"}, ENCODER),
    "right": ({"twin": "right:Encoder"}, ENCODER),
    "sound": ({"sound": "sound:Encoder"}, ENCODER),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site")
    for name, (points, source) in PLUGINS.items():
        write_plugin(path, name, entry_points={"wmrun.encoders": points}, modules={name: source})
    write_plugin(path, "stray", entry_points={"wmrun.encoder": {"x": "x:X"}}, modules={})
    return path


def wmrun(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wmrun", *arguments],
        env={**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )


def test_list_names_everything_and_exits_0(site: Path) -> None:
    result = wmrun(site, "list", "encoder", "--json")
    assert result.returncode == ExitCode.OK
    status = {(i["package"], i["name"]): i["status"] for i in json.loads(result.stdout)}
    assert status["wmrun", "cnn"] == "ok"
    assert status["sound", "sound"] == "ok"
    assert status["absent", "gone"] == "broken: there is no module absent_module"
    assert status["left", "twin"] == "name also taken by right 1.0"
    assert {("raising", "late"), ("quitting", "quit"), ("needy", "needy")} < set(status)


def test_plugins_tells_the_exception_of_each_broken_one_and_exits_0(site: Path) -> None:
    result = wmrun(site, "plugins", "--json")
    assert result.returncode == ExitCode.OK
    status = {(i["package"], i["name"]): i["status"] for i in json.loads(result.stdout)}
    assert status == {
        ("raising", "late"): "broken: ValueError: the GPU is on fire",
        ("quitting", "quit"): "broken: SystemExit: 3",
        ("needy", "needy"): "broken: ModuleNotFoundError: No module named 'no_such_dependency'",
        ("absent", "gone"): "broken: ModuleNotFoundError: No module named 'absent_module'",
        ("left", "twin"): "name also taken by right 1.0",
        ("right", "twin"): "name also taken by left 1.0",
        ("sound", "sound"): "ok",
    }
    assert result.stderr == "stray registers under wmrun.encoder, which is not a group of wmrun's\n"


def test_a_typo_is_answered_with_a_name_and_not_with_the_broken_ones(site: Path) -> None:
    result = wmrun(site, "show", "encoder", "cnnn")
    assert result.returncode == ExitCode.CONFIG
    assert result.stderr.startswith("error: no encoder is called 'cnnn'\ndid you mean 'cnn'?")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("late", "'late' of raising 1.0 cannot be used: ValueError: the GPU is on fire"),
        ("quit", "'quit' of quitting 1.0 cannot be used: SystemExit: 3"),
        (
            "needy",
            "'needy' of needy 1.0 cannot be used: ModuleNotFoundError: No module named "
            "'no_such_dependency'",
        ),
        ("twin", "the encoder name 'twin' is taken by left 1.0 and by right 1.0"),
    ],
)
def test_using_a_broken_one_quotes_its_own_exception(site: Path, name: str, reason: str) -> None:
    script = (
        "from wmrun.cli.app import report_error\nfrom wmrun.registry import get\n"
        f"try:\n    get('encoder', {name!r})\n"
        "except Exception as error:\n    raise SystemExit(report_error(error, debug=False))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == ExitCode.CONFIG
    assert reason in result.stderr
    assert "Traceback" not in result.stderr


def test_an_experiment_that_does_not_use_a_broken_one_is_valid(site: Path, tmp_path: Path) -> None:
    file = tmp_path / "exp.yaml"
    file.write_text(
        "name: walk\nextends: dreamer_v2\nenv: {task: x}\nrun: {env_steps: 2_000}\n"
        "agent: {encoder: {type: sound}}\n"
    )
    assert wmrun(site, "validate", str(file)).returncode == ExitCode.OK
    result = wmrun(site, "validate", str(file), "agent.encoder.type=twin", "agent.decoder=gone")
    assert result.returncode == ExitCode.CONFIG
    assert "agent.encoder.type: the encoder name 'twin' is taken by left 1.0" in result.stderr
