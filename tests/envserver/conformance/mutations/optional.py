"""Wrong in optional parts: check 31."""

from __future__ import annotations

from typing import Any

from wmrun_envserver.wire import tensors

from tests.envserver.conformance.mutations.registry import breaks, remembers
from tests.envserver.conformance.proxy import Call


@breaks(31, "frame of slot")
def grayscale_frames(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Render":
        for frame in reply.frames:
            array = tensors.decode(frame)[..., :1]
            frame.CopyFrom(tensors.encode(array))
    return reply


@remembers(31, "with Render in between")
class RenderingCountsAsAStep:
    """Shows in the rows of a session that it was drawn."""

    def __init__(self) -> None:
        self._drawn: set[str] = set()

    def __call__(self, call: Call) -> Any:
        reply = call.forward()
        if call.name == "Render":
            self._drawn.add(call.request.session_id)
        elif call.name == "Step" and call.request.session_id in self._drawn:
            reply.rows.reward[0] += 1.0
        return reply


@breaks(31, "render_mode")
def any_render_mode(call: Call) -> Any:
    if call.name == "OpenSession":
        call.request.render_mode = ""
    return call.forward()


@breaks(31, "a session without the capability")
def frames_without_the_grant(call: Call) -> Any:
    if call.name == "OpenSession" and call.request.render_mode:
        call.request.want_capabilities.append("render")
    return call.forward()
