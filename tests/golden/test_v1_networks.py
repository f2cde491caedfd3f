"""conv.npz, heads.npz and gru.npz of Dreamer V1: networks, the GRU and its gradients."""

from __future__ import annotations

import pytest

from tests.golden.archives import archive, close
from tests.golden.v1_names import DECODER, ENCODER, HEAD, IMAGE, load, parameters
from wmrun.decoders.cnn import CnnDecoder
from wmrun.encoders.cnn import CnnEncoder
from wmrun.heads.bernoulli import BernoulliHead
from wmrun.heads.mse import MseHead
from wmrun.nn.recurrent import GRUCell


def test_gru_step_and_its_gradients() -> None:
    data = archive("v1/gru")
    cell = GRUCell(10, 12)
    load(data, cell, "", {})
    x, h = data.tensor("x", grad=True), data.tensor("h", grad=True)
    new = cell(x, h)
    close(new, data["h_new"], 1e-6)
    (data.tensor("w") * new).sum().backward()
    close(x.grad, data["grad.x"], 1e-6)
    close(h.grad, data["grad.h"], 1e-6)
    for name, gradient in parameters(data, cell, "grad.", {}).items():
        close(cell.get_parameter(name).grad, gradient, 1e-6)


def test_image_encoder_and_decoder() -> None:
    data = archive("v1/conv")
    obs = {"image": data.tensor("image_uint8")}
    encoder = CnnEncoder(IMAGE, depth=4, act="relu")
    load(data, encoder, "enc.", ENCODER)
    close(encoder(obs), data["embed"], 1e-5)
    decoder = CnnDecoder(IMAGE, 6, 12, depth=4, act="relu")
    load(data, decoder, "dec.", DECODER)
    prediction, target = decoder(data.tensor("feat"))["image"], decoder.targets(obs)["image"]
    close(target[..., :4, :4, :], data["preprocessed_corner"], 1e-6)
    close(prediction.mean, data["mean"], 1e-5)
    log_prob = -prediction.loss(target)
    close(log_prob, data["log_prob"], 2e-2)
    close(log_prob.mean(), data["log_prob_mean"], 2e-2)


@pytest.mark.parametrize(("name", "layers"), [("reward", 2), ("value", 3)])
def test_regression_heads(name: str, layers: int) -> None:
    data = archive("v1/heads")
    head = MseHead(18, layers=layers, units=16)
    load(data, head, f"{name}.", HEAD)
    prediction = head(data.tensor("feat"))
    close(prediction.mean, data[f"{name}.out"], 5e-6)
    close(-prediction.loss(data.tensor(f"{name}.target")), data[f"{name}.log_prob"], 5e-6)


def test_continue_head_learns_soft_labels() -> None:
    data = archive("v1/heads")
    head = BernoulliHead(18, layers=3, units=16)
    load(data, head, "pcont.", HEAD)
    prediction = head(data.tensor("feat"))
    close(prediction.logit, data["pcont.logit"], 5e-6)
    close(prediction.mean, data["pcont.mean"], 5e-6)
    target = 0.99 * data.tensor("pcont.disc")
    close(target, data["pcont.target"], 1e-7)
    loss = prediction.loss(target)
    close(-loss, data["pcont.log_prob"], 5e-6)
    close(-10 * loss.mean().item(), data["pcont.like_scaled"], 5e-6)
