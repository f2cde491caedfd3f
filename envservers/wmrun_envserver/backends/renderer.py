"""The OpenGL library that dm_control draws with, found by trying."""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
import threading

from wmrun_envserver.backends.base import ConfigError

_LOG = logging.getLogger(__name__)

RENDERERS = ("egl", "osmesa", "glfw")
AUTO = "auto"
_VARIABLE = "MUJOCO_GL"
_PROBE_TIMEOUT_S = 20.0
_PROBE = """
from dm_control import mujoco
model = '<mujoco><worldbody><light pos="0 0 3"/><geom size=".5"/></worldbody></mujoco>'
frame = mujoco.Physics.from_xml_string(model).render(32, 32)
raise SystemExit(None if frame.std() > 0 else "every pixel of the frame is the same")
"""
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
        preset = os.environ.get(_VARIABLE, "").lower()
        self._preset = preset if preset in RENDERERS else None
        os.environ[_VARIABLE] = "disabled"
        self._lock = threading.Lock()
        self._failures: dict[str, str] = {}
        self.name: str | None = None
        """The one in use."""

    def use(self, requested: str) -> None:
        """Make dm_control draw with `requested`, one of `RENDERERS` or `auto`.

        Raises `ConfigError` when it does not work here, or when another is in use already.
        """
        with self._lock:
            if self.name is None:
                self._load(self._first_working(requested))
            elif requested not in (AUTO, self.name):
                raise ConfigError(
                    f"this server draws with {self.name} already: start another for {requested}",
                    "render_backend",
                )

    def _first_working(self, requested: str) -> str:
        candidates = self._candidates(requested)
        for name in candidates:
            if name not in self._failures:
                failure = _probe(name)
                if failure is None:
                    return name
                self._failures[name] = failure
                _LOG.warning("renderer %s does not work here: %s", name, failure)
        tried = "; ".join(f"{name}: {self._failures[name]}" for name in candidates)
        raise ConfigError(
            f"no renderer works on this machine ({tried}). {_ADVICE}", "render_backend"
        )

    def _candidates(self, requested: str) -> tuple[str, ...]:
        if requested != AUTO:
            return (requested,)
        if self._preset is not None:
            return (self._preset,)
        return RENDERERS if os.environ.get("DISPLAY") else ("egl", "osmesa")

    def _load(self, name: str) -> None:
        os.environ[_VARIABLE] = name
        # dm_control looks `Renderer` up in this module whenever it makes a context.
        importlib.reload(importlib.import_module("dm_control._render"))
        self.name = name
        _LOG.info("drawing with %s", name)


def _probe(name: str) -> str | None:
    """Draw a frame with `name` in a child process; return what went wrong, None for nothing."""
    environment = {**os.environ, _VARIABLE: name}
    environment.pop("PYOPENGL_PLATFORM", None)
    try:
        child = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no frame within {_PROBE_TIMEOUT_S:g} s"
    if child.returncode == 0:
        return None
    lines = child.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit status {child.returncode}"
