"""The `wmrun-envserver` command: its help, and what it does with the wrong words."""

from __future__ import annotations

import subprocess
import sys

import pytest
from wmrun_envserver.__main__ import main
from wmrun_envserver.arguments import parse


def output(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_help_of_serve_has_groups_examples_and_exit_codes(capsys):
    text = output(capsys, "serve", "--help")
    for group in ("environments:", "address:", "security:", "limits:", "process:"):
        assert f"\n{group}\n" in text
    assert "wmrun-envserver serve --backend gym" in text
    assert "exit status:\n  0  stopped by SIGTERM" in text


@pytest.mark.parametrize("command", ["serve", "token", "list", "conformance"])
def test_every_command_is_in_the_overview_and_has_help_of_its_own(capsys, command):
    assert f"\n    {command}" in output(capsys, "--help")
    assert f"usage: wmrun-envserver {command}" in output(capsys, command, "--help")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["serve"], "the following arguments are required: --backend"),
        (["serve", "--backend", "gym", "--lease-s", "0"], "'0' is not a positive number"),
        (
            ["serve", "--backend", "gym", "--lease-s", "90", "--max-lease-s", "30"],
            "--lease-s 90 is longer than the longest lease, --max-lease-s 30: lower the one or",
        ),
        (
            ["serve", "--backend", "gym", "--lease-s", "7200"],
            "--lease-s 7200 is longer than the longest lease, --max-lease-s 3600",
        ),
        (
            ["serve", "--backend", "gym", "--env", "reach=a:make", "--env", "reach=b:make"],
            "argument --env: 'reach' is given twice, as a:make and as b:make",
        ),
        (["serve", "--backend", "gym", "--allow", ""], "argument --allow: '' matches no env id"),
        (
            ["serve", "--backend", "gym", "--allow", "a\nb"],
            "argument --allow: 'a\\nb' matches no env id",
        ),
        (["serve", "--backend", "gym", "--parent-fd", "x"], "'x' is not a file descriptor"),
        (["token"], "the following arguments are required: FILE"),
    ],
)
def test_wrong_words_end_with_status_2(capsys, words, said):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_every_id_keeps_its_own_source():
    words = ["--env", "reach=my.envs:make", "--env", "player=/games/a=b.x86_64"]
    found = parse(["serve", "--backend", "gym", *words]).env
    assert found == {"reach": "my.envs:make", "player": "/games/a=b.x86_64"}
    assert parse(["serve", "--backend", "gym"]).env == {}


@pytest.mark.parametrize(
    ("words", "lease_s"),
    [
        ([], 60),
        (["--max-lease-s", "30"], 30),
        (["--max-lease-s", "90"], 60),
        (["--lease-s", "30", "--max-lease-s", "30"], 30),
        (["--lease-s", "90"], 90),
    ],
)
def test_the_lease_that_nobody_asked_for_follows_the_longest_one(words, lease_s):
    assert parse(["serve", "--backend", "gym", *words]).lease_s == lease_s


def test_conformance_checks_are_run_from_here(capsys):
    assert main(["conformance", "--list"]) == 0
    assert "health" in capsys.readouterr().out


def test_help_loads_neither_grpc_nor_numpy():
    script = (
        "import sys\n"
        "from wmrun_envserver.__main__ import main\n"
        "try: main(['serve', '--help'])\n"
        "except SystemExit: print({'grpc', 'numpy'} & set(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == "set()\n"
