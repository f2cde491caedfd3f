"""Dense layers of several blocks that do not see each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wmrun.errors import ComponentError
from wmrun.nn.initializers import Init, initialize_kernel


class BlockDense(nn.Module):
    """A dense layer for each of `blocks` slices of the input (V3 3.1; nets.py:144-197).

    Its kernel is `[blocks, in_size / blocks, out_size / blocks]`. The whole input counts as fan-in,
    as in the original. Raises `ComponentError` when a size is not a multiple of `blocks`.
    """

    def __init__(self, blocks: int, in_size: int, out_size: int) -> None:
        super().__init__()
        for size in (in_size, out_size):
            if size % blocks:
                raise ComponentError(
                    f"{size} units cannot be divided into {blocks} blocks of equal size",
                    hint=f"Make deter a multiple of {blocks}, or change agent.dynamics.blocks.",
                )
        self.blocks = blocks
        self.weight = nn.Parameter(torch.empty(blocks, in_size // blocks, out_size // blocks))
        self.bias = nn.Parameter(torch.zeros(out_size))
        self.initialize("glorot")

    def initialize(self, scheme: Init) -> None:
        """Draw the kernel anew by `scheme`."""
        blocks, block_in, block_out = self.weight.shape
        fans = {"fan_in": blocks * block_in, "fan_out": blocks * block_out}
        initialize_kernel(self.weight, scheme, **fans)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[..., in_size]` to `[..., out_size]`, the blocks one after the other."""
        rows = by_block(x.flatten(0, -2), self.blocks)
        out = torch.baddbmm(self.bias.view(self.blocks, 1, -1), rows, self.weight)
        return in_a_row(out).unflatten(0, x.shape[:-1])


def by_block(x: Tensor, blocks: int) -> Tensor:
    """View `[N, blocks * n]` as `[blocks, N, n]`."""
    return x.unflatten(-1, (blocks, -1)).transpose(0, 1)


def in_a_row(x: Tensor) -> Tensor:
    """Return `[blocks, N, n]` as `[N, blocks * n]`."""
    return x.transpose(0, 1).flatten(1)
