"""The order of the layers: modules import from below and from their own part, never in circles."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import wmrun_envserver

import wmrun

LAYERS = (
    {"errors", "spelling"},
    {"registry"},
    {"config"},
    {"nn"},
    {"encoders", "decoders", "latents", "dynamics", "heads", "actors"},
    {"world_model"},
    {"agents"},
    {"replay", "envs"},
    {"run"},
    {"tracking"},
    {"launch"},
    {"bench", "api", "diagnose"},
    {"cli"},
    {"__main__"},
)
"""Parts of `wmrun` from the bottom up; those in one set do not import each other."""

RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
HEAVY = {"torch", "mlflow", "grpc", "gymnasium"}


def modules(package_dir: Path) -> dict[str, Path]:
    found = {}
    for path in sorted(package_dir.rglob("*.py")):
        parts = (package_dir.name, *path.relative_to(package_dir).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


LEARNER = modules(Path(wmrun.__file__).parent)
ENVSERVER = modules(Path(wmrun_envserver.__file__).parent)


def imports(module: str, path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Yield the absolute dotted names that a module imports, in functions, too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".")
                drop = node.level - (path.name == "__init__.py")
                base = ".".join([*package[: len(package) - drop], *([base] if base else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def own_module(name: str) -> str | None:
    """Return the module of `wmrun` that a dotted name is, or is defined in."""
    if name in LEARNER:
        return name
    parent = name.rpartition(".")[0]
    return parent if parent in LEARNER and parent != "wmrun" else None


LIGHT_PARTS = (["cli"], ["config"], ["registry"], ["api"])
LIGHT = [name for name in LEARNER if name.split(".")[1:2] in LIGHT_PARTS]
"""What runs before training starts."""


def part_of(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("module", [name for name in LEARNER if name != "wmrun"])
def test_a_module_imports_only_from_lower_layers_and_its_own_part(module: str) -> None:
    part = part_of(module)
    assert part in RANK, f"{module} belongs to no layer"
    used = {own_module(name) for name in imports(module, LEARNER[module])} - {None}
    upwards = [
        name
        for name in used
        if name is not None and part_of(name) != part and RANK[part_of(name)] >= RANK[part]
    ]
    assert upwards == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module: {own_module(name) for name in imports(module, path)} - {None, module}
        for module, path in LEARNER.items()
    }
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(map(str, error.args[1])))


@pytest.mark.parametrize("module", LIGHT)
def test_what_runs_before_training_imports_nothing_heavy(module: str) -> None:
    used = imports(module, LEARNER[module], top_level_only=True)
    assert not HEAVY & {name.partition(".")[0] for name in used}


@pytest.mark.parametrize("module", ENVSERVER)
def test_the_env_server_imports_no_part_of_the_learner(module: str) -> None:
    used = {name.partition(".")[0] for name in imports(module, ENVSERVER[module])}
    assert not used & {"wmrun", "torch", "mlflow", "pydantic"}


@pytest.mark.parametrize(
    "package",
    [".encoders", ".decoders", ".latents", ".dynamics", ".heads", ".actors", ".agents"],
)
def test_packages_of_components_run_no_code(package: str) -> None:
    body = ast.parse(LEARNER[f"wmrun{package}"].read_text()).body
    assert all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("validate", "--help"),
        ("run", "--help"),
        ("list",),
        ("validate", "EXPERIMENT"),
        ("config", "show", "EXPERIMENT"),
    ],
    ids=" ".join,
)
def test_commands_that_do_not_train_import_neither_torch_nor_mlflow_nor_grpc(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "walk.yaml"
    file.write_text("extends: dreamer_v2\nname: walk\nenv: {task: x}\nrun: {env_steps: 2_000}\n")
    script = f"""
import sys
from wmrun.cli.app import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code, ended.code
print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)
"""
    command = [str(file) if word == "EXPERIMENT" else word for word in arguments]
    result = subprocess.run(
        [sys.executable, "-c", script, *command], capture_output=True, text=True
    )
    assert result.stderr == "[]\n"
