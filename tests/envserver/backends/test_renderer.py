"""A renderer is tried in a child process, once, and its failure says what to install."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from wmrun_envserver.backends import renderer, renderer_probe
from wmrun_envserver.backends.base import ConfigError
from wmrun_envserver.backends.renderer import Renderer
from wmrun_envserver.backends.renderer_probe import Probe, probe


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Replace the frame by a script that notes which renderer it was given, and fails."""
    log = tmp_path / "tries"
    monkeypatch.setattr(
        renderer_probe,
        "_PROGRAM",
        f"import os; name = os.environ['MUJOCO_GL']; open({str(log)!r}, 'a').write(name + ' ')\n"
        "raise SystemExit(f'lib{name} is missing')",
    )
    set_aside(monkeypatch)
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.delenv("DISPLAY", raising=False)
    return log


def set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what a renderer of this process has left for its workers."""
    for name in ("WMRUN_ENVSERVER_MUJOCO_GL", "WMRUN_ENVSERVER_RENDERER", "MUJOCO_EGL_DEVICE_ID"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)


def test_no_renderer_at_all_says_what_was_tried_and_what_to_install(tries: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Renderer().use("auto")
    assert str(caught.value) == (
        "no renderer works on this machine (egl: libegl is missing; osmesa: libosmesa is missing). "
        "Install one of them: apt-get install libegl1 libgl1 (egl: GPU driver or Mesa), "
        "or apt-get install libosmesa6 (osmesa: no GPU)."
    )
    assert caught.value.field == "render_backend"


def test_a_renderer_that_failed_is_not_tried_again(tries: Path) -> None:
    chooser = Renderer()
    for _ in range(2):
        with pytest.raises(ConfigError, match="libosmesa is missing"):
            chooser.use("auto")
    with pytest.raises(ConfigError, match=r"\(egl: libegl is missing\)"):
        chooser.use("egl")
    assert tries.read_text().split() == ["egl", "osmesa"]


def test_on_a_display_auto_tries_glfw_last(tries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    with pytest.raises(ConfigError, match="glfw: libglfw is missing"):
        Renderer().use("auto")
    assert tries.read_text().split() == ["egl", "osmesa", "glfw"]


def test_mujoco_gl_decides_for_auto_but_not_against_an_option(
    tries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "OSMesa")
    chooser = Renderer()
    with pytest.raises(ConfigError, match=r"\(osmesa: libosmesa is missing\)"):
        chooser.use("auto")
    with pytest.raises(ConfigError, match=r"\(egl: libegl is missing\)"):
        chooser.use("egl")
    assert tries.read_text().split() == ["osmesa", "egl"]


def test_a_worker_process_knows_what_mujoco_gl_was(tries: Path) -> None:
    os.environ["MUJOCO_GL"] = "osmesa"
    Renderer()
    assert os.environ["MUJOCO_GL"] == "disabled"
    with pytest.raises(ConfigError, match=r"\(osmesa: libosmesa is missing\)"):
        Renderer().use("auto")


def test_without_a_display_glfw_is_not_even_tried(tries: Path) -> None:
    with pytest.raises(ConfigError, match="glfw: it needs a display, and DISPLAY is not set"):
        Renderer().use("glfw")
    assert not tries.exists()


def test_a_renderer_that_hangs_is_given_up(tries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer_probe, "_PROGRAM", "import signal; signal.pause()")
    assert probe("egl", timeout_s=0.2) == Probe("egl", False, "no frame within 0.2 s")


def test_a_child_that_is_killed_counts_as_a_failure(
    tries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renderer_probe, "_PROGRAM", "import os; os.abort()")
    with pytest.raises(ConfigError, match="egl: exit status -6"):
        Renderer().use("egl")


def test_a_python_that_cannot_be_run_is_a_failure(tmp_path: Path) -> None:
    failed = probe("egl", python=str(tmp_path / "python"))
    assert not failed.works
    assert "python cannot be run: [Errno 2]" in failed.failure


@pytest.mark.parametrize(
    ("name", "gl_renderer", "software"),
    [
        ("egl", "llvmpipe (LLVM 15.0.6, 256 bits)", True),
        ("egl", "NVIDIA H100 80GB HBM3/PCIe/SSE2", False),
        ("egl", "Mesa Intel(R) UHD Graphics 620", False),
        ("osmesa", "", True),
    ],
)
def test_software_that_stands_in_for_a_gpu_is_told_from_one(
    tries: Path, monkeypatch: pytest.MonkeyPatch, name: str, gl_renderer: str, software: bool
) -> None:
    line = json.dumps({"gl_renderer": gl_renderer, "ms_per_frame": 1.5})
    monkeypatch.setattr(renderer_probe, "_PROGRAM", f"print('noise'); print({line!r})")
    assert probe(name) == Probe(name, True, "", gl_renderer, software, 1.5)


def test_drawing_in_software_is_a_warning(
    loaded: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    line = json.dumps({"gl_renderer": "llvmpipe", "ms_per_frame": 8.5})
    monkeypatch.setattr(renderer_probe, "_PROGRAM", f"print({line!r})")
    Renderer().use("auto")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "drawn in software (llvmpipe, 8.5 ms for a small one)" in warnings[0]
    assert loaded == ["egl"]


@pytest.fixture
def loaded(tries: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what MUJOCO_GL is when dm_control is made to load it, instead of loading it."""
    seen: list[str] = []
    monkeypatch.setattr(renderer, "_load_again", lambda: seen.append(os.environ["MUJOCO_GL"]))
    return seen


def test_a_device_is_chosen_before_anything_is_loaded_and_stays(
    loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import json, os\n"
        "gpu = 'GPU ' + os.environ['MUJOCO_EGL_DEVICE_ID']\n"
        "print(json.dumps({'gl_renderer': gpu, 'ms_per_frame': 1}))"
    )
    monkeypatch.setattr(renderer_probe, "_PROGRAM", program)
    assert probe("egl", device=3).gl_renderer == "GPU 3"
    assert "MUJOCO_EGL_DEVICE_ID" not in os.environ
    chooser = Renderer()
    with pytest.raises(ConfigError, match="among EGL devices: leave it out with osmesa") as wrong:
        chooser.use("osmesa", 1)
    chooser.use("auto", 1)
    assert (os.environ["MUJOCO_EGL_DEVICE_ID"], loaded) == ("1", ["egl"])
    chooser.use("egl", 1)
    chooser.use("auto")
    with pytest.raises(ConfigError, match="draws on device 1 already: start another") as other:
        chooser.use("auto", 0)
    assert wrong.value.field == other.value.field == "render_device"


def test_a_worker_process_does_not_try_again_what_works(
    loaded: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "runs"
    line = json.dumps({"gl_renderer": "GPU", "ms_per_frame": 1})
    program = f"open({str(log)!r}, 'a').write('run '); print({line!r})"
    monkeypatch.setattr(renderer_probe, "_PROGRAM", program)
    Renderer().use("auto", 1)
    os.environ["MUJOCO_GL"] = "disabled"
    Renderer().use("auto", 1)
    assert log.read_text().split() == ["run"]
    Renderer().use("auto", 0)
    assert log.read_text().split() == ["run", "run"]
    assert loaded == ["egl"] * 3


def test_the_module_reports_every_renderer_without_loading_one(
    tries: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert renderer_probe.main(["--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [(found["name"], found["failure"]) for found in report["renderers"]] == [
        ("egl", "libegl is missing"),
        ("osmesa", "libosmesa is missing"),
        ("glfw", "it needs a display, and DISPLAY is not set"),
    ]
    script = (
        "import runpy, sys; sys.argv[1:] = ['--help']\n"
        "try: runpy.run_module('wmrun_envserver.backends.renderer', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "assert 'dm_control' not in sys.modules and 'OpenGL' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_a_renderer_that_works_here_says_what_it_is() -> None:
    pytest.importorskip("dm_control")
    # The other tests of dm_control draw with the first that works, so the last is tried here.
    result = next((found for found in map(probe, ("osmesa", "egl")) if found.works), None)
    if result is None:
        pytest.skip("no renderer works here")
    assert result.gl_renderer
    assert result.ms_per_frame is not None
    assert result.ms_per_frame > 0
    assert result.failure == ""


def test_one_process_draws_with_one_renderer(tries: Path) -> None:
    chooser = Renderer()
    chooser.name = "egl"
    chooser.use("auto")
    chooser.use("egl")
    with pytest.raises(ConfigError, match="draws with egl already: start another for osmesa"):
        chooser.use("osmesa")
