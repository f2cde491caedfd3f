"""Dense layers of several blocks that do not see each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wmrun.errors import ComponentError
from wmrun.nn.initializers import Init, initialize_kernel


class BlockDense(nn.Module):
    """A dense layer for each of `blocks` slices of the input (V3 3.1; nets.py:144-197).

    Its kernel is `[blocks, in_size / blocks, out_size / blocks]`; `blocks` divides both sizes. The
    whole input counts as fan-in, as in the original.
    """

    def __init__(self, blocks: int, in_size: int, out_size: int) -> None:
        super().__init__()
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
        out = self.apply_by_block(by_block(x.flatten(0, -2), self.blocks))
        return in_a_row(out).unflatten(0, x.shape[:-1])

    def apply_by_block(self, x: Tensor) -> Tensor:
        """Map `[blocks, N, in_size / blocks]` to `[blocks, N, out_size / blocks]`."""
        return torch.baddbmm(self.bias.view(self.blocks, 1, -1), x, self.weight)


def check_blocks(size: int, blocks: int, option: str) -> None:
    """Raise `ComponentError` naming the option `size` is from where `blocks` does not divide it."""
    if size % blocks:
        raise ComponentError(
            f"{option} is {size}, which {blocks} blocks cannot share equally",
            hint=f"Make {option} a multiple of {blocks}, or change the option blocks.",
        )


def by_block(x: Tensor, blocks: int) -> Tensor:
    """View `[N, blocks * n]` as `[blocks, N, n]`."""
    return x.unflatten(-1, (blocks, -1)).transpose(0, 1)


def in_a_row(x: Tensor) -> Tensor:
    """Return `[blocks, N, n]` as `[N, blocks * n]`."""
    return x.transpose(0, 1).flatten(1)
