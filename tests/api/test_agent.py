"""`DreamerAgent` runs what `wmrun run` runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import wmrun
from wmrun import DreamerAgent, DreamerConfig
from wmrun.config.load import load_config
from wmrun.envs.errors import EnvStartError
from wmrun.errors import RunError, UsageError


def tiny() -> DreamerConfig:
    small = {"layers": 1, "units": 8}
    return DreamerConfig(
        name="tiny",
        device="cpu",
        env="CartPole-v1",
        total_steps=200,
        prefill=100,
        train_ratio=2,
        batch_size=2,
        batch_length=8,
        eval_every=0,
        mlflow=False,
        stoch_size=4,
        deter_size=8,
        embed_size=8,
        imagine_horizon=3,
        discrete_latents=True,
        stoch_classes=4,
        kl_balancing=True,
        discount_model=True,
        layer_norm=True,
        actor_grad="reinforce",
        overrides={
            "threads": 1,
            "replay": {"capacity": 500, "sampler": "windows"},
            "run": {"pretrain": 1, "update_burst": 1, "checkpoint_every": 0, "log_every": 50},
            "agent": {
                "encoder": {"vector": {"layers": 1}},
                "decoder": {"vector": small},
                "reward_head": small,
                "continue_head": small,
                "critic_head": small,
                "actor": {"type": "categorical", **small},
            },
        },
    )


def test_training_leaves_the_run_that_the_command_line_would(tmp_path: Path) -> None:
    config = tiny()
    config.to_yaml(tmp_path / "tiny.yaml")
    agent = DreamerAgent(config, runs=tmp_path / "runs")
    config.seed = 5
    outcome = agent.train()
    assert (outcome.status, outcome.exit_code, outcome.counters.env_steps) == ("FINISHED", 0, 200)
    # Of 100 agent steps after prefill, each replays 2 of the 2 x 8 steps of an update.
    assert outcome.counters.updates == pytest.approx(1 + 100 * 2 / 16, abs=1)
    run = outcome.run.path
    assert run.parent == tmp_path / "runs" / "tiny"
    assert load_config(run / "config.yaml") == load_config(tmp_path / "tiny.yaml")
    assert json.loads((run / "run.json").read_text())["status"] == "FINISHED"
    assert (run / "metrics.jsonl").read_text().count("\n") >= 2
    assert list((run / "checkpoints").glob("*/done"))

    with pytest.raises(RunError, match="is complete"):
        agent.resume()
    assert len(DreamerAgent(config).evaluate(outcome.run, episodes=2).evaluation.returns) == 2


def test_a_backend_that_is_not_installed_is_an_error_of_the_environment(tmp_path: Path) -> None:
    config = DreamerConfig(env_backend="unity_mlagents", unity_file_name="walker", device="cpu")
    agent = DreamerAgent(config, runs=tmp_path)
    assert agent.config.env.source == str(Path.cwd() / "walker")
    with pytest.raises(EnvStartError, match=r"build\.py makes \.venvs/unity"):
        agent.train()


def test_anything_but_a_config_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"takes a DreamerConfig, not 'walk\.yaml'"):
        DreamerAgent("walk.yaml")  # type: ignore[arg-type]


def test_a_run_that_does_not_exist_is_an_exception(tmp_path: Path) -> None:
    agent = DreamerAgent(tiny(), runs=tmp_path)
    with pytest.raises(RunError, match="there is no run 'tiny'"):
        agent.resume()
    with pytest.raises(RunError, match="there is no run 'other'"):
        agent.evaluate("other")


def test_wmrun_offers_both_names_and_no_others() -> None:
    assert {"DreamerAgent", "DreamerConfig"} <= set(dir(wmrun))
    assert wmrun.__all__ == ["DreamerAgent", "DreamerConfig"]
    with pytest.raises(AttributeError, match="has no attribute 'DreamerKonfig'"):
        _ = wmrun.DreamerKonfig


def test_a_config_resolves_without_torch_mlflow_or_grpc() -> None:
    script = (
        "import sys, wmrun\n"
        "assert not {'pydantic', 'yaml'} & set(sys.modules)\n"
        "wmrun.DreamerAgent(wmrun.DreamerConfig(env='Pendulum-v1'))\n"
        "print({'torch', 'mlflow', 'grpc'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")
