"""Decoders: spatial chain, keys, and what they say of observations they cannot make."""

from __future__ import annotations

import pytest
import torch
from wmrun_envserver.wire.spaces import Box

from wmrun.decoders.cnn import CnnDecoder
from wmrun.decoders.mlp import MlpDecoder
from wmrun.decoders.multi import MultiDecoder
from wmrun.errors import ComponentError

IMAGE, VECTOR = Box((64, 64, 3), "uint8"), Box((4,))


def test_cnn_spatial_chain() -> None:
    decoder = CnnDecoder({"image": IMAGE}, 5, 3, depth=2)
    x = torch.zeros(1, 64, 1, 1)
    sides, channels = [1], [64]
    for layer in (*decoder.convs, decoder.out):
        x = layer(x)
        sides.append(x.shape[-1])
        channels.append(x.shape[1])
    assert sides == [1, 5, 13, 30, 64]
    assert channels == [64, 8, 4, 2, 3]


def test_multi_predicts_every_key_on_the_scale_of_its_target() -> None:
    obs_space = {"vector": VECTOR, "image": IMAGE}
    decoder = MultiDecoder(obs_space, 5, 3, image={"type": "cnn", "depth": 1})
    obs = {
        "vector": torch.ones(2, 6, 4, dtype=torch.float64),
        "image": torch.full((2, 6, 64, 64, 3), 255, dtype=torch.uint8),
    }
    predictions, targets = decoder(torch.zeros(2, 6, 8)), decoder.targets(obs)
    assert set(predictions) == set(targets) == set(obs_space)
    for key, prediction in predictions.items():
        assert prediction.mean.shape == obs[key].shape
        assert prediction.loss(targets[key]).shape == (2, 6)
    assert targets["image"].unique().tolist() == [0.5]
    assert targets["vector"].dtype == torch.float32


def test_cnn_makes_64x64_images_only() -> None:
    with pytest.raises(ComponentError) as caught:
        CnnDecoder({"image": Box((96, 96, 3), "uint8")}, 5, 3)
    assert caught.value.message == ("the cnn decoder makes 64x64 images only, but 'image' is 96x96")
    assert caught.value.hint == "Set env.image.size: [64, 64]."


def test_decoders_name_their_own_option() -> None:
    with pytest.raises(ComponentError, match=r"agent\.decoder\.type: cnn"):
        MlpDecoder({"image": IMAGE}, 5, 3)
