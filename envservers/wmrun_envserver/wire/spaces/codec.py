"""Spaces to and from the `Space` message."""

from __future__ import annotations

from hashlib import sha256

import numpy as np

from wmrun_envserver.wire import messages, tensors
from wmrun_envserver.wire.spaces.kinds import (
    MAX_DEPTH,
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
from wmrun_envserver.wire.spaces.tree import join


def encode_space(space: Space) -> messages.Space:
    """Return `space` as a message; raises `SpaceError` where it is deeper than `MAX_DEPTH`."""
    return _encode(space, MAX_DEPTH)


def decode_space(message: messages.Space) -> Space:
    """Return the space that `message` describes; raises `SpaceError` naming the path at fault."""
    return _decode(message, "", MAX_DEPTH)


def spec_hash(obs: Space, act: Space) -> str:
    """Return the SHA-256, in hex, of both spaces as serialized, the observation space first."""
    digest = sha256()
    for space in (obs, act):
        digest.update(encode_space(space).SerializeToString(deterministic=True))
    return digest.hexdigest()


def _encode(space: Space, depth: int) -> messages.Space:
    if depth == 0:
        raise SpaceError(f"space is nested deeper than {MAX_DEPTH}")
    if isinstance(space, Dict):
        entries = [
            messages.Space.Entry(key=key, space=_encode(child, depth - 1))
            for key, child in space.entries
        ]
        return messages.Space(dict=messages.Space.Dict(entries=entries))
    if isinstance(space, Tuple):
        items = [_encode(child, depth - 1) for child in space.items]
        return messages.Space(tuple=messages.Space.Tuple(items=items))
    message = _encode_leaf(space)
    message.role = messages.Space.Role.Value(space.role)  # type: ignore[assignment]
    return message


def _encode_leaf(space: LeafSpace) -> messages.Space:
    if isinstance(space, Box):
        box = messages.Space.Box(
            dtype=tensors.code_of(space.dtype),
            shape=space.shape,
            low=tensors.encode(space.low),
            high=tensors.encode(space.high),
        )
        return messages.Space(box=box)
    if isinstance(space, Discrete):
        discrete = messages.Space.Discrete(
            n=space.n, start=space.start, dtype=tensors.code_of(space.dtype)
        )
        return messages.Space(discrete=discrete)
    if isinstance(space, MultiDiscrete):
        multi_discrete = messages.Space.MultiDiscrete(
            nvec=tensors.encode(space.nvec),
            start=tensors.encode(space.start),
            dtype=tensors.code_of(space.dtype),
        )
        return messages.Space(multi_discrete=multi_discrete)
    if isinstance(space, MultiBinary):
        return messages.Space(multi_binary=messages.Space.MultiBinary(shape=space.shape))
    text = messages.Space.Text(
        min_length=space.min_length, max_length=space.max_length, charset=space.charset
    )
    return messages.Space(text=text)


def _decode(message: messages.Space, path: str, depth: int) -> Space:
    if depth == 0:
        raise SpaceError(f'"{path}": space is nested deeper than {MAX_DEPTH}', path)
    try:
        kind = message.WhichOneof("kind")
        if kind == "dict":
            return Dict(
                tuple(
                    (entry.key, _decode(entry.space, join(path, entry.key), depth - 1))
                    for entry in message.dict.entries
                )
            )
        if kind == "tuple":
            return Tuple(
                tuple(
                    _decode(item, join(path, str(index)), depth - 1)
                    for index, item in enumerate(message.tuple.items)
                )
            )
        return _decode_leaf(message, kind)
    except (SpaceError, tensors.TensorError) as error:
        if getattr(error, "path", "") or not path:
            raise SpaceError(str(error), getattr(error, "path", "")) from None
        raise SpaceError(f'"{path}": {error}', path) from None


def _decode_leaf(message: messages.Space, kind: str | None) -> LeafSpace:
    role = _role_name(message.role)
    if kind == "box":
        box = message.box
        low, high = (_decode_bound(name, box) for name in ("low", "high"))
        return Box(box.shape, tensors.dtype_of(box.dtype), low, high, role)
    if kind == "discrete":
        discrete = message.discrete
        return Discrete(discrete.n, discrete.start, tensors.dtype_of(discrete.dtype), role)
    if kind == "multi_discrete":
        multi = message.multi_discrete
        nvec, start = tensors.decode(multi.nvec), tensors.decode(multi.start)
        return MultiDiscrete(nvec, start, tensors.dtype_of(multi.dtype), role)
    if kind == "multi_binary":
        return MultiBinary(tuple(message.multi_binary.shape), role)
    if kind == "text":
        text = message.text
        return Text(text.min_length, text.max_length, text.charset, role)
    raise SpaceError("space has no kind that this version knows")


def _decode_bound(name: str, box: messages.Space.Box) -> np.ndarray:
    tensor = getattr(box, name)
    if tensor.dtype != box.dtype:
        expected, got = (messages.DType.Name(code) for code in (box.dtype, tensor.dtype))
        raise SpaceError(f"Box {name} has dtype {got}, expected the Box's own, {expected}")
    return tensors.decode(tensor)


def _role_name(role: int) -> str:
    # A role is a hint: one that a newer server invented is as good as none.
    names: dict[int, str] = {number: name for name, number in messages.Space.Role.items()}
    return names.get(role, NO_ROLE)
