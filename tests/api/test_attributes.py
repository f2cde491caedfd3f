"""What attributes read and what they change in the experiment."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wmrun_envserver.wire.spaces import Box

from wmrun import DreamerConfig, registry
from wmrun.agents.sizes import sized
from wmrun.api.attributes import ATTRIBUTES
from wmrun.config.schema import Config

MODEL = (
    "stoch_size",
    "deter_size",
    "embed_size",
    "imagine_horizon",
    "discount",
    "td_lambda",
    "kl_loss_coeff",
)
SWITCHES = (
    "discrete_latents",
    "kl_balancing",
    "discount_model",
    "layer_norm",
    "cnn_residual",
    "actor_grad",
    "critic",
)


def config(**attributes: Any) -> DreamerConfig:
    return DreamerConfig(**{"env": "Pendulum-v1", **attributes})


def resolved(**attributes: Any) -> Config:
    return config(**attributes).resolve()


def values(names: tuple[str, ...], **attributes: Any) -> tuple[Any, ...]:
    made = DreamerConfig(**attributes)
    return tuple(getattr(made, name) for name in names)


def test_the_numbers_of_a_fresh_config_are_those_of_dreamer_v1() -> None:
    assert values(MODEL) == (30, 200, 1024, 15, 0.99, 0.95, 1.0)
    assert values(SWITCHES) == (False, False, False, False, False, "dynamics", "mse")
    fresh = DreamerConfig()
    assert (fresh.algorithm, fresh.env_backend, fresh.env) == ("dreamer_v1", "gym", None)
    assert (fresh.total_steps, fresh.seed, fresh.device) == (1_000_000, 0, "auto")


def test_what_is_not_set_follows_the_algorithm() -> None:
    assert values(MODEL, algorithm="dreamer_v2") == (32, 200, 1536, 15, 0.99, 0.95, 1.0)
    assert values(SWITCHES, algorithm="dreamer_v2") == (
        *(True, True, False, True, False),
        *("auto", "mse"),
    )
    v3 = values(MODEL, algorithm="dreamer_v3", size="12m")
    assert v3 == (32, 2048, 64 * 16, 15, 1 - 1 / 333, 0.95, 1.0)
    assert values(SWITCHES, algorithm="dreamer_v3") == (
        *(True, True, True, False, False),
        *("reinforce", "two_hot"),
    )


def test_an_attribute_can_be_unset() -> None:
    made = config(stoch_size=4)
    del made.stoch_size
    assert made.stoch_size == 30
    assert made == config()


def test_numbers_reach_the_experiment() -> None:
    made = resolved(
        stoch_size=8,
        deter_size=64,
        imagine_horizon=9,
        discount=0.9,
        td_lambda=0.8,
        kl_loss_coeff=2,
        total_steps=5_000,
        seed=7,
        device="cuda:1",
        num_envs=3,
        action_repeat=2,
        time_limit=100,
        prefill=10,
        train_ratio=4,
        batch_size=5,
        batch_length=6,
        eval_every=11,
        eval_episodes=12,
        video=False,
        mlflow=False,
        tracking_uri="http://here",
        name="mine",
    )
    agent = made.agent
    assert agent["latent"]["size"] == 8
    assert agent["dynamics"]["deter"] == 64
    assert agent["dynamics"]["hidden"] is None, "as large as deter"
    assert (agent["imagine_horizon"], agent["discount"]) == (9, 0.9)
    assert (agent["return_lambda"], agent["kl_scale"]) == (0.8, 2.0)
    assert (made.name, made.seed, made.device.name) == ("mine", 7, "cuda:1")
    assert (made.env.num_envs, made.env.action_repeat, made.env.time_limit) == (3, 2, 100)
    assert (made.run.env_steps, made.run.prefill, made.run.train_ratio) == (5_000, 10, 4.0)
    assert (made.run.eval_every, made.run.eval_episodes, made.run.video) == (11, 12, False)
    assert (made.replay.batch_size, made.replay.batch_length) == (5, 6)
    assert (made.tracking.mlflow, made.tracking.uri) == (False, "http://here")


def test_the_name_says_algorithm_and_task_unless_it_is_set() -> None:
    assert config(env="ALE/Pong-v5", algorithm="dreamer_v2").name == "dreamer_v2_ALE-Pong-v5"
    assert config(name="mine").name == "mine"


def test_images_are_asked_for_by_one_number_or_two() -> None:
    assert resolved().env.image is None
    assert resolved(image_size=96).env.image.size == (96, 96)
    both = resolved(image_size=(48, 64), vector_obs=True)
    assert both.env.image.size == (48, 64)
    assert both.env.vector is True


def test_discrete_latents_have_groups_and_classes() -> None:
    latent = resolved(discrete_latents=True, stoch_size=16, stoch_classes=8).agent["latent"]
    assert (latent["type"], latent["groups"], latent["classes"]) == ("categorical", 16, 8)
    gaussian = resolved(algorithm="dreamer_v2", discrete_latents=False).agent["latent"]
    assert (gaussian["type"], gaussian["size"]) == ("gaussian", 30)


@pytest.mark.parametrize(
    ("algorithm", "setting", "share"),
    [
        ("dreamer_v1", False, None),
        ("dreamer_v1", True, 0.8),
        ("dreamer_v1", 0.6, 0.6),
        ("dreamer_v2", True, 0.8),
        ("dreamer_v2", False, 0.5),
    ],
)
def test_kl_balancing_is_the_share_of_the_prior(
    algorithm: str, setting: Any, share: float | None
) -> None:
    made = config(algorithm=algorithm, kl_balancing=setting)
    assert made.resolve().agent["kl_balance"] == share
    assert made.kl_balancing == setting


def test_in_dreamer_v3_the_kl_coefficient_scales_both_losses() -> None:
    agent = resolved(algorithm="dreamer_v3", kl_loss_coeff=2.0).agent
    assert (agent["dyn_scale"], agent["rep_scale"]) == (2.0, 0.2)
    agent = resolved(algorithm="dreamer_v3", kl_balancing=False, kl_loss_coeff=0.5).agent
    assert (agent["dyn_scale"], agent["rep_scale"]) == (0.5, 0.5)


@pytest.mark.parametrize(("algorithm", "layers"), [("dreamer_v1", 3), ("dreamer_v2", 4)])
def test_a_discount_model_is_a_continue_head_of_the_published_size(
    algorithm: str, layers: int
) -> None:
    assert resolved(algorithm=algorithm).agent["continue_head"] is None
    head = resolved(algorithm=algorithm, discount_model=True).agent["continue_head"]
    assert (head["type"], head["layers"], head["units"]) == ("bernoulli", layers, 400)


def test_layer_norm_is_that_of_the_gru() -> None:
    made = resolved(layer_norm=True, deter_size=64).agent["dynamics"]
    assert (made["type"], made["deter"]) == ("gru_layernorm", 64)
    assert resolved(algorithm="dreamer_v2", layer_norm=False).agent["dynamics"]["type"] == "gru"
    v3 = resolved(algorithm="dreamer_v3", layer_norm=True).agent["dynamics"]
    assert (v3["type"], v3["norm"]) == ("gru_block", "layer")


def test_actor_gradient_and_critic_are_chosen_by_name() -> None:
    assert resolved(actor_grad="reinforce").agent["actor_grad"] == "reinforce"
    critic = resolved(algorithm="dreamer_v3", critic="mse").agent["critic_head"]
    assert (critic["type"], critic["layers"], critic["units"]) == ("mse", 3, None)


@pytest.mark.parametrize("algorithm", ["dreamer_v1", "dreamer_v2", "dreamer_v3"])
def test_residual_connections_come_with_relu_and_an_embedding_of_1024(algorithm: str) -> None:
    made = config(algorithm=algorithm, cnn_residual=True, image_size=64)
    agent = made.resolve().agent
    for part in (agent["encoder"]["image"], agent["decoder"]["image"]):
        assert (part["type"], part["act"], part["depth"]) == ("cnn_residual", "relu", 32)
    assert made.embed_size == 1024


@pytest.mark.parametrize(
    ("attributes", "embed_size", "depth"),
    [
        ({}, 512, 16),  # 2 x 2 pixels are left of 64 x 64
        ({"image_size": 96}, 1024, 8),  # 4 x 4 of 96 x 96
        ({"cnn_residual": True}, 512, 16),
        ({"cnn_residual": True, "image_size": 16}, 64, 8),  # two stages leave 2 x 2 of 16 x 16
        ({"algorithm": "dreamer_v3"}, 1024, 16),  # 4 x 4 pixels, 4 channels per depth
    ],
)
def test_the_embedding_of_images_sets_the_depth_of_encoder_and_decoder(
    attributes: dict[str, Any], embed_size: int, depth: int
) -> None:
    agent = resolved(**{"image_size": 64, **attributes, "embed_size": embed_size}).agent
    assert agent["encoder"]["image"]["depth"] == depth
    assert agent["decoder"]["image"]["depth"] == depth


@pytest.mark.parametrize("size", [(64, 64), (96, 112)])
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"algorithm": "dreamer_v2"},
        {"algorithm": "dreamer_v3", "size": "1m"},
        {"cnn_residual": True},
    ],
    ids=str,
)
def test_the_embedding_that_is_read_is_the_one_that_the_encoder_makes(
    attributes: dict[str, Any], size: tuple[int, int]
) -> None:
    made = config(**attributes, image_size=size)
    spec = sized(made.resolve().agent["encoder"], attributes.get("size"))
    encoder = registry.build("encoder", spec, {"image": Box((*size, 3), "uint8")})
    assert made.embed_size == encoder.embed_size


def test_the_embedding_of_vectors_is_the_width_of_their_encoder() -> None:
    assert resolved(embed_size=64).agent["encoder"]["vector"]["units"] == 64
    assert resolved(embed_size=1024) == resolved(), "the default changes nothing"


def test_unity_has_its_player_as_the_source_of_a_task_by_its_name() -> None:
    env = resolved(
        env=None, env_backend="unity_mlagents", unity_file_name=Path("builds/3DBall.x86_64")
    ).env
    assert (env.backend, env.task) == ("unity_mlagents", "3DBall")
    assert env.source == str(Path("builds/3DBall.x86_64").absolute())
    editor = resolved(env=None, env_backend="unity_mlagents").env
    assert (editor.task, editor.source) == ("editor", None)


@pytest.mark.parametrize(
    "overrides",
    [
        ["agent.kl_free=1", "agent.latent.size=12"],
        {"agent": {"kl_free": 1, "latent": {"size": 12}}},
        {"agent.kl_free": 1, "agent.latent.size": 12},
    ],
)
def test_overrides_reach_everything_else_and_win_over_attributes(overrides: Any) -> None:
    made = config(stoch_size=4, overrides=overrides)
    assert made.resolve().agent["kl_free"] == 1.0
    assert made.resolve().agent["latent"]["size"] == 12


def test_reading_an_attribute_shows_what_overrides_did() -> None:
    made = DreamerConfig()
    made.overrides.append("agent.latent.size=12")
    assert made.stoch_size == 12


def test_numpy_numbers_and_tuples_are_taken() -> None:
    made = resolved(seed=np.int64(3), discount=np.float32(0.5), image_size=(64, 64))
    assert (made.seed, made.agent["discount"]) == (3, 0.5)


def test_copies_do_not_share_attributes() -> None:
    first = config(seed=1)
    second = copy.copy(first)
    second.seed = 2
    assert first.seed == 1
    assert pickle.loads(pickle.dumps(second)) == second != first  # noqa: S301


def test_configs_are_equal_when_they_are_the_same_experiment() -> None:
    assert config(stoch_size=30) == config()
    assert config(stoch_size=12) == config(overrides=["agent.latent.size=12"])
    assert config(stoch_size=12) != config()
    assert DreamerConfig() == DreamerConfig() != config()


def test_every_attribute_is_annotated_explained_and_listed() -> None:
    names = {"algorithm", *ATTRIBUTES, "overrides"}
    assert set(DreamerConfig.__annotations__) == names
    assert names <= set(dir(DreamerConfig()))
    explained = {
        line.strip().partition(":")[0] for line in (DreamerConfig.__doc__ or "").splitlines()
    }
    assert names <= explained


def test_the_representation_shows_what_is_set() -> None:
    assert repr(config(seed=3)) == (
        "DreamerConfig(algorithm='dreamer_v1', env='Pendulum-v1', seed=3)"
    )
