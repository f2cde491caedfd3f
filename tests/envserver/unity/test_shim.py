"""On a Python whose protobuf refuses the messages of mlagents_envs, they are made at run time."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

import google.protobuf
import numpy as np
import pytest

from tests.envserver.unity.conftest import ROOT, offers, serve, write_player
from tests.envserver.unity.session import Row, Session
from tests.envserver.unity.standin.pixels import pixels
from tests.envserver.unity.standin.scene import Sight

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(
        google.protobuf.__version__.startswith("3."), reason="takes the messages as they are"
    ),
]


@pytest.fixture
def site(unity_python: Path, tmp_path: Path) -> Path:
    """A folder with mlagents_envs alone: all that it imports is of this Python."""
    pytest.importorskip("distutils.version", reason="setuptools has it from Python 3.12 on")
    pytest.importorskip("PIL")
    (package,) = unity_python.parents[1].glob("lib/python3*/site-packages/mlagents_envs")
    site = tmp_path / "site"
    site.mkdir()
    (site / package.name).symlink_to(package)
    return site


def test_scenes_are_served_on_the_newest_protobuf(site: Path, tmp_path: Path) -> None:
    path = os.pathsep.join([str(site), str(ROOT)])
    player = write_player(tmp_path / "Player.x86_64", Path(sys.executable), PYTHONPATH=path)
    sources = offers(player, f"--log {shlex.quote(str(tmp_path))}")
    with ExitStack() as stack:
        server = serve(stack, Path(sys.executable), tmp_path, sources, PYTHONPATH=path)
        session = Session(server.client, "visual", seeds=[9])
        session.reset()
        reply = session.step(0.25)
        assert reply.rows == [Row(0, Sight(0, 0, 1, 0.5), 1.5)]
        np.testing.assert_array_equal(reply.obs["Camera"][0], pixels(reply.rows[0].sight, 3))
        (log,) = server.players()
        assert log.events("hello")[0]["seed"] == 9
        hybrid = Session(server.client, "hybrid_branches")
        hybrid.reset()
        assert hybrid.step([[0.5], [1, 2]]).rows == [Row(0, Sight(0, 0, 1, 3.5), 4.5)]
