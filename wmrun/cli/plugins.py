"""`wmrun plugins`: the state of every package that extends wmrun."""

from __future__ import annotations

from typing import Annotated

import typer

from wmrun.cli.list import to_json
from wmrun.cli.output import print_json, print_table, talk
from wmrun.registry import ComponentInfo
from wmrun.registry.entries import stray_groups
from wmrun.registry.inventory import inspect_plugins


def plugins_cli(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Import every component of other packages and say which work, and why the others do not.

    A broken one harms nothing but the runs that name it; this command exits with 0 all the same.
    """
    components = plugins()
    for group, package in stray_groups():
        talk().print(f"{package} registers under {group}, which is not a group of wmrun's")
    if as_json:
        print_json([to_json(info) for info in components])
    elif components:
        print_table(
            ("kind", "name", "package", "status"),
            [
                (info.kind, info.name, f"{info.package} {info.version}", info.status)
                for info in components
            ],
        )
    else:
        talk().print("no other package registers components")


def plugins() -> tuple[ComponentInfo, ...]:
    """Return every third-party component, with what came of importing it as its status."""
    return inspect_plugins()
