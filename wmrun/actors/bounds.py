"""The action spaces that actors with bounded actions take."""

from __future__ import annotations

from math import prod

from wmrun_envserver.wire import spaces

from wmrun.actors.base import action_leaf
from wmrun.errors import ComponentError
from wmrun.nn.observations import describe_space


def bounded_size(act_space: spaces.Space, actor: str) -> int:
    """Return the number of entries of a Box that is bounded by -1 and 1.

    `actor` names the actor in errors. Raises `ComponentError` for any other space.
    """
    leaf = action_leaf(act_space)
    if not isinstance(leaf, spaces.Box):
        raise ComponentError(
            f"the {actor} actor takes a Box action space, but this one is {describe_space(leaf)}",
            hint="Set agent.actor.type: categorical for Discrete actions.",
        )
    if (leaf.low != -1).any() or (leaf.high != 1).any():
        raise ComponentError(
            f"the {actor} actor chooses actions in [-1, 1], "
            f"but this space is bounded by {leaf.low.tolist()} and {leaf.high.tolist()}",
            hint="Set env.normalize_actions: true. Actions without finite bounds cannot be "
            "normalised: wrap the environment in a backend that bounds them.",
        )
    return prod(leaf.shape)
