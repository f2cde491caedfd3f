from __future__ import annotations

from pathlib import Path

import pytest
from wmrun_envserver.server.discovery import (
    BackendError,
    UnknownBackendError,
    backend_names,
    load_backend,
)

from tests.envserver.server.packages import install
from tests.envserver.server.scripted import ScriptedBackend

SCRIPTED = "tests.envserver.server.scripted:ScriptedBackend"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on the import path; every test names its modules apart."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_backend_of_another_package_is_found_and_built(site):
    install(site, "arcade", {"arcade": SCRIPTED})
    assert "arcade" in backend_names()
    assert isinstance(load_backend("arcade"), ScriptedBackend)


def test_names_are_listed_without_importing_anything(site):
    install(site, "arcade", {"arcade": "wmrun_no_such_module:Backend"})
    assert {"arcade", "echo", "gym"} <= set(backend_names())


def test_an_unknown_name_gets_the_closest_and_the_list(site):
    install(site, "arcade", {"arcade": SCRIPTED})
    with pytest.raises(UnknownBackendError) as caught:
        load_backend("arcad")
    first, second = str(caught.value).splitlines()
    assert first == "unknown backend 'arcad'; did you mean 'arcade'?"
    assert second.startswith("Installed are: arcade, ")


def test_a_name_that_two_packages_offer_names_both(site):
    install(site, "arcade", {"arcade": SCRIPTED})
    install(site, "pinball", {"arcade": SCRIPTED})
    with pytest.raises(BackendError, match=r"arcade 1\.2, pinball 1\.2; uninstall all but one"):
        load_backend("arcade")


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import wmrun_no_such_simulator", "ModuleNotFoundError: No module named 'wmrun_no_such_"),
        ("raise SystemExit('no display')", "SystemExit: no display"),
        (
            "class Backend:\n  def __init__(self): raise OSError('no licence')",
            "OSError: no licence",
        ),
        ("Other = 1", "AttributeError: "),
    ],
)
def test_a_broken_backend_names_its_package_and_the_cause(site, source, cause, request):
    module = f"broken_{abs(hash(source))}"
    (site / f"{module}.py").write_text(source)
    install(site, "arcade", {"arcade": f"{module}:Backend"})
    with pytest.raises(BackendError) as caught:
        load_backend("arcade")
    assert "backend 'arcade' of arcade 1.2 cannot be loaded: " + cause in str(caught.value)


def test_a_missing_simulator_comes_with_the_extra_that_installs_it(site):
    (site / "arcade_backend.py").write_text("import wmrun_no_such_simulator")
    backends = dict.fromkeys(("arcade", "the_other"), "arcade_backend:Backend")
    install(site, "cabinet", backends, extras=("arcade", "the-other"))
    for name, extra in (("arcade", "arcade"), ("the_other", "the-other")):
        with pytest.raises(BackendError) as caught:
            load_backend(name)
        expected = f'Install what it needs: pip install "cabinet[{extra}]"'
        assert str(caught.value).endswith(expected)


def test_a_class_that_is_no_backend_is_refused(site):
    install(site, "arcade", {"arcade": "collections:OrderedDict"})
    with pytest.raises(BackendError, match="collections:OrderedDict is not a"):
        load_backend("arcade")
