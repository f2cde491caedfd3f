"""A local server on a TCP port, which is stepped by calls alone, as one on another host is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from wmrun.config.schema import EnvConfig, ServerConfig


@contextmanager
def on_tcp(config: EnvConfig) -> Iterator[EnvConfig]:
    """Start a server for `config` on a loopback port, and return the config that names it."""
    ready_in, ready_out = os.pipe()
    command = [sys.executable, "-m", "wmrun_envserver", "serve", "--backend", config.backend]
    command += ["--listen", "127.0.0.1:0", "--ready-fd", str(ready_out), "--parent-fd", "0"]
    with (
        open(ready_in) as ready,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=(ready_out,)
        ) as process,
    ):
        os.close(ready_out)
        address = json.loads(ready.readline())["address"]
        yield config.model_copy(update={"server": ServerConfig(address=address)})
        assert process.stdin is not None
        process.stdin.close()  # which ends it
