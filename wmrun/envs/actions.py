"""Between the policy's flat float32 actions and what an environment takes."""

from __future__ import annotations

from math import prod

import numpy as np
from wmrun_envserver.wire import spaces

from wmrun.errors import EnvError
from wmrun.nn.observations import MAX_CLASSES, class_counts, describe_space


class ActionAdapter:
    """Presents an action space as vectors of `A` numbers.

    A Box is flattened. Discrete, MultiDiscrete and MultiBinary are one-hot vectors, one after the
    other. With `clip`, what is sent lies within the bounds of a Box; otherwise the server refuses
    what does not. Raises `EnvError` naming the space for any other kind.
    """

    size: int
    """`A`."""
    discrete: bool
    """Actions are one-hot."""

    def __init__(self, act_space: spaces.Space, *, clip: bool = True) -> None:
        leaves = spaces.leaves(act_space)
        if len(leaves) != 1 or isinstance(leaves[0].space, spaces.Text):
            raise _unsupported(act_space)
        space = leaves[0].space
        self._kind: _Numbers | _Choices
        self._kind = _Numbers(space, clip) if isinstance(space, spaces.Box) else _Choices(space)
        self.discrete = isinstance(self._kind, _Choices)
        self.size = self._kind.size
        if not 0 < self.size <= MAX_CLASSES:
            raise _of_size(act_space, self.size)

    def to_env(self, action: np.ndarray) -> list[np.ndarray]:
        """Convert the policy's actions `[N, A]` into the action space's one array `[N, ...]`.

        Integer Boxes get the nearest integer.
        """
        return [self._kind.to_env(action)]

    def random(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw `n` actions `[n, A]`: uniform within bounds, clipped normal where one is missing."""
        return self._kind.random(rng, n)


class _Numbers:
    """The entries of a Box."""

    def __init__(self, space: spaces.Box, clip: bool) -> None:
        self._space = space
        self._clip = clip
        self._low, self._high = _bounds(space)
        self.size = prod(space.shape)

    def to_env(self, action: np.ndarray) -> np.ndarray:
        space = self._space
        values = action.reshape(len(action), *space.shape).astype(np.float64)
        if space.dtype.kind != "f":
            values = np.rint(values)
        if self._clip:
            values = np.clip(values, self._low, self._high)
        return values.astype(space.dtype)

    def random(self, rng: np.random.Generator, n: int) -> np.ndarray:
        shape = (n, *self._space.shape)
        low, high = (np.broadcast_to(bound, shape) for bound in (self._low, self._high))
        with np.errstate(over="ignore"):  # the range of all float64 counts as infinite
            bounded = np.isfinite(high - low)
        drawn = np.clip(rng.standard_normal(shape), low, high)
        drawn[bounded] = rng.uniform(low[bounded], high[bounded])
        return drawn.reshape(n, self.size).astype(np.float32)


class _Choices:
    """The variables of a Discrete, MultiDiscrete or MultiBinary, one-hot."""

    def __init__(self, space: spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary) -> None:
        self._space = space
        self._counts = class_counts(space)
        self._ends = np.cumsum(self._counts)
        self._start = 0 if isinstance(space, spaces.MultiBinary) else space.start
        self.size = sum(self._counts)

    def to_env(self, action: np.ndarray) -> np.ndarray:
        one_hots = np.split(action, self._ends[:-1], axis=-1)
        chosen = np.stack([one_hot.argmax(-1) for one_hot in one_hots], -1)
        chosen = chosen.reshape(len(action), *self._space.shape)
        return (chosen + self._start).astype(self._space.dtype)

    def random(self, rng: np.random.Generator, n: int) -> np.ndarray:
        chosen = rng.integers(self._counts, size=(n, len(self._counts)))
        actions = np.zeros((n, self.size), np.float32)
        np.put_along_axis(actions, chosen + self._ends - self._counts, 1, axis=-1)
        return actions


def _bounds(space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds in float64; those of integers such that they stay inside when cast back."""
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    if space.dtype.kind != "f" and space.dtype.itemsize == 8:  # 2**63 - 1 would become 2**63
        high = np.where(high >= 2.0**53, np.nextafter(high, 0), high)
        low = np.where(low <= -(2.0**53), np.nextafter(low, 0), low)
    return low, high


def _unsupported(act_space: spaces.Space) -> EnvError:
    return EnvError(
        f"the action space {describe_space(act_space)} is not supported: agents need one Box, "
        "Discrete, MultiDiscrete or MultiBinary",
        hint="Choose a task with such a space, or wrap the environment so that it takes one: "
        "several discrete choices make one MultiDiscrete, several Boxes one longer Box.",
    )


def _of_size(act_space: spaces.Space, size: int) -> EnvError:
    return EnvError(
        f"actions of {describe_space(act_space)} are {size:,} numbers, as classes count one each; "
        f"agents take from 1 to {MAX_CLASSES:,}",
        hint="Wrap the environment so that it takes fewer.",
    )
