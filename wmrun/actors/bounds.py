"""The action spaces that actors with bounded actions take."""

from __future__ import annotations

from math import prod

import numpy as np
from wmrun_envserver.wire import spaces

from wmrun.actors.base import action_leaf
from wmrun.errors import ComponentError
from wmrun.nn.observations import describe_space


def bounded_size(act_space: spaces.Space, actor: str, *, unbounded: bool = False) -> int:
    """Return the number of entries of a Box that is bounded by -1 and 1.

    With `unbounded`, entries without bounds are allowed, too. `actor` names the actor in errors.
    Raises `ComponentError` for any other space.
    """
    leaf = action_leaf(act_space)
    if not isinstance(leaf, spaces.Box):
        raise ComponentError(
            f"the {actor} actor takes a Box action space, but this one is {describe_space(leaf)}",
            hint="Set agent.actor.type: auto, which takes the actor that fits.",
        )
    low, high = np.broadcast_arrays(leaf.low, leaf.high)
    fits = (low == -1) & (high == 1)
    if unbounded:
        fits |= np.isneginf(low) & np.isposinf(high)
    if leaf.dtype.kind != "f" or not fits.all():
        raise ComponentError(
            f"the {actor} actor chooses actions in [-1, 1], but this space, a "
            f"{describe_space(leaf)}, is bounded by {leaf.low.tolist()} and {leaf.high.tolist()}",
            hint=_hint(leaf),
        )
    return prod(leaf.shape)


def _hint(box: spaces.Box) -> str:
    if box.dtype.kind != "f":
        return (
            "Integers are not normalised: offer each as a choice, a MultiDiscrete, in the "
            "environment."
        )
    if np.isfinite(box.low).all() and np.isfinite(box.high).all():
        return "Set env.normalize_actions: true."
    return (
        "Set env.normalize_actions: true, which leaves actions without finite bounds as they are: "
        "give these bounds in the environment, or set agent.actor.type: bounded_normal if none "
        "has only one."
    )
