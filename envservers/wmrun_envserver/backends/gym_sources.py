"""What `--env ID=SOURCE` names: a factory in a module, or an id that a module registers."""

from __future__ import annotations

import importlib
import os
import sys
from operator import attrgetter
from types import ModuleType
from typing import Any

import gymnasium

from wmrun_envserver.backends.base import SourceError
from wmrun_envserver.backends.closest import did_you_mean
from wmrun_envserver.backends.gym_makers import Factory, Maker, described, registered

_MAX_SHOWN = 8


def from_source(env_id: str, source: str) -> Maker:
    """Return the maker that `source` names, importing its module.

    - `module:factory` names a callable, or an env class; dots reach into it.
    - `module:ID` names an env that the module registers when it is imported.
    - `module` registers `env_id` itself.

    Modules are looked for where Python does and, last, in the working directory. Raises
    `SourceError` naming what is there instead.
    """
    module_name, colon, name = source.partition(":")
    before = set(gymnasium.registry)
    module = _imported(env_id, source, module_name)
    if not colon:
        name = env_id
    elif name and all(part.isidentifier() for part in name.split(".")):
        found = _attribute(module, name)
        if found is not None:
            return _factory(found, env_id, source)
    maker = registered(name)
    if maker is None:
        new = [env for env in gymnasium.registry if env not in before]
        raise SourceError(_nothing(env_id, source, module, name, new, bool(colon)))
    return maker


def _factory(found: Any, env_id: str, source: str) -> Factory:
    if not callable(found):
        raise SourceError(
            f"--env {env_id}={source}: that is {described(found)}, expected a callable that "
            "returns a gymnasium.Env"
        )
    return Factory(found, source)


def _imported(env_id: str, source: str, name: str) -> ModuleType:
    if not name or not all(part.isidentifier() for part in name.split(".")):
        raise SourceError(
            f"--env {env_id}={source}: expected module:factory, such as my_envs.maze:make, "
            "or a module that registers the id"
        )
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise SourceError(
            f"--env {env_id}={source}: importing {name} failed: "
            f"{type(error).__name__}: {error}{_import_advice(name, error)}"
        ) from error


def _import_advice(name: str, error: BaseException) -> str:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is None or not f"{name}.".startswith(f"{missing}."):
        return ""
    return (
        f". {sys.executable} looks in its own packages, in PYTHONPATH "
        f"({os.environ.get('PYTHONPATH') or 'which is empty'}) and in the working directory "
        f"({os.getcwd()}): install the package there, or set PYTHONPATH=DIR to the directory "
        f"that holds {missing.rpartition('.')[2]}"
    )


def _attribute(module: ModuleType, name: str) -> Any:
    try:
        return attrgetter(name)(module)
    except AttributeError:
        return None


def _nothing(
    env_id: str, source: str, module: ModuleType, name: str, new: list[str], named: bool
) -> str:
    start = f"--env {env_id}={source}: "
    listed = f" It registers: {', '.join(new)}." if new else ""
    if not named:
        close = did_you_mean(name, new)
        return (
            f"{start}{module.__name__} registers no env {name!r}.{close}{listed} "
            f"A factory is named with a colon: {module.__name__}:make"
        )
    public = _callables(module)
    close = did_you_mean(name, [*public, *new])
    return f"{start}{module.__name__} has no {name!r}.{close}{_in_words(module, public)}{listed}"


def _callables(module: ModuleType) -> list[str]:
    """Return the public names of what can be called in `module`, its own before those imported."""
    found = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
    own = [key for key in found if _home(vars(module)[key]) == module.__name__]
    return own + [key for key in found if key not in own]


def _home(value: Any) -> Any:
    return getattr(value, "__module__", None)


def _in_words(module: ModuleType, names: list[str]) -> str:
    if not names:
        return " Nothing in it can be called."
    shown = ", ".join(names[:_MAX_SHOWN])
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return f" It has: {shown}{more}."
