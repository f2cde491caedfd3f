"""Trying an OpenGL library where a failure costs nothing: in a child process."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

RENDERERS = ("egl", "osmesa", "glfw")
VARIABLE = "MUJOCO_GL"
DEVICE_VARIABLE = "MUJOCO_EGL_DEVICE_ID"

_TIMEOUT_S = 20.0
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "swr", "software rasterizer")
# Prints one JSON line. The median of some frames, since the first ones compile shaders.
_PROGRAM = """
import json, statistics, time
from dm_control import mujoco
model = '<mujoco><worldbody><light pos="0 0 3"/><geom size=".5"/></worldbody></mujoco>'
physics = mujoco.Physics.from_xml_string(model)
if physics.render(64, 64).std() == 0:
    raise SystemExit("every pixel of the frame is the same")
from OpenGL import GL
with physics.contexts.gl.make_current() as context:
    gl_renderer = context.call(GL.glGetString, GL.GL_RENDERER)
times = []
for _ in range(20):
    start = time.perf_counter()
    physics.render(64, 64)
    times.append(time.perf_counter() - start)
print(json.dumps({
    "gl_renderer": (gl_renderer or b"").decode(errors="replace"),
    "ms_per_frame": round(1000 * statistics.median(times), 3),
}))
"""


@dataclass(frozen=True)
class Probe:
    """What came of drawing with one OpenGL library."""

    name: str
    """One of `RENDERERS`."""
    works: bool
    failure: str = ""
    """Why it does not work."""
    gl_renderer: str = ""
    """What OpenGL calls itself: the GPU, or the software that stands in for one."""
    software: bool = False
    """Whether the CPU draws."""
    ms_per_frame: float | None = None
    """Median time of a 64 × 64 frame of one ball."""


def probe(
    name: str,
    *,
    device: int | None = None,
    python: str = sys.executable,
    timeout_s: float = _TIMEOUT_S,
) -> Probe:
    """Draw with `name`, one of `RENDERERS`, in a child process of the interpreter `python`.

    That needs dm_control, and nothing of this package. `device` is the number of an EGL device;
    None: what MUJOCO_EGL_DEVICE_ID says, else the first that works. Never raises: what goes wrong,
    a crash and a hang included, is the result's `failure`.
    """
    if name == "glfw" and not os.environ.get("DISPLAY"):
        return Probe(name, works=False, failure="it needs a display, and DISPLAY is not set")
    environment = {**os.environ, VARIABLE: name}
    environment.pop("PYOPENGL_PLATFORM", None)
    if device is not None:
        environment[DEVICE_VARIABLE] = str(device)
    try:
        child = subprocess.run(
            [python, "-c", _PROGRAM],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Probe(name, works=False, failure=f"no frame within {timeout_s:g} s")
    except OSError as error:
        return Probe(name, works=False, failure=f"{python} cannot be run: {error}")
    if child.returncode != 0:
        return Probe(name, works=False, failure=_failure(child))
    return _report(name, child.stdout)


def main(argv: Sequence[str] | None = None) -> int:
    """Try every renderer and print what came of it; returns 1 where none works."""
    parser = argparse.ArgumentParser(
        prog="python -m wmrun_envserver.backends.renderer",
        description="Try the OpenGL libraries that dm_control can draw with.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--device", type=int, metavar="N", help="number of the EGL device to try")
    parser.add_argument("--timeout-s", type=float, default=_TIMEOUT_S, metavar="S")
    arguments = parser.parse_args(argv)
    probes = [
        probe(name, device=arguments.device, timeout_s=arguments.timeout_s) for name in RENDERERS
    ]
    if arguments.json:
        found = {"python": sys.executable, "renderers": [asdict(result) for result in probes]}
        print(json.dumps(found))
    else:
        for result in probes:
            print(f"{result.name}: {described(result)}")
    return 0 if any(result.works for result in probes) else 1


def described(result: Probe) -> str:
    """Return a probe in words."""
    if not result.works:
        return f"does not work: {result.failure}"
    how = "software, no GPU" if result.software else "GPU"
    return f"{result.gl_renderer} ({how}), {result.ms_per_frame} ms per 64x64 frame"


def _report(name: str, output: bytes) -> Probe:
    try:
        found = json.loads(output.decode().strip().splitlines()[-1])
        gl_renderer, ms_per_frame = str(found["gl_renderer"]), float(found["ms_per_frame"])
    except (ValueError, LookupError, TypeError):
        return Probe(name, works=False, failure="the program that draws printed no result")
    software = name == "osmesa" or any(mark in gl_renderer.lower() for mark in _SOFTWARE)
    return Probe(name, True, "", gl_renderer, software, ms_per_frame)


def _failure(child: subprocess.CompletedProcess[bytes]) -> str:
    lines = child.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit status {child.returncode}"
