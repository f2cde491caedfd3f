"""The ranges that a number may be in, as annotations of constructors carry them.

An option is held to its range when an experiment file is checked: `depth: PositiveInt = 48`, or
`weight_decay: Annotated[float, Ge(0), Lt(1)] = 0.0` for one that has no name here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt

PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
UnitInterval = Annotated[float, Ge(0), Le(1)]
Share = Annotated[float, Ge(0), Lt(1)]
Width = PositiveInt | None
"""Units or channels; null takes the number from the agent's `size`, where it has one."""

BOUNDS: dict[str, type[Any]] = {"Ge": Ge, "Gt": Gt, "Le": Le, "Lt": Lt}
"""The marks of `annotated_types` that make up a range, by name; other marks mean nothing here."""

_COMPARISONS: dict[type[Any], tuple[str, Callable[[Any, Any], bool]]] = {
    Ge: (">=", operator.ge),
    Gt: (">", operator.gt),
    Le: ("<=", operator.le),
    Lt: ("<", operator.lt),
}


def bounds(marks: Iterable[Any]) -> tuple[Any, ...]:
    """Return those of an annotation's marks that bound a number."""
    return tuple(mark for mark in marks if type(mark) in _COMPARISONS)


def in_range(value: float, marks: Iterable[Any]) -> bool:
    """Return whether a number keeps every bound; nan keeps none."""
    return all(_COMPARISONS[type(mark)][1](value, _limit(mark)) for mark in bounds(marks))


def range_text(marks: Iterable[Any]) -> str:
    """Return a range as in `>= 0 and < 1`, empty where there is none."""
    return " and ".join(f"{_COMPARISONS[type(mark)][0]} {_limit(mark)}" for mark in bounds(marks))


def _limit(mark: Any) -> Any:
    return getattr(mark, type(mark).__name__.lower())
