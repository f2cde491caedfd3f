from __future__ import annotations

import json
import re

import pytest
from wmrun_envserver.__main__ import main

from tests.envserver.server.packages import install

pytestmark = pytest.mark.servers  # loads every simulator that is installed

SCRIPTED = "tests.envserver.server.scripted:ScriptedBackend"


@pytest.fixture
def lines(tmp_path, monkeypatch, capfd):
    """Two more backends, one of them broken; the text of `list` and its entries by name."""
    (tmp_path / "wmrun_pinball.py").write_text(
        "print('pinball banner')\nimport wmrun_no_flippers\n"
    )
    install(tmp_path, "arcade", {"arcade": SCRIPTED})
    install(tmp_path, "pinball", {"pinball_3d": "wmrun_pinball:Backend"}, extras=("pinball",))
    install(tmp_path, "crane", {"claw_crane": SCRIPTED}, extras=("claw-crane",))
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["list"]) == 0
    text = capfd.readouterr().out
    assert main(["list", "--json"]) == 0
    return text, [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_every_backend_is_listed_with_what_it_offers_or_misses(lines):
    text, entries = lines
    found = {entry["name"]: entry for entry in entries}
    assert list(found) == sorted(found)
    assert found["arcade"] == {
        "name": "arcade",
        "package": "arcade 1.2",
        "extra": None,
        "env_ids": ["scripted"],
        "problem": None,
    }
    assert found["pinball_3d"]["extra"] == "pinball"
    assert found["claw_crane"]["extra"] == "claw-crane", "as installed packages spell it"
    assert "No module named 'wmrun_no_flippers'" in found["pinball_3d"]["problem"]
    assert re.search(r"^arcade +arcade 1\.2: scripted$", text, re.MULTILINE)
    assert re.search(
        r"^pinball_3d +pinball 1\.2 \[pinball\]: cannot be used\n  ", text, re.MULTILINE
    )


def test_what_backends_print_is_not_in_the_list(lines):
    text, _ = lines
    assert "pinball banner" not in text
