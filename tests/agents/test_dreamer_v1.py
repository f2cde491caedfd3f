"""Dreamer V1: sizes, which loss moves what, targets, exploration, saving, and V2's habits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from wmrun_envserver.wire.spaces import Box, Discrete, Space

from tests.agents.small import CONTINUOUS, DISCRETE, IMAGE, VECTOR, random_batch
from wmrun.agents.dreamer_v1 import DreamerV1
from wmrun.errors import ComponentError, TrainingDiverged

MLP = {"layers": 1, "units": 8}
CONTINUE = {"type": "bernoulli", **MLP}
METRICS = {
    "loss/vector", "loss/reward", "loss/kl", "loss/model", "loss/actor", "loss/critic",
    "grad_norm/model", "grad_norm/actor", "grad_norm/critic", "kl/value", "kl/prior_entropy",
    "kl/post_entropy", "critic/value", "critic/target", "imagined/reward", "imagined/discount",
}  # fmt: skip
STATE_PARTS = {"encoder", "dynamics", "obs_out", "obs_dist"}


def small_v1(act_space: Space = CONTINUOUS, *, seed: int = 0, **options: Any) -> DreamerV1:
    torch.manual_seed(seed)
    actor = "categorical" if isinstance(act_space, Discrete) else "tanh_normal"
    defaults = {
        "encoder": {"type": "mlp", **MLP},
        "decoder": {"type": "mlp", **MLP},
        "latent": {"type": "gaussian", "size": 4, "std_act": "softplus", "shared_noise": True},
        "dynamics": {"type": "gru", "deter": 6},
        "reward_head": {"type": "mse", **MLP},
        "critic_head": {"type": "mse", **MLP},
        "actor": {"type": actor, **MLP},
        "imagine_horizon": 4,
    }
    return DreamerV1(VECTOR, act_space, device="cpu", **(defaults | options))


def test_parameter_counts_of_the_published_agent() -> None:
    agent = DreamerV1(IMAGE, Box((6,), low=-1, high=1), device="cpu")
    assert agent.parameter_counts() == {
        "world_model": 5_296_820,
        "actor": 578_412,
        "critic": 413_601,
    }
    parts = {
        name: sum(p.numel() for p in part.parameters())
        for name, part in agent.world_model.named_children()
    }
    assert parts == {
        "encoder": 690_144,
        "rssm": 557_920,
        "decoder": 3_795_555,
        "reward_head": 253_201,
    }


def test_metric_names() -> None:
    batch = random_batch()
    assert set(small_v1().update(batch).metrics) == METRICS
    mixed = small_v1(continue_head=CONTINUE, actor_entropy=1e-3, slow_critic_every=5)
    extra = {"loss/continue", "actor/entropy", "critic/slow_value"}
    assert set(mixed.update(batch).metrics) == METRICS | extra


@pytest.mark.parametrize(
    ("loss", "reached"),
    [
        ("vector", STATE_PARTS | {"decoder"}),
        ("reward", STATE_PARTS | {"reward_head"}),
        ("continue", STATE_PARTS | {"continue_head"}),
        ("kl", STATE_PARTS | {"img_out", "img_dist"}),
    ],
)
def test_what_each_model_loss_moves(loss: str, reached: set[str]) -> None:
    agent = small_v1(kl_free=0.0, continue_head=CONTINUE)
    assert _reached_in_model(agent, loss) == reached


def test_free_nats_silence_the_kl() -> None:
    assert _reached_in_model(small_v1(kl_free=1e6), "kl") == set()


@pytest.mark.parametrize("gradient", ["dynamics", "reinforce", "mix"])
@pytest.mark.parametrize("act_space", [CONTINUOUS, DISCRETE], ids=["continuous", "discrete"])
def test_each_learning_rate_moves_its_own_part(gradient: str, act_space: Space) -> None:
    parts = {"model_lr": "world_model", "actor_lr": "actor", "critic_lr": "critic"}
    for moved, part in parts.items():
        rates = dict.fromkeys(parts, 0.0) | {moved: 1e-2}
        agent = small_v1(act_space, actor_grad=gradient, continue_head=CONTINUE, **rates)
        before = {name: tensor.clone() for name, tensor in agent.save().items()}
        agent.update(random_batch())
        changed = {
            name.split(".")[0]
            for name, t in agent.save().items()
            if not torch.equal(t, before[name])
        }
        assert changed & set(parts.values()) == {part}


def test_actor_learns_only_through_what_follows_its_actions() -> None:
    """With a reward head and a critic that ignore the state, no action changes a return."""
    agent = small_v1()
    for head in (agent.world_model.reward_head, agent.critic):
        torch.nn.init.zeros_(head.get_parameter("out.weight"))
    batch = random_batch()
    assert agent.update(batch).metrics["grad_norm/actor"] == 0
    assert small_v1().update(batch).metrics["grad_norm/actor"] > 1e-4


def test_all_losses_are_those_of_the_parameters_before_the_step() -> None:
    batch = random_batch()
    still, quick = (
        small_v1(model_lr=rate, actor_lr=rate).update(batch).metrics for rate in (1e-9, 1e-1)
    )
    assert still == quick


def test_targets_by_hand() -> None:
    """Rewards 2 and values 3 everywhere: the last of H-1 targets is r + γ·v_H."""
    agent = small_v1()
    for head, value in ((agent.world_model.reward_head, 2.0), (agent.critic, 3.0)):
        torch.nn.init.zeros_(head.get_parameter("out.weight"))
        torch.nn.init.constant_(head.get_parameter("out.bias"), value)
    metrics = agent.update(random_batch()).metrics
    third = 2 + 0.99 * 3
    second = 2 + 0.99 * (0.05 * 3 + 0.95 * third)
    first = 2 + 0.99 * (0.05 * 3 + 0.95 * second)
    assert metrics["critic/target"] == pytest.approx((first + second + third) / 3, rel=1e-6)
    weighted = first + 0.99 * second + 0.99**2 * third
    assert metrics["loss/actor"] == pytest.approx(-weighted / 3, rel=1e-6)


def test_last_states_are_no_starts_where_episodes_end() -> None:
    starts = []
    for agent in (small_v1(), small_v1(continue_head=CONTINUE)):
        observed = agent._fit(agent._prepare(random_batch())).observed.state
        starts.append(len(agent._starts(observed).deter))
    assert starts == [10, 8]


def test_continue_loss_counts_ten_times_unless_it_is_scaled() -> None:
    batch = random_batch()
    for scales, weight in (({}, 10), ({"reward": 1.0}, 10), ({"continue": 2.0}, 2)):
        metrics = small_v1(continue_head=CONTINUE, loss_scales=scales).update(batch).metrics
        others = sum(metrics[f"loss/{name}"] for name in ("vector", "reward", "kl"))
        expected = others + weight * metrics["loss/continue"]
        assert metrics["loss/model"] == pytest.approx(expected, rel=1e-6)


def test_kl_balance_is_the_share_that_trains_the_prior_and_null_trains_both_sides_fully() -> None:
    batch = random_batch()
    norms = {
        balance: _gradient_norms(small_v1(kl_balance=balance, kl_free=0.0), batch)["img_dist"]
        for balance in (0.0, 0.8, 1.0, None)
    }
    assert norms[0.0] == 0
    assert norms[0.8] == pytest.approx(0.8 * norms[1.0], rel=1e-5)
    assert norms[None] == pytest.approx(norms[1.0], rel=1e-5)


def test_slow_critic_makes_the_targets_and_is_copied_at_the_first_and_every_nth_update() -> None:
    agent = small_v1(slow_critic_every=2)
    copied = []
    for seed in range(4):
        agent.update(random_batch(seed=seed))
        state = agent.save()
        copied.append(torch.equal(state["critic.out.weight"], state["slow_critic.out.weight"]))
    assert copied == [True, False, True, False]
    assert agent.slow_critic is not None
    torch.nn.init.constant_(agent.slow_critic.get_parameter("out.bias"), 1e3)
    assert agent.update(random_batch()).metrics["critic/target"] > 500


def test_divergence_leaves_every_parameter_as_it_was() -> None:
    agent, batch = small_v1(), random_batch()
    before = {name: tensor.clone() for name, tensor in agent.save().items()}
    batch["vector"][0, 1] = np.nan
    with pytest.raises(TrainingDiverged, match=r"^loss/vector is nan in update 1; "):
        agent.update(batch)
    parameters = [
        name for name in before if name.split(".")[0] in ("world_model", "actor", "critic")
    ]
    after = agent.save()
    assert all(torch.equal(after[name], before[name]) for name in parameters)


def test_the_noisy_action_is_taken_and_remembered_in_training_only() -> None:
    quiet, noisy = small_v1(expl_noise=0.0), small_v1(expl_noise=0.3)
    for mode, same in (("train", False), ("eval", True)):
        (plain, _), (action, carry) = (_act(agent, mode) for agent in (quiet, noisy))
        assert np.array_equal(plain, action) is same
        np.testing.assert_array_equal(carry.action, action)


def test_exploration_goes_on_from_where_it_was_saved() -> None:
    options = {"expl_noise": 0.9, "expl_decay": 10.0, "expl_min": 0.1}
    agent, other = small_v1(**options), small_v1(seed=9, **options)
    for _ in range(5):
        _act(agent, "train")
    _act(agent, "eval")
    state = {name: tensor.clone() for name, tensor in agent.save().items()}
    assert state["count.explored"] == 20
    other.load(state)
    np.testing.assert_array_equal(_act(agent, "train")[0], _act(other, "train")[0])
    assert other.save()["count.explored"] == 24


def test_loaded_agent_takes_the_same_next_updates() -> None:
    agent = small_v1(continue_head=CONTINUE)
    agent.update(random_batch(seed=1))
    other = small_v1(continue_head=CONTINUE, seed=9)
    other.load({name: tensor.clone() for name, tensor in agent.save().items()})
    for seed in (2, 3):
        batch = random_batch(seed=seed)
        assert agent.update(batch) == other.update(batch)


def test_repeated_updates_fit_the_batch() -> None:
    agent, batch = small_v1(model_lr=1e-2), random_batch()
    losses = [agent.update(batch).metrics["loss/vector"] for _ in range(60)]
    assert losses[-1] < losses[0] - 0.5


def test_unknown_loss_scale_is_refused() -> None:
    with pytest.raises(ComponentError, match="names 'vectors'"):
        small_v1(loss_scales={"vectors": 2.0})


def _act(agent: DreamerV1, mode: str) -> tuple[np.ndarray, Any]:
    agent.seed_evaluation(0)
    obs = {"vector": np.ones((4, 3), np.float32)}
    return agent.act(obs, np.ones(4, bool), agent.initial_carry(4), mode)


def _reached_in_model(agent: DreamerV1, loss: str) -> set[str]:
    """Return the parts of the world model that get a gradient other than zero from a loss."""
    norms = _gradient_norms(agent, random_batch(), loss)
    return {part for part, norm in norms.items() if norm > 0}


def _gradient_norms(
    agent: DreamerV1, batch: dict[str, np.ndarray], loss: str = "kl"
) -> dict[str, float]:
    fit = agent._fit(agent._prepare(batch))
    names, parameters = zip(*agent.world_model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(fit.losses[loss], parameters, materialize_grads=True)
    norms: dict[str, float] = {}
    for name, gradient in zip(names, gradients, strict=True):
        first, second, *_ = name.split(".")
        part = second if first == "rssm" else first
        norms[part] = norms.get(part, 0.0) + gradient.norm().item()
    return norms
