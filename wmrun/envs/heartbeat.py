"""Keeps a session's lease alive while the learner is busy with something else."""

from __future__ import annotations

import threading

import grpc
from wmrun_envserver.wire import messages

from wmrun.envs.access import OPEN_ACCESS, Access
from wmrun.envs.channel import open_channel, unary

PROBE_TIMEOUT_S = 2.0
_CLOSE_TIMEOUT_S = 2.0


class Heartbeat:
    """Sends a heartbeat every third of the lease, on a thread and a connection of its own."""

    def __init__(
        self, address: str, session_id: str, lease_s: float, access: Access = OPEN_ACCESS
    ) -> None:
        self._request = messages.HeartbeatRequest(session_id=session_id)
        self._period_s = lease_s / 3
        self._channel = open_channel(address, access)
        self._call = unary(self._channel, "Heartbeat")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="env-heartbeat", daemon=True)
        self._thread.start()

    def probe(self, tries: int = 2) -> messages.HeartbeatReply | None:
        """Ask now; None if the server answers none of `tries` heartbeats within 2 s each."""
        for _ in range(tries):
            try:
                # A connection that is only being made is no silence: it has the 2 s, too.
                reply: messages.HeartbeatReply = self._call(
                    self._request, timeout=PROBE_TIMEOUT_S, wait_for_ready=True
                )
                return reply
            except grpc.RpcError:
                continue
        return None

    def close_session(self) -> None:
        """Close the session if the server answers; no other call of it is in the way here."""
        request = messages.CloseSessionRequest(session_id=self._request.session_id)
        try:
            unary(self._channel, "CloseSession")(request, timeout=_CLOSE_TIMEOUT_S)
        except (grpc.RpcError, ValueError):
            pass  # The lease ends it. ValueError: the connection was closed before.

    def stop(self) -> None:
        self._stopped.set()
        self._channel.close()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._period_s):
            try:
                self._call(self._request, timeout=min(PROBE_TIMEOUT_S, self._period_s))
            except (grpc.RpcError, ValueError):
                # The next call of the session meets the same trouble and deals with it. ValueError:
                # the channel was closed between the wait and the call.
                continue
