"""The tests that a page of the documentation names, as `tests/FILE.py::FUNCTION`."""

from __future__ import annotations

import ast
import re
from pathlib import Path

_ROOT = Path(__file__).parents[1]


def named_tests(page: str) -> list[tuple[str, str]]:
    """Return file and function of every test that `docs/PAGE` names."""
    text = (_ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)


def missing(named: list[tuple[str, str]]) -> list[str]:
    """Return those of the tests that do not exist."""
    return [f"{file}::{name}" for file, name in named if name not in _functions(_ROOT / file)]


def _functions(file: Path) -> set[str]:
    if not file.exists():
        return set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
