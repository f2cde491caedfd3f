"""Real signals to a real process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

PROGRAM = """
import select
import signal
import sys
from wmrun.run.signals import StopSignals

# Whoever runs the tests may have these ignored, as nohup does.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
with StopSignals() as signals:
    print("ready", flush=True)
    while True:
        # A signal that comes just before a blocking read would be handled only after it.
        while not select.select([sys.stdin], [], [], 0.01)[0]:
            pass
        line = sys.stdin.readline()
        print(signals.received.name if signals.received else "none", flush=True)
        if line == "end\\n":
            sys.exit(signals.exit_code)
"""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def ask(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line)
    process.stdin.flush()
    return process.stdout.readline().strip()


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["INT", "TERM", "HUP"],
)
def test_the_first_signal_is_noted_and_decides_the_exit_code(process, number, exit_code):
    assert ask(process, "go on\n") == "none"
    process.send_signal(number)
    assert process.stderr.readline() == "\n"
    assert "writing a checkpoint" in process.stderr.readline()
    assert ask(process, "go on\n") == number.name
    assert ask(process, "end\n") == number.name
    assert process.wait(10) == exit_code


def test_the_second_signal_ends_the_process_at_once(process):
    process.send_signal(signal.SIGINT)
    assert ask(process, "go on\n") == "SIGINT"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 143
    assert "without a checkpoint" in process.stderr.read()
