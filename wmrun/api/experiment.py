"""From attributes to an experiment, and from an experiment to what attributes leave over."""

from __future__ import annotations

import re
from collections.abc import Mapping as AnyMapping
from functools import cache
from typing import Any

from wmrun.api.attributes import ATTRIBUTES, Attribute, at
from wmrun.api.values import Unfit, nested, place_of, plain_value, settings_tree
from wmrun.config.extends import PRESETS, FileReader
from wmrun.config.overrides import read_overrides
from wmrun.config.problems import ConfigError, ProblemLog
from wmrun.config.schema import Config, Section
from wmrun.config.shorthand import written_out
from wmrun.config.tree import Mapping, Place, Source, from_plain, merge

TOTAL_STEPS = 1_000_000
_UNSET = Place(Source("DreamerConfig", ""), 1, 1)


@cache
def preset(algorithm: str) -> Mapping:
    """Return the tree of an algorithm's preset."""
    log = ProblemLog()
    path = PRESETS / f"{algorithm}.yaml"
    tree = FileReader(log).read(path)
    if tree is None or len(log):
        raise ConfigError(str(path), log.sorted())
    return tree


@cache
def defaults(algorithm: str) -> Mapping:
    """Return the preset on top of what every experiment has by default."""
    base = merge(from_plain(_section_defaults(Config), _UNSET), preset(algorithm))
    assert isinstance(base, Mapping)
    return base


def changes(algorithm: str, settings: AnyMapping[str, Any], log: ProblemLog) -> Mapping:
    """Return what attributes and their `overrides` put on top of a preset. Problems go to `log`.

    An attribute that is set to what the experiment has already changes nothing.
    """
    tree = nested("run.env_steps", TOTAL_STEPS, _UNSET)
    for order, (name, attribute) in enumerate(ATTRIBUTES.items(), start=1):
        if name in settings:
            on_top = _attribute(name, attribute, settings[name], over(algorithm, tree), order, log)
            tree = _merged(tree, on_top)
    order = len(ATTRIBUTES) + 1
    tree = _merged(tree, _overrides(settings["overrides"], order, log))
    return _named(algorithm, tree, order, log)


def over(algorithm: str, tree: Mapping) -> Mapping:
    """Return the experiment that changes make of an algorithm's defaults."""
    return _merged(defaults(algorithm), tree)


def differences(target: AnyMapping[str, Any], base: AnyMapping[str, Any]) -> dict[str, Any]:
    """Return what has to be laid over `base` to get `target`, both resolved.

    Entries that only `base` has become null, which takes them away where entries are free.
    """
    found: dict[str, Any] = {}
    for key, value in target.items():
        below = base.get(key)
        if isinstance(value, dict) and isinstance(below, dict) and _same_type(value, below):
            if inner := differences(value, below):
                found[key] = inner
        elif key not in base or value != below:
            found[key] = value
    return {**found, **{key: None for key in base if key not in target}}


def _section_defaults(section: type[Section]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if not field.is_required():
            default = field.default
            values[name] = default.model_dump() if isinstance(default, Section) else default
        elif isinstance(annotation, type) and issubclass(annotation, Section):
            values[name] = _section_defaults(annotation)
    return values


def _attribute(
    name: str, attribute: Attribute, given: Any, tree: Mapping, order: int, log: ProblemLog
) -> Mapping:
    place = place_of(name, given, order)
    change: dict[str, Any] = {}
    try:
        value = plain_value(given)
        if not _equal(value, plain_value(attribute.read(tree))):
            change = attribute.write(value, tree)
    except Unfit as error:
        log.add(place, "", error.message, expected=error.expected)
    result = Mapping({}, place)
    for path, item in change.items():
        result = _merged(result, nested(path, item, place))
    return result


def _equal(a: Any, b: Any) -> bool:
    """Return whether two values are the same to the config, to which 1 and True are not."""
    return a == b and (type(a) is type(b) or (type(a) is int and type(b) is float))


def _overrides(given: Any, order: int, log: ProblemLog) -> Mapping:
    place = place_of("overrides", given, order)
    try:
        value = plain_value(given)
        if isinstance(value, dict):
            return written_out(settings_tree(value, "overrides", order))
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return read_overrides(value, log, origin="DreamerConfig.overrides, item")
        raise Unfit(
            f"{given!r} is neither a list of strings nor a dict",
            'a list such as ["agent.kl_free=1.0"], or a dict such as {"agent": {"kl_free": 1.0}}',
        )
    except Unfit as error:
        log.add(place, "", error.message, expected=error.expected)
    return Mapping({}, place)


def _named(algorithm: str, tree: Mapping, order: int, log: ProblemLog) -> Mapping:
    """Add the task that Unity's player is named by, and a name that says algorithm and task."""
    if at(tree, "env.task") is None and at(tree, "env.backend") == "unity_mlagents":
        tree = _merged(tree, nested("env.task", _unity_task(tree), _UNSET))
    task = at(tree, "env.task")
    if task is None:
        log.add(
            place_of("env", None, order),
            "env.task",
            "missing",
            expected='the task\'s name in its family, such as "Pendulum-v1" or "walker-walk"',
        )
        log.has_gaps = True
    elif at(tree, "name") is None:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{algorithm}_{task}")
        tree = _merged(tree, nested("name", name, _UNSET))
    return tree


def _unity_task(tree: Mapping) -> str:
    player = str(at(tree, "env.source") or "editor")
    return player.replace("\\", "/").rstrip("/").rpartition("/")[2].partition(".")[0] or "unity"


def _same_type(a: AnyMapping[str, Any], b: AnyMapping[str, Any]) -> bool:
    return a.get("type") == b.get("type")


def _merged(base: Mapping, on_top: Mapping) -> Mapping:
    merged = merge(base, on_top)
    assert isinstance(merged, Mapping)
    return merged
