"""Between the policy's flat float32 actions and what an environment takes."""

from __future__ import annotations

from math import prod

import numpy as np
from wmrun_envserver.wire import spaces

from wmrun.errors import EnvError


class ActionAdapter:
    """Presents an action space as vectors of `A` numbers: a flattened Box, or one-hot for Discrete.

    With `clip`, what is sent lies within the bounds of a Box; otherwise the server refuses what
    does not. Raises `EnvError` naming the space for any other kind.
    """

    size: int
    """`A`."""
    discrete: bool
    """Actions are one-hot."""

    def __init__(self, act_space: spaces.Space, *, clip: bool = True) -> None:
        leaves = spaces.leaves(act_space)
        space = leaves[0].space if len(leaves) == 1 else act_space
        if not isinstance(space, (spaces.Box, spaces.Discrete)):
            raise EnvError(
                f"the action space {space} is not supported: agents need one Box or one Discrete",
                hint="Choose a task with such a space, or wrap the environment in its backend.",
            )
        self._space = space
        self._clip = clip
        self.discrete = isinstance(space, spaces.Discrete)
        self.size = space.n if isinstance(space, spaces.Discrete) else prod(space.shape)

    def to_env(self, action: np.ndarray) -> list[np.ndarray]:
        """Convert the policy's actions `[N, A]` into the action space's one array `[N, ...]`.

        Integer Boxes get the nearest integer.
        """
        space = self._space
        if isinstance(space, spaces.Discrete):
            return [(action.argmax(axis=-1) + space.start).astype(space.dtype)]
        values = action.reshape(len(action), *space.shape)
        if space.dtype.kind != "f":
            values = np.rint(values)
        if self._clip:
            values = np.clip(values, space.low, space.high)
        return [values.astype(space.dtype)]

    def random(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw `n` actions `[n, A]`: uniform within bounds, clipped normal where one is missing."""
        space = self._space
        if isinstance(space, spaces.Discrete):
            return np.eye(space.n, dtype=np.float32)[rng.integers(space.n, size=n)]
        shape = (n, *space.shape)
        low, high = (np.broadcast_to(b, shape).astype(np.float64) for b in (space.low, space.high))
        bounded = np.isfinite(low) & np.isfinite(high)
        drawn = np.clip(rng.standard_normal(shape), low, high)
        drawn[bounded] = rng.uniform(low[bounded], high[bounded])
        return drawn.reshape(n, self.size).astype(np.float32)
