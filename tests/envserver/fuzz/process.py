"""An echo server in a process of its own, its size, and many calls in flight to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.service import HEALTH_METHODS, METHODS, STREAM_METHODS
from wmrun_envserver.wire.status import detail_of
from wmrun_envserver.wire.step_socket import STEP_SOCKET_SUFFIX

from tests.envserver.fuzz.outcome import Answer
from tests.envserver.fuzz.requests import opening, step

TIMEOUT_S = 60.0
MAX_SESSIONS = 8
IN_FLIGHT = 16
"""Fewer than the server takes at once: more would be turned away unread."""

_PATHS = {
    name: method.path for name, method in {**METHODS, **STREAM_METHODS, **HEALTH_METHODS}.items()
}


class Size(NamedTuple):
    """What a process takes."""

    rss_mb: float
    threads: int


class ServerUnderFire:
    """A client of a server process, and what can be seen of that from outside."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self.process = process
        self.step_socket = Path(address.removeprefix("unix:") + STEP_SOCKET_SUFFIX)
        self.channel = grpc.insecure_channel(
            address,
            (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", 2**26)),
        )

    def send(self, rpc: str, requests: Iterable[bytes]) -> Iterator[tuple[bytes, Answer]]:
        """Send `requests` with `IN_FLIGHT` calls open, and yield each with its answer."""
        start = self._start_stream if rpc in STREAM_METHODS else self._start
        waiting: deque[tuple[bytes, Any]] = deque()
        for request in requests:
            waiting.append((request, start(_PATHS[rpc], request)))
            if len(waiting) == IN_FLIGHT:
                sent, call = waiting.popleft()
                yield sent, answer(call)
        for sent, call in waiting:
            yield sent, answer(call)

    def _start(self, path: str, request: bytes) -> Any:
        return self.channel.unary_unary(path).future(request, timeout=TIMEOUT_S)

    def _start_stream(self, path: str, request: bytes) -> Any:
        return _Stream(self.channel.stream_stream(path)(iter([request] * 2), timeout=TIMEOUT_S))

    def reply(self, rpc: str, request: bytes) -> bytes:
        """Return the reply to a call; raises `RefusedError`."""
        call = self.channel.unary_unary(_PATHS[rpc]).future(request, timeout=TIMEOUT_S)
        return answer(call).unwrapped()

    def assert_serves(self) -> None:
        """Run a whole session as a learner would."""
        opened = self.reply("OpenSession", opening().SerializeToString())
        session_id = messages.OpenSessionReply.FromString(opened).session_id
        named = messages.ResetRequest(session_id=session_id, seq=1)
        self.reply("Reset", named.SerializeToString())
        stepped = self.reply("Step", step(session_id, 2, 2).SerializeToString())
        assert list(messages.StepReply.FromString(stepped).rows.step_in_episode) == [1, 1]
        self.reply("CloseSession", named.SerializeToString())

    def free_sessions(self) -> int:
        """Return how many sessions can still be opened."""
        info = messages.ServerInfo.FromString(self.reply("GetServerInfo", b""))
        return info.limits.free_sessions

    def size(self) -> Size:
        """Return what the process takes now."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        values = dict(line.split(":", 1) for line in lines)
        return Size(int(values["VmRSS"].split()[0]) / 1024, int(values["Threads"]))


def answer(call: Any) -> Answer:
    """Wait for `call` and return how it ended."""
    try:
        return Answer("OK", None, "", call.result())
    except grpc.RpcError as error:
        return Answer(error.code().name, detail_of(error), error.details() or "", b"")


@contextmanager
def under_fire(*options: str, python: str | Path = sys.executable) -> Iterator[ServerUnderFire]:
    """Run an echo server on `python` for a while; its end must be as clean as its beginning."""
    parent, ours = os.pipe()
    command = [str(python), "-m", "wmrun_envserver", "serve", "--backend", "echo"]
    command += ["--parent-fd", str(parent), "--log-level", "error"]
    command += ["--max-sessions", str(MAX_SESSIONS), *options]
    # A file: protobuf 3.20 writes a line for every string that is no UTF-8, more than a pipe holds.
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, pass_fds=(parent,)
        ) as process,
    ):
        os.close(parent)
        try:
            assert process.stdout is not None
            server = ServerUnderFire(process, json.loads(process.stdout.readline())["address"])
            yield server
            server.channel.close()
            process.terminate()
            assert process.wait(TIMEOUT_S) == 0
            log.seek(0)
            assert "Traceback" not in log.read()
        finally:
            process.kill()
            os.close(ours)


class _Stream:
    """Lets a stream, of a request and its retry, be waited for as a call is."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def result(self) -> bytes:
        return b"".join(self._stream)
