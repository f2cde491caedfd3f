"""gru.npz: the layer-normalised GRU cell, values and gradients."""

from __future__ import annotations

import torch

from tests.golden.archives import CELL, archive, close
from wmrun.nn.recurrent import LayerNormGRUCell


def test_gru_step_and_its_gradients() -> None:
    data = archive("gru")
    cell = LayerNormGRUCell(10, 12)
    data.load(cell, "", {"dense": "dense", "norm": "norm"})
    x, h = data.tensor("x", grad=True), data.tensor("h", grad=True)
    new = cell(x, h)
    close(new, data["h_new"], 2e-6)
    (data.tensor("w") * new).sum().backward()
    close(x.grad, data["grad.x"], 2e-6)
    close(h.grad, data["grad.h"], 2e-6)
    for name, gradient in data.parameters(cell, "grad.", CELL).items():
        close(cell.get_parameter(name).grad, gradient, 2e-6)


def test_gru_without_norm_layer() -> None:
    data = archive("gru")
    cell = LayerNormGRUCell(10, 12)
    data.load(cell, "", CELL)
    cell.norm = torch.nn.Identity()
    close(cell(data.tensor("x"), data.tensor("h")), data["h_new_nonorm"], 2e-6)


def test_gru_with_zero_weights_keeps_sigmoid_of_one_of_the_state() -> None:
    data = archive("gru")
    cell = LayerNormGRUCell(10, 12)
    for parameter in cell.parameters():
        torch.nn.init.zeros_(parameter)
    close(cell(data.tensor("x"), data.tensor("h")), data["h_new_zero"], 2e-6)
