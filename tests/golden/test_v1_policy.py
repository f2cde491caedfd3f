"""policy.npz and explore.npz of Dreamer V1: acting with a reset, exploration noise, schedules."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.golden.archives import Archive, archive, close
from tests.golden.v1_names import dreamer, load_agent, replay_noise, shared
from wmrun.agents.base import ActMode
from wmrun.agents.dreamer_v1 import DreamerV1
from wmrun.agents.exploration import Schedule, disturbed, replaced
from wmrun.nn.tanh_normal import TanhNormal

TOLERANCE = 1e-5
ACTION_REPEAT = 2


def test_three_training_decisions_for_two_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    data = archive("v1/policy")
    agent = _agent(data, "train")
    replay_noise(agent.actor, *data.tensor("train.noise_actor"))
    recorded = iter(data.tensor("train.noise_expl"))
    monkeypatch.setattr(
        "wmrun.agents.exploration.disturbed",
        lambda action, noise, amount: disturbed(action, next(recorded), amount),
    )
    _check(agent, data, "train", slots=2)
    assert agent.save()["count.explored"] * ACTION_REPEAT == data["train.step"][-1]


def test_three_evaluation_decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the first slot only: the original takes its likeliest sample for the other slot too."""
    data = archive("v1/policy")
    draws = iter(data.tensor("eval.noise_actor")[:, :, :1])
    monkeypatch.setattr(TanhNormal, "mode", property(lambda self: self.likeliest(next(draws))))
    agent = _agent(data, "eval")
    _check(agent, data, "eval", slots=1)
    assert agent.save()["count.explored"] == data["eval.step"][-1] == 0


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("const", Schedule(0.3)),
        ("decay", Schedule(0.4, decay=1e5)),
        ("decay_min", Schedule(0.4, decay=1e5, minimum=0.1)),
    ],
)
def test_schedules(name: str, schedule: Schedule) -> None:
    data = archive("v1/explore")
    ours = [schedule(int(steps)) for steps in data["steps"]]
    close(ours, data[f"amount.{name}"], 1e-6)


def test_noise_on_continuous_actions() -> None:
    data = archive("v1/explore")
    noisy = disturbed(data.tensor("gauss.action"), data.tensor("gauss.noise"), 0.3)
    close(noisy, data["gauss.out"], 1e-6)
    unchanged = disturbed(data.tensor("gauss.action"), data.tensor("gauss.noise"), 0.0)
    close(unchanged, data["eval.out"])


def test_random_choices_in_place_of_discrete_actions() -> None:
    data = archive("v1/explore")
    random = F.one_hot(torch.tensor(data["eps.random_index"]).long(), 4).float()
    explored = replaced(data.tensor("eps.action"), random, data.tensor("eps.uniform"), 0.4)
    close(explored, data["eps.out"], 0)


def _agent(data: Archive, mode: ActMode) -> DreamerV1:
    agent = dreamer()
    load_agent(agent, data)
    replay_noise(agent.world_model.rssm.latent, *shared(data[f"{mode}.noise_post"]))
    return agent


def _check(agent: DreamerV1, data: Archive, mode: ActMode, slots: int) -> None:
    carry = agent.initial_carry(slots)
    for call in range(3):
        obs = {"image": data["image"][:slots, call]}
        action, carry = agent.act(obs, data["reset"][call, :slots], carry, mode)
        close(action, data[f"{mode}.action"][call, :slots], TOLERANCE)
        close(carry.action, data[f"{mode}.action"][call, :slots], TOLERANCE)
        close(carry.state.stoch, data[f"{mode}.stoch"][call, :slots], TOLERANCE)
        close(carry.state.deter, data[f"{mode}.deter"][call, :slots], TOLERANCE)
