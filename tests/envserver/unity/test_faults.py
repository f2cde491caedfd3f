"""Players that die, hang or lie cost their own slots an episode, and none outlives its server."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from wmrun_envserver.wire import messages

from tests.envserver.server.client import eventually
from tests.envserver.unity.conftest import Served, offers, serve, write_player
from tests.envserver.unity.session import Reply, Row, Session, first
from tests.envserver.unity.standin.scene import Sight
from tests.envserver.unity.test_player import is_gone

pytestmark = pytest.mark.servers

OK, RESTARTED = messages.SLOT_OK, messages.SLOT_RESTARTED


@pytest.fixture(scope="module")
def isolated(launch: Callable[..., Served]) -> Served:
    """A server as it is by default: every simulator in a worker process."""
    return launch()


@pytest.fixture(scope="module")
def failing(launch: Callable[..., Served], tmp_path_factory: pytest.TempPathFactory) -> Served:
    """One whose scenarios go wrong in their first player only."""
    return launch(f"--once {shlex.quote(str(tmp_path_factory.mktemp('once')))}")


@contextmanager
def two_players(server: Served, scenario: str, **options: float) -> Iterator[Session]:
    """A session over two players of one agent each, after its first rows."""
    session = Session(server.client, scenario, 2, agents=1, **options)
    session.reset()
    yield session
    session.close()


def statuses(reply: Reply) -> list[int]:
    return list(reply.message.status)


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("dies", "ended with exit code 9"),
        ("nan", "NaN"),
        ("bright", "must lie in [0, 1]"),
        ("quits", "Player.x86_64 quit by itself"),
        ("hangs", "Player.x86_64 said nothing for 2 s (option timeout_s)"),
    ],
)
def test_a_player_that_fails_costs_its_own_slot_an_episode(
    failing: Served, scenario: str, words: str
) -> None:
    with two_players(failing, scenario, timeout_s=2) as session:
        replies = [session.step(0.25) for _ in range(4)]
        failed = next(reply for reply in replies if statuses(reply) != [OK, OK])
        lost = statuses(failed).index(RESTARTED)
        assert statuses(failed)[1 - lost] == OK
        assert failed.rows[lost] == first(lost, Sight(0, 0, 0, 0))
        assert failed.rows[1 - lost] == Row(1 - lost, Sight(0, 0, 3, 0.5), 1.5)
        assert [error.slot for error in failed.message.errors] == [lost]
        assert words in failed.message.errors[0].message
        assert replies[-1].rows[lost] == Row(lost, Sight(0, 0, 1, 0.5), 1.5)


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_player_that_is_killed_or_stopped_is_replaced_and_gone(
    isolated: Served, signal_number: signal.Signals
) -> None:
    with two_players(isolated, "continuous", timeout_s=2) as session:
        old = isolated.players()[-2:]
        os.kill(old[0].pid, signal_number)
        reply = session.step(0.25)
        assert sorted(statuses(reply)) == [OK, RESTARTED]
        assert is_gone(old[0].pid)
        assert not is_gone(old[1].pid)
        assert statuses(session.step(0.25)) == [OK, OK]
    players = isolated.players()[-3:]
    eventually(lambda: all(is_gone(player.pid) for player in players))


@pytest.mark.parametrize("workers", ["auto", "0"])
def test_agents_that_were_still_away_appear_after_a_restart(
    launch: Callable[..., Served], workers: str
) -> None:
    server = launch(options=[f"--workers={workers}"])
    session = Session(server.client, "staggered", 3, partial=True)
    assert statuses(session.reset()) == [OK, messages.SLOT_ABSENT, messages.SLOT_ABSENT]
    os.kill(server.players()[-1].pid, signal.SIGKILL)
    reply = session.step(0.25, [0])
    assert statuses(reply) == [RESTARTED]
    assert reply.rows == [first(0, Sight(0, 0, 0, 0))]
    assert session.step(0.25, [0]).rows == [first(1, Sight(2, 0, 1, 0))]
    assert session.step(0.25, [1]).rows == [first(2, Sight(1, 0, 2, 0))]
    assert session.step(0.25, [2]).rows == [Row(0, Sight(0, 0, 3, 0.5), 4.5)]


def test_the_death_of_a_worker_takes_a_stopped_player_with_it(isolated: Served) -> None:
    with two_players(isolated, "continuous") as session:
        player = isolated.players()[-1]
        os.kill(player.pid, signal.SIGSTOP)
        os.kill(_ancestor(player.pid, 2), signal.SIGKILL)
        assert sorted(statuses(session.step(0.25))) == [OK, RESTARTED]
        eventually(lambda: is_gone(player.pid))


@pytest.mark.parametrize(
    ("scenario", "start_timeout_s", "words"),
    [
        ("dies_in_handshake", 60, "the player Player.x86_64 ended with exit code 9"),
        ("wrong_version", 60, "Python API: 1.5.0, Unity API: 2.0.0"),
        ("silent_start", 1, "did not connect within 1 s (option start_timeout_s)"),
    ],
)
def test_a_player_that_cannot_be_spoken_to_is_refused_and_gone(
    isolated: Served, scenario: str, start_timeout_s: int, words: str
) -> None:
    _, detail = isolated.client.open_refused(
        env_id=scenario, env_config_json=json.dumps({"start_timeout_s": start_timeout_s})
    )
    assert words in detail.message
    assert is_gone(isolated.players()[-1].pid)
    limits = isolated.client.call("GetServerInfo").limits
    assert limits.free_sessions == limits.max_sessions


@pytest.mark.parametrize(
    ("ending", "workers"),
    [(signal.SIGKILL, "auto"), (signal.SIGKILL, "0"), (signal.SIGTERM, "auto")],
)
def test_players_do_not_outlive_their_server(
    launch: Callable[..., Served], ending: signal.Signals, workers: str
) -> None:
    server = launch(options=[f"--workers={workers}"])
    session = Session(server.client, "continuous", 2, agents=1)
    session.reset()
    stopped, running = server.players()
    if ending == signal.SIGKILL:
        os.kill(stopped.pid, signal.SIGSTOP)
    server.process.send_signal(ending)
    assert server.process.wait(20) == (-signal.SIGKILL if ending == signal.SIGKILL else 0)
    eventually(lambda: is_gone(stopped.pid) and is_gone(running.pid))
    if ending == signal.SIGTERM:
        assert running.events("told to quit")


def test_a_player_listens_to_the_loopback_alone(isolated: Served) -> None:
    session = Session(isolated.client, "continuous")
    port = isolated.players()[-1].events("started")[0]["port"]
    # 127.0.0.1 in words of host order, which IPv6 sockets have as ::ffff:127.0.0.1.
    assert _listeners(port) in (["0100007F"], ["0000000000000000FFFF00000100007F"])
    session.close()


def test_four_servers_with_two_players_each_start_at_once(
    unity_python: Path, player: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:

        def run(_: int) -> tuple[list[Row], list[int]]:
            logs = tmp_path_factory.mktemp("logs")
            arguments = f"--log {shlex.quote(str(logs))}"
            server = serve(stack, unity_python, logs, offers(player, arguments))
            session = Session(server.client, "continuous", 2, agents=1)
            rows = session.episodes(3, 0.25)
            ports = [log.events("started")[0]["port"] for log in server.players()]
            return rows, ports

        runs = list(pool.map(run, range(4)))
    ages = [[(row.slot, row.sight.age) for row in rows] for rows, _ in runs]
    assert ages == [[(slot, age) for age in range(4) for slot in range(2)]] * 4
    assert len({port for _, ports in runs for port in ports}) == 8


def test_the_editor_connects_on_its_own_port_and_to_one_session_alone(
    isolated: Served, unity_python: Path, tmp_path: Path
) -> None:
    nobody = json.dumps({"start_timeout_s": 1})
    _, detail = isolated.client.open_refused(env_id="editor", env_config_json=nobody)
    assert "the Editor did not connect within 1 s (option start_timeout_s)" in detail.message
    assert "press Play" in detail.message

    editor = write_player(tmp_path / "editor", unity_python)
    command = [str(editor), "--scenario", "agents", "--mlagents-port", "5004"]
    with subprocess.Popen(command) as playing:
        session = Session(isolated.client, "editor", 3)
        assert session.reset().rows == [first(slot, Sight(slot, 0, 0, 0)) for slot in range(3)]
        assert session.step(0.25).rows[2] == Row(2, Sight(2, 0, 1, 0.5), 1.5)
        _, detail = isolated.client.open_refused(env_id="editor")
        assert "port 5004 of 127.0.0.1 is taken" in detail.message
        session.close()
        assert playing.wait(20) == 0, "the Editor stops to play"


def _ancestor(pid: int, generations: int) -> int:
    """Return the process that started the process that started … `pid`."""
    for _ in range(generations):
        stat = Path(f"/proc/{pid}/stat").read_text()
        pid = int(stat.rpartition(")")[2].split()[1])
    return pid


def _listeners(port: int) -> list[str]:
    """Return the address of every TCP socket that listens on `port`, as the kernel lists it."""
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, _, local_port = line.split()[1].partition(":")
            is_listening = line.split()[3] == "0A"
            if is_listening and int(local_port, 16) == port:
                found.append(address)
    return found
