"""Sessions of which some slots have a row and others do not, on a server that a test scripts."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from wmrun_envserver.wire import messages

from tests.envs.conftest import LIMIT_S
from tests.envs.scripted_server import make_rows, script, scripted
from wmrun.envs import client, exchange
from wmrun.envs.client import EnvSession, SessionRequest
from wmrun.envs.errors import EnvProtocolError, EnvServerLost


def request(num_envs: int = 3, **changes: Any) -> SessionRequest:
    return SessionRequest(task="t", num_envs=num_envs, client_id="c", options={}, **changes)


def action(*values: float) -> list[np.ndarray]:
    return [np.array(values, np.float32)[:, None]]


ALL = ((0, 10, "F"), (1, 20, "F"), (2, 30, "F"))


def test_rows_may_be_of_any_slots_that_were_answered() -> None:
    replies = script(ALL, [(2, 31, ""), (0, 11, "")], [(1, 21, ""), (0, 12, "")])
    with scripted(replies) as server, EnvSession(server.address, request()) as session:
        session.reset()
        first = session.step(action(1, 2, 3))
        second = session.step(action(4, 5), slots=[0, 2])
    assert session.is_partial
    assert (first.slots.tolist(), first.obs["vector"][:, 0].tolist()) == ([0, 2], [11, 31])
    assert (second.slots.tolist(), second.obs["vector"][:, 0].tolist()) == ([0, 1], [12, 21])
    assert server.steps == [[], [0, 2]]


def test_slots_that_are_absent_come_with_a_later_reply() -> None:
    replies = script(
        [(0, 10, "F"), (1, 0, "A"), (2, 30, "F")],
        [(0, 11, ""), (2, 31, "")],
        [(0, 12, ""), (1, 20, "F"), (2, 32, "")],
    )
    with scripted(replies) as server, EnvSession(server.address, request()) as session:
        assert session.reset().slots.tolist() == [0, 2]
        session.step(action(1, 1), slots=[0, 2])
        rows = session.step(action(1, 1), slots=[0, 2])
    assert rows.slots.tolist() == [0, 1, 2]
    assert rows.is_first.tolist() == [False, True, False]


def test_restarted_slot_is_missing_until_its_first_row() -> None:
    replies = script(ALL, [(0, 11, ""), (2, 31, "")], [(0, 12, ""), (1, 20, "R"), (2, 32, "")])
    with scripted(replies) as server, EnvSession(server.address, request()) as session:
        session.reset()
        assert session.step(action(1, 1, 1)).broken == ()
        assert session.step(action(1, 1), slots=[0, 2]).broken == (1,)


def test_slot_that_failed_for_good_has_no_row() -> None:
    replies = script(ALL, [(0, 11, ""), (1, np.nan, "X"), (2, 31, "")])
    with scripted(replies) as server, EnvSession(server.address, request()) as session:
        session.reset()
        rows = session.step(action(1, 1, 1))
    assert (rows.failed, rows.slots.tolist()) == ((1,), [0, 2])


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ([(0, 1, ""), (3, 1, "")], "a row of slot 3; the session has slots 0 to 2"),
        ([(0, 1, ""), (0, 2, "")], "several rows of slot 0"),
        ([(0, 1, ""), (2, 1, "")], "a row of slot 2 before its last one was answered"),
        ([(0, 1, ""), (1, 1, "A")], "a row of slot 1 to say that it is absent"),
    ],
)
def test_row_that_is_not_due_is_refused_by_slot(reply: list, words: str) -> None:
    with (
        scripted(script(ALL, reply)) as server,
        EnvSession(server.address, request()) as session,
    ):
        session.reset()
        with pytest.raises(EnvProtocolError, match=words):
            session.step(action(1, 1), slots=[0, 1])


def test_reply_without_any_row_is_refused() -> None:
    replies = script([(0, 0, "A")], [(0, 10, "F")], [])
    with scripted(replies) as server, EnvSession(server.address, request(1)) as session:
        with pytest.raises(EnvProtocolError, match="sent no row, and there is no slot left"):
            session.reset()
        session.reset()
        with pytest.raises(EnvProtocolError, match="sent no row, and there is no slot left"):
            session.step(action(1))


def test_reply_may_be_empty_while_the_simulator_waits_for_other_slots() -> None:
    replies = script(ALL, [], ALL)
    with scripted(replies) as server, EnvSession(server.address, request()) as session:
        session.reset()
        assert session.step(action(1), slots=[1]).slots.tolist() == []
        assert session.step(action(1, 1), slots=[0, 2]).slots.tolist() == [0, 1, 2]


def test_without_the_capability_every_slot_must_always_be_there() -> None:
    replies = script(ALL, ALL[:2])
    with (
        scripted(replies, capabilities=()) as server,
        EnvSession(server.address, request()) as session,
    ):
        session.reset()
        assert not session.is_partial
        with pytest.raises(EnvProtocolError, match=r"rows of slots \[0, 1\] where one each"):
            session.step(action(1, 1, 1))


def test_what_the_client_can_deal_with_is_asked_for() -> None:
    with scripted(script()) as server, EnvSession(server.address, request()):
        pass
    (opened, closed) = server.requests
    assert list(opened.want_capabilities) == ["partial_batch", "step_timeout"]
    assert isinstance(closed, messages.CloseSessionRequest)


@pytest.mark.parametrize(
    ("scope", "at_open", "at_reset"),
    [
        (messages.SEED_PER_RESET, [7], [9]),
        (messages.SEED_PER_SESSION, [7], []),
        (messages.SEED_NONE, [], []),
    ],
)
def test_seeds_are_sent_where_they_are_taken(
    scope: int, at_open: list[int], at_reset: list[int]
) -> None:
    with (
        scripted(script([(0, 1, "F")]), seed_scope=scope) as server,
        EnvSession(server.address, request(1, seeds=[7])) as session,
    ):
        session.reset(seeds=[9])
    *_, opened, reset, _ = server.requests
    assert (list(opened.seeds), list(reset.seeds)) == (at_open, at_reset)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_envs": 2}, "opened 2 slots with autoreset 1; 3 with NEXT_STEP"),
        ({"autoreset": messages.DISABLED}, "opened 3 slots with autoreset 3; 3 with NEXT_STEP"),
        ({"observation_space": messages.Space()}, "sent a malformed space"),
    ],
)
def test_session_that_is_not_what_was_asked_for_is_closed_again(
    changes: dict[str, Any], words: str
) -> None:
    with scripted(script(), changes=changes) as server:
        with pytest.raises(EnvProtocolError, match=words):
            EnvSession(server.address, request()).open()
        assert isinstance(server.requests[-1], messages.CloseSessionRequest)


@pytest.fixture
def short_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (client, exchange):
        monkeypatch.setattr(module, "DEADLINE_MARGIN_S", 0.05)


class Hanging:
    """Rows of which those of the first step come once `go_on` is set."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self._rows = script([(0, 1, "F")], [(0, 2, "R")])

    def __call__(self, request: Any) -> messages.Rows:
        if isinstance(request, messages.StepRequest):
            self.go_on.wait(LIMIT_S)
        return self._rows(request)


def test_server_that_ends_hangs_itself_is_waited_for(short_margin: None) -> None:
    hanging = Hanging()
    with (
        scripted(hanging, capabilities=("step_timeout", "partial_batch")) as server,
        EnvSession(server.address, request(1, step_timeout_s=0.05)) as session,
    ):
        session.reset()
        session.step_begin(action(1))
        rows = []
        waiting = threading.Thread(target=lambda: rows.append(session.step_end()))
        waiting.start()
        for _ in range(3):  # one heartbeat for every deadline that passed
            server.heartbeats.acquire()
        hanging.go_on.set()
        waiting.join()
    assert rows[0].broken == (0,)
    assert len(server.steps) == 1


@pytest.mark.parametrize(
    ("capabilities", "words"),
    [
        ((), "an environment hangs: no reply within 0.05 s"),
        (("step_timeout",), "did not end a simulator that hangs: no reply within 1.05 s"),
    ],
)
def test_server_that_lets_an_environment_hang_is_given_up(
    short_margin: None, capabilities: tuple[str, ...], words: str
) -> None:
    hanging = Hanging()
    limits = {"step_timeout_s": 0.05, "reset_timeout_s": 0.5, "open_timeout_s": 0.5}
    with scripted(hanging, capabilities=capabilities) as server:
        session = EnvSession(server.address, request(1, **limits))
        session.open()
        session.reset()
        try:
            with pytest.raises(EnvServerLost, match=words):
                session.step(action(1))
        finally:
            hanging.go_on.set()
            session.close()


def test_call_that_is_cancelled_by_another_thread_ends() -> None:
    hanging = Hanging()
    with scripted(hanging) as server:
        session = EnvSession(server.address, request(1))
        session.open()
        session.reset()
        session.step_begin(action(1))
        threading.Thread(target=session.cancel).start()
        with pytest.raises(EnvServerLost, match="the session was closed"):
            session.step_end()
        with pytest.raises(EnvServerLost, match="the session was closed"):
            session.reset()
        hanging.go_on.set()
        session.close()
        assert isinstance(server.requests[-1], messages.CloseSessionRequest)


def test_rows_and_their_info_are_read_in_the_order_of_slots() -> None:
    message = make_rows((2, 30, "F"), (0, 10, "R"))
    message.info.append(
        messages.InfoColumn(
            key="lives",
            rows=[0],
            values=messages.Tensor(dtype=messages.UINT8, shape=[1], data=b"\x05"),
        )
    )
    replies = iter([make_rows(*ALL), message])
    with (
        scripted(lambda request: next(replies)) as server,
        EnvSession(server.address, request()) as session,
    ):
        session.reset()
        rows = session.step(action(1, 1, 1))
    assert (rows.slots.tolist(), rows.obs["vector"][:, 0].tolist()) == ([0, 2], [10, 30])
    assert (rows.info["lives"].slots.tolist(), rows.info["lives"].values.tolist()) == ([2], [5])
