"""Which observations a network can take, told by their spaces before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TypeGuard

from wmrun_envserver.wire import spaces

from wmrun.errors import ComponentError

ObsSpace = Mapping[str, spaces.Space]
"""Leaf spaces by observation key, in the order of the environment's observation space."""

VectorSpace = spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary

MAX_CLASSES = 100_000
"""Entries that the one-hot vectors of a leaf may have."""
IMAGE_SIDE = 16
"""From this size on, two axes of at least three are taken for those of an image."""


def is_image(space: spaces.Space) -> TypeGuard[spaces.Box]:
    """Whether the leaf is an image: uint8 `[H, W, C]`, or `[H, W]` with values from 0 to 255."""
    if not isinstance(space, spaces.Box) or space.dtype.name != "uint8":
        return False
    return len(space.shape) == 3 or (len(space.shape) == 2 and space.holds_all)


def is_vector(space: spaces.Space) -> TypeGuard[VectorSpace]:
    """Whether the leaf is made a vector: numbers of any shape, which are flattened, or classes.

    Not so where it is or seems to be an image, or has too many classes.
    """
    if isinstance(space, spaces.Box):
        return not (is_image(space) or _resembles_image(space))
    return isinstance(space, spaces.MultiBinary) or 0 < sum(class_counts(space)) <= MAX_CLASSES


def image_shapes(obs_space: ObsSpace, owner: str) -> dict[str, tuple[int, int, int]]:
    """Return `(H, W, C)` by key for a network that takes nothing but images of one size.

    `owner` names it in errors, e.g. "the cnn encoder".

    Raises `ComponentError` naming the first key that it cannot take.
    """
    shapes: dict[str, tuple[int, int, int]] = {}
    for key, space in obs_space.items():
        if not is_image(space):
            raise _unfit(key, space, owner, "uint8 images of shape [H, W, C]")
        height, width, channels = (*space.shape, 1)[:3]
        shapes[key] = (height, width, channels)
    sizes = {key: shape[:2] for key, shape in shapes.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{key} is {h}x{w}" for key, (h, w) in sizes.items())
        name, kind = owner.removeprefix("the ").rsplit(" ", 1)
        raise ComponentError(
            f"{owner} takes images of one size, but {listed}",
            hint=f"Set agent.{kind}: {{type: multi, image: {{type: {name}}}}}, which builds one "
            "for each size, or give every image of the environment the same size.",
        )
    return shapes


def vector_leaves(obs_space: ObsSpace, owner: str) -> dict[str, VectorSpace]:
    """Return the leaves for `owner`, which takes nothing but vectors.

    Raises `ComponentError` naming the first key that it cannot take.
    """
    leaves: dict[str, VectorSpace] = {}
    for key, space in obs_space.items():
        if not is_vector(space):
            raise _unfit(key, space, owner, "vectors")
        leaves[key] = space
    return leaves


def by_kind(obs_space: ObsSpace, owner: str) -> tuple[list[ObsSpace], ObsSpace]:
    """Return the images, those of one size together, and the vectors.

    Raises `ComponentError` for any other leaf.
    """
    images: dict[tuple[int, ...], dict[str, spaces.Space]] = {}
    vectors: dict[str, spaces.Space] = {}
    for key, space in obs_space.items():
        if is_image(space):
            images.setdefault(space.shape[:2], {})[key] = space
        elif is_vector(space):
            vectors[key] = space
        else:
            raise _unusable(key, space, owner)
    return list(images.values()), vectors


def class_counts(space: spaces.Space) -> tuple[int, ...]:
    """Return the number of classes of every variable of a discrete leaf; none for other spaces.

    MultiDiscrete and MultiBinary are taken in row-major order.
    """
    if isinstance(space, spaces.Discrete):
        return (space.n,)
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(int(n) for n in space.nvec.flat)
    if isinstance(space, spaces.MultiBinary):
        return (2,) * prod(space.shape)
    return ()


def describe_space(space: spaces.Space) -> str:
    """Return a space in a few words, e.g. "Box uint8 [64, 64, 3]" or "Discrete(5)"."""
    if isinstance(space, spaces.Box):
        return f"Box {space.dtype.name} {list(space.shape)}"
    if isinstance(space, spaces.Discrete):
        return f"Discrete({space.n})"
    if isinstance(space, spaces.MultiDiscrete):
        listed = space.nvec.tolist() if space.nvec.size <= 16 else f"of shape {list(space.shape)}"
        return f"MultiDiscrete({listed})"
    if isinstance(space, spaces.MultiBinary):
        return f"MultiBinary({list(space.shape)})"
    leaves = spaces.leaves(space)
    if len(leaves) == 1 and leaves[0].space is space:
        return type(space).__name__
    listed = ", ".join(f"{leaf.path}: {describe_space(leaf.space)}" for leaf in leaves)
    return f"{type(space).__name__}({listed})"


def _resembles_image(space: spaces.Box) -> bool:
    large = [side for side in space.shape if side >= IMAGE_SIDE]
    return len(space.shape) >= 3 and len(large) >= 2


def _unusable(key: str, space: spaces.Space, owner: str) -> ComponentError:
    """Return the error for a leaf that none of the built-in networks can take."""
    if isinstance(space, spaces.Box):
        reason = "images have to be uint8 of shape [H, W, C]"
        hint = (
            "Convert it in the environment: floats in [0, 1] times 255, channels and stacked "
            "frames on the last axis."
        )
    elif counts := class_counts(space):
        reason = f"as one-hot vectors it has {sum(counts):,} entries, more than {MAX_CLASSES:,}"
        hint = "Describe it by a few numbers, a Box, in the environment."
    else:
        reason = "networks take numbers, classes and images"
        hint = "Encode it as one of these in the environment."
    return ComponentError(
        f"{owner} cannot use observation {key!r}, a {describe_space(space)}: {reason}",
        hint=f"{hint} Or keep {key!r} out of the observation with the environment's own options, "
        "env.options, or set a component of your own that takes it.",
    )


def _unfit(key: str, space: spaces.Space, owner: str, takes: str) -> ComponentError:
    if not (is_image(space) or is_vector(space)):
        return _unusable(key, space, owner)
    place = f"agent.{owner.split()[-1]}.type"
    other = "cnn" if is_image(space) else "mlp"
    return ComponentError(
        f"{owner} takes {takes}, but observation {key!r} is a {describe_space(space)}",
        hint=f"Set {place}: {other} if {key!r} is all there is, {place}: multi for images and "
        "vectors together, or leave one of them out with env.image: null or env.vector: false.",
    )
