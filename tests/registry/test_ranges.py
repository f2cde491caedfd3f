"""Ranges of options."""

from __future__ import annotations

from typing import Annotated, Any, get_args

import pytest
from annotated_types import Ge, Gt, Le, Lt

from wmrun.registry.ranges import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    UnitInterval,
    in_range,
    range_text,
)
from wmrun.registry.signature import read_signature


@pytest.mark.parametrize(
    ("annotation", "text", "inside", "outside"),
    [
        (PositiveInt, ">= 1", [1, 2], [0, -1]),
        (NonNegativeInt, ">= 0", [0], [-1]),
        (PositiveFloat, "> 0", [1e-300], [0.0, -1.0]),
        (NonNegativeFloat, ">= 0", [0.0], [-1e-300]),
        (UnitInterval, ">= 0 and <= 1", [0.0, 0.5, 1.0], [-0.1, 1.1]),
        (Annotated[float, Gt(0), Lt(1)], "> 0 and < 1", [0.5], [0.0, 1.0]),
        (Annotated[int, "a unit", Ge(2), Le(3)], ">= 2 and <= 3", [2, 3], [1, 4]),
    ],
)
def test_a_range_holds_its_numbers_and_no_others(
    annotation: Any, text: str, inside: list[float], outside: list[float]
) -> None:
    marks = get_args(annotation)[1:]
    assert range_text(marks) == text
    assert all(in_range(value, marks) for value in inside)
    assert not any(in_range(value, marks) for value in [*outside, float("nan")])


def test_without_bounds_everything_is_in_range() -> None:
    assert in_range(-1e300, ["a unit"])
    assert range_text(["a unit"]) == ""


def test_names_of_ranges_are_followed_in_source() -> None:
    options = read_signature("wmrun.agents.dreamer_v2", "DreamerV2").options
    types = {option.name: option.type for option in options}
    assert types["discount"] == UnitInterval
    assert types["hidden"] == PositiveInt | None
    assert types["loss_scales"] == dict[str, NonNegativeFloat]
    assert types["weight_decay"] == Annotated[float, Ge(0), Lt(1)]
