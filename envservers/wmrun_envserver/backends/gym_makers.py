"""How Gymnasium envs come into being: by their registered id, or by a factory of the user's own."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib.metadata import metadata
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator

from wmrun_envserver.backends.base import ConfigError
from wmrun_envserver.backends.closest import did_you_mean

RENDER_MODE = "rgb_array"
_THREADLESS = ("gymnasium.envs.classic_control", "gymnasium.envs.toy_text", "gymnasium.envs.box2d")


class Maker(ABC):
    """Makes the envs of one id."""

    max_episode_steps: int | None = None
    deterministic: bool = True
    """What Gymnasium asks of every env, and assumes of each that does not say otherwise."""
    any_thread: bool = False
    """Whether its envs, while they draw nothing, are known not to mind which thread steps them."""
    may_render: bool = True
    """Whether frames can be had, as far as that is known before an env is made."""

    @abstractmethod
    def check(self, kwargs: Mapping[str, Any]) -> None:
        """Raise `ConfigError` for arguments that are known not to work."""

    @abstractmethod
    def make(self, kwargs: Mapping[str, Any], *, render: bool) -> gymnasium.Env:
        """Make an env, one that renders to arrays with `render`.

        Raises `ConfigError` where the arguments or what was made are wrong.
        """


class Registered(Maker):
    """An id of Gymnasium's registry."""

    def __init__(self, spec: EnvSpec) -> None:
        self._spec = spec
        self.max_episode_steps = spec.max_episode_steps
        self.deterministic = not spec.nondeterministic
        self.any_thread = str(spec.entry_point).startswith(_THREADLESS)
        # An entry point is a string mostly: importing every env to list them would take a while.
        self.may_render = isinstance(spec.entry_point, str) or _may_render(spec.entry_point)

    def check(self, kwargs: Mapping[str, Any]) -> None:
        """Accept anything: what the env takes is known once it is made."""

    def make(self, kwargs: Mapping[str, Any], *, render: bool) -> gymnasium.Env:
        env_id = self._spec.id
        try:
            chosen = {"render_mode": RENDER_MODE} if render and self._renders() else {}
            # The checker warns, at every first step, about what the server settles anyway.
            return gymnasium.make(self._spec, disable_env_checker=True, **kwargs, **chosen)
        except TypeError as error:
            if not kwargs:
                raise
            raise ConfigError(f"{env_id} refuses kwargs: {error}", "kwargs") from error
        except gymnasium.error.Error as error:
            raise ConfigError(f"{env_id} cannot be made: {error}") from error
        except ImportError as error:
            raise ConfigError(f"{env_id} cannot be made: {error}.{self._install_hint()}") from error

    def _renders(self) -> bool:
        # An env that cannot render may not even take a render_mode.
        creator = self._spec.entry_point
        return _may_render(load_env_creator(creator) if isinstance(creator, str) else creator)

    def _install_hint(self) -> str:
        package, *_ = str(self._spec.entry_point).removeprefix("gymnasium.envs.").split(".")
        extra = package.replace("_", "-")
        extras = metadata("gymnasium").get_all("Provides-Extra") or []
        return (
            f' Install what it needs: pip install "gymnasium[{extra}]"' if extra in extras else ""
        )


class Factory(Maker):
    """A callable that returns a Gymnasium env."""

    def __init__(self, create: Callable[..., Any], source: str) -> None:
        self._create = create
        self._source = source
        self.may_render = _may_render(create)

    def check(self, kwargs: Mapping[str, Any]) -> None:
        signature = _signature(self._create)
        if signature is None:
            return
        try:
            signature.bind(**kwargs)
        except TypeError as error:
            names = [name for name in signature.parameters if name != "render_mode"]
            close = "".join(did_you_mean(name, names) for name in kwargs if name not in names)
            raise ConfigError(
                f"{self._source}{signature} cannot be called with these kwargs: {error}.{close}",
                "kwargs",
            ) from None

    def make(self, kwargs: Mapping[str, Any], *, render: bool) -> gymnasium.Env:
        draws = render and self.may_render and self._takes_render_mode()
        chosen = {"render_mode": RENDER_MODE} if draws else {}
        env = self._create(**kwargs, **chosen)
        if not isinstance(env, gymnasium.Env):
            raise ConfigError(
                f"{self._source} returned {described(env)}, expected a gymnasium.Env",
                "env_id",
            )
        return env

    def _takes_render_mode(self) -> bool:
        signature = _signature(self._create)
        return signature is not None and any(
            name == "render_mode" or parameter.kind is inspect.Parameter.VAR_KEYWORD
            for name, parameter in signature.parameters.items()
        )


def registered(env_id: str) -> Maker | None:
    """Return the maker of an id of the registry, None where there is no such id."""
    spec = gymnasium.registry.get(env_id)
    return None if spec is None else Registered(spec)


def described(value: Any) -> str:
    """Return what `value` is, for people who expected an env or its factory."""
    if isinstance(value, type):
        return f"the class {value.__qualname__}, not an instance"
    kind = type(value)
    if kind.__module__.partition(".")[0] == "gym":
        return f"an env of the old gym package ({kind.__qualname__})"
    return f"{'an' if kind.__qualname__[0] in 'aeiouAEIOU' else 'a'} {kind.__qualname__}"


def _may_render(creator: Any) -> bool:
    # What is not a class does not tell.
    modes = getattr(creator, "metadata", {}).get("render_modes")
    return modes is None or RENDER_MODE in modes


def _signature(create: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(create)
    except (TypeError, ValueError):  # some callables of extension modules have none
        return None
