"""One thing that was tried on this machine, and what came of it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "problem"]
PROBE_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Probe:
    """`subject` in a few words, what was seen, and, unless all is well, what to do about it.

    A `note` is worth knowing; a `problem` keeps something from working.
    """

    subject: str
    state: State
    message: str
    advice: str = ""

    def to_json(self) -> dict[str, str]:
        return {
            "subject": self.subject,
            "state": self.state,
            "message": self.message,
            "advice": self.advice,
        }


def ask(command: Sequence[str], timeout_s: float = PROBE_TIMEOUT_S) -> tuple[int, str, str]:
    """Run a command that may crash or hang; return its exit status, stdout and stderr.

    The status is 124 where it took longer than `timeout_s`, 127 where it cannot be run.
    """
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, "", f"no answer within {timeout_s:g} s"
    except OSError as error:
        return 127, "", str(error.strerror)
    return done.returncode, done.stdout, done.stderr


def last_line(text: str) -> str:
    """Return the last line that is not blank: of a traceback, what it was about."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
