"""The options of an env: those that every family shares, and how any are read and refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, TypeVar

from wmrun_envserver.backends.base import ConfigError
from wmrun_envserver.backends.closest import did_you_mean

T = TypeVar("T")
MAX_IMAGE_SIDE = 4096
MAX_INTEGER = 2**31 - 1


class OptionReader:
    """Reads a mapping option by option, then refuses what nobody asked for.

    An option that is null counts as left out. Every method raises `ConfigError` naming the option.
    """

    def __init__(self, config: Mapping[str, Any], parent: str = "") -> None:
        self._config = config
        self._parent = parent
        self._known: list[str] = []

    def get(self, name: str) -> Any:
        """Return the value of an option, None where it was left out."""
        self._known.append(name)
        return self._config.get(name)

    def integer(self, name: str, default: T, *, low: int = 1, high: int = MAX_INTEGER) -> int | T:
        """Return an integer from `low` to `high`."""
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise self.wrong(name, f"must be an integer >= {low}", value)
        if value > high:
            raise self.wrong(name, f"must be an integer <= {high}", value)
        return value

    def flag(self, name: str, default: T) -> bool | T:
        """Return true or false."""
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "must be true or false", value)
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """Return one of `choices`, the first where the option was left out."""
        value = self.get(name)
        if value is None:
            return choices[0]
        if value not in choices:
            raise self.wrong(name, f"must be one of {', '.join(choices)}", value)
        return str(value)

    def text(self, name: str, default: T) -> str | T:
        """Return a string."""
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(name, "must be a string", value)
        return value

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        """Return a mapping, None where the option was left out."""
        value = self.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise self.wrong(name, "must be a mapping", value)
        return value

    def finish(self) -> None:
        """Raise `ConfigError` for the first option that was given but never read."""
        for name in self._config:
            if name not in self._known:
                raise ConfigError(
                    f"unknown option {self.place(name)!r}.{did_you_mean(name, self._known)}"
                    f" The options here: {', '.join(sorted(self._known))}",
                    self.place(name),
                )

    def wrong(self, name: str, expected: str, value: object) -> ConfigError:
        """Return the error for an option whose value is not `expected`."""
        return ConfigError(
            f"option {self.place(name)!r} {expected}, got {value!r}", self.place(name)
        )

    def place(self, name: str) -> str:
        """Return the option's name with its parent's before it."""
        return f"{self._parent}.{name}" if self._parent else name


@dataclass(frozen=True)
class ImageOptions:
    """What the frames under the observation key "image" look like."""

    size: tuple[int, int] = (64, 64)
    """Height and width."""
    camera: int | str | None = None
    """Index or name; None: the family's default."""
    grayscale: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """`[H, W, C]`."""
        return (*self.size, 1 if self.grayscale else 3)

    @staticmethod
    def read(config: Mapping[str, Any]) -> ImageOptions:
        reader = OptionReader(config, parent="image")
        size = reader.get("size")
        camera = reader.get("camera")
        grayscale = reader.flag("grayscale", False)
        reader.finish()
        if size is None:
            size = ImageOptions.size
        elif not _is_size(size):
            expected = f"must be [height, width], each from 1 to {MAX_IMAGE_SIDE}"
            raise reader.wrong("size", expected, size)
        if not isinstance(camera, int | str | None) or isinstance(camera, bool):
            raise reader.wrong("camera", "must be an index or a name", camera)
        return ImageOptions(tuple(size), camera, grayscale)


@dataclass(frozen=True)
class CommonOptions:
    """The options that every family takes.

    `time_limit` counts frames (simulator steps), action repeat included, and truncates.
    `normalize_actions` offers bounded float Box actions as float32 in [-1, 1]; `clip_actions` clips
    what lies outside the simulator's bounds. `vector` says whether observations other than "image"
    are kept; left out, they are unless frames are asked for.
    """

    action_repeat: int = 1
    time_limit: int | None = None
    image: ImageOptions | None = None
    vector: bool = True
    normalize_actions: bool = True
    clip_actions: bool = True

    @staticmethod
    def read(reader: OptionReader) -> CommonOptions:
        image = reader.mapping("image")
        vector = reader.flag("vector", image is None)
        if image is None and not vector:
            raise ConfigError("vector: false without image leaves nothing to observe", "vector")
        return CommonOptions(
            action_repeat=reader.integer("action_repeat", 1),
            time_limit=reader.integer("time_limit", None),
            image=None if image is None else ImageOptions.read(image),
            vector=vector,
            normalize_actions=reader.flag("normalize_actions", True),
            clip_actions=reader.flag("clip_actions", True),
        )

    def episode_steps(self, native_frames: int | None) -> int:
        """Return the agent steps until truncation, 0 for never.

        `native_frames` is the simulator's own time limit.
        """
        limits = [limit for limit in (self.time_limit, native_frames) if limit is not None]
        return ceil(min(limits) / self.action_repeat) if limits else 0


def _is_size(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(side, int) and not isinstance(side, bool) for side in value)
        and all(1 <= side <= MAX_IMAGE_SIDE for side in value)
    )
