"""Evaluations with real servers and a real agent."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from tests.cli.tiny import TINY
from tests.diagnose import odd_envs
from tests.envs.test_client import listening
from wmrun.config.dump import dump_yaml
from wmrun.config.load import load_config
from wmrun.envs.errors import EnvCapacity
from wmrun.launch.evaluation import Evaluator
from wmrun.launch.parts import build_agent, open_envs
from wmrun.run.directory import create_run


@pytest.fixture
def socket_address() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"unix:{folder}/s.sock"


def test_environments_without_frames_are_evaluated_without_a_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(odd_envs.__file__).parent))
    file = tmp_path / "tiny.yaml"
    options = {"kwargs": {"flaw": "none"}}
    env = {"backend": "gym", "task": "odd", "source": "odd_envs:OddEnv", "options": options}
    file.write_text(yaml.safe_dump({**yaml.safe_load(TINY), "env": env}))
    config = load_config(file, ())
    run = create_run(config.name, dump_yaml(config), root=tmp_path)
    with open_envs(config, run, role="probe") as envs:
        agent = build_agent(config, envs.spec, torch.device("cpu"))
    said: list[str] = []
    with Evaluator(config, run, agent, episodes=1, say=said.append) as evaluator:
        for _ in range(2):
            evaluation = evaluator.evaluate(video=True)
            assert evaluation is not None
            assert (len(evaluation.returns), evaluation.frames) == (1, None)
    (line,) = [line for line in said if "run.video" in line]
    assert "renders no frames" in line


def test_evaluations_find_room_again_and_stop_with_the_run(
    tmp_path: Path, socket_address: str
) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    config = load_config(file, [f"env.server.address={socket_address}"])
    run = create_run(config.name, dump_yaml(config), root=tmp_path)
    stopping = False
    with listening(socket_address, "--max-sessions", "1"):
        with open_envs(config, run, role="train") as envs:
            agent = build_agent(config, envs.spec, torch.device("cpu"))
            evaluator = Evaluator(config, run, agent, episodes=1, should_stop=lambda: stopping)
            with pytest.raises(EnvCapacity, match="all 1 sessions are taken"):
                evaluator.evaluate()
        with evaluator:
            assert evaluator.evaluate() is not None
    stopping = True  # while it is away
    assert evaluator.evaluate() is None
