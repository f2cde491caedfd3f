"""`key.path=value` arguments of the command line, as a tree to lay over the experiment's."""

from __future__ import annotations

import re
from collections.abc import Sequence

from wmrun.config.problems import ProblemLog
from wmrun.config.shorthand import written_out
from wmrun.config.tree import Entry, Mapping, Node, Place, Scalar, Source, merge_all
from wmrun.config.yaml_tree import read_yaml

_ASSIGNMENT = re.compile(r"([^=]*)=", re.DOTALL)


def read_overrides(
    arguments: Sequence[str], log: ProblemLog, *, origin: str = "command line, argument"
) -> Mapping:
    """Return the tree that all arguments together describe; a later one wins over an earlier.

    Values are YAML; an empty one is null. Arguments that cannot be read are recorded in `log`, each
    by `origin` and its number.
    """
    place = Place(Source(origin, "", argument=len(arguments) + 1), 1, 1)
    sources = [
        Source(f"{origin} {number}", argument, argument=number)
        for number, argument in enumerate(arguments, start=1)
    ]
    trees = (_read(source, log) for source in sources)
    return merge_all((tree for tree in trees if tree is not None), place)


def _read(source: Source, log: ProblemLog) -> Mapping | None:
    assignment = _ASSIGNMENT.match(source.text)
    if assignment is None or not all(part.strip() for part in assignment[1].split(".")):
        place = Place(source, 1, 1, len(source.text))
        log.add(place, "", "not an override", expected="key.path=value, such as run.env_steps=1000")
        log.has_gaps = True
        return None
    value = read_yaml(source, log, path=assignment[1], start=assignment.end())
    if value is None and not source.text[assignment.end() :].strip():
        value = Scalar(None, Place(source, 1, assignment.end()))
    if value is None:
        return None
    return written_out(_nest(source, assignment[1].split("."), value))


def _nest(source: Source, keys: list[str], value: Node) -> Mapping:
    """Return `{a: {b: value}}` for the keys `a.b`, each key at its own column."""
    tree = value
    column = 1 + sum(len(key) + 1 for key in keys)
    for key in reversed(keys):
        column -= len(key) + 1
        place = Place(source, 1, column, len(key))
        tree = Mapping({key: Entry(place, tree)}, place)
    assert isinstance(tree, Mapping)
    return tree
