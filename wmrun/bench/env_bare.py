"""The bare gRPC round trip: what a step would cost if nobody looked at its bytes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import grpc
import numpy as np
from wmrun_envserver.wire import messages, tensors
from wmrun_envserver.wire.service import METHODS, SERVICE

from wmrun.config.schema import EnvConfig
from wmrun.envs.actions import ActionAdapter
from wmrun.envs.channel import check_server, open_channel, unary
from wmrun.envs.opening import SessionRequest, accepted_spec, open_session
from wmrun.envs.request import env_options
from wmrun.envs.server_log import ServerLog
from wmrun.envs.supervisor import start_server

_PATIENCE_S = 60.0
_MAX_MESSAGE_BYTES = 2**30


class BareServer:
    """A process that answers every call with the same bytes, and a connection to it."""

    def __init__(self, request: bytes, reply: bytes) -> None:
        self._request = request
        self._reply = reply

    def __enter__(self) -> BareServer:
        with ExitStack() as stack:
            directory = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="wmrun-bench-"))
            )
            (directory / "reply").write_bytes(self._reply)
            address = f"unix:{directory}/socket"
            command = [sys.executable, "-m", __name__, address, str(directory / "reply")]
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            assert process.stdin is not None
            assert process.stdout is not None
            stack.callback(process.stdin.close)  # which ends it
            if not process.stdout.readline():
                raise RuntimeError("the bare gRPC server did not start")
            channel = stack.enter_context(open_channel(address))
            self._call = channel.unary_unary(METHODS["Step"].path)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def call(self) -> bytes:
        """Send the request and return the reply."""
        reply: bytes = self._call(self._request, timeout=_PATIENCE_S)
        return reply


def sample_step(config: EnvConfig) -> tuple[bytes, bytes]:
    """Return the bytes of one Step of `config`, request and reply, from a server of its own."""
    with tempfile.TemporaryDirectory(prefix="wmrun-bench-") as logs:
        server = start_server(
            python=config.server.python,
            backend=config.backend,
            log=ServerLog(Path(logs) / "sample.log"),
            timeout_s=config.server.start_timeout_s,
        )
        try:
            with open_channel(server.address) as channel:
                check_server(channel, server.address, _PATIENCE_S)
                return _step_once(channel, config, server.address)
        finally:
            server.stop()


def _step_once(channel: grpc.Channel, config: EnvConfig, address: str) -> tuple[bytes, bytes]:
    wanted = SessionRequest(
        config.task, config.num_envs, "bench", env_options(config), may_share=False
    )
    opened = open_session(channel, wanted, address)
    adapter = ActionAdapter(accepted_spec(opened, wanted, address).act_space)
    action = adapter.to_env(adapter.random(np.random.default_rng(0), config.num_envs))
    unary(channel, "Reset")(messages.ResetRequest(session_id=opened.session_id, seq=1))
    request = messages.StepRequest(
        session_id=opened.session_id, seq=2, action=[tensors.encode(leaf) for leaf in action]
    )
    reply = unary(channel, "Step")(request)
    return request.SerializeToString(), reply.SerializeToString()


def _serve(address: str, reply: bytes) -> None:
    server = grpc.server(
        ThreadPoolExecutor(8),
        options=(
            ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ),
    )
    answer = grpc.unary_unary_rpc_method_handler(lambda request, context: reply)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {"Step": answer}),)
    )
    server.add_insecure_port(address)
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]).read_bytes())
