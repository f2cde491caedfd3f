"""Dreamer V3: sizes, its first updates, which loss moves what, stored states, saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from wmrun_envserver.wire.spaces import Box, Discrete, Space

from tests.agents.small import IMAGE, VECTOR, random_batch
from tests.agents.small_v3 import CLASSES, DETER, GROUPS, parameters, small_v3, stored_batch
from wmrun import registry
from wmrun.agents import dreamer_v3
from wmrun.agents.base import ObsSpace
from wmrun.agents.dreamer_v3 import DreamerV3
from wmrun.agents.imagination import imagine
from wmrun.agents.networks import Networks
from wmrun.agents.policy import Carry
from wmrun.config.load import load_config
from wmrun.errors import ComponentError, TrainingDiverged

METRICS = {
    "loss/reward", "loss/continue", "loss/dyn", "loss/rep", "loss/model", "loss/actor",
    "loss/critic", "loss/replay_critic", "grad_norm/all", "kl/value", "kl/prior_entropy",
    "kl/post_entropy", "actor/entropy", "actor/return_scale", "critic/value", "critic/slow_value",
    "critic/target", "imagined/reward", "imagined/discount",
}  # fmt: skip
POSTERIOR = {"encoder", "dynamics", "obs_out", "obs_dist"}
TORQUES = Box((6,), low=-1, high=1)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("1m", 686_846),
        ("12m", 10_494_158),
        ("25m", 23_489_326),
        ("50m", 41_650_062),
        ("100m", 93_468_238),
        ("200m", 165_948_686),
        ("400m", 372_896_398),
    ],
)
def test_parameter_counts_of_the_published_sizes(size: str, expected: int, tmp_path: Path) -> None:
    assert sum(_counts(tmp_path, IMAGE, TORQUES, size).values()) == expected


def test_parameter_counts_of_the_published_proprio_agent(tmp_path: Path) -> None:
    """DMC walker has three vectors of 24 numbers together."""
    walker = {"height": Box((1,)), "orientations": Box((14,)), "velocity": Box((9,))}
    counts = _counts(tmp_path, walker, TORQUES, "1m")
    assert counts == {
        "encoder": 10_112,
        "rssm": 364_416,
        "decoder": 51_096,
        "reward_head": 57_663,
        "continue_head": 41_153,
        "actor": 50_316,
        "critic": 66_111,
    }
    assert sum(counts.values()) == 640_867


def test_parameter_counts_of_the_published_crafter_agent(tmp_path: Path) -> None:
    counts = _counts(tmp_path, IMAGE, Discrete(17), "200m")
    assert counts == {
        "encoder": 3_492_864,
        "rssm": 95_495_168,
        "decoder": 20_282_115,
        "reward_head": 10_749_183,
        "continue_head": 10_488_833,
        "actor": 12_606_481,
        "critic": 12_850_431,
    }
    assert sum(counts.values()) == 165_965_075


@pytest.mark.parametrize("obs_space", [IMAGE, VECTOR], ids=["image", "vector"])
def test_metric_names(obs_space: ObsSpace) -> None:
    agent = small_v3(obs_space)
    metrics = agent.update(stored_batch(agent, obs_space)).metrics
    assert set(metrics) == METRICS | {f"loss/{key}" for key in obs_space}


def test_rewards_and_values_begin_at_exactly_zero_and_returns_count_as_they_are() -> None:
    metrics = small_v3().update(stored_batch(small_v3())).metrics
    for name in ("imagined/reward", "critic/value", "critic/slow_value", "critic/target"):
        assert metrics[name] == 0
    assert metrics["actor/return_scale"] == 1


def test_the_first_update_of_a_warm_up_changes_no_parameter_and_the_second_all() -> None:
    agent = small_v3(warmup=1000)
    before = parameters(agent)
    agent.update(stored_batch(agent))
    first = parameters(agent)
    assert all(torch.equal(first[name], before[name]) for name in before)
    agent.update(stored_batch(agent, seed=1))
    second = parameters(agent)
    # A posterior's or a head's last layer begins with zeros behind it.
    moved = {name.split(".")[0] for name in before if not torch.equal(second[name], before[name])}
    assert moved == {"world_model", "actor", "critic", "slow_critic"}


def test_without_a_warm_up_every_element_moves_by_the_learning_rate() -> None:
    """LaProp's first step is the gradient's sign where the gradient is not 0."""
    agent = small_v3(lr=1e-3)
    before = parameters(agent)
    agent.update(stored_batch(agent))
    after = parameters(agent)
    moved = torch.cat(
        [(after[n] - before[n]).flatten() for n in before if n.startswith("world_model")]
    ).abs()
    moved = moved[moved > 0]
    assert len(moved) > 500
    np.testing.assert_allclose(moved, 1e-3, rtol=1e-3)


def test_the_slow_critic_follows_after_the_step() -> None:
    agent = small_v3(lr=1e-2)
    before = parameters(agent)
    agent.update(stored_batch(agent))
    after = parameters(agent)
    for name in (n for n in before if n.startswith("slow_critic.")):
        live = after[name.removeprefix("slow_")]
        expected = 0.98 * before[name] + 0.02 * live
        np.testing.assert_allclose(after[name], expected, rtol=1e-5, atol=1e-9)
    name = "critic.out.bias"
    assert not torch.equal(after[name], before[name])


def test_no_class_of_a_latent_is_less_likely_than_its_share_of_the_uniform_part() -> None:
    latent = small_v3().world_model.rssm.latent
    stats = torch.zeros(GROUPS * CLASSES)
    stats[::CLASSES] = 1e3
    probs = latent.probs(stats)
    assert probs.min().item() == pytest.approx(0.01 / CLASSES, rel=1e-6)
    assert probs.sum(-1).tolist() == pytest.approx([1] * GROUPS)


@pytest.mark.parametrize(
    ("loss", "reached"),
    [
        ("vector", POSTERIOR | {"decoder"}),
        ("reward", POSTERIOR | {"reward_head"}),
        ("continue", POSTERIOR | {"continue_head"}),
        ("dyn", POSTERIOR | {"img_out", "img_dist"}),
        ("rep", POSTERIOR),
        ("actor", {"actor"}),
        ("critic", {"critic"}),
        ("replay_critic", POSTERIOR | {"critic"}),
    ],
)
def test_what_each_loss_moves(loss: str, reached: set[str]) -> None:
    """The dyn loss reaches the encoder through the samples before, the rep loss no prior."""
    assert _reached(_awake(kl_free=0.0), loss) == reached


def test_the_replay_loss_stops_at_the_state_on_request() -> None:
    assert _reached(_awake(replay_critic_grad=False), "replay_critic") == {"critic"}


@pytest.mark.parametrize("loss", ["dyn", "rep"])
def test_free_nats_silence_the_kl(loss: str) -> None:
    assert _reached(_awake(kl_free=1e6), loss) == set()


@pytest.mark.parametrize("gradient", ["dynamics", "mix"])
def test_gradients_through_the_dynamics_move_the_actor_only(gradient: str) -> None:
    assert _reached(_awake(actor_grad=gradient), "actor") == {"actor"}


def test_the_stored_state_begins_the_sequence_whatever_is_first_says_of_its_row() -> None:
    agent = small_v3()
    batch = stored_batch(agent)
    flagged = {key: array.copy() for key, array in batch.items()}
    flagged["is_first"][:, 0] = True
    state, rows = agent._split_context(agent._prepare(flagged))
    assert state is not None
    np.testing.assert_array_equal(state.deter, batch["deter"][:, 0].astype(np.float32))
    classes = state.stoch.view(2, GROUPS, CLASSES).argmax(-1)
    np.testing.assert_array_equal(classes, batch["stoch"][:, 0])
    assert rows["is_first"].tolist() == [[False] * 4, [False, False, True, False]]
    assert small_v3().update(batch).metrics == small_v3().update(flagged).metrics


def test_an_episode_that_begins_in_the_first_trained_row_forgets_the_stored_state() -> None:
    batch = stored_batch(small_v3())
    batch["is_first"][:, 1] = True
    other = {key: array.copy() for key, array in batch.items()}
    other["deter"][:] *= -1
    other["action"][:, 1] += 1
    results = [small_v3().update(b) for b in (batch, other)]
    assert results[0].metrics == results[1].metrics


def test_without_stored_states_the_first_row_begins_from_nothing() -> None:
    agent, batch = small_v3(stored_latents=False), random_batch()
    assert (agent.replay_context, dict(agent.replay_entries)) == (0, {})
    assert agent.entries(agent.initial_carry(2)) == {}
    assert batch["is_first"][:, 0].all()
    other = {key: array.copy() for key, array in batch.items()}
    other["action"][:, 0] += 1
    results = [small_v3(stored_latents=False).update(b) for b in (batch, other)]
    assert results[0] == results[1]
    assert dict(results[0].entries) == {}


def test_an_update_gives_the_trained_rows_their_new_states() -> None:
    agent = small_v3()
    batch = stored_batch(agent)
    state, rows = agent._split_context(agent._prepare(batch))
    observed = small_v3()._fit(rows, state).observed.state
    entries = agent.update(batch).entries
    assert {key: (array.shape[2:], array.dtype.name) for key, array in entries.items()} == dict(
        agent.replay_entries
    )
    np.testing.assert_array_equal(entries["deter"], observed.deter.detach().half())
    classes = observed.stoch.view(2, 4, GROUPS, CLASSES).argmax(-1)
    np.testing.assert_array_equal(entries["stoch"], classes)


def test_the_state_after_acting_is_kept_with_the_row_that_led_to_it() -> None:
    agent = small_v3()
    _, carry = _act(agent, "train")
    entries = agent.entries(carry)
    assert entries["deter"].shape == (4, DETER)
    np.testing.assert_array_equal(entries["deter"], carry.state.deter.half())
    unpacked = agent.world_model.rssm.latent.unpack(torch.tensor(entries["stoch"]))
    assert torch.equal(unpacked, carry.state.stoch)


def test_evaluation_samples_unless_told_to_take_the_mode() -> None:
    for sampling in (True, False):
        agent = small_v3(sample_in_eval=sampling)
        actions, carry = _act(agent, "eval")
        mean = agent.actor(carry.state.feat).mean.detach().numpy()
        assert np.allclose(actions, mean) is not sampling


@pytest.mark.parametrize("chance", [0.0, 0.5])
def test_states_count_as_likely_as_they_are_reached_and_the_start_is_no_exception(
    chance: float,
) -> None:
    """Uniform two-hot predictions are ln 255 from the return and from the slow critic's value."""
    agent = small_v3()
    head = agent.world_model.continue_head
    assert head is not None
    torch.nn.init.zeros_(head.get_parameter("out.weight"))
    logit = torch.logit(torch.tensor(chance)).clamp(min=-1e9)
    torch.nn.init.constant_(head.get_parameter("out.bias"), logit.item())
    metrics = agent.update(stored_batch(agent)).metrics
    weights = [chance, chance**2, chance**3]
    assert metrics["loss/critic"] == pytest.approx(sum(weights) / 3 * 2 * np.log(255), rel=1e-5)


def test_advantages_are_divided_by_the_range_of_returns() -> None:
    plain, scaled = (_awake(actor_entropy=0.0, return_norm_rate=0.0) for _ in range(2))
    scaled._return_scale.high.fill_(100.0)
    losses = [agent.update(stored_batch(agent)).metrics["loss/actor"] for agent in (plain, scaled)]
    assert losses[0] != 0
    assert losses[1] == pytest.approx(losses[0] / 100, rel=1e-5)


def test_loaded_agent_goes_on_bit_by_bit() -> None:
    agent = small_v3(warmup=5)
    for seed in range(3):
        agent.update(stored_batch(agent, seed=seed))
    other = small_v3(warmup=5, seed=9)
    other.load({name: tensor.clone() for name, tensor in agent.save().items()})
    np.testing.assert_array_equal(_act(agent, "train")[0], _act(other, "train")[0])
    for seed in (3, 4):
        batch = stored_batch(agent, seed=seed)
        ours, theirs = agent.update(batch), other.update(batch)
        assert ours.metrics == theirs.metrics
        for key, entry in ours.entries.items():
            np.testing.assert_array_equal(entry, theirs.entries[key])
    saved = other.save()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in agent.save().items())


def test_one_seed_gives_one_run() -> None:
    runs = []
    for _ in range(2):
        agent = small_v3(seed=4)
        actions = [_act(agent, "train")[0] for _ in range(2)]
        metrics = [agent.update(stored_batch(agent, seed=s)).metrics for s in range(3)]
        runs.append((np.stack(actions).tolist(), metrics))
    assert runs[0] == runs[1]


@pytest.mark.parametrize(("key", "loss"), [("reward", "loss/reward"), ("vector", "loss/vector")])
def test_divergence_is_named_and_leaves_every_parameter_as_it_was(key: str, loss: str) -> None:
    agent = small_v3()
    before = parameters(agent)
    batch = stored_batch(agent)
    batch[key][0, 2] = np.nan
    with pytest.raises(TrainingDiverged, match=rf"^{loss} is nan in update 1; "):
        agent.update(batch)
    after = parameters(agent)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_repeated_updates_fit_the_batch() -> None:
    agent = small_v3(lr=1e-2)
    batch = stored_batch(agent)
    losses = [agent.update(batch).metrics["loss/vector"] for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]


def test_unknown_loss_scale_is_refused() -> None:
    with pytest.raises(ComponentError, match="names 'vectors'"):
        small_v3(loss_scales={"vectors": 2.0})


class _Built(Exception):
    """Carries the networks of an agent that need not be finished."""


def _counts(folder: Path, obs_space: ObsSpace, act_space: Space, size: str) -> dict[str, int]:
    """Return parameter counts by part, of networks that have shapes and no numbers."""
    file = folder / "walk.yaml"
    file.write_text("extends: dreamer_v3\nname: walk\nenv: {task: x}\nrun: {env_steps: 2_000}\n")
    config = load_config(file, [f"agent.size={size}"])
    build = dreamer_v3.build_networks

    def build_shapes(*spaces: Any, **options: Any) -> Networks:
        with torch.device("meta"):
            raise _Built(build(*spaces, **options | {"device": torch.device("meta")}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dreamer_v3, "build_networks", build_shapes)
        with pytest.raises(_Built) as built:
            registry.build("agent", config.agent, obs_space, act_space, device="cpu")
    (networks,) = built.value.args
    parts = dict(networks.world_model.named_children())
    parts |= {"actor": networks.actor, "critic": networks.critic}
    return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}


def _awake(**options: Any) -> DreamerV3:
    """Return an agent whose heads do not predict zeros."""
    agent = small_v3(**options)
    for head in (agent.world_model.reward_head, agent.critic, agent.slow_critic):
        torch.nn.init.normal_(head.get_parameter("out.weight"))
    return agent


def _reached(agent: DreamerV3, loss: str) -> set[str]:
    """Return the parts that get a gradient other than zero from a loss."""
    model = agent.world_model
    state, rows = agent._split_context(agent._prepare(stored_batch(agent)))
    fit = agent._fit(rows, state)
    trajectory = imagine(
        model,
        agent.actor,
        fit.observed.state.detach().flatten(),
        3,
        agent._update_rng,
        through_dynamics=agent._objective.through_dynamics,
    )
    imagined = agent._imagined_losses(trajectory)
    first_return = imagined.returns[0].unflatten(0, rows["reward"].shape)
    losses: dict[str, Tensor] = {
        **fit.losses,
        "actor": imagined.actor,
        "critic": imagined.critic,
        "replay_critic": agent._replay_critic_loss(fit, rows, first_return),
    }
    named = [(_part(name), p) for name, p in model.named_parameters()]
    named += [("actor", p) for p in agent.actor.parameters()]
    named += [("critic", p) for p in agent.critic.parameters()]
    gradients = torch.autograd.grad(
        losses[loss], [p for _, p in named], allow_unused=True, materialize_grads=True
    )
    return {part for (part, _), gradient in zip(named, gradients, strict=True) if gradient.any()}


def _part(name: str) -> str:
    first, second, *_ = name.split(".")
    return second if first == "rssm" else first


def _act(agent: DreamerV3, mode: str) -> tuple[np.ndarray, Carry]:
    obs = {"vector": np.ones((4, 3), np.float32)}
    return agent.act(obs, np.ones(4, bool), agent.initial_carry(4), mode)
