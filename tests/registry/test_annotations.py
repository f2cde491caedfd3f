"""The types of options, from source and at run time."""

from __future__ import annotations

import ast
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Optional, Union

import pytest
from annotated_types import Ge, Gt, Le, Lt

from wmrun.registry.annotations import (
    Component,
    UnreadableAnnotation,
    from_runtime,
    from_source,
    nested,
    type_text,
)
from wmrun.registry.ranges import NonNegativeFloat, PositiveInt, UnitInterval

RANGE = Annotated[float, Gt(-1.5), Lt(1e3)]
NAMES = {
    "Ge": Ge,
    "Gt": Gt,
    "Le": Le,
    "Lt": Lt,
    "Annotated": Annotated,
    "Any": Any,
    "Component": Component,
    "Literal": Literal,
    "Mapping": Mapping,
    "Optional": Optional,
    "Sequence": Sequence,
    "Union": Union,
    "typing": typing,
}


class NoAliases:
    def alias(self, name: str) -> None:
        return None


@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        ("int", int, "int"),
        ("float", float, "float"),
        ("bool", bool, "bool"),
        ("str", str, "str"),
        ("Any", Any, "any"),
        ("None", None, "null"),
        ("int | None", Optional[int], "int | null"),  # noqa: UP045
        ("Optional[float]", Optional[float], "float | null"),  # noqa: UP045
        ("Union[int, str, None]", Union[int, str, None], "int | str | null"),  # noqa: UP007
        ("typing.Optional[str]", Optional[str], "str | null"),  # noqa: UP045
        ("Literal['elu', 'silu']", Literal["elu", "silu"], '"elu" | "silu"'),
        ("Literal[1, 2]", Literal[1, 2], "1 | 2"),
        ("list[int]", list[int], "list[int]"),
        ("Sequence[float]", list[float], "list[float]"),
        ("list", list[Any], "list[any]"),
        ("tuple[int, ...]", tuple[int, ...], "tuple[int, ...]"),
        ("tuple[int, str]", tuple[int, str], "tuple[int, str]"),
        ("dict[str, float]", dict[str, float], "dict[str, float]"),
        ("Mapping[str, int]", dict[str, int], "dict[str, int]"),
        ("Annotated[int, 'a unit']", int, "int"),
        ("Annotated[int, 'a unit', Ge(1)]", Annotated[int, Ge(1)], "int >= 1"),
        ("Annotated[float, Gt(-1.5), Lt(1e3)]", RANGE, "float > -1.5 and < 1000.0"),
        ("Annotated[float, Ge(ge=0), Le(le=1)]", UnitInterval, "float >= 0 and <= 1"),
        ("Annotated[Annotated[float, Ge(0)], Le(1)]", UnitInterval, "float >= 0 and <= 1"),
        ("Annotated[int | None, Ge(1)]", Optional[PositiveInt], "int >= 1 | null"),  # noqa: UP045
        ("Annotated[str, Ge(1)]", str, "str"),
        (
            "dict[str, Annotated[float, Ge(0)]]",
            dict[str, NonNegativeFloat],
            "dict[str, float >= 0]",
        ),
        ("Component['latent']", nested("latent"), "latent component"),
        ("Annotated[Component, 'head']", nested("head"), "head component"),
        (
            "Annotated[Component, 'head'] | None",
            Optional[nested("head")],  # noqa: UP045
            "head component | null",
        ),
        (
            "dict[str, Component['encoder']]",
            dict[str, nested("encoder")],  # type: ignore[misc]
            "dict[str, encoder component]",
        ),
    ],
)
def test_source_and_run_time_give_the_same_type(text: str, expected: Any, shown: str) -> None:
    read = from_source(ast.parse(text, mode="eval").body, NoAliases())
    assert read == from_runtime(eval(text, NAMES)) == expected
    assert type_text(read) == shown


@pytest.mark.parametrize("text", ["Tensor", "torch.dtype", "set[int]", "Callable[[int], int]", "3"])
def test_other_types_are_refused_in_source(text: str) -> None:
    with pytest.raises(UnreadableAnnotation):
        from_source(ast.parse(text, mode="eval").body, NoAliases())


@pytest.mark.parametrize("annotation", [object, set[int], bytes, type])
def test_other_types_are_refused_at_run_time(annotation: Any) -> None:
    with pytest.raises(UnreadableAnnotation):
        from_runtime(annotation)
