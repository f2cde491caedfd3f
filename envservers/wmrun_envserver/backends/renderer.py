"""The OpenGL library that dm_control draws with, found by trying.

`python -m wmrun_envserver.backends.renderer --json` tries them all and prints what came of it.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading

from wmrun_envserver.backends.base import ConfigError
from wmrun_envserver.backends.renderer_probe import (
    DEVICE_VARIABLE,
    RENDERERS,
    VARIABLE,
    Probe,
    described,
    main,
    probe,
)

_LOG = logging.getLogger(__name__)

AUTO = "auto"
# For the worker processes of this server: what MUJOCO_GL was before, and what needs no more trying.
_PRESET = "WMRUN_ENVSERVER_MUJOCO_GL"
_PROVEN = "WMRUN_ENVSERVER_RENDERER"
_ADVICE = (
    "Install one of them: apt-get install libegl1 libgl1 (egl: GPU driver or Mesa), "
    "or apt-get install libosmesa6 (osmesa: no GPU)."
)


class Renderer:
    """Chooses a renderer for this process, once, when the first frames are asked for.

    Build it before dm_control is imported: until a renderer is chosen dm_control runs without any,
    since loading an OpenGL library that does not work can abort the process. So libraries are
    tried in child processes. The variable MUJOCO_GL, where it names one, is the only one that
    `auto` tries; else egl, osmesa and, on a display, glfw are, in that order.
    """

    def __init__(self) -> None:
        preset = os.environ.setdefault(_PRESET, os.environ.get(VARIABLE, "").lower())
        self._preset = preset if preset in RENDERERS else None
        os.environ[VARIABLE] = "disabled"
        self._lock = threading.Lock()
        self._failures: dict[tuple[str, int | None], str] = {}
        self.name: str | None = None
        """The one in use."""
        self._device: int | None = None

    def use(self, requested: str, device: int | None = None) -> None:
        """Make dm_control draw with `requested`, one of `RENDERERS` or `auto`.

        `device` is the number of an EGL device. Raises `ConfigError` when nothing works here, or
        when another renderer or device is in use already.
        """
        with self._lock:
            if self.name is None:
                self._load(self._first_working(requested, device), device)
            elif requested not in (AUTO, self.name):
                raise ConfigError(
                    f"this server draws with {self.name} already: start another for {requested}",
                    "render_backend",
                )
            elif device not in (None, self._device):
                used = "the default device" if self._device is None else f"device {self._device}"
                raise ConfigError(
                    f"this server draws on {used} already: start another for device {device}",
                    "render_device",
                )

    def _first_working(self, requested: str, device: int | None) -> str:
        candidates = self._candidates(requested, device)
        for name in candidates:
            if os.environ.get(_PROVEN) == _key(name, device):
                return name
            if (name, device) not in self._failures:
                result = probe(name, device=device)
                if result.works:
                    _announce(result, device)
                    return name
                self._failures[name, device] = result.failure
                _LOG.warning("renderer %s does not work here: %s", name, result.failure)
        tried = "; ".join(f"{name}: {self._failures[name, device]}" for name in candidates)
        raise ConfigError(
            f"no renderer works on this machine ({tried}). {_ADVICE}", "render_backend"
        )

    def _candidates(self, requested: str, device: int | None) -> tuple[str, ...]:
        if device is not None:
            if requested not in (AUTO, "egl"):
                raise ConfigError(
                    f"render_device chooses among EGL devices: leave it out with {requested}",
                    "render_device",
                )
            return ("egl",)
        if requested != AUTO:
            return (requested,)
        if self._preset is not None:
            return (self._preset,)
        return RENDERERS if os.environ.get("DISPLAY") else ("egl", "osmesa")

    def _load(self, name: str, device: int | None) -> None:
        os.environ[VARIABLE] = name
        os.environ[_PROVEN] = _key(name, device)
        if device is not None:
            os.environ[DEVICE_VARIABLE] = str(device)
        _load_again()
        self.name, self._device = name, device


def _load_again() -> None:
    # dm_control looks `Renderer` up in this module whenever it makes a context.
    importlib.reload(importlib.import_module("dm_control._render"))


def _key(name: str, device: int | None) -> str:
    return name if device is None else f"{name}:{device}"


def _announce(result: Probe, device: int | None) -> None:
    where = "" if device is None else f" on device {device}"
    _LOG.info("drawing with %s%s: %s", result.name, where, described(result))
    if result.software:
        _LOG.warning(
            "frames are drawn in software (%s, %s ms for a small one): no GPU was found. With one, "
            "install its driver's EGL library; in a container, pass the GPU with its graphics "
            "capability (NVIDIA_DRIVER_CAPABILITIES=all)",
            result.gl_renderer,
            result.ms_per_frame,
        )


if __name__ == "__main__":
    sys.exit(main())
