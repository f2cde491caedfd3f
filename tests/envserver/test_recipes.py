"""The examples of every recipe folder: commands that the server takes, files that exist."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
from wmrun_envserver.arguments import parse

ENVSERVERS = Path(__file__).parents[2] / "envservers"
FAMILIES = {
    folder.name: {
        "dm_env_rpc": "dm_env_rpc",
        "unity": "unity_mlagents",
    }.get(folder.name, folder.name)
    for folder in sorted(ENVSERVERS.iterdir())
    if (folder / "README.md").exists() and folder.name != "wmrun_envserver"
}


def words_after_serve(command: str) -> list[str]:
    words = shlex.split(command)
    return words[words.index("serve") :]


def container(family: str) -> tuple[str, list[str]]:
    """Return the Dockerfile, with the arguments of the build in it, and the words of its example.

    The commands are in the family's README, or in a Dockerfile of its own.
    """
    own = ENVSERVERS / family / "Dockerfile"
    text = own.read_text() if own.exists() else (ENVSERVERS / family / "README.md").read_text()
    build, run = (command(text, start) for start in ("docker build", "docker run"))
    dockerfile = (ENVSERVERS.parent / build[build.index("-f") + 1]).read_text()
    for name, value in (pair.split("=", 1) for pair in after(build, "--build-arg")):
        assert re.search(rf"^ARG {name}\b", dockerfile, re.M)
        dockerfile = re.sub(rf"\$(?:{name}\b|{{{name}:[^}}]*}})", value, dockerfile)
    return dockerfile, run


def command(text: str, start: str) -> list[str]:
    """Return the words of the command in `text`, comment or not, that begins so."""
    found = re.search(rf"^[# ]+({start}(?:.*\\\n)*.*)", text, re.M)
    assert found is not None
    return shlex.split(re.sub(r"\\\n#?", " ", found[1]))


def after(words: list[str], flag: str) -> list[str]:
    return [value for word, value in pairwise(words) if word == flag]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_family_of_the_issue_has_a_recipe() -> None:
    assert set(FAMILIES) == {"atari", "dm_env_rpc", "dmc", "envpool", "gym", "unity"}


def test_the_service_starts_a_server_that_clients_must_prove_themselves_to(family: str) -> None:
    (unit,) = (ENVSERVERS / family).glob("*.service")
    service = configparser.RawConfigParser(strict=False)
    service.optionxform = str  # type: ignore[assignment]
    service.read_string(unit.read_text().replace("\\\n", " "))
    arguments = parse(words_after_serve(service["Service"]["ExecStart"]))
    assert arguments.backend == FAMILIES[family]
    assert arguments.token_file
    assert arguments.tls_cert
    assert not arguments.insecure
    assert int(service["Service"]["TimeoutStopSec"]) > 10


def test_the_container_runs_a_command_that_the_server_takes(family: str) -> None:
    dockerfile, example = container(family)
    entry = json.loads(re.search(r"^ENTRYPOINT (\[.*\])$", dockerfile, re.M)[1])  # type: ignore[index]
    after_image = example.index(f"wmrun-{family.replace('_', '-')}") + 1
    arguments = parse([*entry[entry.index("serve") :], *example[after_image:]])
    assert arguments.backend == FAMILIES[family]
    assert arguments.token_file
    assert arguments.tls_cert


def test_everything_that_a_container_copies_is_in_the_checkout(family: str) -> None:
    dockerfile, _ = container(family)
    for source in re.findall(r"^COPY (\S+) ", dockerfile, re.M):
        assert (ENVSERVERS.parent / source).exists(), source
    for file in re.findall(r"envservers/\w+/[\w.]+", dockerfile):
        assert (ENVSERVERS.parent / file).exists(), file


def test_a_container_installs_an_extra_that_is_declared(family: str) -> None:
    dockerfile, _ = container(family)
    project = (ENVSERVERS / "pyproject.toml").read_text()
    for extra in re.findall(r"\./envservers\[(.*?)\]", dockerfile):
        assert re.search(rf"^{extra} = \[", project, re.M), extra


def test_requirements_are_pinned(family: str) -> None:
    for line in (ENVSERVERS / family / "requirements.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line), line
