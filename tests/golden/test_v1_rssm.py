"""rssm.npz of Dreamer V1: single steps, observe, imagine, with noise shared over the batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.golden.archives import Archive, archive, close
from tests.golden.v1_names import LATENT, load, shared
from tests.golden.v1_names import RSSM as RSSM_TABLE
from wmrun.dynamics.gru import GruDynamics
from wmrun.latents.gaussian import GaussianLatent
from wmrun.world_model import RSSM, State

STEP, SCAN = 2e-6, 1e-5


@pytest.fixture
def data() -> Archive:
    return archive("v1/rssm")


@pytest.fixture
def rssm(data: Archive) -> RSSM:
    latent = GaussianLatent(**{key: value for key, value in LATENT.items() if key != "type"})
    dynamics = GruDynamics(6, 3, deter=12, hidden=10)
    rssm = RSSM(latent, dynamics, 20, hidden=10, act="elu", norm="none")
    load(data, rssm, "w.", RSSM_TABLE)
    return rssm


def test_img_step(data: Archive, rssm: RSSM) -> None:
    action, noise = data.tensor("img_step.action"), shared(data["img_step.noise"])
    state = rssm.img_step(_prev(data), action, noise)
    close(state.deter, data["img_step.deter"], STEP)
    close(state.stoch, data["img_step.stoch"], STEP)
    _close_stats(rssm, rssm.prior(state.deter), data, "img_step.", STEP)


def test_obs_step(data: Archive, rssm: RSSM) -> None:
    state, post = rssm.obs_step(
        _prev(data),
        data.tensor("img_step.action"),
        data.tensor("obs_step.embed"),
        torch.zeros(3, dtype=torch.bool),
        shared(data["obs_step.noise"][1]),
    )
    for name in ("post_deter", "prior_deter"):
        close(state.deter, data[f"obs_step.{name}"], STEP)
    close(state.stoch, data["obs_step.post_stoch"], STEP)
    _close_stats(rssm, post, data, "obs_step.post_", STEP)
    prior = rssm.prior(state.deter)
    _close_stats(rssm, prior, data, "obs_step.prior_", STEP)
    prior_stoch = rssm.latent.sample(prior, shared(data["obs_step.noise"][0]))
    close(prior_stoch, data["obs_step.prior_stoch"], STEP)


@pytest.mark.parametrize("run", ["observe", "observe_from"])
def test_observe(data: Archive, rssm: RSSM, run: str) -> None:
    noise = shared(data[f"{run}.noise"])
    observed = rssm.observe(
        data.tensor("observe.embed"),
        data.tensor("observe.action"),
        torch.zeros(3, 8, dtype=torch.bool),
        noise[:, 1],
        _prev(data) if run == "observe_from" else None,
    )
    for name in ("post_deter", "prior_deter"):
        close(observed.state.deter, data[f"{run}.{name}"], SCAN)
    close(observed.state.stoch, data[f"{run}.post_stoch"], SCAN)
    _close_stats(rssm, observed.post, data, f"{run}.post_", SCAN)
    _close_stats(rssm, observed.prior, data, f"{run}.prior_", SCAN)
    prior_stoch = rssm.latent.sample(observed.prior.transpose(0, 1), noise[:, 0])
    close(prior_stoch.transpose(0, 1), data[f"{run}.prior_stoch"], SCAN)
    if run == "observe_from":
        latent = rssm.latent
        close(observed.state.feat, data[f"{run}.feat"], SCAN)
        close(latent.entropy(observed.prior), data[f"{run}.prior_entropy"], SCAN)
        close(latent.entropy(observed.post), data[f"{run}.post_entropy"], SCAN)
        kl = latent.kl(observed.post, observed.prior).detach()
        close(kl, data[f"{run}.kl"], relative=1e-5)


def test_imagine_with_given_actions(data: Archive, rssm: RSSM) -> None:
    actions = data.tensor("observe.action").transpose(0, 1)
    noise = shared(data["imagine.noise"])
    feats, _ = rssm.imagine(_prev(data), lambda feat, step: actions[step], noise)
    states = rssm.state(feats)
    deter = states.deter[1:].transpose(0, 1)
    close(deter, data["imagine.deter"], SCAN)
    close(states.stoch[1:].transpose(0, 1), data["imagine.stoch"], SCAN)
    _close_stats(rssm, rssm.prior(deter), data, "imagine.", SCAN)


def test_noise_is_drawn_once_for_the_whole_batch(data: Archive, rssm: RSSM) -> None:
    assert rssm.noise((8, 3), torch.Generator()).shape == shared(data["imagine.noise"]).shape


def _prev(data: Archive) -> State:
    return State(data.tensor("img_step.prev_deter"), data.tensor("img_step.prev_stoch"))


def _close_stats(rssm: RSSM, stats: Tensor, data: Archive, prefix: str, tolerance: float) -> None:
    assert isinstance(rssm.latent, GaussianLatent)
    mean, std = rssm.latent.normal(stats)
    close(mean, data[f"{prefix}mean"], tolerance)
    close(std, data[f"{prefix}std"], tolerance)
