"""Block-diagonal dense layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wmrun.errors import ComponentError
from wmrun.nn.blocks import BlockDense, by_block, check_blocks, in_a_row


def test_blocks_see_their_own_slice_only() -> None:
    layer = BlockDense(3, 6, 9)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 5, 6)
    kernels, bias = layer.weight.detach().double().numpy(), layer.bias.detach().numpy()
    slices = np.split(x.numpy().astype(np.float64), 3, -1)
    expected = np.concatenate([s @ k for s, k in zip(slices, kernels, strict=True)], -1) + bias
    np.testing.assert_allclose(layer(x).detach(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("scheme", "std"), [("glorot", (2 / (512 + 256)) ** 0.5), ("truncated_normal", 512**-0.5)]
)
def test_the_whole_width_counts_as_fan(scheme: str, std: float) -> None:
    torch.manual_seed(0)
    layer = BlockDense(8, 512, 256)
    torch.nn.init.ones_(layer.bias)
    layer.initialize(scheme)
    assert layer.weight.std().item() == pytest.approx(std, rel=0.02)
    assert layer.bias.abs().sum() == 0


def test_by_block_and_back() -> None:
    x = torch.arange(12).reshape(2, 6)
    assert by_block(x, 3)[1].tolist() == [[2, 3], [8, 9]]
    assert torch.equal(in_a_row(by_block(x, 3)), x)


def test_a_size_that_blocks_cannot_share_is_named() -> None:
    check_blocks(512, 8, "deter")
    with pytest.raises(ComponentError) as caught:
        check_blocks(100, 8, "deter")
    assert caught.value.message == "deter is 100, which 8 blocks cannot share equally"
    assert caught.value.hint == "Make deter a multiple of 8, or change the option blocks."
