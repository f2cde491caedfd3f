"""rssm_cont.npz and rssm_disc.npz of Dreamer V3: steps, observe with resets, imagine, losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.golden import v3_names
from tests.golden.archives import Archive, archive, close
from tests.golden.v3_names import forced, one_hot, stoch
from wmrun.dynamics import gru_block
from wmrun.dynamics.gru_block import GruBlockDynamics
from wmrun.latents.categorical import CategoricalLatent
from wmrun.nn.divergence import SplitKL
from wmrun.nn.recurrent import gated_update
from wmrun.world_model import RSSM, Observed, State

STATE, LOSS = 2e-5, 5e-5
ACTIONS = {"cont": 3, "disc": 5}
SMALL = 0.18
"""The factor on the output layers that brings every KL below the free nats."""


@pytest.fixture(params=ACTIONS)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def data(family: str) -> Archive:
    return archive(f"v3/rssm_{family}")


@pytest.fixture
def rssm(family: str, data: Archive) -> RSSM:
    latent = CategoricalLatent(groups=4, classes=5, unimix=v3_names.UNIMIX)
    dynamics = GruBlockDynamics(20, ACTIONS[family], deter=32, hidden=16, blocks=4)
    rssm = RSSM(latent, dynamics, 16, prior_layers=2, hidden=16, act="silu", norm="rms")
    v3_names.load(data, rssm, v3_names.RSSM)
    return rssm


def test_dynamics(data: Archive, rssm: RSSM) -> None:
    dynamics = _dynamics(rssm)
    state = _state(data.tensor("core/deter_in"), data.tensor("core/stoch_in").flatten(-2))
    close(dynamics.stoch_in(state.stoch), data["core/x1"], STATE)
    deter = dynamics(state.deter, state.stoch, dynamics.embed_action(_action(data, "core")))
    close(deter, data["core/deter_out"], STATE)


def test_gates(data: Archive, rssm: RSSM, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    def spy(parts: Tensor, h: Tensor) -> Tensor:
        seen.append(parts)
        return gated_update(parts, h)

    monkeypatch.setattr(gru_block, "gated_update", spy)
    test_dynamics(data, rssm)
    reset, candidate, update = (part.transpose(0, 1).flatten(1) for part in seen[0].chunk(3, -1))
    close(torch.sigmoid(reset), data["core/reset"], STATE)
    close(torch.tanh(torch.sigmoid(reset) * candidate), data["core/cand"], STATE)
    close(torch.sigmoid(update - 1), data["core/update"], STATE)


@pytest.mark.parametrize("family", ["cont"], indirect=True)
def test_actions_are_divided_by_their_size(data: Archive, rssm: RSSM) -> None:
    dynamics = _dynamics(rssm)
    embedded = dynamics.embed_action(data.tensor("core/action_in"))
    close(embedded, dynamics.action_in(data.tensor("core/action_used")).detach().numpy(), STATE)


def test_prior(data: Archive, rssm: RSSM) -> None:
    prior = rssm.prior(data.tensor("prior/deter_in"))
    close(prior.unflatten(-1, (4, 5)), data["prior/logits"], STATE)


def test_obs_step(data: Archive, rssm: RSSM) -> None:
    state, post = rssm.obs_step(
        _state(data.tensor("post/deter_in"), data.tensor("post/stoch_in").flatten(-2)),
        _action(data, "post"),
        data.tensor("post/tokens"),
        data.tensor("post/is_first"),
        forced(data["post/logits"], data["post/stoch_idx"]),
    )
    close(state.deter, data["post/deter"], STATE)
    close(post.unflatten(-1, (4, 5)), data["post/logits"], STATE)
    close(state.stoch, stoch(data["post/stoch_idx"]).numpy(), 1e-6)


@pytest.mark.parametrize("run", ["obs", "obs_small"])
def test_observe(data: Archive, rssm: RSSM, run: str) -> None:
    observed = _observe(data, rssm, run)
    close(observed.state.deter, data[f"{run}/deter"], STATE)
    close(observed.state.stoch, stoch(data[f"{run}/stoch_idx"]).numpy(), 1e-6)
    close(observed.post.unflatten(-1, (4, 5)), data[f"{run}/post_logits"], STATE)
    close(observed.prior.unflatten(-1, (4, 5)), data[f"{run}/prior_logits"], STATE)


@pytest.mark.parametrize("run", ["obs", "obs_small"])
def test_losses(data: Archive, rssm: RSSM, run: str) -> None:
    observed = _observe(data, rssm, run)
    losses, value = SplitKL(1.0)(rssm.latent.kl, observed.post, observed.prior)
    close(value, data[f"{run}/kl_raw"], LOSS)
    sides = {"dyn": observed.prior, "rep": observed.post}
    for name, stats in sides.items():
        close(value.clamp(min=1), data[f"{run}/{name}"], LOSS)
        close(losses[name], data[f"{run}/{name}_mean"], LOSS)
        close(rssm.latent.entropy(stats).mean(), data[f"{run}/{name}_ent"], LOSS)


def test_imagine(data: Archive, rssm: RSSM) -> None:
    actions = _action(data, "imag").transpose(0, 1)
    noise = forced(data["imag/logits"], data["imag/stoch_idx"]).transpose(0, 1)
    start = _state(data.tensor("imag/start_deter"), stoch(data["imag/start_stoch_idx"]))
    feats, taken = rssm.imagine(start, lambda feat, step: actions[step], noise)
    states = rssm.state(feats)
    assert torch.equal(taken, actions)
    close(states.deter[1:].transpose(0, 1), data["imag/deter"], STATE)
    close(states.stoch[1:].transpose(0, 1), stoch(data["imag/stoch_idx"]).numpy(), 1e-6)
    prior = rssm.prior(states.deter[1:].transpose(0, 1))
    close(prior.unflatten(-1, (4, 5)), data["imag/logits"], STATE)


def _observe(data: Archive, rssm: RSSM, run: str) -> Observed:
    if run == "obs_small":
        with torch.no_grad():
            for layer in (rssm.img_dist, rssm.obs_dist):
                layer.weight.mul_(SMALL)
                layer.bias.mul_(SMALL)
    return rssm.observe(
        data.tensor("obs/tokens"),
        _action(data, "obs"),
        data.tensor("obs/is_first"),
        forced(data[f"{run}/post_logits"], data[f"{run}/stoch_idx"]).transpose(0, 1),
        _state(data.tensor("obs/carry_deter"), stoch(data["obs/carry_stoch_idx"])),
    )


def _action(data: Archive, group: str) -> Tensor:
    """Return recorded actions, one-hot where they are classes."""
    name = f"{group}/action" if f"{group}/action" in data else f"{group}/action_in"
    return one_hot(data[name]) if data[name].dtype == np.int32 else data.tensor(name)


def _dynamics(rssm: RSSM) -> GruBlockDynamics:
    assert isinstance(rssm.dynamics, GruBlockDynamics)
    return rssm.dynamics


def _state(deter: Tensor, stoch: Tensor) -> State:
    return State(deter, stoch)
