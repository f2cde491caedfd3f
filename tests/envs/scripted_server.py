"""An env server in this process whose rows a test writes; written from the protocol alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from wmrun_envserver.wire import messages, spaces, tensors
from wmrun_envserver.wire.service import METHODS, PROTOCOL_MAJOR, SERVICE
from wmrun_envserver.wire.status import Reason, abort, error_detail

from tests.envs.proxies import serving

OBS_SPACE = spaces.Dict((("vector", spaces.Box((1,))),))
ACT_SPACE = spaces.Box((1,), low=-9, high=9)

Row = tuple[int, float, str]
"""`(slot, obs, flags)`: F is_first, T terminated, L truncated, R restarted, X failed, A absent."""


def make_rows(*rows: Row) -> messages.Rows:
    flags = [flags for _, _, flags in rows]
    status = {"R": messages.SLOT_RESTARTED, "X": messages.SLOT_FAILED, "A": messages.SLOT_ABSENT}
    return messages.Rows(
        slot=[slot for slot, _, _ in rows],
        obs=[tensors.encode(np.array([[obs] for _, obs, _ in rows], np.float32).reshape(-1, 1))],
        reward=[0.0 if "F" in flag or "R" in flag else 1.0 for flag in flags],
        terminated=["T" in flag for flag in flags],
        truncated=["L" in flag for flag in flags],
        is_first=["F" in flag or "R" in flag for flag in flags],
        episode=[0] * len(rows),
        step_in_episode=[0] * len(rows),
        status=[next((status[f] for f in flag if f in status), 0) for flag in flags],
    )


class ScriptedServer:
    """Answers Reset and Step with what `reply` makes of the request, once for every `seq`."""

    def __init__(
        self,
        reply: Callable[[Any], messages.Rows],
        *,
        capabilities: Sequence[str] = ("partial_batch",),
        seed_scope: int = messages.SEED_PER_RESET,
        changes: dict[str, Any] | None = None,
    ) -> None:
        self.requests: list[Any] = []
        """Of every rpc but GetServerInfo and Heartbeat, in the order they came."""
        self.heartbeats = threading.Semaphore(0)
        """Released by every heartbeat."""
        self._reply = reply
        self._capabilities = capabilities
        self._seed_scope = seed_scope
        self._changes = changes or {}
        self._calls: dict[int, Future[messages.StepReply]] = {}
        self._lock = threading.Lock()

    @property
    def steps(self) -> list[list[int]]:
        """The slots that each Step named."""
        return [list(r.slots) for r in self.requests if isinstance(r, messages.StepRequest)]

    def handlers(self) -> grpc.GenericRpcHandler:
        answers: dict[str, Callable[[Any, grpc.ServicerContext], Any]] = {
            "GetServerInfo": lambda request, context: messages.ServerInfo(
                protocol_major=PROTOCOL_MAJOR
            ),
            "OpenSession": self._open,
            "Reset": self._mutate,
            "Step": self._mutate,
            "Heartbeat": self._heartbeat,
            "CloseSession": self._close,
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    answer, METHODS[name].request.FromString, METHODS[name].reply.SerializeToString
                )
                for name, answer in answers.items()
            },
        )

    def _open(self, request: Any, context: grpc.ServicerContext) -> messages.OpenSessionReply:
        self.requests.append(request)
        if request.seeds and self._seed_scope == messages.SEED_NONE:
            abort(context, error_detail(Reason.SEED_SCOPE, "no seeds are taken", field="seeds"))
        fields: dict[str, Any] = {
            "session_id": "s",
            "capabilities": self._capabilities,
            "observation_space": spaces.encode_space(OBS_SPACE),
            "action_space": spaces.encode_space(ACT_SPACE),
            "spec_hash": spaces.spec_hash(OBS_SPACE, ACT_SPACE),
            "num_envs": request.num_envs,
            "autoreset": messages.NEXT_STEP,
            "lease_ms": 60_000,
            "seed_scope": self._seed_scope,
        }
        return messages.OpenSessionReply(**{**fields, **self._changes})

    def _mutate(self, request: Any, context: grpc.ServicerContext) -> messages.StepReply:
        with self._lock:
            call = self._calls.get(request.seq)
            is_new = call is None
            call = self._calls.setdefault(request.seq, Future())
            self.requests += [request] if is_new else []
        if is_new:
            call.set_result(messages.StepReply(seq=request.seq, rows=self._reply(request)))
        return call.result()

    def _heartbeat(self, request: Any, context: grpc.ServicerContext) -> messages.HeartbeatReply:
        self.heartbeats.release()
        return messages.HeartbeatReply(busy=not all(c.done() for c in self._calls.values()))

    def _close(self, request: Any, context: grpc.ServicerContext) -> messages.CloseSessionReply:
        self.requests.append(request)
        return messages.CloseSessionReply()


@contextmanager
def scripted(
    reply: Callable[[Any], messages.Rows], *, path: Path | None = None, **settings: Any
) -> Iterator[Any]:
    """Serve a `ScriptedServer`, at `path` if given, and give it, its address as `address`."""
    server = ScriptedServer(reply, **settings)
    with serving(server.handlers(), path=path) as address:
        server.address = address  # type: ignore[attr-defined]
        yield server


def script(*replies: Sequence[Row]) -> Callable[[Any], messages.Rows]:
    """Give these rows out one after the other, whatever is asked."""
    left = iter(replies)
    return lambda request: make_rows(*next(left))
