"""encdec_*.npz, heads.npz and init.npz of Dreamer V3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from wmrun_envserver.wire.spaces import Box, Discrete

from tests.golden import v3_names
from tests.golden.archives import Archive, archive, close
from tests.golden.v3_names import Table, one_hot, stoch
from wmrun.actors.bounded_normal import BoundedNormalActor
from wmrun.actors.categorical import CategoricalActor
from wmrun.agents.base import ObsSpace
from wmrun.decoders.cnn_v3 import CnnV3Decoder
from wmrun.decoders.mlp import MlpDecoder
from wmrun.decoders.multi import MultiDecoder
from wmrun.encoders.cnn_v3 import CnnV3Encoder
from wmrun.encoders.mlp import MlpEncoder
from wmrun.encoders.multi import MultiEncoder
from wmrun.heads.bernoulli import BernoulliHead
from wmrun.heads.two_hot import TwoHotHead
from wmrun.nn.blocks import BlockDense
from wmrun.nn.images import Conv
from wmrun.nn.initializers import initialize
from wmrun.nn.layers import Dense

MEAN, LOSS, LOGITS = 2e-5, 1e-4, 3e-5
MLP: Mapping[str, Any] = {"units": 16, "act": "silu", "norm": "rms"}
VECTOR: Mapping[str, Any] = {"layers": 3, "symlog": True, **MLP}
IMAGE = Box((64, 64, 3), "uint8")
VECTOR_FEATURES = 16


def test_vectors() -> None:
    data, space = archive("v3/encdec_vec"), {"vector": Box((7,))}
    encoder = _loaded(data, MlpEncoder(space, **VECTOR), v3_names.MLP_ENCODER)
    close(encoder(_observation(data, space)), data["tokens"], MEAN)
    decoder = MlpDecoder(space, 20, 32, **VECTOR)
    _check_decoder(data, space, _loaded(data, decoder, v3_names.mlp_decoder("vector")))


def test_images() -> None:
    data, space = archive("v3/encdec_img"), {"image": IMAGE}
    encoder = _loaded(data, CnnV3Encoder(space, depth=4), v3_names.CNN_ENCODER)
    close(encoder(_observation(data, space)), data["tokens"], MEAN)
    decoder = CnnV3Decoder(space, 20, 32, depth=4, units=16)
    _check_decoder(data, space, _loaded(data, decoder, v3_names.CNN_DECODER))


def test_images_and_vectors_together() -> None:
    data = archive("v3/encdec_multi")
    space = {"avel": Box((3,)), "height": Box(()), "image": IMAGE, "zpos": Box((4,))}
    vector = {"type": "mlp", **VECTOR}
    encoder = MultiEncoder(space, image={"type": "cnn_v3", "depth": 4}, vector=vector)
    _loaded(data, encoder, v3_names.MULTI_ENCODER)
    # The official tokens begin with the vectors', ours with the images'.
    tokens = encoder(_observation(data, space)).roll(VECTOR_FEATURES, -1)
    close(tokens, data["tokens"], MEAN)
    image = {"type": "cnn_v3", "depth": 4, "units": 16}
    decoder = MultiDecoder(space, 20, 32, image=image, vector=vector)
    table = v3_names.multi_decoder("avel", "height", "zpos")
    _check_decoder(data, space, _loaded(data, decoder, table))


def test_feat_order() -> None:
    data = archive("v3/heads")
    close(_feat(data).roll(32, -1), data["feat"])


@pytest.mark.parametrize(("name", "layers"), [("rew", 1), ("val", 3)])
def test_two_hot_heads(name: str, layers: int) -> None:
    data = archive("v3/heads")
    head = _loaded(data, TwoHotHead(52, layers=layers, units=16), v3_names.head(name))
    prediction = head(_feat(data))
    close(prediction.logits, data[f"{name}_logits"], LOGITS)
    close(prediction.mean, data[f"{name}_pred"], relative=1e-4)
    loss = prediction.loss(data.tensor(f"{name}_target"))
    close(loss, data[f"{name}_loss"], relative=1e-4)


def test_continue_head() -> None:
    data = archive("v3/heads")
    head = _loaded(data, BernoulliHead(52, layers=1, **MLP), v3_names.head("con"))
    prediction = head(_feat(data))
    close(prediction.logit, data["con_logit"], LOGITS)
    close(prediction.mean, data["con_prob1"], LOGITS)
    close(prediction.loss(data.tensor("con_target")), data["con_loss"], LOGITS)


def test_continuous_actor() -> None:
    data = archive("v3/heads")
    actor = BoundedNormalActor(52, Box((3,), low=-1, high=1), units=16)
    _loaded(data, actor, v3_names.actor("polc", discrete=False))
    policy = actor(_feat(data))
    close(policy.mean, data["polc_mean"], LOGITS)
    close(policy.std, data["polc_std"], LOGITS)
    log_prob = policy.log_prob(data.tensor("polc_action"))
    close(log_prob, data["polc_logp"], 1e-5, relative=1e-4)
    close(policy.entropy(), data["polc_entropy"], LOGITS)


def test_discrete_actor() -> None:
    data = archive("v3/heads")
    actor = CategoricalActor(52, Discrete(5), layers=3, **MLP)
    _loaded(data, actor, v3_names.actor("pold", discrete=True))
    policy = actor(_feat(data))
    close(policy.logits, data["pold_logits"], LOGITS)
    close(policy.log_prob(one_hot(data["pold_action"])), data["pold_logp"], LOGITS)
    close(policy.entropy(), data["pold_entropy"], LOGITS)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("linear_64x256", lambda: Dense(64, 256)),
        ("block_8x64x32", lambda: BlockDense(8, 512, 256)),
        ("conv_5x5x8x12", lambda: Conv(nn.Conv2d(8, 12, 5), act="silu", norm="rms")),
    ],
)
def test_initial_kernels(name: str, build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    std, largest, fan_in, _ = archive("v3/init")[name]
    kernels = []
    for _ in range(20):
        layer = build()
        initialize(layer, "truncated_normal")
        kernels.append(dict(layer.named_parameters())[_kernel(layer)].detach().flatten())
    numbers = torch.cat(kernels)
    close(numbers.std(), std, relative=1e-2)
    close(numbers.abs().max(), largest, relative=1e-2)
    close(numbers.std(), fan_in**-0.5, relative=1e-2)


def _kernel(layer: nn.Module) -> str:
    return "conv.weight" if isinstance(layer, Conv) else "weight"


def _loaded(data: Archive, module: nn.Module, table: Table) -> nn.Module:
    v3_names.load(data, module, table)
    return module


def _check_decoder(data: Archive, space: ObsSpace, decoder: nn.Module) -> None:
    predictions = decoder(_feat(data, "feat/"))
    targets = decoder.targets(_observation(data, space))
    assert set(predictions) == set(space)
    for key, prediction in predictions.items():
        official = data[f"recon/{key}"]
        close(prediction.mean.reshape(official.shape), official, MEAN)
        close(prediction.loss(targets[key]), data[f"loss/{key}"], relative=LOSS)


def _observation(data: Archive, space: ObsSpace) -> dict[str, Tensor]:
    return {key: data.tensor(f"obs/{key}") for key in space}


def _feat(data: Archive, prefix: str = "") -> Tensor:
    deter, index = ("feat/deter", "feat/stoch_idx") if prefix else ("feat_deter", "feat_stoch_idx")
    return torch.cat([stoch(data[index]), data.tensor(deter)], -1)
