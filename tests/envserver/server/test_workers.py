from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wmrun_envserver.server.address import UnixAddress
from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.server import EnvServer
from wmrun_envserver.wire import messages, tensors

from tests.envserver.server.client import Client, Stepper, eventually
from tests.envserver.server.packages import install
from tests.envserver.server.worker_backend import EXIT, HANG, KILL, MOVE, NAN, RAISE

ROOT = Path(__file__).parents[3]
LIMITS = Limits(restart_pause_s=0)
PARTIAL = ["partial_batch", "step_timeout"]
DRAWS = {"render_mode": "rgb_array", "want_capabilities": ["render"]}


class Workers(Stepper):
    """A session whose actions are orders to its simulators."""

    def __init__(self, client: Client, *, config: dict[str, Any] | None = None, **fields: Any):
        fields = {"env_id": "obedient", "env_config_json": json.dumps(config or {})} | fields
        super().__init__(client, **fields)

    def act(self, *orders: int, slots: Sequence[int] = ()) -> messages.Rows:
        action = [tensors.encode(np.array(orders, np.int64))]
        return self._mutate("Step", slots=slots, action=action)

    def close(self) -> None:
        self.client.call("CloseSession", session_id=self.id)


@pytest.fixture
def start(
    tmp_path: Path, socket_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Client]]:
    """Serve the obedient backend from this process, its simulators in worker processes."""
    module = "tests.envserver.server.worker_backend"
    install(
        tmp_path,
        "obedient",
        {
            "obedient": f"{module}:ObedientBackend",
            "obedient_vector": f"{module}:ObedientVectorBackend",
        },
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    with ExitStack() as stack:

        def serve(
            workers: int | None = 2, limits: Limits = LIMITS, name: str = "obedient"
        ) -> Client:
            address = UnixAddress(socket_dir / f"{len(os.listdir(socket_dir))}.sock")
            server = EnvServer(Catalogue.load(name), address, limits, workers=workers)
            server.start()
            stack.callback(server.drain, 10.0)
            client = Client(server.address)
            stack.callback(client.close)
            return client

        yield serve


def _column(rows: messages.Rows, index: int) -> list[int]:
    values: list[int] = tensors.decode(rows.obs[0])[:, index].astype(int).tolist()
    return values


def _pids(rows: messages.Rows) -> list[int]:
    return _column(rows, 1)


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_slots_are_spread_over_processes_and_rows_come_as_from_one(start):
    session = Workers(start(workers=2), num_envs=3, config={"length": 2}, seeds=[5, 6, 7])
    rows = session.reset()
    pids = _pids(rows)
    assert (len(set(pids)), pids[1]) == (2, pids[2])
    assert os.getpid() not in pids
    assert _column(rows, 2) == [5, 6, 7]
    assert tensors.decode(rows.obs[1]).tolist() == ["ümlaut"] * 3

    history = [session.act(MOVE, MOVE, MOVE) for _ in range(3)]
    assert [list(rows.slot) for rows in history] == [[0, 1, 2]] * 3
    assert [list(rows.step_in_episode) for rows in history] == [[1] * 3, [2] * 3, [0] * 3]
    assert [list(rows.terminated) for rows in history] == [[False] * 3, [True] * 3, [False] * 3]
    assert list(history[2].episode) == [1, 1, 1]
    info = {
        column.key: (list(column.rows), tensors.decode(column.values).tolist())
        for column in history[0].info
    }
    assert info == {"step": ([0, 1, 2], [1, 1, 1]), "word": ([0, 1, 2], ["größe"] * 3)}

    session.close()
    assert all(map(_is_gone, pids))


def test_every_way_to_fail_costs_only_the_slots_of_that_worker(start, capfd):
    session = Workers(
        start(limits=Limits(max_restarts=9, restart_pause_s=0)), num_envs=2, step_timeout_ms=1000
    )
    last = session.reset()
    restarted, ok = messages.SLOT_RESTARTED, messages.SLOT_OK
    for number, (order, words) in enumerate(
        [
            (RAISE, "RuntimeError: the joint exploded in knee.xml"),
            (NAN, "the reward is nan"),
            (EXIT, "exit code 7"),
            (KILL, "signal SIGKILL"),
            (HANG, "longer than 1 s"),
        ],
        start=1,
    ):
        rows = session.act(order, MOVE)
        assert (list(rows.status), list(rows.is_first)) == ([restarted, ok], [True, False])
        assert (list(rows.episode), list(rows.step_in_episode)) == ([number, 0], [0, number])
        (error,) = rows.errors
        assert error.slot == 0
        assert words in error.message
        assert error.reason == ("ENV_CONTRACT" if order == NAN else "ENV_FAILED")
        in_process = order in (RAISE, NAN)
        assert (_pids(rows)[0] == _pids(last)[0]) == in_process
        assert _pids(rows)[1] == _pids(last)[1]
        assert in_process or _is_gone(_pids(last)[0])
        last = rows
    assert "Traceback" in capfd.readouterr().err


def test_restarts_go_on_in_the_background_of_partial_batches(start, caplog):
    session = Workers(start(), num_envs=2, want_capabilities=PARTIAL)
    assert session.opened.capabilities == PARTIAL
    session.reset()
    rows = session.act(KILL, MOVE)
    assert (list(rows.slot), list(rows.status)) == ([1], [messages.SLOT_OK])
    steps = 1
    while list(rows.slot) == [1]:
        rows = session.act(MOVE, slots=[1])
        steps += 1
    assert list(rows.slot) == [0, 1]
    assert list(rows.status) == [messages.SLOT_RESTARTED, messages.SLOT_OK]
    assert list(rows.step_in_episode) == [0, steps]
    assert list(session.act(MOVE, MOVE).step_in_episode) == [1, steps + 1]


def test_a_worker_of_two_slots_that_dies_again_and_again_gives_each_slot_one_row_at_a_time(
    start, caplog
):
    limits = Limits(restart_pause_s=0, max_restarts=1000)
    session = Workers(start(workers=1, limits=limits), num_envs=2, want_capabilities=PARTIAL)
    rows, deaths = session.reset(), 0
    while deaths < 4:
        slots = list(rows.slot)
        assert slots == sorted(set(slots))
        orders = [EXIT, MOVE] if len(slots) == 2 else [MOVE]
        deaths += EXIT in orders
        rows = session.act(*orders, slots=slots)


@pytest.mark.servers
def test_a_call_without_any_row_waits_for_the_restart(start, caplog):
    session = Workers(start(), num_envs=2, want_capabilities=PARTIAL)
    session.reset()
    rows = session.act(EXIT, slots=[0])
    assert (list(rows.slot), list(rows.status)) == ([0], [messages.SLOT_RESTARTED])
    assert list(session.act(MOVE, MOVE).step_in_episode) == [1, 1]


@pytest.mark.servers
def test_a_reset_waits_for_slots_that_are_being_restarted(start, caplog):
    session = Workers(start(), num_envs=2, want_capabilities=PARTIAL)
    session.reset()
    session.act(KILL, MOVE)
    rows = session.reset(seeds=[3, 4])
    assert (list(rows.slot), list(rows.is_first)) == ([0, 1], [True, True])
    assert list(rows.status) == [messages.SLOT_RESTARTED, messages.SLOT_OK]
    assert _column(rows, 2) == [3, 4]
    assert list(session.act(MOVE, MOVE).step_in_episode) == [1, 1]


@pytest.mark.servers
def test_a_stopped_or_killed_idle_worker_is_replaced(start, caplog):
    session = Workers(start(), num_envs=2, step_timeout_ms=500)
    pids = _pids(session.reset())
    os.kill(pids[0], signal.SIGKILL)
    os.kill(pids[1], signal.SIGSTOP)
    rows = session.act(MOVE, MOVE)
    assert list(rows.status) == [messages.SLOT_RESTARTED] * 2
    assert "SIGKILL" in rows.errors[0].message
    assert "longer than 0.5 s" in rows.errors[1].message
    assert all(map(_is_gone, pids))


@pytest.mark.servers
def test_a_slot_that_dies_too_often_is_given_up_and_the_others_go_on(start, caplog):
    session = Workers(start(limits=Limits(max_restarts=1, restart_pause_s=0)), num_envs=2)
    session.reset()
    statuses = [list(session.act(EXIT, MOVE).status) for _ in range(3)]
    restarted, failed, ok = messages.SLOT_RESTARTED, messages.SLOT_FAILED, messages.SLOT_OK
    assert statuses == [[restarted, ok], [failed, ok], [failed, ok]]


@pytest.mark.parametrize("hides", [False, True], ids=["told", "hidden"])
def test_children_outside_the_group_die_with_their_worker(start, caplog, hides):
    config = {"child": True, "hides": hides}
    session = Workers(start(), num_envs=2, config=config, step_timeout_ms=500)
    rows = session.reset()
    children = _column(rows, 3)
    assert not any(map(_is_gone, children))
    rows = session.act(HANG, MOVE)
    eventually(lambda: _is_gone(children[0]))
    assert not _is_gone(children[1])
    replaced = _column(rows, 3)[0]
    session.close()
    eventually(lambda: _is_gone(children[1]) and _is_gone(replaced))


def test_an_env_that_cannot_be_built_in_a_worker_refuses_the_session(start, tmp_path, caplog):
    client = start()
    fields = {"env_id": "obedient", "num_envs": 2}
    code, detail = client.open_refused(env_config_json='{"refuse": true}', **fields)
    assert (code, detail.reason, detail.field) == ("INVALID_ARGUMENT", "BAD_CONFIG", "map")
    assert detail.message == "there is no such map"
    marker = tmp_path / "marker"
    marker.touch()
    config = json.dumps({"marker": str(marker)})
    code, detail = client.open_refused(env_config_json=config, **fields)
    assert (code, detail.reason) == ("FAILED_PRECONDITION", "ENV_FAILED")
    assert detail.message.endswith("OSError: the licence is gone")
    limits = client.call("GetServerInfo").limits
    assert limits.free_sessions == limits.max_sessions


@pytest.mark.parametrize("workers", [0, 1])
def test_wrong_spaces_break_the_contract_while_frames_are_drawn_wherever_they_are(
    start, caplog, workers
):
    session = Workers(start(workers), config={"draws": True}, **DRAWS)
    session.reset()
    code, detail = session.client.refused("Render", session_id=session.id)
    assert (code, detail.reason) == ("FAILED_PRECONDITION", "ENV_CONTRACT")
    assert "SpaceError: the camera's image does not fit its space" in detail.message


@pytest.mark.servers
@pytest.mark.parametrize("workers", [0, 1])
def test_a_simulator_rebuilt_with_wrong_spaces_breaks_the_contract_wherever_it_lives(
    start, tmp_path, caplog, workers
):
    marker = tmp_path / "marker"
    client = start(workers, Limits(max_restarts=1, restart_pause_s=0))
    session = Workers(client, config={"space": str(marker)})
    session.reset()
    marker.touch()
    rows = session.act(RAISE)
    assert list(rows.status) == [messages.SLOT_FAILED]
    assert rows.errors[0].reason == "ENV_CONTRACT"
    assert "SpaceError: Box has low > high" in rows.errors[0].message


@pytest.mark.servers
def test_a_rebuilt_simulator_with_other_spaces_breaks_the_contract(start, tmp_path, caplog):
    marker = tmp_path / "marker"
    config = {"spaces_change_at": str(marker)}
    session = Workers(start(limits=Limits(max_restarts=1, restart_pause_s=0)), config=config)
    session.reset()
    marker.touch()
    rows = session.act(RAISE)
    assert list(rows.status) == [messages.SLOT_FAILED]
    assert rows.errors[0].reason == "ENV_CONTRACT"
    assert "different spaces" in rows.errors[0].message


@pytest.mark.servers
def test_isolated_simulators_get_a_process_each_unless_told_otherwise(start):
    client = start(workers=None)
    assert "step_timeout" in client.call("GetServerInfo").capabilities
    own = Workers(client, num_envs=3, config={"isolate": True}, want_capabilities=["step_timeout"])
    assert own.opened.capabilities == ["step_timeout"]
    assert len(set(_pids(own.reset()))) == 3
    shared = Workers(client, num_envs=3, want_capabilities=["step_timeout"])
    assert not shared.opened.capabilities
    assert set(_pids(shared.reset())) == {os.getpid()}


@pytest.mark.servers
@pytest.mark.parametrize("capabilities", [[], PARTIAL])
def test_simulators_of_several_slots_live_and_die_in_workers(start, caplog, capabilities):
    client = start(name="obedient_vector")
    session = Workers(client, num_envs=4, want_capabilities=capabilities, step_timeout_ms=2000)
    pids = _pids(session.reset(seeds=[1, 2, 3, 4]))
    assert pids[0] == pids[1] != pids[2] == pids[3]
    assert list(session.act(MOVE, MOVE, MOVE, MOVE).step_in_episode) == [1] * 4
    rows = session.act(MOVE, KILL, MOVE, MOVE)
    statuses = dict(zip(rows.slot, rows.status, strict=True))
    while len(statuses) < 4:
        rows = session.act(*[MOVE] * len(rows.slot), slots=rows.slot)
        statuses |= {s: st for s, st in zip(rows.slot, rows.status, strict=True) if s < 2}
    restarted, ok = messages.SLOT_RESTARTED, messages.SLOT_OK
    assert statuses == {0: restarted, 1: restarted, 2: ok, 3: ok}


def test_frames_come_from_workers_too(start):
    session = Workers(start(), num_envs=2, **DRAWS)
    session.reset()
    session.act(MOVE, MOVE)
    reply = session.client.call("Render", session_id=session.id, max_width=4)
    frames = [tensors.decode(frame) for frame in reply.frames]
    assert [frame.shape for frame in frames] == [(2, 4, 3)] * 2
    assert {int(frame.max()) for frame in frames} == {1}
    assert list(session.act(MOVE, MOVE).step_in_episode) == [2, 2]


@pytest.mark.servers
def test_slots_that_were_never_reset_survive_the_restart_of_their_simulator(start, caplog):
    client = start(name="obedient_vector", workers=1)
    session = Workers(client, num_envs=2, want_capabilities=PARTIAL)
    session.reset(slots=[0])
    rows = session.act(KILL, slots=[0])
    assert (list(rows.slot), list(rows.status)) == ([0], [messages.SLOT_RESTARTED])
    rows = session.reset(slots=[1])
    assert (list(rows.slot), list(rows.is_first)) == ([1], [True])
    assert list(session.act(MOVE, MOVE).step_in_episode) == [1, 1]


@pytest.mark.servers
@pytest.mark.parametrize("workers", [0, 2])
def test_slots_that_begin_to_move_at_different_times_are_refused_wherever_they_live(start, workers):
    client = start(name="obedient_vector", workers=workers)
    session = Workers(client, num_envs=4, config={"staggers": True})
    session.reset()
    action = [tensors.encode(np.zeros(4, np.int64))]
    code, detail = session.refused("Step", action=action)
    assert (code, detail.reason) == ("UNIMPLEMENTED", "UNSUPPORTED")
    assert detail.field == "want_capabilities"
    assert "the agents began to decide" in detail.message
    assert session.refused("Step", action=action)[1].reason == "SESSION_UNKNOWN"


@pytest.mark.servers
@pytest.mark.parametrize(("name", "mates"), [("obedient", 1), ("obedient_vector", 2)])
def test_a_pause_before_a_restart_holds_up_no_slot_of_the_same_worker(start, caplog, name, mates):
    client = start(workers=1, limits=Limits(restart_pause_s=3600), name=name)
    session = Workers(client, num_envs=2 * mates, want_capabilities=PARTIAL)
    failing, others = [RAISE] * mates, list(range(mates, 2 * mates))
    pids = _pids(session.reset())
    rows = session.act(*failing, *[MOVE] * mates)
    while len(rows.slot) < 2 * mates:
        rows = session.act(*[MOVE] * mates, slots=others)
    session.act(*failing, *[MOVE] * mates)
    for _ in range(2):
        rows = session.act(*[MOVE] * mates, slots=others)
        assert list(rows.slot) == others
    assert _pids(rows) == pids[mates:]


@pytest.mark.servers
def test_a_worker_lost_during_a_pause_fails_only_the_slots_that_had_simulators(start, caplog):
    limits = Limits(restart_pause_s=3600, max_restarts=2)
    session = Workers(start(workers=1, limits=limits), num_envs=2, want_capabilities=PARTIAL)
    session.reset()
    rows = session.act(RAISE, MOVE)
    while len(rows.slot) < 2:
        rows = session.act(MOVE, slots=[1])
    session.act(RAISE, MOVE)
    rows = session.act(KILL, slots=[1])
    assert (list(rows.slot), list(rows.status)) == ([1], [messages.SLOT_RESTARTED])
    assert [error.slot for error in rows.errors] == [1]
