"""Tasks whose observations are classes, from the command line."""

from __future__ import annotations

import json

from tests.cli.tiny import wmrun, write_tiny


def test_a_task_with_discrete_observations_trains(tmp_path):
    file = write_tiny(tmp_path)
    text = file.read_text().replace(
        "{backend: echo, task: echo, num_envs: 2, options: {length: 8}}",
        "{backend: gym, task: FrozenLake-v1, num_envs: 2}",
    )
    mlp = "{layers: 1, units: 8}"
    actor = f"{{type: auto, continuous: {mlp}, discrete: {mlp}}}"
    file.write_text(text.replace(f"actor: {mlp}", f"actor: {actor}"))
    quick = ("run.env_steps=30", "run.eval_episodes=1", "tracking.mlflow=false")
    result = wmrun(tmp_path, "run", str(file), *quick)
    assert result.returncode == 0, result.stderr
    metrics = (tmp_path / result.stdout.strip() / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["metrics"]["loss/obs"] for line in metrics if "loss/obs" in line]
    assert losses
    # The loss of 16 classes that are told apart no better than by chance is log 16, 2.77.
    assert all(0 < loss < 4 for loss in losses)
