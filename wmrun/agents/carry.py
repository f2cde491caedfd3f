"""The part of some env slots in what an agent remembers of all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def select_slots(carry: Any, slots: np.ndarray) -> Any:
    """Return what `carry`, of all slots, holds of `slots`: int64 `[n]`, ascending.

    The arrays and tensors are those of `carry` where that is all of them, copies otherwise.
    """
    return _map_leaves(lambda leaf: _select(leaf, slots), carry)


def put_slots(carry: Any, slots: np.ndarray, part: Any) -> Any:
    """Return `carry` with `part` in the place of what it holds of `slots`; `carry` is unchanged.

    The arrays and tensors are those of `part` where that is all of them, copies otherwise.
    """
    return _map_leaves(lambda leaf, new: _put(leaf, slots, new), carry, part)


def _select(leaf: Any, slots: np.ndarray) -> Any:
    if len(slots) == len(leaf):
        return leaf
    return leaf[_index(slots, leaf)]


def _put(leaf: Any, slots: np.ndarray, part: Any) -> Any:
    if len(slots) == len(leaf):
        return part
    whole = leaf.clone() if isinstance(leaf, Tensor) else leaf.copy()
    whole[_index(slots, leaf)] = part
    return whole


def _index(slots: np.ndarray, leaf: Any) -> Any:
    return torch.as_tensor(slots, device=leaf.device) if isinstance(leaf, Tensor) else slots


def _map_leaves(function: Callable[..., Any], carry: Any, *others: Any) -> Any:
    """Apply `function` to the arrays and tensors of carries of one structure."""
    if isinstance(carry, Tensor | np.ndarray):
        return function(carry, *others)
    if isinstance(carry, tuple):
        parts = [_map_leaves(function, *values) for values in zip(carry, *others, strict=True)]
        return type(carry)(*parts) if hasattr(carry, "_fields") else tuple(parts)
    if isinstance(carry, Mapping):
        return {
            key: _map_leaves(function, value, *(other[key] for other in others))
            for key, value in carry.items()
        }
    if dataclasses.is_dataclass(carry) and not isinstance(carry, type):
        names = [field.name for field in dataclasses.fields(carry)]
        values = {
            name: _map_leaves(function, *(getattr(each, name) for each in (carry, *others)))
            for name in names
        }
        return dataclasses.replace(carry, **values)
    raise TypeError(
        f"an agent's carry holds a {type(carry).__name__}; expected tensors and arrays "
        "[N, ...], in tuples, mappings and dataclasses"
    )
