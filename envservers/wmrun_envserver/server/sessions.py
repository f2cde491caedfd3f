"""Every session of the server, and the room they take."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.refusal import Refused
from wmrun_envserver.server.session import Session
from wmrun_envserver.server.worker import Task
from wmrun_envserver.wire.status import Reason

_LOG = logging.getLogger(__name__)

_ENDED_KEPT = 256
_ENDINGS = {
    Reason.SESSION_UNKNOWN: "the session was closed",
    Reason.LEASE_EXPIRED: "the session was closed: no call came in within its lease",
    Reason.SUPERSEDED: "the session was closed: its client opened another with supersede",
}


class Sessions:
    """Open sessions by id. Their slots count against the limits from before they are built."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}
        self._ended: OrderedDict[str, str] = OrderedDict()
        self._building_sessions = 0
        self._building_envs = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def num_free(self) -> int:
        """How many sessions can still be opened."""
        with self._lock:
            return self._limits.max_sessions - len(self._open) - self._building_sessions

    @contextmanager
    def reserved(self, num_envs: int) -> Iterator[None]:
        """Hold room for one more session while its slots are built outside any lock.

        Raises `Refused` where there is none.
        """
        with self._lock:
            self._require_room(num_envs)
            self._building_sessions += 1
            self._building_envs += num_envs
        try:
            yield
        finally:
            with self._lock:
                self._building_sessions -= 1
                self._building_envs -= num_envs

    def add(self, session: Session) -> None:
        """Make `session` known; called within `reserved`."""
        with self._lock:
            self._open[session.id] = session

    def find(self, session_id: str) -> Session:
        """Return the session and renew its lease; raises `Refused` saying how it ended."""
        session = self._open.get(session_id)
        if session is None or self._end_if_over(session):
            raise self._unknown(session_id)
        session.lease.renew()
        return session

    def close(self, session_id: str) -> Task[None] | None:
        """Close the session, freeing its room at once; None where it had ended before.

        Raises `Refused` for an id that never was.
        """
        session = self._open.get(session_id)
        if session is not None:
            return self._end(session, Reason.SESSION_UNKNOWN)
        if session_id not in self._ended:
            raise self._unknown(session_id)
        return None

    def supersede(self, client_id: str) -> None:
        """Close every session that `client_id` has open."""
        for session in self._snapshot():
            if session.client_id == client_id:
                self._end(session, Reason.SUPERSEDED)

    def sweep(self) -> None:
        """Close the sessions whose lease ran out while no call was running."""
        for session in self._snapshot():
            self._end_if_over(session)

    def running(self) -> list[Task[bytes]]:
        """Return the mutating calls that are running now."""
        calls = [session.running for session in self._snapshot()]
        return [call for call in calls if call is not None]

    def close_all(self) -> list[Task[None]]:
        """Close every session and return the tasks that close their environments."""
        return [self._end(session, Reason.SESSION_UNKNOWN) for session in self._snapshot()]

    def _require_room(self, num_envs: int) -> None:
        limits = self._limits
        if len(self._open) + self._building_sessions >= limits.max_sessions:
            raise Refused(
                Reason.CAPACITY,
                f"all {limits.max_sessions} sessions are taken (--max-sessions): "
                "close one, or wait for a lease to run out",
            )
        taken = self._building_envs + sum(len(session.slots) for session in self._open.values())
        if taken + num_envs > limits.max_envs:
            raise Refused(
                Reason.CAPACITY,
                f"{num_envs} slots asked for, {limits.max_envs - taken} of {limits.max_envs} "
                "are free (--max-envs)",
                field="num_envs",
            )

    def _end_if_over(self, session: Session) -> bool:
        if session.is_closed:
            self._end(session, Reason.SESSION_UNKNOWN)
        elif session.lease.expired and not session.is_busy:
            self._end(session, Reason.LEASE_EXPIRED)
        else:
            return False
        return True

    def _end(self, session: Session, reason: str) -> Task[None]:
        with self._lock:
            if self._open.pop(session.id, None) is not None:
                self._ended[session.id] = reason
                while len(self._ended) > _ENDED_KEPT:
                    self._ended.popitem(last=False)
                _LOG.info("session %s: %s", session.label, _ENDINGS[reason])
        return session.close()

    def _unknown(self, session_id: str) -> Refused:
        reason = self._ended.get(session_id)
        if reason is None:
            message = "this server has no such session"
            return Refused(Reason.SESSION_UNKNOWN, message, field="session_id")
        return Refused(reason, _ENDINGS[reason], field="session_id")

    def _snapshot(self) -> list[Session]:
        with self._lock:
            return list(self._open.values())
