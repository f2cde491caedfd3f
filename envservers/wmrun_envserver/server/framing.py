"""Frames between the server and its worker processes, with protobuf or JSON in them."""

from __future__ import annotations

import socket
from enum import IntEnum

from wmrun_envserver.wire import framing
from wmrun_envserver.wire.framing import ChannelClosed

__all__ = ["Channel", "ChannelClosed", "Frame", "Kind"]


class Kind(IntEnum):
    """What a frame holds; messages are those of `env.proto`."""

    SETUP = 1
    """To the worker, once: JSON, see `worker_main.Setup`."""
    BUILD = 2
    """ResetRequest: the slots of one simulator, and their seeds. Answered by READY or FAILED."""
    RESETS = 3
    """ResetRequest: slots to reset in the ADVANCE that follows. Not answered."""
    ADVANCE = 4
    """StepRequest: slots to step. Answered by ROWS, or by FAILED where it must be refused."""
    RENDER = 5
    """RenderRequest of one slot. Answered by FRAME or FAILED."""
    DISCARD = 6
    """ResetRequest: slots whose simulators are to be closed. Not answered."""
    CLOSE = 7
    """Empty: close every simulator and exit."""
    READY = 11
    """OpenSessionReply with the spaces and the renderer."""
    FAILED = 12
    """ErrorDetail."""
    ROWS = 13
    """Rows without counters; `errors` name the first slot of each simulator that failed."""
    FRAME = 14
    """Tensor."""
    PIDS = 15
    """JSON: the processes that simulators started outside the worker's process group."""


Frame = framing.Frame[Kind]


class Channel(framing.Channel[Kind]):
    """One end of the socket pair between a server and a worker process."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__(end, Kind)
