"""How Reset and Step of a session reach its server: by calls, or over its step socket."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

import grpc
from wmrun_envserver.wire import messages

from wmrun.envs.call_watch import CallWatch
from wmrun.envs.channel import MAX_MESSAGE_BYTES, unary
from wmrun.envs.exchange import DEADLINE_MARGIN_S, Exchange, Patience, Sent
from wmrun.envs.heartbeat import Heartbeat
from wmrun.envs.opening import STEP_SOCKET
from wmrun.envs.step_socket import StepSocket

_LOG = logging.getLogger(__name__)


class _Begun(NamedTuple):
    """A step that was sent, if the connections were still there, and is to be answered."""

    request: messages.StepRequest
    limit_s: float
    sent: Sent | None
    sent_at: float


class SessionCalls:
    """Carries out each Reset and Step of an open session once, one at a time.

    Not for use by several threads, but for `give_up`.
    """

    def __init__(
        self,
        address: str,
        channel: grpc.Channel,
        opened: messages.OpenSessionReply,
        heartbeat: Heartbeat,
        patience: Patience,
        *,
        server_gone: Callable[[float], bool],
        server_stopped: Callable[[], bool],
        label: str,
    ) -> None:
        self._channel = channel
        self._reset = unary(channel, "Reset")
        self._step = unary(channel, "Step")
        self._step_socket = _step_socket(address, opened)
        self._exchange = Exchange(address, heartbeat, patience, server_gone)
        self._watch = CallWatch(label, heartbeat, server_stopped, self.give_up)
        self._begun: _Begun | None = None

    @property
    def next_seq(self) -> int:
        """Of the next call."""
        return self._exchange.seq + 1

    @property
    def is_stepping(self) -> bool:
        """Whether a step was begun and not ended."""
        return self._begun is not None

    def reset(self, request: messages.ResetRequest, limit_s: float) -> messages.StepReply:
        """Return the reply to a Reset, which the environments may take `limit_s` for."""
        with self._watch.over_call(time.monotonic()):
            return self._exchange.send(self._reset, request, limit_s)

    def step(self, request: messages.StepRequest, limit_s: float) -> messages.StepReply:
        """Return the reply to a Step, which the environments may take `limit_s` for."""
        if self._usable_socket is not None:
            self.step_begin(request, limit_s)
            return self.step_end()[1]
        # A call that is waited for takes half the time of one that is not.
        with self._watch.over_call(time.monotonic()):
            return self._exchange.send(self._step, request, limit_s)

    def step_begin(self, request: messages.StepRequest, limit_s: float) -> None:
        """Send a Step and return at once; the next call must be `step_end`."""
        sent_at = time.monotonic()
        self._begun = _Begun(request, limit_s, self._sent(request, limit_s, sent_at), sent_at)

    def answered(self, within_s: float) -> bool:
        """Wait up to `within_s` for the reply to the step begun, and say whether it came."""
        assert self._begun is not None, "answered without step_begin"
        sent = self._begun.sent
        try:
            return sent is not None and sent.exception(within_s) is None
        except (grpc.FutureTimeoutError, grpc.FutureCancelledError):
            return False

    def step_end(self) -> tuple[messages.StepRequest, messages.StepReply]:
        """Return the step begun and the reply to it."""
        assert self._begun is not None, "step_end without step_begin"
        (request, limit_s, sent, sent_at), self._begun = self._begun, None
        with self._watch.over_call(sent_at):
            return request, self._exchange.send(self._step, request, limit_s, sent)

    def give_up(self, reason: str) -> None:
        """Make the call that another thread is in, and every later one, raise `EnvServerLost`."""
        if self._exchange.cancelled is None:
            self._exchange.cancelled = reason
        self._channel.close()
        if self._step_socket is not None:
            self._step_socket.hang_up()

    def close(self) -> None:
        """Close the step socket and watch no more; the channel is its owner's."""
        self._watch.stop()
        if self._step_socket is not None:
            self._step_socket.close()

    @property
    def _usable_socket(self) -> StepSocket | None:
        step_socket = self._step_socket
        return step_socket if step_socket is not None and step_socket.is_usable else None

    def _sent(self, request: messages.StepRequest, limit_s: float, now: float) -> Sent | None:
        """Send a step for the first time; None where the connections are closed."""
        deadline_s = limit_s + DEADLINE_MARGIN_S
        step_socket = self._usable_socket
        if step_socket is not None:
            with self._watch.over_call(now):  # large actions wait to be read
                step_socket.send(request, deadline_s)
            return step_socket
        try:
            return self._step.future(request, timeout=deadline_s)
        except ValueError:  # the channel is closed; `step_end` says why
            if self._exchange.cancelled is None:
                raise
            return None


def _step_socket(address: str, opened: messages.OpenSessionReply) -> StepSocket | None:
    """Connect where the server offers a step socket that is there for us, too."""
    if STEP_SOCKET not in opened.capabilities:
        return None
    try:
        return StepSocket(address, opened.step_socket, MAX_MESSAGE_BYTES)
    except OSError as error:  # another container, the end of a tunnel
        _LOG.debug("no step socket at %s: %s", address, error)
        return None
