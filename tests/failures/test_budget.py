"""Runs whose environments fail more often than they may: how they end, and how they go on."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.streams import stored_streams
from tests.failures.conftest import ACTION_SIZE, CAPACITY, OBS_SIZE, Site
from tests.failures.episodes import check_episodes, truncated
from tests.failures.learner import Learner, workers
from wmrun.errors import ExitCode
from wmrun.run.checkpoint import CheckpointStore
from wmrun.run.directory import RunDirectory

LEARNING = 40
"""Steps after which there were updates."""

pytestmark = pytest.mark.servers

ONCE = "{max: 1, per_window: 1, window_s: 300}"


@dataclass(frozen=True)
class Spent:
    """Two processes, one after the other, on the same run."""

    site: Site
    slot_failed: Learner
    server_lost: Learner
    checkpoints: tuple[int, int]
    """The env step of the last checkpoint after each."""

    @property
    def log(self) -> Path:
        """The servers' log as the screen names it."""
        return RunDirectory(self.site.run).env_logs.relative_to(self.site.folder) / "train.log"


@pytest.fixture(scope="module")
def spent(site: Site) -> Spent:
    """A slot fails too often; the run is resumed, and its server is lost too often."""
    experiment = site.write(f"server: {{workers: 1, restarts: {ONCE}}}", num_envs=1)
    learners, checkpoints = [], []
    for command, until in (
        (("run", experiment), _spend_on_the_slot),
        (("resume", "fragile", "env.server.workers=0"), _spend_on_the_server),
    ):
        learner = Learner(site.folder, *command, environment=site.environment)
        with closing(learner):
            until(site, learner)
        learners.append(learner)
        checkpoints.append(CheckpointStore(site.run / "checkpoints").find("last").env_steps)
    return Spent(site, *learners, tuple(checkpoints))  # type: ignore[arg-type]


def _spend_on_the_slot(site: Site, learner: Learner) -> None:
    learner.await_line("training 1,000,000 env steps")
    server = learner.server(workers=1)
    for _step in range(LEARNING):
        site.orders.give(workers(server)[0].pid, "note")
    site.orders.give(workers(server)[0].pid, "raise")
    learner.await_line("slot 0 restarted: RuntimeError")
    site.orders.give(workers(server)[0].pid, "raise")
    learner.end()


def _spend_on_the_server(site: Site, learner: Learner) -> None:
    learner.await_line("training 1,000,000 env steps")
    for _ in range(3):
        site.orders.give(learner.server(workers=0).pid, "note")
    site.orders.give(learner.server(workers=0).pid, "exit")
    learner.await_line("slot 0 restarted: the env server ended")
    site.orders.give(learner.server(workers=0).pid, "exit")
    learner.end()


def test_a_spent_budget_ends_the_run_with_a_checkpoint_and_code_3(spent: Spent) -> None:
    for learner, checkpoint in zip(
        (spent.slot_failed, spent.server_lost), spent.checkpoints, strict=False
    ):
        assert learner.process.returncode == ExitCode.ENV
        assert f"step_{checkpoint:012d}" in learner.said
        assert "wmrun resume" in learner.said


def test_a_slot_that_failed_too_often_is_shown_with_its_traceback_and_the_log(
    spent: Spent,
) -> None:
    last = "".join(spent.slot_failed.lines[-20:])
    assert "the environments of slots [0] failed too often to be restarted" in last
    assert "RuntimeError: the simulator lost its physics" in last
    assert re.search(r'File ".*fragile_backend\.py", line \d+, in step', last)
    assert (
        f"{RunDirectory(spent.site.run).env_logs.relative_to(spent.site.folder)}/train.log" in last
    )


def test_a_server_that_was_lost_too_often_is_shown_with_its_exit_code_and_the_log(
    spent: Spent,
) -> None:
    last = "".join(spent.server_lost.lines[-20:])
    assert "the train environments were lost 2 times" in last
    assert "The env server exited with code 7" in last
    assert (
        f"{RunDirectory(spent.site.run).env_logs.relative_to(spent.site.folder)}/train.log" in last
    )


def test_the_run_that_is_resumed_goes_on_from_the_checkpoint(spent: Spent) -> None:
    assert LEARNING <= spent.checkpoints[0] < spent.checkpoints[1]
    (stream,) = stored_streams(
        spent.site.run, capacity=CAPACITY, num_envs=1, obs_size=OBS_SIZE, action_size=ACTION_SIZE
    )
    check_episodes(stream)
    assert truncated(stream) == 3, "a restart, the end of the first process, a lost server"
