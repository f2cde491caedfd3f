"""The recurrent dynamics of Dreamer V3."""

from __future__ import annotations

import torch
from torch import Tensor

from wmrun.dynamics.base import Dynamics
from wmrun.nn.blocks import BlockDense, by_block, check_blocks, in_a_row
from wmrun.nn.layers import ACTIVATIONS, Activation, Hidden, Norm, norm_layer, width
from wmrun.nn.recurrent import gated_update
from wmrun.registry.ranges import PositiveInt, Width


class GruBlockDynamics(Dynamics):
    """A block-diagonal GRU (V3 3.2; rssm.py:135-159).

    `deter`, `stoch` and action go through a layer each; every block sees its slice of `deter` and
    all three, through one block layer with a norm over the whole of it and one without, whose
    outputs are reset, candidate and update of that block. Actions are divided by max(1, |a|),
    through which no gradient flows.

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
        check_blocks(size, blocks, "deter")
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
        seen = torch.cat([slices, shared.expand(self._blocks, -1, -1)], -1)
        hidden = self._act(self.hidden_norm(in_a_row(self.hidden.apply_by_block(seen))))
        gates = self.gates.apply_by_block(by_block(hidden, self._blocks))
        return in_a_row(gated_update(gates, slices))
