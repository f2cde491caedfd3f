"""The socket over which a server on this host is stepped without gRPC's threads and queues."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import grpc
from google.protobuf.message import DecodeError
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.framing import Channel, ChannelClosed, Frame
from wmrun_envserver.wire.status import CODES, ERROR_METADATA_KEY, Reason
from wmrun_envserver.wire.step_socket import StepKind

_UNIX = "unix:"
_CONNECT_TIMEOUT_S = 2.0


class StepSocketError(grpc.RpcError):  # type: ignore[misc]
    """A step that failed, in the terms of a call: who sends calls again knows what to do."""

    def __init__(
        self, code: grpc.StatusCode, details: str, metadata: tuple[tuple[str, bytes], ...] = ()
    ) -> None:
        super().__init__(details)
        self._code = code
        self._details = details
        self._metadata = metadata

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return self._metadata


class StepSocket:
    """A connection to a server's step socket, with one step on its way at a time.

    Like the future of a call, as far as that is used. A step that fails may have happened all the
    same: sent again as a call, with its `seq`, it is answered from the server's memory. After a
    failure other than a refusal the connection is not usable any more.
    """

    def __init__(self, address: str, name: str, max_message_bytes: int) -> None:
        """Connect to the socket `name` beside the server's own at `address`; raises `OSError`."""
        path = Path(address.removeprefix(_UNIX)).with_name(name)
        end = socket.socket(socket.AF_UNIX)
        try:
            end.settimeout(_CONNECT_TIMEOUT_S)
            end.connect(str(path))
        except BaseException:
            end.close()
            raise
        self._is_broken = False
        self._channel = Channel(end, StepKind, max_message_bytes)
        self._deadline = 0.0
        self._is_awaited = False
        self._outcome: messages.StepReply | StepSocketError | None = None

    @property
    def is_usable(self) -> bool:
        """Whether a step can be sent: not while the reply to another was not taken."""
        return not (self._is_broken or self._is_awaited)

    def send(self, request: messages.StepRequest, limit_s: float) -> None:
        """Send a step that is to be answered within `limit_s`; `result` says if that fails."""
        self._is_awaited = True
        self._outcome = None
        self._deadline = time.monotonic() + limit_s
        try:
            self._channel.send(StepKind.STEP, request.SerializeToString(), self._deadline)
        except (ChannelClosed, TimeoutError) as error:
            self._fail(error)

    def exception(self, timeout: float) -> StepSocketError | None:
        """Wait for the outcome and return it unless it is the reply.

        Raises `grpc.FutureTimeoutError` when there is none after `timeout` seconds.
        """
        at = time.monotonic() + timeout
        self._wait(min(at, self._deadline))
        if self._outcome is None:
            if at < self._deadline:
                raise grpc.FutureTimeoutError
            self._fail(TimeoutError())
        return self._outcome if isinstance(self._outcome, StepSocketError) else None

    def result(self) -> messages.StepReply:
        """Return the reply to the step; raises `StepSocketError` where there is none."""
        self._wait(self._deadline)
        self._is_awaited = False
        if self._outcome is None:
            self._fail(TimeoutError())
        if isinstance(self._outcome, messages.StepReply):
            return self._outcome
        assert self._outcome is not None
        raise self._outcome

    def hang_up(self) -> None:
        """End the connection; who waits for a reply gets an error."""
        self._is_broken = True
        self._channel.hang_up()

    def close(self) -> None:
        """Let go of the connection; nobody may wait for a reply."""
        self._is_broken = True
        self._channel.close()

    def _wait(self, deadline: float) -> None:
        """Take what has come until `deadline`, at least once."""
        if self._outcome is not None:
            return
        try:
            self._outcome = _outcome(self._channel.wait(deadline))
        except TimeoutError:
            pass
        except (ChannelClosed, DecodeError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.hang_up()  # the server need not hold a thread for it any longer
        if isinstance(error, TimeoutError):
            code, what = grpc.StatusCode.DEADLINE_EXCEEDED, "no reply in time"
        else:
            code, what = grpc.StatusCode.UNAVAILABLE, "the connection broke"
        self._outcome = StepSocketError(code, f"step socket: {what}")


def _outcome(frame: Frame[StepKind]) -> messages.StepReply | StepSocketError:
    if frame.kind is StepKind.REPLY:
        return messages.StepReply.FromString(frame.payload)
    if frame.kind is not StepKind.REFUSED:
        raise ChannelClosed
    detail = messages.ErrorDetail.FromString(frame.payload)
    if detail.reason == Reason.SESSION_UNKNOWN:
        # Perhaps of another server, where ours is at the end of a tunnel: a call gets its own word.
        raise ChannelClosed
    code = CODES.get(detail.reason, grpc.StatusCode.INTERNAL)
    return StepSocketError(code, detail.message, ((ERROR_METADATA_KEY, frame.payload),))
