"""What env servers are compared with: Gymnasium's own processes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wmrun.bench.env_stepping import Timer, timer


@contextmanager
def async_vector_env(task: str, num_envs: int) -> Iterator[Timer]:
    """Time batched steps of Gymnasium's AsyncVectorEnv as it is by default: a fork per env.

    It runs in a process of its own, as one with gRPC in it cannot be forked. Raises `ImportError`
    where Gymnasium is not installed.
    """
    if importlib.util.find_spec("gymnasium") is None:
        raise ImportError("Gymnasium is not installed")
    command = [sys.executable, "-m", __name__, task, str(num_envs)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        requests, replies = process.stdin, process.stdout

        def timed(seconds: float) -> float:
            requests.write(f"{seconds}\n")
            return float(replies.readline())

        yield timed
        requests.close()


def _serve(task: str, num_envs: int) -> None:
    """Answer every line, which is how long to step, with the seconds per batched step."""
    import gymnasium

    envs: Any = gymnasium.vector.AsyncVectorEnv([lambda: gymnasium.make(task)] * num_envs)
    envs.reset(seed=0)
    action = envs.action_space.sample()
    timed = timer(lambda: envs.step(action))
    for line in sys.stdin:
        print(timed(float(line)), flush=True)
    envs.close()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
