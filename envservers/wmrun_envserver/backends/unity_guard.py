"""Runs a player, and ends with it: `python unity_guard.py LIFELINE_FD COMMAND …`.

The guard leads a process group of its own that holds the player and all it starts. Once the other
end of the lifeline is closed, which the death of its holder does too, the whole group is killed: a
player that is stopped or hangs does not outlive its server. Ends as the player does, by exit code
or by signal.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

_CANNOT_EXECUTE = 126


def main(lifeline: int, command: list[str]) -> int:
    try:
        player = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"{command[0]} cannot be run: {error}", file=sys.stderr)
        return _CANNOT_EXECUTE
    threading.Thread(target=_follow, args=(lifeline,), daemon=True).start()
    code = player.wait()
    if code < 0:
        _end_by(signal.Signals(-code))
    return code


def _follow(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


def _end_by(number: signal.Signals) -> None:
    try:
        signal.signal(number, signal.SIG_DFL)
    except OSError:
        pass  # SIGKILL has no other handler
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
