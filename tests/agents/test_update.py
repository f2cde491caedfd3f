"""The update as a whole: metrics, divergence, learning, and options that are refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.agents.small import DISCRETE, IMAGE, VECTOR, random_batch, small_dreamer
from wmrun.agents.base import ObsSpace
from wmrun.errors import ComponentError, TrainingDiverged

METRICS = {
    "loss/reward", "loss/continue", "loss/kl", "loss/model", "loss/actor", "loss/critic",
    "grad_norm/model", "grad_norm/actor", "grad_norm/critic", "kl/value", "kl/prior_entropy",
    "kl/post_entropy", "actor/entropy", "critic/value", "critic/slow_value", "critic/target",
    "imagined/reward", "imagined/discount",
}  # fmt: skip


@pytest.mark.parametrize("obs_space", [IMAGE, VECTOR], ids=["image", "vector"])
def test_metric_names(obs_space: ObsSpace) -> None:
    metrics = small_dreamer(obs_space).update(random_batch(obs_space)).metrics
    assert set(metrics) == METRICS | {f"loss/{key}" for key in obs_space}
    assert all(isinstance(value, float) for value in metrics.values())


@pytest.mark.parametrize(("key", "loss"), [("reward", "loss/reward"), ("vector", "loss/vector")])
def test_divergence_is_named_and_leaves_the_world_model_as_it_was(key: str, loss: str) -> None:
    agent = small_dreamer()
    before = {name: t.clone() for name, t in agent.world_model.state_dict().items()}
    batch = random_batch()
    batch[key][0, 1] = math.nan
    with pytest.raises(TrainingDiverged, match=rf"^{loss} is nan in update 1; "):
        agent.update(batch)
    after = agent.world_model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_nothing_before_the_start_of_an_episode_reaches_past_it() -> None:
    """The second sequence starts anew at row 3: rows 3 and 4 do not depend on rows 0 to 2."""
    agent = small_dreamer()
    noise = agent.world_model.rssm.noise((5, 2), torch.Generator().manual_seed(0))
    batch = random_batch()
    changed = {key: array.copy() for key, array in batch.items()}
    changed["vector"][1, :3] += 1
    changed["action"][1, :4] += 1
    feats = [
        agent.world_model.fit(agent._prepare(b), noise).observed.state.feat[1]
        for b in (batch, changed)
    ]
    assert torch.equal(feats[0][3:], feats[1][3:])
    assert not torch.equal(feats[0][:3], feats[1][:3])


def test_the_batch_is_left_as_it_was() -> None:
    batch = random_batch()
    copies = {key: array.copy() for key, array in batch.items()}
    small_dreamer(reward_transform="tanh").update(batch)
    for key, array in batch.items():
        np.testing.assert_array_equal(array, copies[key])


def test_reward_transform_bounds_targets() -> None:
    batch = random_batch()
    batch["reward"] *= 1e6
    plain, bounded = (
        small_dreamer(reward_transform=t).update(batch).metrics["loss/reward"]
        for t in ("identity", "tanh")
    )
    assert plain > 1e6
    assert bounded < 5


def test_loss_scales_and_kl_scale_weight_the_total() -> None:
    batch = random_batch()
    metrics = (
        small_dreamer(kl_scale=0.5, loss_scales={"continue": 5.0, "vector": 2.0, "reward": 0.0})
        .update(batch)
        .metrics
    )
    expected = 0.5 * metrics["loss/kl"] + 5 * metrics["loss/continue"] + 2 * metrics["loss/vector"]
    assert metrics["loss/model"] == pytest.approx(expected, rel=1e-6)


def test_time_outs_are_not_terminal() -> None:
    agent, batch = small_dreamer(discount=0.9), random_batch()
    batch["is_terminal"][:] = False
    assert agent._prepare(batch)["continue"].unique().tolist() == [pytest.approx(0.9)]


def test_repeated_updates_fit_the_batch() -> None:
    agent = small_dreamer(model_lr=1e-2)
    batch = random_batch()
    losses = [agent.update(batch).metrics["loss/vector"] for _ in range(60)]
    assert losses[-1] < losses[0] - 0.5


def test_unknown_loss_scale_is_refused_with_the_closest_name() -> None:
    with pytest.raises(ComponentError) as caught:
        small_dreamer(loss_scales={"vectors": 2.0})
    assert caught.value.message == (
        "agent.loss_scales names 'vectors', but the losses are reward, continue, vector"
    )
    assert caught.value.hint == "Did you mean 'vector'?"


def test_loss_scales_point_to_the_weight_of_the_kl() -> None:
    with pytest.raises(ComponentError, match=r"agent\.kl_scale"):
        small_dreamer(loss_scales={"kl": 0.1})


def test_observations_named_like_other_parts_of_a_batch_are_refused() -> None:
    with pytest.raises(ComponentError, match="an observation called 'reward'"):
        small_dreamer({**VECTOR, "reward": VECTOR["vector"]})


def test_no_observations_are_refused() -> None:
    with pytest.raises(ComponentError, match="no observations"):
        small_dreamer({})


@pytest.mark.parametrize("gradient", ["dynamics", "reinforce", "mix"])
@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("latent", ["categorical", "gaussian"])
def test_every_combination_updates(gradient: str, discrete: bool, latent: str) -> None:
    options = {} if latent == "gaussian" else {"groups": 2, "classes": 3}
    agent = small_dreamer(
        **({"act_space": DISCRETE} if discrete else {}),
        latent={"type": latent, **options},
        actor_grad=gradient,
        norm="layer",
        act="silu",
    )
    assert math.isfinite(agent.update(random_batch()).metrics["loss/model"])
