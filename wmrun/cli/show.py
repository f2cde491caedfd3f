"""`wmrun show KIND NAME`: one component and its options."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from wmrun.cli.list import to_json
from wmrun.cli.output import print_json, print_table, results
from wmrun.registry import ComponentInfo, Option, describe
from wmrun.registry.annotations import type_text

_WIDEST = 30
"""Characters of a default beyond which it is cut short."""


def show_cli(
    kind: Annotated[str, typer.Argument(help="The kind, such as encoder.", show_default=False)],
    name: Annotated[str, typer.Argument(help="The registered name.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what a component is, where it is defined, and its options."""
    info = describe(kind, name)
    if as_json:
        print_json(show(info))
        return
    typer.echo(f"{info.kind} {info.name} ({info.package} {info.version})")
    typer.echo(f"{info.location}\n")
    results().print(f"{info.summary}\n", markup=False)
    if info.options:
        rows = [(o.name, type_text(o.type), _default(o), o.help) for o in info.options]
        print_table(("option", "type", "default", "help"), rows)


def show(info: ComponentInfo) -> dict[str, Any]:
    """Return everything known of a component as a JSON object."""
    options = [
        {
            "name": option.name,
            "type": type_text(option.type),
            "required": option.required,
            "default": option.default,
            "help": option.help,
        }
        for option in info.options
    ]
    return {**to_json(info), "options": options}


def _default(option: Option) -> str:
    if option.required:
        return "required"
    text = _flow(option.default)
    if len(text) > _WIDEST and isinstance(option.default, dict) and "type" in option.default:
        # A component with settings of its own; --json and `wmrun config show` have all of them.
        return f"{{type: {option.default['type']}, ...}}"
    return text


def _flow(value: Any) -> str:
    """Return a value as one line of an experiment file."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return str(value) if isinstance(value, str) else json.dumps(value)
