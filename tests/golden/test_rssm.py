"""rssm_*.npz: single steps, observe from zero and from a state, imagine, entropies and KL."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.golden.archives import RSSM as RSSM_TABLE
from tests.golden.archives import Archive, archive, close, one_hot_noise
from wmrun.dynamics.gru_layernorm import GruLayerNormDynamics
from wmrun.latents.base import Latent
from wmrun.latents.categorical import CategoricalLatent
from wmrun.latents.gaussian import GaussianLatent
from wmrun.world_model import RSSM, State

STEP, SCAN = 5e-6, 1e-5
NAMES = ["rssm_discrete", "rssm_discrete_layernorm", "rssm_gauss"]


@pytest.fixture(params=NAMES)
def data(request: pytest.FixtureRequest) -> Archive:
    return archive(request.param)


@pytest.fixture
def rssm(data: Archive) -> RSSM:
    latent = _latent(data)
    norm = "layer" if "w.img_in_norm.gamma" in data else "none"
    dynamics = GruLayerNormDynamics(latent.flat_size, 3, deter=12, hidden=10, norm=norm)
    rssm = RSSM(latent, dynamics, 20, hidden=10, act="elu", norm=norm)
    data.load(rssm, "w.", RSSM_TABLE)
    return rssm


def test_img_step(data: Archive, rssm: RSSM) -> None:
    state = rssm.img_step(_prev(data), data.tensor("action")[:, 0], _noise(data, "img_step."))
    close(state.deter, data["img_step.deter"], STEP)
    prior = rssm.prior(state.deter)
    _close_stats(rssm, prior, data, "img_step.", STEP)
    close(state.stoch, _flat(data["img_step.stoch"]), STEP)
    close(rssm.latent.mode(prior), _flat(data["img_step.mode_stoch"]), STEP)


def test_obs_step(data: Archive, rssm: RSSM) -> None:
    state, post = rssm.obs_step(
        _prev(data),
        data.tensor("action")[:, 1],
        data.tensor("embed")[:, 1],
        data.tensor("obs_step.is_first"),
        _noise(data, "obs_step.post_"),
    )
    close(state.deter, data["obs_step.post_deter"], STEP)
    close(state.stoch, _flat(data["obs_step.post_stoch"]), STEP)
    _close_stats(rssm, post, data, "obs_step.post_", STEP)
    prior = rssm.prior(state.deter)
    _close_stats(rssm, prior, data, "obs_step.prior_", STEP)
    close(state.deter, data["obs_step.prior_deter"], STEP)
    sample = rssm.latent.sample(prior, _noise(data, "obs_step.prior_"))
    close(sample, _flat(data["obs_step.prior_stoch"]), STEP)
    close(rssm.latent.mode(post), _flat(data["obs_step.mode_stoch"]), STEP)


@pytest.mark.parametrize("run", ["observe", "observe_from"])
def test_observe(data: Archive, rssm: RSSM, run: str) -> None:
    observed = rssm.observe(
        data.tensor("embed"),
        data.tensor("action"),
        data.tensor("is_first"),
        _noise(data, f"{run}.post_").transpose(0, 1).contiguous(),
        _prev(data) if run == "observe_from" else None,
    )
    close(observed.state.deter, data[f"{run}.post_deter"], SCAN)
    close(observed.state.stoch, _flat(data[f"{run}.post_stoch"]), SCAN)
    _close_stats(rssm, observed.post, data, f"{run}.post_", SCAN)
    _close_stats(rssm, observed.prior, data, f"{run}.prior_", SCAN)
    close(observed.state.deter, data[f"{run}.prior_deter"], SCAN)
    sample = rssm.latent.sample(observed.prior, _noise(data, f"{run}.prior_"))
    close(sample, _flat(data[f"{run}.prior_stoch"]), SCAN)


def test_feat_entropies_and_kl(data: Archive, rssm: RSSM) -> None:
    observed = rssm.observe(
        data.tensor("embed"),
        data.tensor("action"),
        data.tensor("is_first"),
        _noise(data, "observe_from.post_").transpose(0, 1).contiguous(),
        _prev(data),
    )
    close(observed.state.feat, data["observe_from.feat"], SCAN)
    close(rssm.latent.entropy(observed.prior), data["observe_from.prior_entropy"], SCAN)
    close(rssm.latent.entropy(observed.post), data["observe_from.post_entropy"], SCAN)
    close(rssm.latent.kl(observed.post, observed.prior), data["observe_from.kl"], SCAN)


def test_imagine_with_given_actions(data: Archive, rssm: RSSM) -> None:
    actions = data.tensor("action").transpose(0, 1)
    noise = _noise(data, "imagine.").transpose(0, 1).contiguous()
    feats, taken = rssm.imagine(_prev(data), lambda feat, step: actions[step], noise)
    states = rssm.state(feats)
    assert torch.equal(taken, actions)
    close(states.deter[1:].transpose(0, 1), data["imagine.deter"], SCAN)
    close(states.stoch[1:].transpose(0, 1), _flat(data["imagine.stoch"]), SCAN)
    _close_stats(rssm, rssm.prior(states.deter[1:].transpose(0, 1)), data, "imagine.", SCAN)


@pytest.mark.parametrize("std_act", ["sigmoid2", "sigmoid", "softplus"])
def test_gaussian_std_activations(std_act: str) -> None:
    data = archive("rssm_gauss")
    raw = data.tensor("std.raw")
    latent = GaussianLatent(size=len(raw), std_act=std_act, min_std=0.1)
    std = latent.normal(torch.cat([torch.zeros_like(raw), raw])).std
    close(std, data[f"std.{std_act}"], STEP)


def _latent(data: Archive) -> Latent:
    if "img_step.logit" in data:
        return CategoricalLatent(groups=4, classes=5)
    return GaussianLatent(size=6)


def _prev(data: Archive) -> State:
    return State(data.tensor("prev_deter"), torch.tensor(_flat(data["prev_stoch"])))


def _flat(stoch: np.ndarray) -> np.ndarray:
    return stoch.reshape(*stoch.shape[:-2], 20) if stoch.shape[-2:] == (4, 5) else stoch


def _noise(data: Archive, prefix: str) -> Tensor:
    """Return the noise that leads to the recorded samples, in the layout of the recorded arrays."""
    if f"{prefix}logit" in data:
        return one_hot_noise(data[f"{prefix}logit"], data[f"{prefix}stoch"])
    run, _, turn = prefix.rpartition(".")
    noise = data.tensor(f"{run}.noise")
    if turn:
        noise = noise.select(-3, ("prior_", "post_").index(turn))
    return noise.transpose(0, 1) if noise.ndim == 3 else noise


def _close_stats(rssm: RSSM, stats: Tensor, data: Archive, prefix: str, tolerance: float) -> None:
    if isinstance(rssm.latent, GaussianLatent):
        mean, std = rssm.latent.normal(stats)
        close(mean, data[f"{prefix}mean"], tolerance)
        close(std, data[f"{prefix}std"], tolerance)
    else:
        close(stats, _flat(data[f"{prefix}logit"]), tolerance)
