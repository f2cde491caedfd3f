"""A learner that is killed: what becomes of its servers, and of its run."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pytest

from tests.chaos.streams import Stream, stored_streams
from tests.envs.conftest import wait_for_exit
from tests.failures.conftest import ACTION_SIZE, CAPACITY, OBS_SIZE, Site, await_log
from tests.failures.episodes import check_episodes, truncated
from tests.failures.learner import Learner, workers
from wmrun.errors import ExitCode
from wmrun.run.checkpoint import CheckpointStore

pytestmark = pytest.mark.servers

NUM_ENVS = 3
CHECKPOINT_EVERY = 60


@dataclass(frozen=True)
class Killed:
    """A run on a server of its own and one elsewhere, killed and resumed."""

    resumed: Learner
    streams: list[Stream]
    ended: list[bool]
    """Whether the own server and each of its workers ended with the learner."""
    superseded: str
    """What the server elsewhere said when the run came back."""
    elsewhere_runs: bool
    """Whether that server was there all the time."""


@pytest.fixture(scope="module")
def killed(site: Site, socket_address: str) -> Killed:
    # There is room for one session: a resumed run gets it only in the place of its dead self.
    options = ["--listen", socket_address, "--max-sessions", "1"]
    with site.serving(*options) as elsewhere:
        servers = f"{{num_envs: 2, workers: 2}}, {{num_envs: 1, address: '{socket_address}'}}"
        experiment = site.write(
            f"servers: [{servers}]", num_envs=NUM_ENVS, checkpoint_every=CHECKPOINT_EVERY
        )
        learner = Learner(site.folder, "run", experiment, environment=site.environment)
        with closing(learner):
            for _ in range(2 * CHECKPOINT_EVERY // NUM_ENVS):
                site.orders.give(elsewhere.pid, "note")
            server = learner.server(workers=2)
            pids = [server.pid, *(worker.pid for worker in workers(server))]
            fds = [os.pidfd_open(pid) for pid in pids]
            learner.process.kill()
            ended = [wait_for_exit(fd) for fd in fds]
        before = CheckpointStore(site.run / "checkpoints").find("last").env_steps
        goal = before + 100
        resumed = Learner(
            site.folder, "resume", "fragile", f"run.env_steps={goal}", environment=site.environment
        )
        with closing(resumed):
            superseded = await_log(elsewhere, "opened another with supersede")
            resumed.end()
        streams = stored_streams(
            site.run,
            capacity=CAPACITY,
            num_envs=NUM_ENVS,
            obs_size=OBS_SIZE,
            action_size=ACTION_SIZE,
        )
        return Killed(resumed, streams, ended, superseded, elsewhere.poll() is None)


def test_its_server_and_their_workers_end_with_it(killed: Killed) -> None:
    assert killed.ended == [True] * 3


def test_a_server_elsewhere_gives_the_resumed_run_the_session_of_its_dead_self(
    killed: Killed,
) -> None:
    assert "session was closed" in killed.superseded
    assert killed.elsewhere_runs


def test_the_resumed_run_goes_on_from_its_last_checkpoint_to_its_end(killed: Killed) -> None:
    assert killed.resumed.process.returncode == ExitCode.OK
    for stream in killed.streams:
        check_episodes(stream)
        assert truncated(stream) == 1, "the episode that was open at the checkpoint"
    assert np.all([stream.is_first.sum() == 2 for stream in killed.streams])
