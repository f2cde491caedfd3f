from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from wmrun_envserver.backends.base import (
    ConfigError,
    EnvFamily,
    EnvTraits,
    SourceError,
    UnknownEnvError,
)
from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.discovery import BackendError

from tests.envserver.server.packages import install
from tests.envserver.server.scripted import ScriptedBackend

IDS = ("walker-walk", "walker-run", "cheetah-run", "os:Env", "")


class ManyBackend(ScriptedBackend):
    """Offers several ids, two of which nobody may have, and those given to it."""

    def __init__(self) -> None:
        super().__init__()
        self._ids = list(IDS)
        self.asked: list[str] = []

    def family(self) -> EnvFamily:
        return EnvFamily("many", tuple(self._ids))

    def offer(self, env_id: str, source: str) -> None:
        if source == "broken":
            raise SourceError(f"--env {env_id}={source}: there is no such module")
        self._ids.append(env_id)

    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        self.asked.append(env_id)
        if env_id == "cheetah-run":
            raise ConfigError("the option map is missing", "map")
        if env_id == "walker-run":
            raise ImportError("Box2D is not installed; pip install box2d (see /opt/box2d/readme)")
        if env_id not in self._ids:
            raise UnknownEnvError(f"there is no {env_id}")
        return EnvTraits(render_modes=("rgb_array",))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(tmp_path, "many", {"many": "tests.envserver.server.test_catalogue:ManyBackend"})
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_every_id_is_on_offer_but_empty_ones_and_those_that_name_modules(site):
    catalogue = Catalogue.load("many")
    assert catalogue.env_ids() == ["walker-walk", "walker-run", "cheetah-run"]
    for env_id in ("os:Env", ""):
        with pytest.raises(UnknownEnvError, match="is refused"):
            catalogue.backend(env_id)


def test_globs_narrow_the_ids_and_the_refusal_names_the_closest(site):
    catalogue = Catalogue.load("many", allow=["walker-*"])
    assert catalogue.env_ids() == ["walker-walk", "walker-run"]
    assert catalogue.backend("walker-walk").prepare("walker-walk", {}).render_modes == (
        "rgb_array",
    )
    with pytest.raises(UnknownEnvError) as caught:
        catalogue.backend("walker_walk")
    assert "Did you mean walker-walk" in str(caught.value)
    with pytest.raises(UnknownEnvError, match=r"not offered here \(--allow walker-\*\)"):
        catalogue.backend("cheetah-run")


def test_a_glob_that_matches_nothing_is_an_error(site):
    with pytest.raises(BackendError, match=r"--allow Walker-walk: .*Did you mean walker-walk"):
        Catalogue.load("many", allow=["Walker-walk"])


def test_a_source_whose_id_the_globs_leave_out_is_an_error_that_names_both(site):
    words = r"--env mine=x: --allow walker-\* leaves that id out; add --allow mine"
    with pytest.raises(SourceError, match=words):
        Catalogue.load("many", sources={"mine": "x"}, allow=["walker-*"])


def test_sources_become_ids_unless_they_name_modules(site):
    catalogue = Catalogue.load("many", sources={"mine": "my_package:make"})
    assert "mine" in catalogue.env_ids()
    with pytest.raises(SourceError, match="no such module"):
        Catalogue.load("many", sources={"mine": "broken"})


@pytest.mark.parametrize(
    "env_id", ["", "my:own", "a=b", "two\nlines", "bell\a", "\udcff", " padded", "x" * 257]
)
def test_ids_that_nobody_could_ask_for_are_refused_in_one_short_line(site, env_id):
    with pytest.raises(SourceError) as caught:
        Catalogue.load("many", sources={env_id: "my_package:make"})
    said = str(caught.value)
    assert said.startswith("--env: ")
    assert "an id has 1 to 256 printable characters, no ':' or '='" in said
    assert said.isprintable()
    assert len(said) < 250
    with pytest.raises(UnknownEnvError, match="is refused: an id has 1 to 256"):
        Catalogue.load("many").backend(env_id)


def test_ids_may_be_as_long_as_a_request_can_name_them(site):
    for env_id in ("x" * 256, "größe 2", "a/b-v0"):
        assert env_id in Catalogue.load("many", sources={env_id: "x"}).env_ids()


def test_test_envs_come_beside_those_of_any_backend(site):
    catalogue = Catalogue.load("many", allow=["walker-walk"], test_envs=True)
    assert catalogue.env_ids() == ["walker-walk", "echo", "fault"]
    assert catalogue.backend("echo").family().name == "echo"
    assert catalogue.backend("fault").prepare("fault", {}).isolate
    assert [env.family for env in catalogue.listing()] == ["many", "echo", "fault"]
    assert Catalogue.load("echo", test_envs=True).env_ids() == ["echo", "fault"]


def test_a_recipe_makes_the_same_catalogue_again(site):
    catalogue = Catalogue.load("many", sources={"mine": "x"}, allow=["mine"], test_envs=True)
    assert catalogue.recipe is not None
    again = Catalogue.rebuild(catalogue.recipe)
    assert again.env_ids() == catalogue.env_ids() == ["mine", "echo", "fault"]
    assert again.recipe == catalogue.recipe


def test_the_listing_says_what_is_missing_and_how_to_get_it(site):
    walk, run, cheetah = Catalogue.load("many").listing()
    assert (walk.available, list(walk.render_modes), walk.family) == (True, ["rgb_array"], "many")
    assert not run.available
    assert run.unavailable_reason.endswith("pip install box2d (see readme)")
    assert cheetah.available


def test_thousands_of_ids_are_listed_from_memory(connect, monkeypatch):
    backend = ManyBackend()
    backend._ids = [f"task-{number}" for number in range(5000)]
    client = connect(backend)
    assert len(backend.asked) == 5000
    assert len(client.call("GetServerInfo").envs) == 5000
    assert len(backend.asked) == 5000
