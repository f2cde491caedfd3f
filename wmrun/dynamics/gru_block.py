"""The recurrent dynamics of Dreamer V3."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wmrun.dynamics.base import Dynamics
from wmrun.nn.blocks import BlockDense, by_block, in_a_row
from wmrun.nn.layers import ACTIVATIONS, Activation, Hidden, Norm, norm_layer, width
from wmrun.nn.recurrent import gated_update
from wmrun.registry.ranges import PositiveInt, Width


class GruBlockDynamics(Dynamics):
    """A block-diagonal GRU (V3 3.2; rssm.py:135-159).

    `deter`, `stoch` and action go through a layer each; every block sees its slice of `deter` and
    all three, through one block layer with a norm over the whole of it and one without, whose
    outputs are reset, candidate and update of that block. Actions are divided by max(1, |a|).

    Args:
        deter: size of the deterministic state (D).
        hidden: units of the layers for `deter`, `stoch` and action.
        blocks: blocks of the recurrent layers.
        act: activation of all hidden layers.
        norm: normalisation of all hidden layers.
    """

    def __init__(
        self,
        stoch_size: int,
        action_size: int,
        *,
        deter: Width = None,
        hidden: Width = None,
        blocks: PositiveInt = 8,
        act: Activation = "silu",
        norm: Norm = "rms",
    ) -> None:
        super().__init__()
        size, units = width(deter, "deter"), width(hidden, "hidden")
        self.deter_size = size
        self.deter_in = Hidden(size, units, act=act, norm=norm)
        self.stoch_in = Hidden(stoch_size, units, act=act, norm=norm)
        self.action_in = Hidden(action_size, units, act=act, norm=norm)
        self.hidden = BlockDense(blocks, size + 3 * units * blocks, size)
        self.hidden_norm = norm_layer(norm, size)
        self.gates = BlockDense(blocks, size, 3 * size)
        self._act = ACTIVATIONS[act]
        self._blocks = blocks

    def embed_action(self, action: Tensor) -> Tensor:
        embedded: Tensor = self.action_in(action / action.detach().abs().clamp(min=1))
        return embedded

    def forward(self, deter: Tensor, stoch: Tensor, action: Tensor) -> Tensor:
        slices = by_block(deter, self._blocks)
        shared = torch.cat([self.deter_in(deter), self.stoch_in(stoch), action], -1)
        hidden = self._act(self.hidden_norm(in_a_row(self._mix(slices, shared))))
        gates = torch.baddbmm(
            self.gates.bias.view(self._blocks, 1, -1),
            by_block(hidden, self._blocks),
            self.gates.weight,
        )
        return in_a_row(gated_update(gates, slices))

    def _mix(self, slices: Tensor, shared: Tensor) -> Tensor:
        """Apply the hidden block layer to each block's slice and what all blocks share."""
        own = slices.shape[-1]
        # What is shared needs no blocks: one dense product for all of them is faster.
        kernel = self.hidden.weight[:, own:].transpose(1, 2).flatten(0, 1)
        common = F.linear(shared, kernel, self.hidden.bias)
        return torch.baddbmm(by_block(common, self._blocks), slices, self.hidden.weight[:, :own])
