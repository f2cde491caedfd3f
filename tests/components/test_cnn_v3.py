"""The cnn_v3 encoder and decoder: sizes, several images, the strided variant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from wmrun_envserver.wire.spaces import Box

from wmrun.decoders.cnn_v3 import CnnV3Decoder
from wmrun.encoders.cnn_v3 import CnnV3Encoder
from wmrun.errors import ComponentError
from wmrun.nn.observations import ObsSpace


def space(*shape: int) -> Box:
    return Box(shape, "uint8")


@pytest.mark.parametrize(
    ("shape", "embed_size"),
    [((64, 64, 3), 4 * 4 * 16), ((96, 96, 1), 6 * 6 * 16), ((16, 48, 4), 1 * 3 * 16)],
)
@pytest.mark.parametrize("strided", [False, True])
def test_sides_that_16_divides(shape: tuple[int, ...], embed_size: int, strided: bool) -> None:
    obs_space = {"image": space(*shape)}
    encoder = CnnV3Encoder(obs_space, depth=4, strided=strided)
    obs = {"image": torch.randint(256, (2, 3, *shape), dtype=torch.uint8)}
    assert encoder(obs).shape == (2, 3, encoder.embed_size) == (2, 3, embed_size)
    decoder = CnnV3Decoder(obs_space, 5, 16, depth=4, units=3, strided=strided)
    mean = decoder(torch.randn(2, 3, 21))["image"].mean
    assert mean.shape == (2, 3, *shape)
    assert ((mean > 0) & (mean < 1)).all()


def test_targets_are_pixels_between_0_and_1_and_the_loss_sums_squared_errors() -> None:
    decoder = CnnV3Decoder({"image": space(16, 16, 3)}, 5, 16, depth=2, units=3)
    obs = {"image": torch.tensor([0, 51, 255], dtype=torch.uint8).expand(1, 16, 16, 3)}
    target = decoder.targets(obs)["image"]
    np.testing.assert_allclose(target[0, 0, 0], [0, 0.2, 1], atol=1e-6)
    torch.nn.init.zeros_(decoder.out.weight)
    loss = decoder(torch.zeros(1, 21))["image"].loss(target)
    assert loss.item() == pytest.approx(256 * (0.25 + 0.09 + 0.25), rel=1e-5)


def test_several_images_are_split_in_the_order_of_the_observation_space() -> None:
    obs_space = {"front": space(16, 16, 3), "depth": space(16, 16)}
    encoder = CnnV3Encoder(obs_space, depth=2)
    assert encoder.layers[0].conv.in_channels == 4
    decoder = CnnV3Decoder(obs_space, 5, 16, depth=2, units=3)
    torch.nn.init.zeros_(decoder.out.weight)
    decoder.out.bias.data = torch.tensor([1.0, 2.0, 3.0, 4.0])
    predictions = decoder(torch.zeros(1, 21))
    assert predictions["front"].mean.shape == (1, 16, 16, 3)
    np.testing.assert_allclose(
        predictions["front"].mean[0, 5, 5].detach(), torch.sigmoid(torch.tensor([1.0, 2.0, 3.0]))
    )
    targets = decoder.targets(
        {key: torch.zeros(1, *s.shape).byte() for key, s in obs_space.items()}
    )
    assert targets["depth"].shape == predictions["depth"].mean.shape


def test_every_block_of_deter_makes_channels_of_its_own() -> None:
    torch.manual_seed(0)
    decoder = CnnV3Decoder({"image": space(32, 16, 3)}, 5, 16, depth=4, units=3)
    feat = torch.zeros(1, 21)
    before = decoder._first_map(feat)
    feat[0, 5 + 2 * 3 : 5 + 2 * 4] = 1.0  # the fourth of eight slices of deter
    changed = (decoder._first_map(feat) != before)[0]
    assert changed.shape == (2, 1, 16)
    assert changed.any((0, 1)).nonzero().flatten().tolist() == [6, 7]


def test_doubling_repeats_pixels_and_then_convolves() -> None:
    decoder = CnnV3Decoder({"image": space(16, 32, 3)}, 5, 16, depth=2, units=3).double()
    layer = decoder.layers[0].conv
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 8, 3, 5, dtype=torch.float64)
    repeated = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    expected = torch.nn.functional.conv2d(repeated, layer.weight, layer.bias, padding=2)
    torch.testing.assert_close(layer(x), expected)


def test_pooling_takes_the_largest_of_four_pixels() -> None:
    encoder = CnnV3Encoder({"image": space(16, 16, 1)}, depth=1, norm="none", act="relu")
    first = encoder.layers[0]
    torch.nn.init.zeros_(first.conv.weight)
    first.conv.weight.data[:, :, 2, 2] = 1.0
    x = torch.rand(1, 1, 4, 4)
    expected = x.reshape(2, 2, 2, 2).amax((1, 3))
    torch.testing.assert_close(first(x)[0, 0].detach(), expected)


@pytest.mark.parametrize(
    ("owner", "build"),
    [
        ("encoder", lambda obs_space: CnnV3Encoder(obs_space, depth=4)),
        ("decoder", lambda obs_space: CnnV3Decoder(obs_space, 5, 16, depth=4, units=3)),
    ],
)
def test_other_sides_are_refused(owner: str, build: Callable[[ObsSpace], object]) -> None:
    with pytest.raises(ComponentError) as caught:
        build({"image": space(84, 84, 1)})
    assert caught.value.message == (
        f"the cnn_v3 {owner} needs sides that are multiples of 16, but 'image' is 84x84"
    )
    assert "env.image.size" in caught.value.hint


def test_blocks_must_share_channels_equally() -> None:
    with pytest.raises(ComponentError, match="4 times depth is 12, which 8 blocks cannot share"):
        CnnV3Decoder({"image": space(64, 64, 3)}, 5, 16, depth=3, units=3)


def test_depth_must_come_from_somewhere() -> None:
    with pytest.raises(ComponentError, match="the option depth is null"):
        CnnV3Encoder({"image": space(64, 64, 3)})
