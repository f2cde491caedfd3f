"""What hostile messages are aimed at."""

from __future__ import annotations

from contextlib import suppress

from wmrun_envserver.wire import messages

from tests.envserver.fuzz.outcome import Call, RefusedError
from tests.envserver.fuzz.requests import openings_in_turn


class Target:
    """A session that is there again once a hostile message closed it, and the seq it expects."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._openings = openings_in_turn()
        self._open()

    def refresh(self) -> None:
        """Look what became of the session."""
        request = messages.HeartbeatRequest(session_id=self.session_id)
        try:
            reply = messages.HeartbeatReply.FromString(
                self._call("Heartbeat", request.SerializeToString())
            )
        except RefusedError:
            self._open()
        else:
            self.seq = reply.last_seq + 1

    def close(self) -> None:
        """Close the session; a hostile message may have done so before."""
        request = messages.CloseSessionRequest(session_id=self.session_id)
        with suppress(RefusedError):
            self._call("CloseSession", request.SerializeToString())

    def _open(self) -> None:
        opened = self._call("OpenSession", next(self._openings).SerializeToString())
        self.session_id = messages.OpenSessionReply.FromString(opened).session_id
        reset = messages.ResetRequest(session_id=self.session_id, seq=1)
        self._call("Reset", reset.SerializeToString())
        self.seq = 2
