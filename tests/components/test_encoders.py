"""Encoders: spatial chains, routing by key, and what they say of observations they cannot take."""

from __future__ import annotations

import math

import pytest
import torch
from wmrun_envserver.wire.spaces import Box, Discrete, MultiBinary, Space, Text

from wmrun.encoders.cnn import CnnEncoder
from wmrun.encoders.cnn_residual import CnnResidualEncoder
from wmrun.encoders.mlp import MlpEncoder
from wmrun.encoders.multi import MultiEncoder
from wmrun.errors import ComponentError
from wmrun.nn.images import Residual

IMAGE, VECTOR = Box((64, 64, 3), "uint8"), Box((4,))


def test_cnn_spatial_chain() -> None:
    encoder = CnnEncoder({"image": IMAGE}, depth=2)
    x, sides = torch.zeros(1, 3, 64, 64), [64]
    for layer in encoder.convs:
        x = layer(x)
        sides.append(x.shape[-1])
    assert sides == [64, 31, 14, 6, 2]
    assert x.shape[1] == 16


def test_cnn_embed_size_of_the_published_agents_is_1536() -> None:
    assert CnnEncoder({"image": IMAGE}).embed_size == 1536


@pytest.mark.parametrize(("height", "width"), [(46, 46), (64, 96), (100, 84)])
def test_cnn_takes_any_image_with_sides_of_46_or_more(height: int, width: int) -> None:
    encoder = CnnEncoder({"image": Box((height, width, 1), "uint8")}, depth=1)
    embed = encoder({"image": torch.zeros(2, 3, height, width, 1, dtype=torch.uint8)})
    assert embed.shape == (2, 3, encoder.embed_size)


def test_cnn_concatenates_images_in_the_order_of_the_observation_space() -> None:
    gray = Box((64, 64, 1), "uint8")
    encoder = CnnEncoder({"zebra": gray, "ant": gray}, depth=1)
    light, dark = torch.full((1, 64, 64, 1), 255, dtype=torch.uint8), torch.zeros(1, 64, 64, 1)
    with torch.no_grad():
        encoder.convs[0].conv.weight[:, 1] = 0
    dark = dark.to(torch.uint8)
    first = encoder({"ant": dark, "zebra": light})
    assert torch.equal(first, encoder({"ant": light, "zebra": light}))
    assert not torch.equal(first, encoder({"ant": light, "zebra": dark}))


def test_multi_routes_images_and_vectors_whatever_their_order() -> None:
    encoder = MultiEncoder(
        {"position": VECTOR, "image": IMAGE, "velocity": VECTOR},
        image={"type": "cnn", "depth": 2},
        vector={"type": "mlp", "layers": 1, "units": 7},
    )
    assert encoder.embed_size == 64 + 7
    assert encoder.parts[1].mlp[0].dense.in_features == 8


def test_multi_with_vectors_alone_has_no_image_encoder() -> None:
    encoder = MultiEncoder({"vector": VECTOR}, vector={"type": "mlp", "layers": 1, "units": 7})
    assert encoder.embed_size == 7


def test_cnn_says_what_to_do_about_a_vector() -> None:
    with pytest.raises(ComponentError) as caught:
        CnnEncoder({"image": IMAGE, "vector": VECTOR})
    assert caught.value.message == (
        "the cnn encoder takes uint8 images of shape [H, W, C], "
        "but observation 'vector' is a Box float32 [4]"
    )
    assert caught.value.hint == (
        "Set agent.encoder.type: mlp if 'vector' is all there is, agent.encoder.type: multi for "
        "images and vectors together, or leave one of them out with env.image: null or "
        "env.vector: false."
    )


def test_mlp_says_what_to_do_about_an_image() -> None:
    with pytest.raises(ComponentError, match=r"Set agent\.encoder\.type: cnn if 'image'"):
        MlpEncoder({"image": IMAGE})


def test_mlp_sees_numbers_flattened_and_classes_one_hot() -> None:
    obs_space = {"grid": Box((2, 2), "int8"), "place": Discrete(3, start=1), "speed": Box(())}
    encoder = MlpEncoder(obs_space, layers=0)
    obs = {
        "place": torch.tensor([3, 1]),
        "speed": torch.tensor([0.5, -8.0], dtype=torch.float64),
        "grid": torch.tensor([[[1, 2], [3, 4]], [[0, 0], [0, 5]]], dtype=torch.int8),
    }
    assert encoder(obs).tolist() == [[1, 2, 3, 4, 0, 0, 1, 0.5], [0, 0, 0, 5, 1, 0, 0, -8]]


def test_symlog_squashes_numbers_but_not_classes() -> None:
    encoder = MlpEncoder({"x": Box((1,)), "place": Discrete(2)}, layers=0, symlog=True)
    embed = encoder({"x": torch.tensor([[-3.0]]), "place": torch.tensor([1])})
    assert embed.tolist() == [[pytest.approx(-math.log(4)), 0, 1]]


def test_mlp_refuses_observations_without_entries() -> None:
    with pytest.raises(ComponentError, match="nothing to learn from: a, b have no entries"):
        MlpEncoder({"a": Box((0,)), "b": MultiBinary((0,))})


@pytest.mark.parametrize(
    ("space", "words", "help_"),
    [
        (Text(), "a Text: networks take numbers, classes and images", "Encode it as one of these"),
        (
            Discrete(100_001),
            "a Discrete(100001): as one-hot vectors it has 100,001 entries, more than 100,000",
            "Describe it by a few numbers",
        ),
        (
            Box((64, 64, 3), "float32"),
            "a Box float32 [64, 64, 3]: images have to be uint8 of shape [H, W, C]",
            "floats in [0, 1] times 255",
        ),
        (
            Box((4, 84, 84, 1), "uint8"),
            "a Box uint8 [4, 84, 84, 1]: images have to be uint8 of shape [H, W, C]",
            "stacked frames on the last axis",
        ),
    ],
    ids=["text", "classes", "floats", "stack"],
)
@pytest.mark.parametrize("encoder", [CnnEncoder, MlpEncoder, MultiEncoder])
def test_observations_for_no_built_in_network(
    encoder: type, space: Space, words: str, help_: str
) -> None:
    with pytest.raises(ComponentError) as caught:
        encoder({"odd": space})
    assert f"cannot use observation 'odd', {words}" in caught.value.message
    assert help_ in caught.value.hint
    assert "env.options" in caught.value.hint


def test_cnn_says_which_sizes_fit() -> None:
    with pytest.raises(ComponentError) as caught:
        CnnEncoder({"image": Box((64, 45, 3), "uint8")})
    assert caught.value.message == (
        "the cnn encoder shrinks images with four convolutions and needs sides of at least 46 "
        "pixels, but 'image' is 64x45"
    )
    assert "env.image.size: [64, 64]" in caught.value.hint


def test_cnn_refuses_images_of_different_sizes() -> None:
    with pytest.raises(ComponentError, match="left is 64x64, right is 64x80") as caught:
        CnnEncoder({"left": IMAGE, "right": Box((64, 80, 3), "uint8")})
    assert caught.value.hint == (
        "Set agent.encoder: {type: multi, image: {type: cnn}}, which builds one for each size, "
        "or give every image of the environment the same size."
    )


def test_multi_has_an_image_encoder_for_each_size() -> None:
    wide = Box((64, 96, 1), "uint8")
    obs_space = {"left": IMAGE, "wide": wide, "vector": VECTOR, "right": IMAGE}
    encoder = MultiEncoder(
        obs_space,
        image={"type": "cnn", "depth": 1},
        vector={"type": "mlp", "layers": 1, "units": 7},
    )
    assert [part.embed_size for part in encoder.parts] == [8 * 2 * 2, 8 * 2 * 4, 7]
    assert encoder.parts[0].convs[0].conv.in_channels == 6


def test_an_image_without_a_channel_axis_has_one_channel() -> None:
    encoder = CnnEncoder({"screen": Box((64, 64), "uint8")}, depth=1)
    with_axis = CnnEncoder({"screen": Box((64, 64, 1), "uint8")}, depth=1)
    with_axis.load_state_dict(encoder.state_dict())
    screen = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(encoder({"screen": screen}), with_axis({"screen": screen[..., None]}))


def test_cnn_residual_embed_size_of_64x64_pixels_is_1024() -> None:
    encoder = CnnResidualEncoder({"image": IMAGE})
    assert encoder.embed_size == 1024
    assert encoder({"image": torch.zeros(2, 64, 64, 3, dtype=torch.uint8)}).shape == (2, 1024)


@pytest.mark.parametrize(
    ("height", "width", "stages", "embed_size"),
    [
        (4, 4, 1, 1),
        (9, 9, 1, 9),
        (10, 12, 2, 2),
        (45, 45, 3, 4 * 9),
        (46, 64, 4, 8 * 2),
        (94, 96, 5, 16),
    ],
)
def test_cnn_residual_has_a_stage_for_each_time_an_image_can_be_halved(
    height: int, width: int, stages: int, embed_size: int
) -> None:
    encoder = CnnResidualEncoder({"image": Box((height, width, 3), "uint8")}, depth=1)
    embed = encoder({"image": torch.zeros(2, height, width, 3, dtype=torch.uint8)})
    assert len(encoder.stages) == stages
    assert embed.shape == (2, encoder.embed_size) == (2, embed_size)


def test_cnn_residual_says_how_small_images_may_be() -> None:
    with pytest.raises(ComponentError, match="sides of at least 4 pixels, but 'image' is 3x64"):
        CnnResidualEncoder({"image": Box((3, 64, 64), "uint8")})


def test_a_residual_block_adds_to_its_input() -> None:
    block = Residual(2, act="relu", norm="none")
    x = torch.rand(1, 2, 4, 4)
    with torch.no_grad():
        block.outer.weight.zero_()
        block.outer.bias.fill_(-0.5)
    torch.testing.assert_close(block(x), (x - 0.5).clamp(min=0))
