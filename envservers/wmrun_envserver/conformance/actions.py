"""Actions of a space: drawn at random, and wrong on purpose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wmrun_envserver.conformance.rows import Row
from wmrun_envserver.wire import messages, spaces

_MASK = messages.Space.Role.Name(messages.Space.ACTION_MASK)


def sample_actions(
    action: Sequence[spaces.Leaf],
    observation: Sequence[spaces.Leaf],
    rows: Sequence[Row | None],
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Return one array `[rows, …leaf shape]` of random values per leaf of `action`.

    Where the observation has one action mask, masked actions of the Discrete or MultiDiscrete leaf
    that it fits are not taken.
    """
    columns = [[_sampled(leaf.space, rng) for _ in rows] for leaf in action]
    masks = [i for i, leaf in enumerate(observation) if leaf.space.role == _MASK]
    if len(masks) == 1:
        for leaf, column in zip(action, columns, strict=True):
            for i, row in enumerate(rows):
                if row is not None:
                    column[i] = _allowed(leaf.space, column[i], row.obs[masks[0]].ravel(), rng)
    return [
        np.stack(column) if column else np.zeros((0, *leaf.space.shape), leaf.space.dtype)
        for leaf, column in zip(action, columns, strict=True)
    ]


def invalid_value(space: spaces.LeafSpace) -> np.ndarray | None:
    """Return a value with the dtype and shape of `space` that is not in it, None: there is none."""
    if space.dtype.kind == "f":
        return np.full(space.shape, np.nan, space.dtype) if np.prod(space.shape) else None
    if isinstance(space, spaces.Text) or space.dtype.kind == "b":
        return None
    beyond = np.asarray(np.asarray(_highest(space)).astype(object) + 1)
    if np.prod(space.shape) == 0 or np.any(beyond > np.iinfo(space.dtype).max):
        return None
    return np.array(np.broadcast_to(beyond, space.shape).astype(space.dtype))


def below_value(space: spaces.LeafSpace) -> np.ndarray | None:
    """Return a value just below those of a bounded leaf, None where there is none."""
    if isinstance(space, spaces.Text) or space.dtype.kind == "b" or np.prod(space.shape) == 0:
        return None
    lowest = np.broadcast_to(np.asarray(_lowest(space)), space.shape)
    if space.dtype.kind == "f":
        if not np.isfinite(lowest).all():
            return None
        return np.asarray(lowest.astype(np.float64) - 1 - np.abs(lowest), space.dtype)
    beyond = np.asarray(lowest.astype(object) - 1)
    if np.any(beyond < np.iinfo(space.dtype).min):
        return None
    return np.array(beyond.astype(space.dtype))


def above_value(space: spaces.LeafSpace) -> np.ndarray | None:
    """Return a value just above those of a bounded leaf, None where there is none."""
    if not (isinstance(space, spaces.Box) and space.dtype.kind == "f"):
        return invalid_value(space)
    highest = np.broadcast_to(space.high, space.shape)
    if not (np.isfinite(highest).all() and highest.size):
        return None
    return np.asarray(highest.astype(np.float64) + 1 + np.abs(highest), space.dtype)


def _sampled(space: spaces.LeafSpace, rng: np.random.Generator) -> np.ndarray:
    value: np.ndarray = spaces.sample(space, rng)
    return value


def _allowed(
    space: spaces.LeafSpace, drawn: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    if isinstance(space, spaces.Discrete) and mask.size == space.n and mask.any():
        return np.asarray(space.start + rng.choice(np.flatnonzero(mask)), space.dtype)
    if isinstance(space, spaces.MultiDiscrete) and mask.size == space.nvec.sum():
        chosen = np.array(drawn)
        ends = np.cumsum(space.nvec.ravel())
        for i, (end, n) in enumerate(zip(ends, space.nvec.flat, strict=True)):
            free = np.flatnonzero(mask[end - n : end])
            if free.size:
                chosen.flat[i] = space.start.flat[i] + rng.choice(free)
        return chosen
    return drawn


def _lowest(space: spaces.LeafSpace) -> object:
    if isinstance(space, spaces.Box):
        return space.low
    if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete)):
        return space.start
    return 0


def _highest(space: spaces.LeafSpace) -> object:
    if isinstance(space, spaces.Box):
        return space.high
    if isinstance(space, spaces.Discrete):
        return space.start + space.n - 1
    if isinstance(space, spaces.MultiDiscrete):
        return space.start + space.nvec - 1
    return 1
