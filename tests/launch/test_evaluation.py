"""Evaluations with real servers and a real agent."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from tests.cli.tiny import TINY
from tests.diagnose import odd_envs
from wmrun.config.dump import dump_yaml
from wmrun.config.load import load_config
from wmrun.launch.evaluation import Evaluator
from wmrun.launch.parts import build_agent, open_envs
from wmrun.run.directory import create_run


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
