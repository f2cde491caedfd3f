"""Places of keys and values."""

from __future__ import annotations

from pathlib import Path

from wmrun.config.problems import ProblemLog
from wmrun.config.tree import Mapping, Scalar, Sequence, Source, plain
from wmrun.config.yaml_tree import read_yaml


def read(text: str, start: int = 0) -> Mapping:
    log = ProblemLog()
    tree = read_yaml(Source("a.yaml", text, Path("/a.yaml")), log, start=start)
    assert not log.sorted()
    assert isinstance(tree, Mapping)
    return tree


def test_keys_and_values_know_line_column_and_length() -> None:
    entry = read("name: walk\nenv:\n  task: 'x y'\n").entries["env"]
    assert (entry.key.line, entry.key.column, entry.key.length) == (2, 1, 3)
    assert isinstance(entry.value, Mapping)
    task = entry.value.entries["task"]
    assert (task.key.line, task.key.column, task.key.length) == (3, 3, 4)
    assert (task.value.place.line, task.value.place.column, task.value.place.length) == (3, 9, 5)


def test_items_of_lists_know_their_places() -> None:
    value = read("a: [1, {b: 22}]").entries["a"].value
    assert isinstance(value, Sequence)
    assert [item.place.column for item in value.items] == [5, 8]


def test_a_text_can_be_read_from_its_middle() -> None:
    value = read("key={b: 22}", start=4).entries["b"].value
    assert (value.place.line, value.place.column) == (1, 9)


def test_quotes_and_tags_decide_what_a_word_is() -> None:
    tree = read("""{a: 1, b: "1", c: '1e-4', d: !!str 1, e: !!int "1"}""")
    assert plain(tree) == {"a": 1, "b": "1", "c": "1e-4", "d": "1", "e": 1}


def test_an_alias_repeats_its_anchor_at_the_place_of_the_anchor() -> None:
    tree = read("a: &x {b: 1}\nc: *x\n")
    assert plain(tree) == {"a": {"b": 1}, "c": {"b": 1}}
    assert tree.entries["c"].value.place.line == 1


def test_a_block_scalar_is_marked_to_the_end_of_its_first_line() -> None:
    value = read("a: |\n  one\n  two\n").entries["a"].value
    assert isinstance(value, Scalar)
    assert value.value == "one\ntwo\n"
    assert (value.place.column, value.place.length) == (4, 1)


def test_an_empty_text_is_no_tree_and_no_problem() -> None:
    log = ProblemLog()
    assert read_yaml(Source("a.yaml", "# nothing\n", Path("/a.yaml")), log) is None
    assert len(log) == 0
