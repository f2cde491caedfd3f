"""The options of a Unity scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from wmrun_envserver.backends.base import ConfigError
from wmrun_envserver.backends.options import CommonOptions, OptionReader

_MAX_SIDE = 16384


@dataclass(frozen=True)
class EngineSettings:
    """What is set in the player before the first episode; None leaves it as it is built.

    The defaults of time scale and frame rates are those that ML-Agents trains with: as fast as
    frames can be made, 1/60 s of the scene's time in each, at twenty times the pace.
    """

    width: int | None = None
    height: int | None = None
    quality_level: int | None = None
    time_scale: float | None = 20.0
    target_frame_rate: int | None = -1
    capture_frame_rate: int | None = 60

    @staticmethod
    def read(reader: OptionReader) -> EngineSettings:
        default = EngineSettings()
        settings = EngineSettings(
            width=_side(reader, "width"),
            height=_side(reader, "height"),
            quality_level=reader.integer("quality_level", None, low=0),
            time_scale=_number(reader, "time_scale", default.time_scale, low=0.0),
            target_frame_rate=reader.integer(
                "target_frame_rate", default.target_frame_rate, low=-1
            ),
            capture_frame_rate=reader.integer(
                "capture_frame_rate", default.capture_frame_rate, low=0
            ),
        )
        if (settings.width is None) != (settings.height is None):
            given, missing = ("width", "height") if settings.height is None else ("height", "width")
            raise ConfigError(f"option {given!r} needs {missing!r} beside it", missing)
        return settings


@dataclass(frozen=True)
class Sampler:
    """A parameter that Unity draws anew when the scene asks for it.

    `values` are [min, max] (uniform), [mean, standard deviation] (gaussian), or the ends of each
    interval one after the other (multirange_uniform).
    """

    kind: str
    values: tuple[float, ...]
    seed: int | None = None
    """None: from the seed of the player."""


@dataclass(frozen=True)
class UnityOptions:
    """`agents` slots per player, of the one behaviour named `behavior`.

    The player has `start_timeout_s` to load and to connect (or someone to press Play), and then
    `timeout_s` from one message to the next.
    """

    common: CommonOptions
    engine: EngineSettings
    behavior: str | None = None
    agents: int = 1
    no_graphics: bool = False
    start_timeout_s: float = 60.0
    timeout_s: float = 60.0
    parameters: Mapping[str, float | Sampler] = field(default_factory=dict)

    @staticmethod
    def read(config: Mapping[str, Any]) -> UnityOptions:
        reader = OptionReader(config)
        options = UnityOptions(
            common=CommonOptions.read(reader),
            engine=EngineSettings.read(reader),
            behavior=_name(reader, "behavior"),
            agents=reader.integer("agents", 1),
            no_graphics=reader.flag("no_graphics", False),
            start_timeout_s=_number(reader, "start_timeout_s", 60.0, low=1.0),
            timeout_s=_number(reader, "timeout_s", 60.0, low=1.0),
            parameters=_parameters(reader),
        )
        reader.finish()
        _check_common(options)
        return options


def _check_common(options: UnityOptions) -> None:
    common = options.common
    if common.action_repeat != 1:
        raise ConfigError(
            "option 'action_repeat' must be 1: in a Unity scene the Decision Requester of each "
            "agent repeats its actions (Decision Period), and the player cannot be told to",
            "action_repeat",
        )
    if common.time_limit is not None and options.agents != 1:
        raise ConfigError(
            f"option 'time_limit' needs agents: 1, got agents: {options.agents}: Unity resets the "
            "scene as a whole, so a limit for one agent would break off the episodes of the "
            "others; set Max Step of the agents in the scene",
            "time_limit",
        )
    if common.image is not None and common.image.camera is not None:
        raise ConfigError(
            "option 'image.camera' has no meaning here: the scene's camera sensors are its images",
            "image.camera",
        )


def _parameters(reader: OptionReader) -> dict[str, float | Sampler]:
    given = reader.mapping("parameters") or {}
    inner = OptionReader(given, parent=reader.place("parameters"))
    return {name: _parameter(inner, name) for name in given}


def _parameter(reader: OptionReader, name: str) -> float | Sampler:
    value = reader.get(name)
    if not name.isascii():
        raise reader.wrong(name, "must have a name in ASCII, as Unity reads it", value)
    if not isinstance(value, Mapping):
        if not _is_number(value):
            raise reader.wrong(name, "must be a number or the mapping of a sampler", value)
        return float(value)
    sampler = OptionReader(value, parent=reader.place(name))
    kind = sampler.get("sampler")
    if kind not in _SAMPLERS:
        raise sampler.wrong("sampler", f"must be one of {', '.join(_SAMPLERS)}", kind)
    seed = sampler.integer("seed", None, low=0)
    if seed is not None and seed >= 2**31:
        raise sampler.wrong("seed", "must be below 2^31", seed)
    values = _pair(sampler, _SAMPLERS[kind]) if _SAMPLERS[kind] else _intervals(sampler)
    sampler.finish()
    return Sampler(kind, values, seed)


_SAMPLERS = {"uniform": ("min", "max"), "gaussian": ("mean", "std"), "multirange_uniform": ()}


def _pair(reader: OptionReader, names: tuple[str, ...]) -> tuple[float, ...]:
    values = [(name, reader.get(name)) for name in names]
    for name, value in values:
        if not _is_number(value):
            raise reader.wrong(name, "must be a number", value)
    return tuple(float(value) for _, value in values)


def _intervals(reader: OptionReader) -> tuple[float, ...]:
    value = reader.get("intervals")
    if not isinstance(value, list | tuple) or not value or not all(map(_is_interval, value)):
        raise reader.wrong("intervals", "must be a list of [min, max]", value)
    return tuple(float(end) for interval in value for end in interval)


def _is_interval(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _number(reader: OptionReader, name: str, default: Any, *, low: float) -> float:
    value = reader.get(name)
    if value is None:
        return default
    if not isinstance(value, int | float) or not _is_number(value) or value < low:
        raise reader.wrong(name, f"must be a number >= {low:g}", value)
    return float(value)


def _side(reader: OptionReader, name: str) -> int | None:
    side = reader.integer(name, None)
    if side is not None and side > _MAX_SIDE:
        raise reader.wrong(name, f"must be at most {_MAX_SIDE}", side)
    return side


def _name(reader: OptionReader, name: str) -> str | None:
    value = reader.get(name)
    if value is not None and (not isinstance(value, str) or not value):
        raise reader.wrong(name, "must be a name", value)
    return value
