"""Values of spaces: drawing them, and checking batches of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from wmrun_envserver.wire.spaces.kinds import (
    Box,
    Discrete,
    LeafSpace,
    MultiBinary,
    MultiDiscrete,
    Space,
    SpaceError,
    Text,
)
from wmrun_envserver.wire.spaces.tree import Leaf, leaves, unflatten
from wmrun_envserver.wire.tensors import TEXT

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_TEXT_LENGTH_CAP = 32


def sample(space: Space, rng: np.random.Generator) -> Any:
    """Return a random value of `space`, nested as it is, each leaf an array of its dtype and shape.

    Bounded elements are uniform; elements without one bound are exponential from the other,
    elements without any are standard normal.
    """
    return unflatten(space, [_draw(leaf.space, rng) for leaf in leaves(space)])


def check(leaf: Leaf, batch: np.ndarray, *, bounds: bool = True) -> None:
    """Raise `SpaceError` unless every row of `batch`, `[rows, …leaf shape]`, is a value of `leaf`.

    `bounds=False` checks dtype and shape alone. With bounds, NaN and infinities are refused too,
    even where the space is unbounded.
    """
    space = leaf.space
    if batch.dtype != space.dtype or batch.shape[1:] != space.shape or batch.ndim == 0:
        expected, got = (
            _describe(space.dtype, ("rows", *space.shape)),
            _describe(batch.dtype, batch.shape),
        )
        raise SpaceError(f"{_name(leaf)}: expected {expected}, got {got}", leaf.path)
    if not bounds:
        return
    if isinstance(space, Text):
        _check_text(leaf, space, batch)
    elif not (isinstance(space, Box) and space.holds_all):
        low, high = _bounds(space)
        valid = (batch >= low) & (batch <= high)  # NaN compares false
        if batch.dtype.kind == "f":
            valid &= np.isfinite(batch)
        if not valid.all():
            _refuse(leaf, batch, valid, low, high)


def _draw(space: LeafSpace, rng: np.random.Generator) -> np.ndarray:
    if isinstance(space, Text):
        return np.array(_draw_text(space, rng), TEXT)
    low, high = _bounds(space)
    if space.dtype.kind == "f":
        return _draw_floats(space.shape, space.dtype, low, high, rng)
    drawn = rng.integers(low, high, space.shape, space.dtype, endpoint=True)
    return np.asarray(drawn, space.dtype)


def _draw_floats(
    shape: tuple[int, ...], dtype: np.dtype, low: Any, high: Any, rng: np.random.Generator
) -> np.ndarray:
    low, high = (np.broadcast_to(bound, shape).astype(np.float64) for bound in (low, high))
    weight, positive = rng.random(shape), rng.standard_exponential(shape)
    with np.errstate(invalid="ignore", over="ignore"):  # the branches not selected
        drawn = np.select(
            [np.isfinite(low) & np.isfinite(high), np.isfinite(low), np.isfinite(high)],
            [low * (1 - weight) + high * weight, low + positive, high - positive],
            rng.standard_normal(shape),
        )
    return np.clip(drawn, low, high).astype(dtype)


def _draw_text(space: Text, rng: np.random.Generator) -> str:
    longest = min(space.max_length, max(space.min_length, _TEXT_LENGTH_CAP))
    length = rng.integers(space.min_length, longest, endpoint=True)
    return "".join(rng.choice(list(space.charset or _LETTERS), length))


def _bounds(space: Box | Discrete | MultiDiscrete | MultiBinary) -> tuple[Any, Any]:
    if isinstance(space, Box):
        return space.low, space.high
    if isinstance(space, Discrete):
        return space.start, space.start + space.n - 1
    if isinstance(space, MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    return 0, 1


def _check_text(leaf: Leaf, space: Text, batch: np.ndarray) -> None:
    for row, text in enumerate(batch):
        if not space.min_length <= len(text) <= space.max_length:
            expected = f"{space.min_length} to {space.max_length} characters"
            raise SpaceError(
                f"{_name(leaf)}, row {row}: expected {expected}, got {len(text)}", leaf.path
            )
        if space.charset and not set(text) <= set(space.charset):
            extra = sorted(set(text) - set(space.charset))[0]
            raise SpaceError(
                f"{_name(leaf)}, row {row}: character {extra!r} is not in {space.charset!r}",
                leaf.path,
            )


def _refuse(leaf: Leaf, batch: np.ndarray, valid: np.ndarray, low: Any, high: Any) -> None:
    index = tuple(int(i) for i in np.argwhere(~valid)[0])
    place = f"row {index[0]}" + (f", element {list(index[1:])}" if index[1:] else "")
    least, greatest = (np.broadcast_to(bound, batch.shape)[index] for bound in (low, high))
    raise SpaceError(
        f"{_name(leaf)}, {place}: {batch[index]} is not a finite value in [{least}, {greatest}]"
        if batch.dtype.kind == "f"
        else f"{_name(leaf)}, {place}: {batch[index]} is not in [{least}, {greatest}]",
        leaf.path,
    )


def _name(leaf: Leaf) -> str:
    return f'leaf "{leaf.path}"' if leaf.path else "the only leaf"


def _describe(dtype: np.dtype, shape: tuple[Any, ...]) -> str:
    name = "text" if dtype == TEXT else dtype.name
    return f"{name} [{', '.join(str(size) for size in shape)}]"
