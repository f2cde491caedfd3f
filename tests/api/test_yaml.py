"""`DreamerConfig` to an experiment file and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.tiny import write_tiny
from wmrun import DreamerConfig
from wmrun.config.load import load_config
from wmrun.config.problems import ConfigError
from wmrun.errors import UsageError

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))


def test_the_file_names_the_preset_and_what_differs_from_it(tmp_path: Path) -> None:
    config = DreamerConfig()
    config.env_backend = "gym"
    config.env = "Pendulum-v1"
    config.total_steps = 1_000_000
    config.stoch_size = 16
    config.discount = 0.99  # the preset's
    text = config.to_yaml(tmp_path / "pendulum.yaml")
    assert (tmp_path / "pendulum.yaml").read_text() == text
    assert text == (
        "extends: dreamer_v1\n"
        "name: dreamer_v1_Pendulum-v1\n"
        "env:\n"
        "  task: Pendulum-v1\n"
        "agent:\n"
        "  latent:\n"
        "    size: 16\n"
        "run:\n"
        "  env_steps: 1000000\n"
    )


def test_attributes_resolve_to_what_the_command_line_makes_of_the_same_keys(tmp_path: Path) -> None:
    file = tmp_path / "walk.yaml"
    file.write_text(
        "extends: dreamer_v2\nname: walk\nseed: 3\ndevice: cpu\n"
        "env: {backend: dmc, task: walker-walk, action_repeat: 2, image: {size: [64, 64]}}\n"
        "agent: {latent: {groups: 8, classes: 4}, kl_scale: 0.5, actor_grad: reinforce}\n"
        "run: {env_steps: 5_000}\n"
    )
    config = DreamerConfig(
        algorithm="dreamer_v2",
        name="walk",
        seed=3,
        device="cpu",
        env_backend="dmc",
        env="walker-walk",
        action_repeat=2,
        image_size=64,
        stoch_size=8,
        stoch_classes=4,
        kl_loss_coeff=0.5,
        actor_grad="reinforce",
        total_steps=5_000,
    )
    assert config.resolve() == load_config(file)


@pytest.mark.parametrize("algorithm", ["dreamer_v1", "dreamer_v2", "dreamer_v3"])
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"discrete_latents": True, "stoch_size": 8, "layer_norm": True, "deter_size": 64},
        {"discrete_latents": False, "stoch_size": 7, "layer_norm": False, "kl_balancing": False},
        {"discount_model": True, "critic": "mse", "actor_grad": "reinforce", "kl_loss_coeff": 0.3},
        {"cnn_residual": True, "image_size": (96, 96), "embed_size": 1024, "vector_obs": True},
        {"embed_size": 64, "total_steps": 90, "prefill": 20, "eval_every": 0, "video": False},
        {"env": "ALE/Pong-v5", "name": "0x10", "overrides": {"tracking.experiment": "no: 'yes'\n"}},
        {"env_backend": "unity_mlagents", "unity_file_name": "/b/3DBall.x86_64"},
        {"overrides": {"env": {"server": {"address": "h:1", "token_file": "token"}}}},
        {"num_envs": 3, "overrides": {"env": {"servers": [{"python": "./p"}, {"address": "h:1"}]}}},
        {"overrides": ["agent.kl_free=2", "env.options.a={b: [1, null]}", "agent.act=relu"]},
        {"overrides": {"agent": {"actor": {"type": "categorical", "units": 8}}}},
    ],
    ids=lambda attributes: " ".join(attributes) or "defaults",
)
def test_a_config_survives_the_way_to_a_file_and_back(
    algorithm: str, attributes: dict[str, Any], tmp_path: Path
) -> None:
    config = DreamerConfig(**{"env": "Pendulum-v1", "algorithm": algorithm, **attributes})
    file = tmp_path / "experiment.yaml"
    config.to_yaml(file)
    assert load_config(file) == config.resolve()
    back = DreamerConfig.from_yaml(file)
    assert back == config
    read = [name for name in vars(config) if name != "overrides"]
    assert [getattr(back, name) for name in read] == [getattr(config, name) for name in read]


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda path: path.stem)
def test_any_experiment_file_keeps_everything(file: Path) -> None:
    assert DreamerConfig.from_yaml(file).resolve() == load_config(file)


def test_components_that_no_attribute_knows_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(
        "name: mix\nenv: {task: x}\nrun: {env_steps: 9_000}\n"
        "agent: {type: dreamer_v2, encoder: {type: mlp, units: 8}, decoder: {type: mlp},\n"
        "  dynamics: {type: gru_block, deter: 64, hidden: 8}, critic_head: {type: bernoulli}}\n"
    )
    config = DreamerConfig.from_yaml(file)
    assert config.resolve() == load_config(file)
    assert (config.embed_size, config.critic, config.deter_size) == (None, None, 64)


def test_what_has_no_attribute_goes_to_overrides(tmp_path: Path) -> None:
    config = DreamerConfig.from_yaml(write_tiny(tmp_path))
    assert (config.algorithm, config.name, config.env_backend) == ("dreamer_v2", "tiny", "echo")
    assert (config.stoch_size, config.stoch_classes, config.deter_size) == (2, 3, 8)
    assert (config.total_steps, config.prefill, config.embed_size) == (60, 20, 8)
    assert isinstance(config.overrides, dict)
    assert config.overrides["threads"] == 1
    assert config.overrides["env"] == {"options": {"length": 8}}
    assert config.overrides["agent"]["critic_head"] == {"layers": 1, "units": 8}
    assert "latent" not in config.overrides["agent"]


def test_a_file_in_another_folder_keeps_the_program_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    config = DreamerConfig(env="walk", overrides=["env.server.python=venv/bin/python"])
    config.to_yaml("experiments/walk.yaml")
    loaded = load_config("experiments/walk.yaml")
    assert loaded.env.server.python == str(tmp_path / "venv/bin/python")
    assert loaded == config.resolve()


def test_a_wrong_config_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    with pytest.raises(ConfigError, match=r"DreamerConfig\.seed"):
        DreamerConfig(env="Pendulum-v1", seed=-1).to_yaml(file)
    assert not file.exists()


def test_a_file_with_a_mistake_is_reported_at_its_line(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text("extends: dreamer_v1\nname: a\nenv: {task: x}\nrun: {env_step: 9_000}\n")
    with pytest.raises(ConfigError, match=r"experiment\.yaml:4:7: run\.env_step: unknown key"):
        DreamerConfig.from_yaml(file)


def test_another_agent_has_no_dreamer_config(tmp_path: Path, toy: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text("name: a\nenv: {task: x}\nagent: {type: toy}\nrun: {env_steps: 9_000}\n")
    with pytest.raises(UsageError, match=r"agent\.type is 'toy'"):
        DreamerConfig.from_yaml(file)
