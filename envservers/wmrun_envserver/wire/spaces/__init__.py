"""Observation and action spaces: kinds, trees of them, their messages, and their values."""

from wmrun_envserver.wire.spaces.codec import decode_space, encode_space, spec_hash
from wmrun_envserver.wire.spaces.kinds import (
    NO_ROLE,
    Box,
    Dict,
    Discrete,
    LeafSpace,
    MultiBinary,
    MultiDiscrete,
    Space,
    SpaceError,
    Text,
    Tuple,
)
from wmrun_envserver.wire.spaces.tree import Leaf, flatten, join, leaves, unflatten
from wmrun_envserver.wire.spaces.values import check, sample

__all__ = [
    "NO_ROLE",
    "Box",
    "Dict",
    "Discrete",
    "Leaf",
    "LeafSpace",
    "MultiBinary",
    "MultiDiscrete",
    "Space",
    "SpaceError",
    "Text",
    "Tuple",
    "check",
    "decode_space",
    "encode_space",
    "flatten",
    "join",
    "leaves",
    "sample",
    "spec_hash",
    "unflatten",
]
