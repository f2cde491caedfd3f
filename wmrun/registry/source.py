"""The source of a module, found and parsed without importing it or its parent packages."""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

Definition = ast.ClassDef | ast.FunctionDef


class ModuleSource:
    """A parsed module; names are followed to their definitions through `from x import y`."""

    def __init__(self, module: str, path: Path, tree: ast.Module) -> None:
        self.module = module
        self.path = path
        self._tree = tree

    def definition(self, name: str) -> tuple[Definition, ModuleSource] | None:
        """Return the class or function called `name`, with the module that defines it."""
        for node in reversed(self._tree.body):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
                return node, self
        imported = self._imported(name)
        return imported[0].definition(imported[1]) if imported else None

    def alias(self, name: str) -> tuple[ast.expr, ModuleSource] | None:
        """Return the expression assigned to `name`, with the module that assigns it."""
        for node in reversed(self._tree.body):
            match node:
                case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                    return value, self
                case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value) if (
                    target == name
                ):
                    return value, self
        imported = self._imported(name)
        return imported[0].alias(imported[1]) if imported else None

    def _imported(self, name: str) -> tuple[ModuleSource, str] | None:
        for node in reversed(self._tree.body):
            if not isinstance(node, ast.ImportFrom):
                continue
            for item in node.names:
                if (item.asname or item.name) == name:
                    source = read_module(self._absolute(node))
                    return (source, item.name) if source is not None else None
        return None

    def _absolute(self, node: ast.ImportFrom) -> str:
        if node.level == 0:
            return node.module or ""
        package = self.module.split(".")
        # A package's own __init__ is one level deeper than a module of the same dotted length.
        drop = node.level - (self.path.name == "__init__.py")
        package = package[: len(package) - drop]
        return ".".join([*package, *([node.module] if node.module else [])])


def read_module(module: str) -> ModuleSource | None:
    """Parse a module's source; None where there is no such module or no Python source of it."""
    path = find_source(module)
    return None if path is None else _parse(module, path, path.stat().st_mtime_ns)


def find_source(module: str) -> Path | None:
    """Return the path of a module's source file without importing the module or its parents."""
    spec = _find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin)
    return path if path.is_file() else None


def module_exists(module: str) -> bool:
    """Return whether a module can be found, with or without source."""
    return _find_spec(module) is not None


def _find_spec(module: str) -> ModuleSpec | None:
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top) if top else None
    except (ImportError, ValueError):
        return None
    dotted = top
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        dotted = f"{dotted}.{part}"
        spec = PathFinder.find_spec(dotted, list(spec.submodule_search_locations))
    return spec


@cache
def _parse(module: str, path: Path, modified_ns: int) -> ModuleSource | None:
    try:
        return ModuleSource(module, path, ast.parse(path.read_bytes(), str(path)))
    except (SyntaxError, ValueError, OSError):
        return None
