"""A player ends with the process that started it, whatever state either is in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from wmrun_envserver.backends.unity_player import PlayerProcess

from tests.envserver.server.client import eventually

SLEEP = ["sh", "-c", 'sleep 1000 & echo $! > "$0"; wait', ""]
"""A player with a process of its own; says which in the file given last."""


def is_gone(pid: int) -> bool:
    """Whether a process is neither running nor stopped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def pid_in(path: Path) -> int:
    eventually(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def test_stop_kills_a_player_that_does_not_quit_with_all_it_started(tmp_path: Path) -> None:
    player = PlayerProcess([*SLEEP[:-1], str(tmp_path / "pid")])
    child = pid_in(tmp_path / "pid")
    assert player.ended() == ""
    player.stop(0)
    assert "was ended by SIGKILL" in player.ended()
    eventually(lambda: is_gone(child))
    player.stop(0)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 7", "ended with exit code 7"),
        ("kill -SEGV $$", "was ended by SIGSEGV"),
        ("kill -INT $$", "was ended by SIGINT"),
        ("kill -KILL $$", "was ended by SIGKILL"),
    ],
)
def test_how_a_player_ended_is_said(script: str, words: str) -> None:
    player = PlayerProcess(["sh", "-c", script])
    player.process.wait()
    assert player.ended() == f"the player sh {words}"
    player.stop(0)


def test_a_file_that_cannot_be_run_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "player").write_bytes(b"\x00")
    (tmp_path / "player").chmod(0o755)
    player = PlayerProcess([str(tmp_path / "player")])
    player.process.wait()
    assert "ended with exit code 126" in player.ended()
    player.stop(0)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_player_is_killed_with_its_maker(tmp_path: Path, stopped: bool) -> None:
    code = (
        "import sys; from wmrun_envserver.backends.unity_player import PlayerProcess; "
        "player = PlayerProcess(sys.argv[1:]); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, *SLEEP[:-1], str(tmp_path / "pid")]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as maker:
        child = pid_in(tmp_path / "pid")
        if stopped:
            os.kill(child, signal.SIGSTOP)
        maker.kill()
    eventually(lambda: is_gone(child))
