"""What env servers are compared with: Gymnasium's own processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wmrun.bench.env_stepping import Step


@contextmanager
def async_vector_env(task: str, num_envs: int) -> Iterator[Step]:
    """Yield a step of random actions of Gymnasium's AsyncVectorEnv, one process per env.

    Raises `ImportError` where Gymnasium is not installed.
    """
    import gymnasium

    makers = [lambda: gymnasium.make(task) for _ in range(num_envs)]
    envs: Any = gymnasium.vector.AsyncVectorEnv(makers, context="spawn")
    try:
        envs.reset(seed=0)
        action = envs.action_space.sample()
        yield lambda: envs.step(action)
    finally:
        envs.close()
