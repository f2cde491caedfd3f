"""How a device computes an agent's networks: in which precision, compiled or not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from wmrun.dynamics.base import Dynamics
from wmrun.encoders.base import Encoder
from wmrun.nn.layers import MLP


@dataclass(frozen=True)
class Acceleration:
    """What the config's `device` asks for, decided for one device."""

    compiled: bool = False
    may_fall_back: bool = True
    """Whether a network that cannot be compiled goes on as it is, with a warning."""
    bfloat16: bool = False


def compile_networks(*networks: nn.Module, may_fall_back: bool) -> None:
    """Compile, in place and at first use, what maps tensors to tensors: encoders, steps, MLPs.

    The recurrent step is compiled as one step and called in a loop: a sequence compiled whole would
    be unrolled.
    """
    if may_fall_back:
        torch._dynamo.config.suppress_errors = True
    # Every MLP shares the code that this counts, and each meets a few shapes.
    torch._dynamo.config.recompile_limit = 256
    for network in networks:
        for module in network.modules():
            if isinstance(module, (Encoder, Dynamics, MLP)):
                module.compile()
