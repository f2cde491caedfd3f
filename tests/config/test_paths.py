"""Where the files and programs that an experiment names are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.conftest import VALID, Write
from wmrun.config.dump import dump_yaml
from wmrun.config.load import load_config


def test_a_path_is_relative_to_the_file_that_sets_it(write: Write, folder: Path) -> None:
    write("bases/dmc.yaml", "env: {server: {python: ../envs/dmc/bin/python}}\n")
    file = write("runs/walk.yaml", "extends: ../bases/dmc.yaml\n" + VALID)
    config = load_config(file)
    assert config.env.server.python == str(folder / "envs/dmc/bin/python")
    assert load_config(write("elsewhere/again.yaml", dump_yaml(config))) == config


def test_an_override_is_relative_to_the_working_directory(write: Write, folder: Path) -> None:
    file = write("runs/walk.yaml", VALID)
    config = load_config(file, ["env.server.python=envs/bin/python"])
    assert config.env.server.python == str(folder / "envs/bin/python")


def test_symlinks_are_kept(write: Write, folder: Path) -> None:
    (folder / "python3").touch()
    (folder / "python").symlink_to("python3")
    write("bases/walk.yaml", VALID.replace("walker-walk", "x, server: {python: ./python}"))
    (folder / "walk.yaml").symlink_to("bases/walk.yaml")
    assert load_config("walk.yaml").env.server.python == str(folder / "python")


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ("python3.12", "python3.12"),
        ("/opt/dmc/bin/python", "/opt/dmc/bin/python"),
        ("~/dmc/bin/python", "HOME/dmc/bin/python"),
        ("null", None),
    ],
)
def test_names_absolute_paths_and_the_home_directory_depend_on_no_file(
    write: Write, monkeypatch: pytest.MonkeyPatch, written: str, resolved: str | None
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    file = write("walk.yaml", VALID.replace("walker-walk", f"x, server: {{python: {written}}}"))
    expected = resolved and resolved.replace("HOME", "/home/someone")
    assert load_config(file).env.server.python == expected


def test_files_for_servers_elsewhere_are_paths_with_or_without_a_slash(
    write: Write, folder: Path
) -> None:
    server = "{address: h:1, token_file: token, tls_ca: pki/ca.pem}"
    file = write("runs/walk.yaml", VALID.replace("walker-walk", f"x, servers: [{server}]"))
    (found,) = load_config(file).env.servers
    assert found.token_file == str(folder / "runs/token")
    assert found.tls_ca == str(folder / "runs/pki/ca.pem")


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ("builds/3DBall.x86_64", "FOLDER/runs/builds/3DBall.x86_64"),
        ("3DBall.x86_64", "FOLDER/runs/3DBall.x86_64"),
        ("my_package.envs:make", "my_package.envs:make"),
        ("localhost:5000/world", "localhost:5000/world"),
    ],
)
def test_a_source_is_a_path_unless_it_names_a_module_or_a_host(
    write: Write, folder: Path, written: str, resolved: str
) -> None:
    file = write("runs/walk.yaml", VALID.replace("walker-walk", f"x, source: '{written}'"))
    assert load_config(file).env.source == resolved.replace("FOLDER", str(folder))
