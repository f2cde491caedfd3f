"""A run that is told to stop while it waits for the server of its environments."""

from __future__ import annotations

import re
import signal
from contextlib import closing

import pytest

from tests.failures.conftest import Site
from tests.failures.learner import Learner
from wmrun.errors import ExitCode
from wmrun.run.checkpoint import CheckpointStore

PREFILL = 20
"""Steps of an experiment here before the first update."""

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)],
)
def test_a_run_whose_server_is_gone_stops_at_a_signal_with_a_checkpoint(
    site: Site, socket_address: str, number: signal.Signals, code: ExitCode
) -> None:
    experiment = site.write(f"server: {{address: '{socket_address}'}}", num_envs=2)
    name = f"name=stopped-{number.name}"
    with site.serving("--listen", socket_address, "--workers", "0") as server:
        learner = Learner(site.folder, "run", experiment, name, environment=site.environment)
        with closing(learner):
            learner.await_line("training 1,000,000 env steps")
            for _step in range(2 * PREFILL):
                site.orders.give(server.pid, "note")
            server.kill()
            server.wait()
            learner.await_line("no answer for 5 s")
            assert learner.end(number) == code
    (run,) = (site.folder / "runs" / name.removeprefix("name=")).iterdir()
    assert CheckpointStore(run / "checkpoints").find("last").env_steps > PREFILL
    assert re.search(r"continue +wmrun resume", learner.said)
    assert "error" not in learner.said
