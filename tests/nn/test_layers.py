"""Layers in the original's forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from wmrun.nn.images import Conv, channels_last, scale_images
from wmrun.nn.initializers import initialize, initialize_conv
from wmrun.nn.layers import MLP, Dense, LayerNorm, RMSNorm
from wmrun.nn.recurrent import LayerNormGRUCell


@pytest.mark.parametrize(
    ("layer", "fans"),
    [
        (nn.Conv2d(8, 16, 4), (8 + 16) * 16),
        (nn.ConvTranspose2d(8, 16, 4), (8 + 16) * 16),
    ],
)
def test_glorot_uniform_fills_its_interval(layer: nn.Module, fans: int) -> None:
    torch.manual_seed(0)
    initialize_conv(layer, "glorot")
    limit = math.sqrt(6 / fans)
    assert layer.weight.abs().max().item() <= limit
    assert layer.weight.abs().max().item() > 0.98 * limit
    assert layer.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.05)
    assert not layer.bias.any()


def test_a_dense_layer_scales_its_kernel_by_out_scale() -> None:
    torch.manual_seed(0)
    layer = Dense(300, 200, out_scale=0.5)
    limit = math.sqrt(6 / 500)
    assert 0.49 * limit < layer.weight.abs().max().item() <= 0.5 * limit
    assert not Dense(300, 200, out_scale=0.0).weight.any()


def test_truncated_normal_has_variance_one_over_fan_in_and_ends_at_two_sigma() -> None:
    torch.manual_seed(0)
    layer = Dense(400, 500)
    initialize(layer, "truncated_normal")
    assert layer.weight.std().item() == pytest.approx(1 / 20, rel=0.01)
    end = 2 / (0.87962566 * 20)
    assert 0.99 * end < layer.weight.abs().max().item() <= end
    assert not layer.bias.any()


def test_rms_norm_divides_by_the_root_of_the_mean_square() -> None:
    x = torch.tensor([3.0, -4.0])
    expected = [3 / math.sqrt(12.5 + 1e-4), -4 / math.sqrt(12.5 + 1e-4)]
    assert RMSNorm(2)(x).tolist() == pytest.approx(expected, rel=1e-6)


def test_layer_norm_has_keras_epsilon() -> None:
    x = torch.tensor([0.01, -0.01])
    expected = 0.01 / math.sqrt(0.01**2 + 1e-3)
    assert LayerNorm(2)(x).tolist() == pytest.approx([expected, -expected], rel=1e-5)


def test_gru_with_zero_weights_keeps_the_share_that_the_update_shift_leaves() -> None:
    cell = LayerNormGRUCell(3, 4)
    for parameter in cell.parameters():
        nn.init.zeros_(parameter)
    h = torch.tensor([[1.0, -2.0, 3.0, 0.5]])
    kept = 1 - 1 / (1 + math.e)
    assert cell(torch.ones(1, 3), h)[0].tolist() == pytest.approx((kept * h[0]).tolist(), rel=1e-6)


def test_mlp_without_layers_is_the_identity() -> None:
    mlp = MLP(5, layers=0, units=9, act="elu", norm="none")
    x = torch.arange(5.0)
    assert mlp.out_size == 5
    assert torch.equal(mlp(x), x)


def test_dense_starts_with_zero_bias() -> None:
    assert not Dense(3, 4).bias.any()


def test_images_are_scaled_to_half_around_zero() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert scale_images(pixels).tolist() == pytest.approx([-0.5, -0.3, 0.5])


def test_convolution_norm_spans_the_channels_of_each_pixel() -> None:
    torch.manual_seed(0)
    layer = Conv(nn.Conv2d(3, 64, 4, 2), act="relu", norm="layer")
    layer.act = nn.Identity()
    out = channels_last(layer(100 * torch.rand(2, 3, 10, 10)))
    assert out.mean(-1).abs().max().item() < 1e-5
    assert out.var(-1, unbiased=False).sub(1).abs().max().item() < 1e-3
