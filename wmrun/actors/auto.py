"""The actor that fits the action space."""

# ruff: noqa: B006 - option defaults are literals that are read from this file and never changed.

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from wmrun_envserver.wire import spaces

from wmrun import registry
from wmrun.actors.base import Actor, action_leaf
from wmrun.registry import Component


def auto_actor(
    feat_size: int,
    act_space: spaces.Space,
    *,
    continuous: Annotated[Component, "actor"] = {"type": "truncated_normal"},
    discrete: Annotated[Component, "actor"] = {"type": "categorical"},
) -> Actor:
    """Builds `continuous` or `discrete`, whichever the action space asks for.

    Raises `ComponentError` when that actor has no actions for the space.

    Args:
        continuous: actor for a Box.
        discrete: actor for anything else; in place of categorical, MultiDiscrete and MultiBinary
            get multi_categorical with the same options.
    """
    actor: Actor = registry.build(
        "actor", _choose(act_space, continuous, discrete), feat_size, act_space
    )
    return actor


def _choose(
    act_space: spaces.Space, continuous: Mapping[str, Any], discrete: Mapping[str, Any]
) -> Mapping[str, Any]:
    leaf = action_leaf(act_space)
    if isinstance(leaf, spaces.Box):
        return continuous
    if (
        isinstance(leaf, (spaces.MultiDiscrete, spaces.MultiBinary))
        and discrete["type"] == "categorical"
    ):
        return {**discrete, "type": "multi_categorical"}
    return discrete
