"""`wmrun list [KIND]`: the registered components."""

from __future__ import annotations

from typing import Annotated

import typer

from wmrun.cli.output import print_json, print_table
from wmrun.registry import KINDS, ComponentInfo, inventory


def list_cli(
    kind: Annotated[
        str | None,
        typer.Argument(help=f"One of {', '.join(KINDS)}.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """List the registered components, those of other packages included, without importing them."""
    components = list_components(kind)
    if as_json:
        print_json([to_json(info) for info in components])
        return
    print_table(
        ("kind", "name", "package", "summary"),
        [
            (info.kind, info.name, f"{info.package} {info.version}", _line(info))
            for info in components
        ],
    )


def list_components(kind: str | None = None) -> tuple[ComponentInfo, ...]:
    """Return the components of one kind, or of all. Raises `UnknownComponent` for a wrong kind."""
    kinds = KINDS if kind is None else (kind,)
    return tuple(info for name in kinds for info in inventory(name))


def to_json(info: ComponentInfo) -> dict[str, str]:
    """Return what a script wants to know of a component, its options left out."""
    return {
        "kind": info.kind,
        "name": info.name,
        "package": info.package,
        "version": info.version,
        "location": info.location,
        "summary": info.summary,
        "status": info.status,
    }


def _line(info: ComponentInfo) -> str:
    return info.summary if info.status == "ok" else info.status
