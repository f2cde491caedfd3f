"""Decoders: spatial chain, keys, and what they say of observations they cannot make."""

from __future__ import annotations

import math

import pytest
import torch
from wmrun_envserver.wire.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from wmrun.decoders.cnn import CnnDecoder
from wmrun.decoders.cnn_residual import CnnResidualDecoder
from wmrun.decoders.mlp import MlpDecoder
from wmrun.decoders.multi import MultiDecoder
from wmrun.errors import ComponentError
from wmrun.nn.images import growing_kernels

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


@pytest.mark.parametrize("side", [16, 46, 63, 64, 84, 96, 100, 128])
def test_growing_kernels_make_exactly_the_side_and_differ_by_one_at_most(side: int) -> None:
    kernels, made = growing_kernels(side, layers=4), 1
    for kernel in kernels:
        made = 2 * (made - 1) + kernel
    assert made == side
    assert max(kernels) - min(kernels) <= 1


def test_growing_kernels_of_64_pixels_are_those_of_the_published_agents() -> None:
    assert growing_kernels(64, layers=4) == [5, 5, 6, 6]


@pytest.mark.parametrize("decoder", [CnnDecoder, CnnResidualDecoder])
@pytest.mark.parametrize(("height", "width"), [(16, 128), (64, 64), (84, 80)])
def test_image_decoders_make_the_size_that_is_asked_for(
    decoder: type[CnnDecoder | CnnResidualDecoder], height: int, width: int
) -> None:
    built = decoder({"image": Box((height, width, 2), "uint8")}, 5, 3, depth=1)
    assert built(torch.zeros(2, 3, 8))["image"].mean.shape == (2, 3, height, width, 2)


@pytest.mark.parametrize("side", [4, 7, 9, 10])
def test_cnn_residual_makes_small_images(side: int) -> None:
    decoder = CnnResidualDecoder({"image": Box((side, side, 3), "uint8")}, 5, 3, depth=1)
    assert decoder(torch.zeros(2, 8))["image"].mean.shape == (2, side, side, 3)


def test_residual_maps_are_as_deep_as_those_of_the_cnn_of_v1() -> None:
    decoder = CnnResidualDecoder({"image": IMAGE}, 5, 3)
    x, channels = torch.zeros(1, 1024, 1, 1), [1024]
    for layer in (*decoder.stages, decoder.out):
        x = layer(x)
        channels.append(x.shape[1])
    assert channels == [1024, 128, 64, 32, 3]


def test_images_without_a_channel_axis_are_made_with_one_channel() -> None:
    decoder = CnnDecoder({"gray": Box((64, 64), "uint8"), "image": IMAGE}, 5, 3, depth=1)
    obs = {
        "gray": torch.full((2, 64, 64), 255, dtype=torch.uint8),
        "image": torch.zeros(2, 64, 64, 3, dtype=torch.uint8),
    }
    predictions, targets = decoder(torch.zeros(2, 8)), decoder.targets(obs)
    assert targets["gray"].shape == predictions["gray"].mean.shape == (2, 64, 64, 1)
    assert targets["gray"].unique().tolist() == [0.5]
    assert predictions["image"].mean.shape == (2, 64, 64, 3)


@pytest.mark.parametrize("shape", [(15, 64, 3), (64, 129, 3)])
def test_cnn_says_which_sizes_it_makes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ComponentError) as caught:
        CnnDecoder({"image": Box(shape, "uint8")}, 5, 3)
    assert caught.value.message == (
        "the cnn decoder makes images with sides from 16 to 128 pixels, "
        f"but 'image' is {shape[0]}x{shape[1]}"
    )
    assert "cnn_v3 (sides that 16 divides) or cnn_residual" in caught.value.hint


def test_multi_makes_images_of_every_size() -> None:
    obs_space = {"left": IMAGE, "wide": Box((46, 64, 1), "uint8"), "right": IMAGE}
    decoder = MultiDecoder(obs_space, 5, 3, image={"type": "cnn", "depth": 1})
    predictions = decoder(torch.zeros(2, 8))
    assert {key: tuple(value.mean.shape[1:]) for key, value in predictions.items()} == {
        "left": (64, 64, 3),
        "wide": (46, 64, 1),
        "right": (64, 64, 3),
    }


@pytest.mark.parametrize("symlog", [False, True])
def test_mlp_predicts_numbers_of_any_shape_and_classes_by_their_cross_entropy(symlog: bool) -> None:
    obs_space = {
        "grid": Box((2, 3), "int32"),
        "buttons": MultiBinary((2,)),
        "place": Discrete(4, start=1),
        "cards": MultiDiscrete([2, 3]),
    }
    decoder = MlpDecoder(obs_space, 5, 3, layers=1, units=4, symlog=symlog)
    with torch.no_grad():
        for out in decoder.outs:
            out.weight.zero_()
    obs = {
        "grid": torch.full((2, 6, 2, 3), 1, dtype=torch.int32),
        "buttons": torch.ones(2, 6, 2, dtype=torch.int8),
        "place": torch.full((2, 6), 4),
        "cards": torch.ones(2, 6, 2, dtype=torch.int64),
    }
    predictions, targets = decoder(torch.zeros(2, 6, 8)), decoder.targets(obs)
    losses = {key: value.loss(targets[key]) for key, value in predictions.items()}
    assert {loss.shape for loss in losses.values()} == {(2, 6)}
    assert losses["place"][0, 0].item() == pytest.approx(math.log(4))
    assert losses["cards"][0, 0].item() == pytest.approx(math.log(2) + math.log(3))
    # Squared errors of 6 and 2 ones predicted as 0: halves with constants, or log(1 + 1) squared.
    for key, n in (("grid", 6), ("buttons", 2)):
        expected = n * math.log(2) ** 2 if symlog else n * (0.5 + 0.5 * math.log(2 * math.pi))
        assert losses[key][0, 0].item() == pytest.approx(expected)


def test_the_mean_of_a_predicted_class_is_its_probability() -> None:
    decoder = MlpDecoder({"place": Discrete(3)}, 5, 3, layers=0)
    with torch.no_grad():
        decoder.outs[0].weight.zero_()
        decoder.outs[0].bias.copy_(torch.tensor([0.0, math.log(2), 0.0]))
    mean = decoder(torch.zeros(2, 8))["place"].mean
    torch.testing.assert_close(mean, torch.tensor([[0.25, 0.5, 0.25]]).expand(2, 3))


def test_decoders_name_their_own_option() -> None:
    with pytest.raises(ComponentError, match=r"agent\.decoder\.type: cnn"):
        MlpDecoder({"image": IMAGE}, 5, 3)
