"""The smallest client: one unary call per method, over a real socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import numpy as np
from wmrun_envserver.wire import messages, tensors
from wmrun_envserver.wire.service import HEALTH_METHODS, METHODS
from wmrun_envserver.wire.status import detail_of

from tests.envserver.server.scripted import actions

TIMEOUT_S = 20.0


class Client:
    """Calls by name; `refused` expects that the call fails."""

    def __init__(self, address: object) -> None:
        options = (("grpc.max_receive_message_length", 64 * 2**20), ("grpc.enable_http_proxy", 0))
        self.channel = grpc.insecure_channel(str(address), options=options)

    def close(self) -> None:
        self.channel.close()

    def stub(self, name: str) -> Any:
        method = METHODS[name]
        return self.channel.unary_unary(
            method.path, method.request.SerializeToString, method.reply.FromString
        )

    def call(self, name: str, /, **fields: Any) -> Any:
        request = METHODS[name].request(**fields)
        return self.stub(name)(request, timeout=TIMEOUT_S, wait_for_ready=True)

    def start(self, name: str, /, timeout: float = TIMEOUT_S, **fields: Any) -> Any:
        """Begin a call and return its future."""
        return self.stub(name).future(METHODS[name].request(**fields), timeout=timeout)

    def raw(self, path: str, data: bytes) -> bytes:
        reply: bytes = self.channel.unary_unary(path)(data, timeout=TIMEOUT_S)
        return reply

    def refused(self, name: str, /, **fields: Any) -> tuple[str, messages.ErrorDetail]:
        """Return the name of the gRPC code and the error detail of a call that must fail."""
        try:
            self.call(name, **fields)
        except grpc.RpcError as error:
            return failure(error)
        raise AssertionError(f"{name} was not refused")

    def health(self, service: str = "") -> int:
        method = HEALTH_METHODS["Check"]
        check = self.channel.unary_unary(
            method.path, method.request.SerializeToString, method.reply.FromString
        )
        reply = check(method.request(service=service), timeout=TIMEOUT_S, wait_for_ready=True)
        status: int = reply.status
        return status

    def open(self, **fields: Any) -> messages.OpenSessionReply:
        return self.call("OpenSession", **(opening() | fields))

    def open_refused(self, **fields: Any) -> tuple[str, messages.ErrorDetail]:
        return self.refused("OpenSession", **(opening() | fields))


class Stepper:
    """A session that counts its own seq."""

    def __init__(self, client: Client, **fields: Any) -> None:
        self.client = client
        self.opened = client.open(**fields)
        self.id = self.opened.session_id
        self.seq = 0

    def reset(self, slots: Sequence[int] = (), seeds: Sequence[int] = ()) -> messages.Rows:
        return self._mutate("Reset", slots=slots, seeds=seeds)

    def step(self, gear: int = 1, slots: Sequence[int] = ()) -> messages.Rows:
        num_rows = len(slots) or self.opened.num_envs
        return self._mutate("Step", slots=slots, action=actions(num_rows, gear))

    def refused(self, name: str, **fields: Any) -> tuple[str, messages.ErrorDetail]:
        """Return code and detail of the session's next call, which must fail."""
        return self.client.refused(name, session_id=self.id, seq=self.seq + 1, **fields)

    def _mutate(self, name: str, **fields: Any) -> messages.Rows:
        reply = self.client.call(name, session_id=self.id, seq=self.seq + 1, **fields)
        self.seq += 1
        assert reply.seq == self.seq
        return reply.rows


def eventually(condition: Callable[[], bool]) -> None:
    """Ask until `condition` holds; fails after `TIMEOUT_S`."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline


def opening() -> dict[str, Any]:
    """Return the fields of a valid OpenSession for one scripted environment."""
    return {"env_id": "scripted", "num_envs": 1, "autoreset": messages.NEXT_STEP}


def failure(error: grpc.RpcError) -> tuple[str, messages.ErrorDetail]:
    """Return the code's name and the detail of a failed call."""
    return error.code().name, detail_of(error) or messages.ErrorDetail()


def vectors(rows: messages.Rows) -> np.ndarray:
    """Return the first observation leaf, `[rows, 3]`."""
    return tensors.decode(rows.obs[0])
