"""One training run in which everything fails once that may fail, and what it has stored then."""

from __future__ import annotations

import re
import signal
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field

import psutil
import pytest

from tests.chaos.streams import Stream, stored_streams
from tests.envs.proxies import Proxy
from tests.failures.conftest import ACTION_SIZE, CAPACITY, OBS_SIZE, Site, await_log, token_in
from tests.failures.episodes import check_episodes, truncated
from tests.failures.learner import Learner, workers
from wmrun.errors import ExitCode
from wmrun.run.directory import RunDirectory

pytestmark = pytest.mark.servers

OF_WORKERS, OF_SERVER, ELSEWHERE = (0, 1), (2, 3), (4, 5)
SLOTS = 6
LEASE_S = 4
SHORT_CUT_S = 0.5
_RESTARTS = "restarts: {max: 1000, per_window: 1000, window_s: 1}"
_HERE = ("workers: 2", "workers: 0")
_LIMITS = f"step_timeout_s: 2, reset_timeout_s: 5, {_RESTARTS}"


@dataclass
class Ordeal:
    """What happened, and what is left of it."""

    told: dict[str, str] = field(default_factory=dict)
    """What the screen said of each failure."""
    streams: list[Stream] = field(default_factory=list)
    broken: list[int] = field(default_factory=lambda: [0] * SLOTS)
    """How often each slot's episode was cut off."""
    drained: int = -1
    """The exit code of the server that was told to drain."""
    exit_code: int = -1
    said: str = ""
    outlived: list[psutil.Process] = field(default_factory=list)

    def tell(self, name: str, line: str, *, cut_off: bool = True) -> None:
        """Note the line about a failure, which names the slots that it hit."""
        self.told[name] = line
        slots = re.search(r"environment slots? ([\d, ]+) restarted", line)
        assert slots is not None, line
        for slot in slots[1].split(", "):
            self.broken[int(slot)] += cut_off


@pytest.fixture(scope="module")
def ordeal(site: Site, socket_address: str) -> Ordeal:
    ordeal = Ordeal()
    token = token_in(site.folder)
    options = ["--listen", socket_address, "--token-file", str(token)]
    options += ["--max-lease-s", str(LEASE_S)]
    with ExitStack() as stack:
        elsewhere = stack.enter_context(site.serving(*options))
        proxy = Proxy(socket_address.removeprefix("unix:"))
        stack.callback(proxy.close)
        there = f"address: '{proxy.address}', token_file: '{token}'"
        servers = [f"{{num_envs: 2, {its}, {_LIMITS}}}" for its in (*_HERE, there)]
        experiment = site.write(f"servers: [{', '.join(servers)}]", num_envs=SLOTS)
        learner = Learner(site.folder, "run", experiment, environment=site.environment)
        stack.callback(learner.close)
        site.orders.give(elsewhere.pid, "note")
        below = psutil.Process(learner.process.pid).children(recursive=True)

        stopped = learner.server(workers=0)
        stopped.send_signal(signal.SIGSTOP)
        _fail_in_workers(ordeal, learner, site)
        ordeal.tell("server stopped", learner.await_line("restarted: the env server hangs"))
        _lose_the_server(ordeal, learner, site)
        _cut_the_network(ordeal, learner, site, proxy, elsewhere)
        _restart_elsewhere(ordeal, learner, site, elsewhere, options, stack)

        below += psutil.Process(learner.process.pid).children(recursive=True)
        ordeal.exit_code = learner.end(signal.SIGTERM)
        ordeal.outlived = [process for process in below if process.is_running()]
        ordeal.said = learner.said
    ordeal.streams = stored_streams(
        site.run, capacity=CAPACITY, num_envs=SLOTS, obs_size=OBS_SIZE, action_size=ACTION_SIZE
    )
    return ordeal


def _fail_in_workers(ordeal: Ordeal, learner: Learner, site: Site) -> None:
    server = learner.server(workers=2)

    def worker() -> psutil.Process:
        return workers(server)[0]

    site.orders.give(worker().pid, "raise")
    ordeal.tell("env raises", learner.await_line("lost its physics"))
    site.orders.give(worker().pid, "exit")
    ordeal.tell("worker exits", learner.await_line("code 7"))
    worker().kill()
    ordeal.tell("worker killed", learner.await_line("SIGKILL"))
    site.orders.give(worker().pid, "hang")
    ordeal.tell("env hangs", learner.await_line("slot [01] restarted"))
    pid = worker().pid
    site.orders.give(pid, "end")
    site.orders.give(pid, "slow_reset")
    site.orders.give(pid, "end")
    site.orders.give(pid, "endless_reset")
    line = learner.await_line("slot [01] restarted")
    ordeal.tell("reset too slow", line, cut_off=False)


def _lose_the_server(ordeal: Ordeal, learner: Learner, site: Site) -> None:
    """Kill the server, and the next, whose log finds no space on its disk."""
    log = RunDirectory(site.run).env_logs / "train-1.log"
    log.unlink()
    log.symlink_to("/dev/full")
    for name in ("server killed", "server killed, disk full"):
        learner.server(workers=0).kill()
        ordeal.tell(name, learner.await_line("slots 2, 3 restarted"))
    site.orders.give(learner.server(workers=0).pid, "note")


def _cut_the_network(
    ordeal: Ordeal, learner: Learner, site: Site, proxy: Proxy, server: subprocess.Popen[str]
) -> None:
    proxy.cut()
    learner.runs_for(SHORT_CUT_S)
    proxy.restore()
    site.orders.give(server.pid, "note")
    proxy.cut()
    await_log(server, "lease")
    proxy.restore()
    ordeal.tell("long cut", learner.await_line("slots 4, 5 restarted"))


def _restart_elsewhere(
    ordeal: Ordeal,
    learner: Learner,
    site: Site,
    server: subprocess.Popen[str],
    options: list[str],
    stack: ExitStack,
) -> None:
    site.orders.give(server.pid, "note")
    server.terminate()
    ordeal.drained = server.wait()
    server = stack.enter_context(site.serving(*options))
    ordeal.tell("server drained", learner.await_line("slots 4, 5 restarted"))
    site.orders.give(server.pid, "note")
    server.kill()
    server.wait()
    server = stack.enter_context(site.serving(*options))
    ordeal.tell("server restarted", learner.await_line("slots 4, 5 restarted"))
    site.orders.give(server.pid, "note")


def test_every_slot_stored_whole_episodes_in_order(ordeal: Ordeal) -> None:
    assert len(ordeal.streams) == SLOTS
    for stream in ordeal.streams:
        check_episodes(stream)


def test_an_episode_is_truncated_for_each_failure_of_its_slot_and_no_other_is(
    ordeal: Ordeal,
) -> None:
    assert [truncated(stream) for stream in ordeal.streams] == ordeal.broken
    assert sum(ordeal.broken) == 4 * 1 + 3 * 2 + 3 * 2
    terminals = [int(stream.is_terminal.sum()) for stream in ordeal.streams]
    assert sum(terminals) == sum(terminals[:2]) == 2, "the two that were ended to be reset"


@pytest.mark.parametrize(
    ("failure", "slots", "words"),
    [
        ("env raises", OF_WORKERS, "restarted: RuntimeError: the simulator lost its physics"),
        ("worker exits", OF_WORKERS, "restarted: its process ended: exit code 7"),
        ("worker killed", OF_WORKERS, "restarted: its process ended: signal SIGKILL"),
        ("env hangs", OF_WORKERS, "restarted: it took longer than 2 s to move: killed"),
        ("server killed", OF_SERVER, "The env server was killed by SIGKILL"),
        ("server stopped", OF_SERVER, "the env server hangs: no reply within 7 s, and none to"),
        ("server restarted", ELSEWHERE, "The log of the env server at 127.0.0.1:"),
    ],
)
def test_a_failure_is_told_with_its_slots_and_its_cause(
    ordeal: Ordeal, failure: str, slots: tuple[int, ...], words: str
) -> None:
    line = ordeal.told[failure]
    assert words in line
    named = {int(slot) for slot in re.findall(r"\d+", line.partition(" restarted")[0])}
    assert named <= set(slots)
    assert len(named) == (1 if slots == OF_WORKERS else len(slots))


def test_a_reset_may_take_longer_than_a_step_but_not_than_its_own_limit(ordeal: Ordeal) -> None:
    """Both resets follow an episode that had ended, which is not cut off by them."""
    assert "restarted: it took longer than 5 s to move: killed" in ordeal.told["reset too slow"]
    assert ordeal.said.count("it took longer than") == 2, "the step that hung, and that reset"


def test_a_network_that_is_cut_for_half_a_second_costs_nothing(ordeal: Ordeal) -> None:
    assert ordeal.said.count("slots 4, 5 restarted") == 3, "the other three things done to them"


def test_a_network_that_is_cut_for_longer_than_the_lease_costs_the_open_episodes(
    ordeal: Ordeal,
) -> None:
    assert re.search("LEASE_EXPIRED|, the session's lease", ordeal.told["long cut"])


def test_a_server_that_drains_ends_with_0_and_the_run_goes_on_with_the_next(
    ordeal: Ordeal,
) -> None:
    assert ordeal.drained == 0
    assert "slots 4, 5 restarted" in ordeal.told["server drained"]


def test_a_disk_without_space_for_the_log_stops_neither_server_nor_run(ordeal: Ordeal) -> None:
    assert "Its log is empty" in ordeal.told["server killed, disk full"]


def test_the_run_ends_as_it_was_told_to_and_leaves_no_process(ordeal: Ordeal) -> None:
    assert ordeal.exit_code == ExitCode.TERMINATED
    assert "Traceback" not in ordeal.said
    assert ordeal.outlived == []
