"""The kinds of space. All are immutable, comparable and hashable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from wmrun_envserver.wire import messages
from wmrun_envserver.wire.tensors import TEXT, TensorError, code_of

ROLES: tuple[str, ...] = tuple(messages.Space.Role.keys())
NO_ROLE = "ROLE_UNSPECIFIED"
MAX_DEPTH = 16

_INT64 = np.dtype("int64")


class SpaceError(ValueError):
    """A space contradicts itself, or a value is not one of its space; `path` names the leaf."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class _Comparable:
    """Equality and hash by value for dataclasses that hold arrays."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._key() == other._key()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        values = (getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]
        return tuple(
            (value.dtype.str, value.shape, value.tobytes())
            if isinstance(value, np.ndarray)
            else value
            for value in values
        )


@dataclass(frozen=True, eq=False, init=False)
class Box(_Comparable):
    """Values of `shape` with `low <= x <= high`, element by element.

    `low` and `high` have `dtype` and are scalars where one bound holds for every element, else of
    `shape`. Left out, they are infinite, or the ends of an integer dtype. Raises `SpaceError` where
    low > high, or where a bound is NaN, of another shape, or outside the dtype.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    low: np.ndarray
    high: np.ndarray
    role: str

    def __init__(
        self,
        shape: Iterable[int],
        dtype: Any = "float32",
        low: Any = None,
        high: Any = None,
        role: str = NO_ROLE,
    ) -> None:
        shape, dtype = _shape(shape), _dtype(dtype)
        if dtype == TEXT:
            raise SpaceError("a Box cannot hold text: use Text")
        least, greatest = _range(dtype)
        low = _bound("low", least if low is None else low, shape, dtype)
        high = _bound("high", greatest if high is None else high, shape, dtype)
        if np.any(low > high):
            raise SpaceError(f"Box has low > high: low is {low.tolist()}, high is {high.tolist()}")
        _assign(self, shape=shape, dtype=dtype, low=low, high=high, role=_role(role))

    @cached_property
    def holds_all(self) -> bool:
        """Whether the bounds admit every value of the (integer or bool) dtype: nothing to check."""
        least, greatest = _range(self.dtype)
        return self.dtype.kind != "f" and bool(
            np.all(self.low == least) and np.all(self.high == greatest)
        )


@dataclass(frozen=True)
class Discrete:
    """A scalar among `start … start + n - 1`."""

    n: int
    start: int = 0
    dtype: np.dtype = _INT64
    role: str = NO_ROLE

    def __post_init__(self) -> None:
        n, start, dtype = int(self.n), int(self.start), _integer_dtype(self.dtype)
        if n < 1:
            raise SpaceError(f"Discrete needs n >= 1, got {n}")
        _fits(start, start + n - 1, dtype, "Discrete")
        _assign(self, n=n, start=start, dtype=dtype, role=_role(self.role))

    @property
    def shape(self) -> tuple[int, ...]:
        return ()


@dataclass(frozen=True, eq=False, init=False)
class MultiDiscrete(_Comparable):
    """Element i is among `start[i] … start[i] + nvec[i] - 1`; both are int64 arrays of `shape`."""

    nvec: np.ndarray
    start: np.ndarray
    dtype: np.dtype
    role: str

    def __init__(self, nvec: Any, start: Any = 0, dtype: Any = _INT64, role: str = NO_ROLE) -> None:
        nvec, dtype = _integers("nvec", nvec), _integer_dtype(dtype)
        start = _integers("start", start)
        if start.shape not in ((), nvec.shape):
            raise SpaceError(
                f"MultiDiscrete start has shape {list(start.shape)}, nvec has {list(nvec.shape)}"
            )
        if nvec.size and nvec.min() < 1:
            raise SpaceError(f"MultiDiscrete needs nvec >= 1, got {nvec.tolist()}")
        start = _frozen(np.broadcast_to(start, nvec.shape))
        for first, n in zip(start.flat, nvec.flat, strict=True):
            _fits(int(first), int(first) + int(n) - 1, dtype, "MultiDiscrete")
        _assign(self, nvec=nvec, start=start, dtype=dtype, role=_role(role))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.nvec.shape


@dataclass(frozen=True)
class MultiBinary:
    """int8 values of `shape`, each 0 or 1."""

    shape: tuple[int, ...]
    role: str = NO_ROLE

    def __post_init__(self) -> None:
        _assign(self, shape=_shape(self.shape), role=_role(self.role))

    @property
    def dtype(self) -> np.dtype:
        return np.dtype("int8")


@dataclass(frozen=True)
class Text:
    """A string of `min_length` to `max_length` code points of `charset`; "" allows any."""

    min_length: int = 0
    max_length: int = 2**32 - 1
    charset: str = ""
    role: str = NO_ROLE

    def __post_init__(self) -> None:
        if not 0 <= self.min_length <= self.max_length < 2**32:
            raise SpaceError(
                "Text needs 0 <= min_length <= max_length < 2^32, "
                f"got {self.min_length} and {self.max_length}"
            )
        _role(self.role)

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    @property
    def dtype(self) -> np.dtype:
        return TEXT


@dataclass(frozen=True)
class Dict:
    """Named spaces, in an order that counts."""

    entries: tuple[tuple[str, Space], ...]

    def __post_init__(self) -> None:
        entries = tuple((key, space) for key, space in self.entries)
        seen: set[str] = set()
        for key, _ in entries:
            if not key or "/" in key:
                raise SpaceError(f"Dict key {key!r} is empty or holds a '/'")
            if key in seen:
                raise SpaceError(f"Dict key {key!r} appears twice")
            seen.add(key)
        _assign(self, entries=entries)


@dataclass(frozen=True)
class Tuple:
    """Spaces by position."""

    items: tuple[Space, ...]

    def __post_init__(self) -> None:
        _assign(self, items=tuple(self.items))


LeafSpace = Box | Discrete | MultiDiscrete | MultiBinary | Text
Space = LeafSpace | Dict | Tuple


def _assign(space: object, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(space, name, value)


def _shape(shape: Iterable[int]) -> tuple[int, ...]:
    dims: Sequence[int] = tuple(int(size) for size in shape)
    if any(not 0 <= size < 2**32 for size in dims):
        raise SpaceError(f"shape {list(dims)} has a dimension outside 0 … 2^32 - 1")
    return tuple(dims)


def _role(role: str) -> str:
    if role not in ROLES:
        raise SpaceError(f"unknown role {role!r}, expected one of {', '.join(ROLES)}")
    return role


def _dtype(dtype: Any) -> np.dtype:
    little_endian = np.dtype(dtype).newbyteorder("<")
    try:
        code_of(little_endian)
    except TensorError as error:
        raise SpaceError(str(error)) from None
    return little_endian


def _integer_dtype(dtype: Any) -> np.dtype:
    result = _dtype(dtype)
    if result.kind not in "iu":
        raise SpaceError(f"dtype {result} is not an integer type")
    return result


def _range(dtype: np.dtype) -> tuple[Any, Any]:
    if dtype.kind == "f":
        return -np.inf, np.inf
    if dtype.kind == "b":
        return False, True
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def _bound(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    given = np.asarray(value)
    if given.shape not in ((), shape):
        raise SpaceError(
            f"Box {name} has shape {list(given.shape)}, expected a scalar or {list(shape)}"
        )
    if given.dtype.kind == "f" and np.isnan(given).any():
        raise SpaceError(f"Box {name} is NaN")
    with np.errstate(over="ignore", invalid="ignore"):
        bound = given.astype(dtype)
    if dtype.kind != "f" and not np.array_equal(bound, given):
        raise SpaceError(f"Box {name} {given.tolist()} does not fit {dtype}")
    uniform = bound.size > 0 and (bound == bound.flat[0]).all()
    return _frozen(bound.flat[0] if uniform else bound)


def _integers(name: str, value: Any) -> np.ndarray:
    given = np.asarray(value)
    if given.size and given.dtype.kind not in "iu":
        raise SpaceError(f"MultiDiscrete {name} must hold integers, got {given.dtype}")
    return _frozen(given.astype(_INT64))


def _fits(first: int, last: int, dtype: np.dtype, kind: str) -> None:
    least, greatest = _range(dtype)
    if first < least or last > greatest or last >= 2**63 or first < -(2**63):
        raise SpaceError(f"{kind} values {first} … {last} do not fit {dtype}")


def _frozen(array: Any) -> np.ndarray:
    copy = np.array(array, order="C")
    copy.flags.writeable = False
    return copy
