"""What goes over a step socket: capability "step_socket"."""

from __future__ import annotations

from enum import IntEnum

STEP_SOCKET_SUFFIX = ".step"
"""What our server appends to the name of its own socket; clients are told the whole name."""


class StepKind(IntEnum):
    """What a frame holds; messages are those of `env.proto`."""

    STEP = 1
    """StepRequest, from the client. Answered, in order, by one of the others."""
    REPLY = 2
    """StepReply"""
    REFUSED = 3
    """ErrorDetail"""
