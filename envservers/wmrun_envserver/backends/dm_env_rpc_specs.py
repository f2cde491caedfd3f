"""The TensorSpecs of dm_env_rpc as spaces, and values both ways."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from dm_env_rpc.v1 import spec_manager, tensor_spec_utils, tensor_utils

from wmrun_envserver.backends.base import ConfigError
from wmrun_envserver.wire import spaces
from wmrun_envserver.wire.tensors import TEXT

# An observed integer with more values than this is a quantity, not a category.
_MAX_CATEGORIES = 1024


class Observations:
    """Those that are requested at every step, as a Dict space; "." and "/" in names nest."""

    def __init__(self, specs: Mapping[int, Any], names: Collection[str], extra: Collection[str]):
        """`names` make the space; `extra` are requested too.

        Raises `ConfigError` for a spec that has no counterpart.
        """
        chosen = {uid: specs[uid] for uid in sorted(specs) if specs[uid].name in names}
        leaves = {spec.name: _observation_leaf(spec) for spec in chosen.values()}
        self.space, self._order = _tree(leaves, "observation")
        self._manager = spec_manager.SpecManager(specs)
        self.uids = [self._manager.name_to_uid(name) for name in (*self._order, *extra)]

    def unpack(self, tensors: Mapping[int, Any]) -> dict[str, Any]:
        """Return the values that a Step returned, by name; raises `ValueError` unless all came."""
        values: dict[str, Any] = self._manager.unpack(tensors)
        missing = sorted({self._manager.uid_to_name(uid) for uid in self.uids} - set(values))
        if missing:
            raise ValueError(f"the server left out observations: {', '.join(missing)}")
        return values

    def leaves(self, values: Mapping[str, Any]) -> list[np.ndarray]:
        """Return the values of the space, one array per leaf."""
        return [np.asarray(values[name]) for name in self._order]


class Actions:
    """All actions of a world: one makes the space itself, several make a Dict."""

    def __init__(self, specs: Mapping[int, Any]) -> None:
        """Raises `ConfigError` for a spec that has no counterpart."""
        leaves = {specs[uid].name: _action_leaf(specs[uid]) for uid in sorted(specs)}
        tree, self._order = _tree(leaves, "action")
        self.space: spaces.Space = tree
        if len(leaves) == 1:
            (self.space,) = leaves.values()
        self._manager = spec_manager.SpecManager(specs)

    def pack(self, action: Sequence[np.ndarray]) -> Mapping[int, Any]:
        """Return tensors by uid from one array per leaf."""
        values = (leaf.item() if leaf.dtype == TEXT else leaf for leaf in action)
        packed: Mapping[int, Any] = self._manager.pack(dict(zip(self._order, values, strict=True)))
        return packed


def pack_settings(settings: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Return the tensors of settings out of JSON values; nested keys are joined by ".".

    Integers travel as int64 and floats as double, unless a setting is `{dtype: …, value: …}`.
    Raises `ConfigError` naming the setting.
    """
    packed = {}
    for name, value in _flat(settings, ""):
        typed = isinstance(value, Mapping)
        try:
            packed[name] = (
                pack_number(value["value"], value["dtype"])
                if typed
                else tensor_utils.pack_tensor(value)
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise ConfigError(
                f"setting {name!r} cannot be sent: {error}", f"{field}.{name}"
            ) from None
    return packed


def pack_number(value: Any, dtype: str) -> Any:
    """Return a tensor of the NumPy dtype `dtype`; raises where the value does not fit it."""
    return tensor_utils.pack_tensor(np.array(value, np.dtype(dtype)))


def _flat(settings: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    result: list[tuple[str, Any]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping) and value.keys() != {"dtype", "value"}:
            result += _flat(value, f"{prefix}{key}.")
        else:
            result.append((f"{prefix}{key}", value))
    return result


def _tree(leaves: Mapping[str, spaces.LeafSpace], kind: str) -> tuple[spaces.Dict, tuple[str, ...]]:
    """Return the nested space of `leaves` by name, and the names in the order of its leaves."""
    nested: dict[str, Any] = {}
    names: dict[str, str] = {}
    for name, leaf in leaves.items():
        *parents, last = parts = re.split(r"[./]", name)
        inside = nested
        for part in parents:
            inside = inside.setdefault(part, {})
            if not isinstance(inside, dict):
                break
        if not isinstance(inside, dict) or last in inside:
            raise ConfigError(f"{kind} {name!r} collides with another one: '.' and '/' nest names")
        inside[last] = leaf
        names["/".join(parts)] = name
    try:
        space = _dict(nested)
    except spaces.SpaceError as error:
        raise ConfigError(f"the {kind} names cannot be nested: {error}") from None
    return space, tuple(names[leaf.path] for leaf in spaces.leaves(space))


def _dict(nested: Mapping[str, Any]) -> spaces.Dict:
    return spaces.Dict(
        tuple(
            (key, _dict(value) if isinstance(value, dict) else value)
            for key, value in nested.items()
        )
    )


def _observation_leaf(spec: Any) -> spaces.LeafSpace:
    dtype, shape = _described(spec, "observation")
    if dtype.kind == "U":
        return spaces.Text()
    if dtype.kind == "b":
        return spaces.Box(shape, dtype)
    low, high = _bounds(spec, dtype)
    if not shape and low is not None and high is not None and dtype.kind in "iu":
        n = int(high) - int(low) + 1
        if n <= _MAX_CATEGORIES:
            return spaces.Discrete(n, int(low), dtype)
    return spaces.Box(shape, dtype, low, high, _role(dtype, shape))


def _action_leaf(spec: Any) -> spaces.LeafSpace:
    dtype, shape = _described(spec, "action")
    if dtype.kind == "U":
        return spaces.Text()
    if dtype.kind == "b":
        return spaces.MultiBinary(shape) if shape else spaces.Discrete(2)
    low, high = _bounds(spec, dtype)
    if low is None or high is None or dtype.kind == "f":
        return spaces.Box(shape, dtype, low, high)
    try:
        if not shape:
            return spaces.Discrete(int(high) - int(low) + 1, int(low), dtype)
        start = np.broadcast_to(low, shape).astype(np.int64)
        last = np.broadcast_to(high, shape).astype(np.int64)
        return spaces.MultiDiscrete(last - start + 1, start, dtype)
    except spaces.SpaceError as error:
        raise ConfigError(f"action {spec.name!r} cannot be served: {error}") from None


def _described(spec: Any, kind: str) -> tuple[np.dtype, tuple[int, ...]]:
    shape = tuple(spec.shape)
    advice = ": leave it out of observations" if kind == "observation" else ""
    try:
        dtype = tensor_utils.data_type_to_np_type(spec.dtype)
    except TypeError as error:
        raise ConfigError(f"{kind} {spec.name!r} cannot be served: {error}{advice}") from None
    if any(size < 0 for size in shape):
        raise ConfigError(
            f"{kind} {spec.name!r} has a dimension of variable length, {list(shape)}; every shape "
            f"must be fixed{advice}"
        )
    if dtype.kind == "O" or (dtype.kind == "U" and shape):
        what = "protocol messages" if dtype.kind == "O" else f"strings of shape {list(shape)}"
        raise ConfigError(f"{kind} {spec.name!r} holds {what}, which cannot be served{advice}")
    return dtype, shape


def _bounds(spec: Any, dtype: np.dtype) -> tuple[Any, Any]:
    """Return both bounds, None where there is none; the ends of a float dtype mean none."""
    try:
        bounds = tensor_spec_utils.bounds(spec)
    except ValueError as error:
        raise ConfigError(f"the bounds of {spec.name!r} are wrong: {error}") from None
    limits = []
    for name, value in (("min", bounds.min), ("max", bounds.max)):
        given = getattr(spec, name).WhichOneof("payload") is not None
        limits.append(_unended(np.asarray(value), dtype) if given else None)
    return limits[0], limits[1]


def _unended(bound: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.kind != "f":
        return bound
    largest = np.finfo(dtype).max
    return np.where(np.abs(bound) >= largest, np.copysign(np.inf, bound), bound)


def _role(dtype: np.dtype, shape: tuple[int, ...]) -> str:
    if dtype.kind == "f" and len(shape) == 1:
        return "VECTOR"
    if dtype == np.uint8 and len(shape) == 3 and shape[-1] in (1, 3):
        return "IMAGE_HWC"
    return spaces.NO_ROLE
