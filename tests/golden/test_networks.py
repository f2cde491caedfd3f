"""conv*.npz, vector*.npz and heads.npz: encoders, decoders and heads."""

from __future__ import annotations

import pytest
from wmrun_envserver.wire.spaces import Box

from tests.golden.archives import (
    CNN_DECODER,
    CNN_ENCODER,
    HEAD,
    MLP_ENCODER,
    MULTI_ENCODER,
    archive,
    close,
    mlp_decoder,
)
from wmrun.decoders.cnn import CnnDecoder
from wmrun.decoders.mlp import MlpDecoder
from wmrun.encoders.cnn import CnnEncoder
from wmrun.encoders.mlp import MlpEncoder
from wmrun.encoders.multi import MultiEncoder
from wmrun.heads.bernoulli import BernoulliHead
from wmrun.heads.mse import MseHead

IMAGES = {"image": Box((64, 64, 3), "uint8"), "depth": Box((64, 64, 1), "uint8")}
VECTORS = {"velocity": Box((3,)), "position": Box((5,))}


@pytest.mark.parametrize(
    ("name", "depth", "norm"), [("conv", 4, "none"), ("conv_layernorm", 2, "layer")]
)
def test_image_encoder_and_decoder(name: str, depth: int, norm: str) -> None:
    data = archive(name)
    obs = {key: data.tensor(f"{key}_uint8") for key in IMAGES}
    encoder = CnnEncoder(IMAGES, depth=depth, norm=norm)
    data.load(encoder, "enc.", CNN_ENCODER)
    close(encoder(obs), data["embed"], 1e-5)
    decoder = CnnDecoder(IMAGES, 20, 12, depth=depth, norm=norm)
    data.load(decoder, "dec.", CNN_DECODER)
    # In float32, a norm over two channels amplifies rounding beyond the tolerance at two pixels.
    predictions, targets = decoder.double()(data.tensor("feat").double()), decoder.targets(obs)
    for key in IMAGES:
        close(predictions[key].mean, data[f"mean.{key}"], 1e-5)
        close(-predictions[key].loss(targets[key]), data[f"log_prob.{key}"], 2e-2)


@pytest.mark.parametrize(("name", "norm"), [("vector", "none"), ("vector_layernorm", "layer")])
def test_vector_encoder_and_decoder(name: str, norm: str) -> None:
    data = archive(name)
    obs = {key: data.tensor(key) for key in VECTORS}
    encoder = MlpEncoder(VECTORS, layers=2, units=16, norm=norm)
    data.load(encoder, "enc.", MLP_ENCODER)
    close(encoder(obs), data["embed"], 1e-5)
    decoder = MlpDecoder(VECTORS, 20, 12, layers=2, units=16, norm=norm)
    data.load(decoder, "dec.", mlp_decoder(*VECTORS))
    predictions, targets = decoder(data.tensor("feat")), decoder.targets(obs)
    for key in VECTORS:
        close(predictions[key].mean, data[f"mean.{key}"], 1e-5)
        close(-predictions[key].loss(targets[key]), data[f"log_prob.{key}"], 1e-5)


def test_images_and_vectors_together() -> None:
    data = archive("vector")
    space = {"image": Box((64, 64, 1), "uint8"), "position": Box((5,))}
    encoder = MultiEncoder(
        space,
        image={"type": "cnn", "depth": 2},
        vector={"type": "mlp", "layers": 2, "units": 16},
    )
    data.load(encoder, "mixed.", MULTI_ENCODER)
    obs = {"image": data.tensor("mixed.image_uint8"), "position": data.tensor("mixed.position")}
    close(encoder(obs), data["mixed.embed"], 1e-5)


@pytest.mark.parametrize(
    ("name", "layers", "norm"), [("reward", 4, "none"), ("critic", 2, "layer")]
)
def test_regression_heads(name: str, layers: int, norm: str) -> None:
    data = archive("heads")
    head = MseHead(32, layers=layers, units=16, norm=norm)
    data.load(head, f"{name}.", HEAD)
    prediction = head(data.tensor("feat"))
    close(prediction.mean, data[f"{name}.out"], 5e-6)
    close(-prediction.loss(data.tensor(f"{name}.target")), data[f"{name}.log_prob"], 5e-6)


def test_discount_head_learns_soft_labels() -> None:
    data = archive("heads")
    head = BernoulliHead(32, layers=4, units=16)
    data.load(head, "discount.", HEAD)
    prediction = head(data.tensor("feat"))
    prediction.logit.retain_grad()
    close(prediction.logit, data["discount.logit"], 5e-6)
    close(prediction.mean, data["discount.mean"], 5e-6)
    target = 0.99 * (~data.tensor("discount.is_terminal")).float()
    close(target, data["discount.target"], 0)
    loss = prediction.loss(target)
    close(-loss, data["discount.log_prob"], 5e-6)
    close(loss.mean(), data["discount.loss"], 5e-6)
    loss.mean().backward()
    close(prediction.logit.grad, data["discount.grad_logit"], 5e-6)
