"""Wrong with calls that are sent again, or at once: checks 19 to 22."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

import grpc
from wmrun_envserver.wire import messages

from tests.envserver.conformance.mutations.registry import breaks, remembers
from tests.envserver.conformance.mutations.requests import MUTATING
from tests.envserver.conformance.proxy import Call, Refusal


class Renumbering:
    """Gives every Reset and Step a new seq: nothing that is sent again is recognised."""

    def __init__(self) -> None:
        self._last: dict[str, int] = defaultdict(int)
        self._seen: dict[tuple[str, int], Any] = {}

    def __call__(self, call: Call) -> Any:
        if call.name not in MUTATING:
            return call.forward()
        session, seq = call.request.session_id, call.request.seq
        if self.repeats(session, seq):
            return self._seen[session, seq]
        self._last[session] += 1
        call.request.seq = self._last[session]
        reply = call.forward()
        reply.seq = seq
        replayed = messages.StepReply()
        replayed.CopyFrom(reply)
        replayed.replayed = True
        self._seen[session, seq] = replayed
        return reply

    def repeats(self, session: str, seq: int) -> bool:
        return False


@remembers(19, "replayed")
class EveryCallRuns(Renumbering):
    pass


@breaks(19, "replayed")
def repeated_replies_do_not_say_so(call: Call) -> Any:
    reply = call.forward()
    if call.name in MUTATING:
        reply.replayed = False
    return reply


@breaks(19, "the same bytes")
def repeated_replies_without_rows(call: Call) -> Any:
    reply = call.forward()
    if call.name in MUTATING and reply.replayed:
        reply.ClearField("rows")
    return reply


@remembers(20, "seq")
class AnySeqIsNext(Renumbering):
    def repeats(self, session: str, seq: int) -> bool:
        return (session, seq) in self._seen


@breaks(20, "expected ABORTED")
def gaps_are_bad_requests(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if refusal.code == grpc.StatusCode.ABORTED:
            call.refuse("INVALID_ARGUMENT", "BAD_REQUEST", refusal.text, field="seq")
        raise


@remembers(21, "replayed")
class ARetryRunsAgain(Renumbering):
    """Waits for the call that runs, then runs the retry as one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def __call__(self, call: Call) -> Any:
        if call.name not in MUTATING:
            return call.forward()
        with self._lock:
            return super().__call__(call)


@remembers(22, "expected ABORTED")
class CallsWaitInLine:
    """Lets a second mutating call wait for the first instead of refusing it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, call: Call) -> Any:
        if call.name not in MUTATING:
            return call.forward()
        with self._lock:
            return call.forward()


@breaks(22, "retryable")
def busy_is_final(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if refusal.code == grpc.StatusCode.ABORTED:
            detail = error_of(refusal)
            detail.retryable = False
            raise Refusal(refusal.code, refusal.text, with_detail(refusal, detail)) from None
        raise


def error_of(refusal: Refusal) -> messages.ErrorDetail:
    ((_, data),) = refusal.metadata
    return messages.ErrorDetail.FromString(data)


def with_detail(refusal: Refusal, detail: messages.ErrorDetail) -> Any:
    ((key, _),) = refusal.metadata
    return ((key, detail.SerializeToString()),)
