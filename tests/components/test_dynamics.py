"""The gru dynamics: initialisation, and the parts that are computed outside the recurrence."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from wmrun.dynamics.gru import GruDynamics
from wmrun.nn.recurrent import GRUCell


def test_recurrent_kernel_is_orthogonal_and_input_kernel_glorot() -> None:
    cell = GRUCell(10, 12)
    recurrent = cell.weight_hh.detach()
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(12), atol=1e-5, rtol=0)
    limit = math.sqrt(6 / (10 + 36))
    assert 0.9 * limit < cell.weight_ih.abs().max().item() <= limit
    assert cell.bias_ih.abs().sum() == cell.bias_hh.abs().sum() == 0


def test_truncated_normal_initialisation_has_variance_one_over_fan_in() -> None:
    cell = GRUCell(40, 100)
    cell.initialize("truncated_normal")
    assert cell.weight_ih.std().item() == pytest.approx(40**-0.5, rel=0.05)
    assert cell.weight_hh.std().item() == pytest.approx(100**-0.5, rel=0.05)


def test_zero_weights_keep_half_of_the_state() -> None:
    """sigmoid(0) = 1/2 of the old state, 1/2 of the candidate tanh(0) = 0."""
    cell = GRUCell(3, 2)
    for parameter in cell.parameters():
        torch.nn.init.zeros_(parameter)
    assert cell(torch.ones(1, 3), torch.tensor([[1.0, -3.0]])).tolist() == [[0.5, -1.5]]


def test_a_step_is_a_dense_layer_on_stoch_and_action_and_then_the_cell() -> None:
    """By hand in float64: ELU, then gates in torch's order, reset after the product."""
    torch.manual_seed(0)
    dynamics = GruDynamics(3, 2, deter=4, hidden=5)
    for parameter in dynamics.parameters():
        torch.nn.init.normal_(parameter)
    deter, stoch, action = torch.randn(7, 4), torch.randn(7, 3), torch.randn(7, 2)
    ours = dynamics(deter, stoch, dynamics.embed_action(action)).detach()

    w = {name: p.detach().double().numpy() for name, p in dynamics.named_parameters()}
    x = np.concatenate([stoch, action], -1) @ w["img_in.dense.weight"].T + w["img_in.dense.bias"]
    x = np.where(x > 0, x, np.expm1(x))
    into = np.split(x @ w["cell.weight_ih"].T + w["cell.bias_ih"], 3, -1)
    over = np.split(deter.numpy() @ w["cell.weight_hh"].T + w["cell.bias_hh"], 3, -1)
    reset, update = (1 / (1 + np.exp(-(into[i] + over[i]))) for i in (0, 1))
    candidate = np.tanh(into[2] + reset * over[2])
    np.testing.assert_allclose(ours, (1 - update) * candidate + update * deter.numpy(), atol=1e-5)
