"""A renderer is tried in a child process, once, and its failure says what to install."""

from __future__ import annotations

from pathlib import Path

import pytest
from wmrun_envserver.backends import renderer
from wmrun_envserver.backends.base import ConfigError
from wmrun_envserver.backends.renderer import Renderer


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Replace the frame by a script that notes which renderer it was given, and fails."""
    log = tmp_path / "tries"
    monkeypatch.setattr(
        renderer,
        "_PROBE",
        f"import os; name = os.environ['MUJOCO_GL']; open({str(log)!r}, 'a').write(name + ' ')\n"
        "raise SystemExit(f'lib{name} is missing')",
    )
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.delenv("DISPLAY", raising=False)
    return log


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
    with pytest.raises(ConfigError, match=r"\(glfw: libglfw is missing\)"):
        chooser.use("glfw")
    assert tries.read_text().split() == ["osmesa", "glfw"]


def test_a_renderer_that_hangs_is_given_up(tries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer, "_PROBE", "import signal; signal.pause()")
    monkeypatch.setattr(renderer, "_PROBE_TIMEOUT_S", 0.2)
    with pytest.raises(ConfigError, match=r"egl: no frame within 0\.2 s"):
        Renderer().use("egl")


def test_a_child_that_is_killed_counts_as_a_failure(
    tries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renderer, "_PROBE", "import os; os.abort()")
    with pytest.raises(ConfigError, match="egl: exit status -6"):
        Renderer().use("egl")


def test_one_process_draws_with_one_renderer() -> None:
    pytest.importorskip("dm_control")
    chooser = Renderer()
    chooser.name = "egl"
    chooser.use("auto")
    chooser.use("egl")
    with pytest.raises(ConfigError, match="draws with egl already: start another for osmesa"):
        chooser.use("osmesa")
