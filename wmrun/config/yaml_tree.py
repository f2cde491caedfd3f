"""YAML text to a tree that keeps the place of every key and value."""

from __future__ import annotations

import yaml

from wmrun.config.problems import ProblemLog, quoted
from wmrun.config.scalars import Value, read_scalar
from wmrun.config.tree import Entry, Mapping, Node, Place, Scalar, Sequence, Source

_PLAIN = "plain"
_STRING = "tag:yaml.org,2002:str"
_TAGS = {
    _PLAIN,
    *(f"tag:yaml.org,2002:{tag}" for tag in ("str", "int", "float", "bool", "null", "map", "seq")),
}


class _Loader(yaml.SafeLoader):
    """PyYAML's parser, which tags unquoted words as such: what they mean is for `read_scalar`."""

    def resolve(self, kind: type, value: str, implicit: tuple[bool, bool]) -> str:
        is_plain = kind is yaml.ScalarNode and implicit[0]
        return _PLAIN if is_plain else super().resolve(kind, value, implicit)


def read_yaml(source: Source, log: ProblemLog, *, path: str = "", start: int = 0) -> Node | None:
    """Return the tree of a YAML text, or None when it is empty or cannot be parsed.

    Reading starts at character `start`; `path` is the dotted key that the content belongs to.
    Syntax errors, duplicate keys, keys that are no strings, merge keys and tags go to `log`.
    """
    reader = _Reader(source, log, start)
    try:
        root = yaml.compose(source.text[start:], _Loader)
        return None if root is None else reader.node(root, path)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = reader.place(mark) if mark else Place(source, 1, 1)
        detail = ", ".join(part for part in (error.context, error.problem) if part)
        tabbed = "found character '\\t'" in detail
        log.add(
            place,
            path,
            f"not valid YAML: {detail}",
            expected="spaces: YAML is not indented with tabs" if tabbed else None,
        )
    except yaml.reader.ReaderError as error:
        before = source.text[: start + error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        log.add(Place(source, line, column), path, f"not valid YAML: {error.reason}")
    except RecursionError:
        log.add(Place(source, 1, 1), path, "not valid YAML: nested too deeply, or in itself")
    log.has_gaps = True
    return None


class _Reader:
    """Turns PyYAML's nodes into ours."""

    def __init__(self, source: Source, log: ProblemLog, start: int) -> None:
        self._source = source
        self._log = log
        self._start = start

    def place(self, mark: yaml.Mark, end: yaml.Mark | None = None) -> Place:
        offset = self._start if mark.line == 0 else 0
        line, column = mark.line + 1, mark.column + 1 + offset
        if end is None or end.line != mark.line:
            rest = len(self._source.line(line).rstrip()) - column + 1
            return Place(self._source, line, column, max(1, rest) if end is not None else 1)
        return Place(self._source, line, column, max(1, end.column - mark.column))

    def node(self, node: yaml.Node, path: str) -> Node | None:
        place = self.place(node.start_mark, node.end_mark)
        if node.tag not in _TAGS:
            self._log.add(place, path, f"the tag {node.tag} means nothing here")
            self._log.has_gaps = True
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, place)
        if isinstance(node, yaml.SequenceNode):
            items = [self.node(item, f"{path}[{i}]") for i, item in enumerate(node.value)]
            return Sequence(tuple(item for item in items if item is not None), place)
        return Scalar(_value(node), place)

    def _mapping(self, node: yaml.MappingNode, path: str, place: Place) -> Mapping:
        entries: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            key_place = self.place(key_node.start_mark, key_node.end_mark)
            key = self._key(key_node, path, key_place)
            if key is None:
                continue
            inner = f"{path}.{key}" if path else key
            if key in entries:
                first = entries[key].key
                self._log.add(
                    key_place, inner, f"set twice in one mapping, first on line {first.line}"
                )
            value = self.node(value_node, inner)
            if value is not None:
                entries[key] = Entry(key_place, value)
        return Mapping(entries, place)

    def _key(self, node: yaml.Node, path: str, place: Place) -> str | None:
        scalar = isinstance(node, yaml.ScalarNode)
        key = _value(node) if scalar else None
        if key == "<<" and node.tag == _PLAIN:
            message = "merge keys are not part of YAML 1.2; share settings with `extends`"
            self._log.add(place, path, message)
            return None
        if not isinstance(key, str):
            shown = quoted(key) if scalar else "a list or mapping"
            suggestion = f'"{node.value}"' if scalar else None
            self._log.add(
                place,
                path,
                f"{shown} cannot be a key",
                expected="a string",
                suggestion=suggestion,
            )
            return None
        return key


def _value(node: yaml.Node) -> Value:
    return str(node.value) if node.tag == _STRING else read_scalar(node.value)
