"""A program that serves through a proxy and is wrong in how its process lives: NAME ADDRESS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from wmrun_envserver.wire import messages

from tests.envserver.conformance.proxy import Call, Proxy


def main(name: str, address: str) -> None:
    if address.startswith("0.0.0.0") and name != "listens_anywhere":
        sys.exit(2)
    stopped = threading.Event()
    if name == "ignores_sigterm":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif name != "dies_at_once":
        signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    child, upstream = _real_server(is_orphaned=name == "leaves_orphans")
    proxy = Proxy(upstream, address, _MUTATIONS.get(name, Call.forward))
    proxy.start()
    if name == "leaves_files":
        (Path(tempfile.gettempdir()) / "forgotten").write_text("something")
    stopped.wait()
    child.terminate()
    child.wait()
    proxy.stop()


def _real_server(*, is_orphaned: bool) -> tuple[subprocess.Popen[bytes], str]:
    options = ["--backend", "echo", "--test-envs"]
    reader, _writer = os.pipe()
    if not is_orphaned:
        options += ["--parent-fd", str(reader)]
    child = subprocess.Popen(
        [sys.executable, "-m", "wmrun_envserver", "serve", *options],
        stdout=subprocess.PIPE,
        pass_fds=(reader,),
    )
    assert child.stdout is not None
    return child, json.loads(child.stdout.readline())["address"]


def _same_instance_id(call: Call) -> Any:
    reply = call.forward()
    if call.name in ("GetServerInfo", "OpenSession"):
        reply.instance_id = "42"
    return reply


def _any_heartbeat(call: Call) -> Any:
    if call.name == "Heartbeat":
        return messages.HeartbeatReply(lease_remaining_ms=1000)
    return call.forward()


_MUTATIONS = {"keeps_its_instance_id": _same_instance_id, "knows_old_sessions": _any_heartbeat}

if __name__ == "__main__":
    main(*sys.argv[1:])
