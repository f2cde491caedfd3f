"""How layers of configuration combine."""

from __future__ import annotations

from typing import Any

import pytest

from wmrun.config.overrides import read_overrides
from wmrun.config.problems import ProblemLog
from wmrun.config.tree import Place, Source, from_plain, merge, plain

HERE = Place(Source("a.yaml", ""), 1, 1)


@pytest.mark.parametrize(
    ("base", "over", "merged"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": [1, 2, 3]}, {"a": [4]}, {"a": [4]}),
        ({"a": {"x": 1}}, {"a": None}, {"a": None}),
        ({"a": None}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        (
            {"a": {"type": "cnn", "depth": 4}},
            {"a": {"depth": 8}},
            {"a": {"type": "cnn", "depth": 8}},
        ),
        (
            {"a": {"type": "cnn", "depth": 4}},
            {"a": {"type": "cnn", "act": "elu"}},
            {"a": {"type": "cnn", "depth": 4, "act": "elu"}},
        ),
        (
            {"a": {"type": "cnn", "depth": 4}},
            {"a": {"type": "mlp", "layers": 2}},
            {"a": {"type": "mlp", "layers": 2}},
        ),
    ],
)
def test_later_keys_win_lists_replace_and_another_type_replaces_a_component(
    base: Any, over: Any, merged: Any
) -> None:
    assert plain(merge(from_plain(base, HERE), from_plain(over, HERE))) == merged


@pytest.mark.parametrize(
    ("arguments", "tree"),
    [
        ((), {}),
        (("seed=3",), {"seed": 3}),
        (("a.b.c=1e-4",), {"a": {"b": {"c": 1e-4}}}),
        (("a.b=1", "a.c=x"), {"a": {"b": 1, "c": "x"}}),
        (("a=1", "a=2"), {"a": 2}),
        (("a=[1, 2]", "b={c: d}"), {"a": [1, 2], "b": {"c": "d"}}),
        (("a='5'",), {"a": "5"}),
        (("a=",), {"a": None}),
        (("uri=sqlite:///x.db?a=b",), {"uri": "sqlite:///x.db?a=b"}),
        # The type may come after the options of the new component.
        (("e.depth=3", "e.type=cnn"), {"e": {"depth": 3, "type": "cnn"}}),
    ],
)
def test_overrides_are_yaml_values_under_dotted_keys(arguments: tuple[str, ...], tree: Any) -> None:
    log = ProblemLog()
    assert plain(read_overrides(arguments, log)) == tree
    assert len(log) == 0
