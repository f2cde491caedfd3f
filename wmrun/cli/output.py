"""Where commands write: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 10_000
"""Columns of a stdout that is no terminal: wide enough that no table is wrapped or cut."""

_MAX_LINES = 200
_MAX_LINE = 2000


def talk() -> Console:
    """Return the console for progress, notes and errors (stderr)."""
    return Console(stderr=True, highlight=False)


def results() -> Console:
    """Return the console for what a command was asked for (stdout)."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def printable(text: str) -> str:
    """Return text that may come from an environment, cut and with control characters escaped."""
    lines = [_shortened(line) for line in text.split("\n")]
    if len(lines) > _MAX_LINES:
        lines[_MAX_LINES:] = [f"… ({len(lines) - _MAX_LINES} more lines)"]
    return "\n".join(lines)


def print_json(value: Any) -> None:
    """Write a result for scripts."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write rows under their column names, without lines between them or spaces at their ends."""
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = results()
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _shortened(line: str) -> str:
    cut = len(line) - _MAX_LINE
    line = line if cut <= 0 else f"{line[:_MAX_LINE]}… ({cut:,} more characters)"
    return "".join(c if c.isprintable() or c == "\t" else _escaped(c) for c in line)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
