"""A `Config` as YAML that loads back into an equal one."""

from __future__ import annotations

from typing import Any

import yaml

from wmrun.config.scalars import read_scalar, write_float
from wmrun.config.schema import Config

_TAGS: dict[type, str] = {
    str: "tag:yaml.org,2002:str",
    int: "tag:yaml.org,2002:int",
    float: "tag:yaml.org,2002:float",
    bool: "tag:yaml.org,2002:bool",
    type(None): "tag:yaml.org,2002:null",
}


def dump_yaml(config: Config) -> str:
    """Return the resolved experiment: every key, in the order of the schema, nothing extended."""
    return dump_mapping(config.model_dump())


def dump_mapping(mapping: dict[str, Any]) -> str:
    """Return a part of an experiment, or all of it, as YAML that reads back as the same."""
    text: str = yaml.dump(mapping, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return text


class _Dumper(yaml.SafeDumper):
    """Quotes the strings that `read_scalar`, not PyYAML, would take for something else."""

    def resolve(self, kind: type, value: str, implicit: tuple[bool, bool]) -> str:
        if kind is yaml.ScalarNode and implicit[0]:
            return "merge" if value == "<<" else _TAGS[type(read_scalar(value))]
        return str(super().resolve(kind, value, implicit))

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def str_node(self, value: str) -> yaml.Node:
        # Outside double quotes PyYAML writes some line separators as they are, and folds them back.
        return self.represent_scalar(_TAGS[str], value, style=None if value.isprintable() else '"')

    def float_node(self, value: float) -> yaml.Node:
        return self.represent_scalar(_TAGS[float], write_float(value))

    def list_node(self, value: list[Any] | tuple[Any, ...]) -> yaml.Node:
        flat = not any(isinstance(item, (dict, list, tuple)) for item in value)
        return self.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flat)


_Dumper.add_representer(str, _Dumper.str_node)
_Dumper.add_representer(float, _Dumper.float_node)
_Dumper.add_representer(list, _Dumper.list_node)
_Dumper.add_representer(tuple, _Dumper.list_node)
