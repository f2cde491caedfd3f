"""The README's first promise, kept by the command it gives: `pytest -m learning`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.tiny import start

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "quickstart.yaml"


@pytest.mark.learning
@pytest.mark.parametrize("seed", range(5))
def test_quickstart_learns_cartpole_within_ten_minutes(seed: int, tmp_path: Path):
    process = start(tmp_path, "run", str(EXPERIMENT), f"seed={seed}")
    try:
        out, err = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 0, err
    command = [sys.executable, "-m", "wmrun", "eval", out.strip(), "--episodes", "10", "--json"]
    played = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(played.stdout)["return_mean"] >= 400
