"""Heads: what they predict at first, and the options they refuse."""

from __future__ import annotations

import math

import pytest
import torch

from wmrun.errors import ComponentError
from wmrun.heads.base import Head
from wmrun.heads.bernoulli import BernoulliHead
from wmrun.heads.mse import MseHead
from wmrun.heads.two_hot import TwoHotHead


def test_two_hot_predicts_exactly_zero_at_first() -> None:
    head = TwoHotHead(6, units=8)
    prediction = head(torch.randn(4, 5, 6))
    assert prediction.logits.shape == (4, 5, 255)
    assert (prediction.mean == 0).all()
    loss = prediction.loss(torch.full((4, 5), 3.0))
    assert loss.tolist() == [[pytest.approx(math.log(255))] * 5] * 4


@pytest.mark.parametrize("family", [TwoHotHead, MseHead, BernoulliHead])
def test_out_scale_multiplies_the_output_layer(family: type[Head]) -> None:
    kernels = []
    for out_scale in (1.0, 0.25):
        torch.manual_seed(0)
        kernels.append(family(6, layers=1, units=8, out_scale=out_scale).out.weight)
    torch.testing.assert_close(kernels[1], 0.25 * kernels[0])


@pytest.mark.parametrize("family", [TwoHotHead, MseHead, BernoulliHead])
def test_units_must_come_from_somewhere(family: type[Head]) -> None:
    with pytest.raises(ComponentError, match="the option units is null"):
        family(6, units=None)


def test_two_hot_needs_a_bin_at_zero() -> None:
    with pytest.raises(ComponentError) as caught:
        TwoHotHead(6, units=8, bins=64)
    assert caught.value.message == "the two_hot head has 64 bins, but an even number leaves out 0"
    assert caught.value.hint == "Set bins: 65."


def test_bins_are_no_part_of_a_checkpoint() -> None:
    assert not any("bins" in name for name in TwoHotHead(6, units=8).state_dict())
