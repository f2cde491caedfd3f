"""Every check fails against a server that is wrong at the point it is about."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from wmrun_envserver.conformance.check import Result
from wmrun_envserver.conformance.launch import Launcher
from wmrun_envserver.conformance.peer import Target
from wmrun_envserver.conformance.run import Settings
from wmrun_envserver.conformance.suite import Suite, all_checks
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.step_socket import StepKind

from tests.envserver.conformance.mutations import Broken, all_broken
from tests.envserver.conformance.proxy import Call, Proxy
from tests.envserver.step_relay import Cut, Forward, frame

pytestmark = pytest.mark.servers
ROOT = Path(__file__).parents[3]
SETTINGS = Settings(steps=30, limit_s=40)


PROCESSES = [
    (2, "keeps_its_instance_id", "instance_id after a restart"),
    (26, "leaves_orphans", "processes of the server after SIGKILL"),
    (26, "knows_old_sessions", "a session from before the restart"),
    (26, "leaves_files", "forgotten"),
    (28, "dies_at_once", "expected NOT_SERVING, got UNAVAILABLE"),
    (28, "ignores_sigterm", "expected NOT_SERVING, got SERVING"),
    (30, "listens_anywhere", "0.0.0.0 without TLS"),
    (30, "serves_in_public", "a directory of mode 0755"),
]
STREAM, STEP_SOCKET = 32, 33


def rewarded(reply: Any) -> Any:
    reply.rows.reward[0] += 1
    return reply


def outcome(number: int, target: Target, launcher=None) -> Result:
    """Make one check."""
    (check,) = [check for check in all_checks() if check.number == number]
    with Suite(SETTINGS, target, launcher) as suite:
        (result,) = suite.run([check])
    return result


def test_there_is_a_wrong_server_for_every_check():
    numbers = (
        {way.check for way in all_broken()}
        | {number for number, _, _ in PROCESSES}
        | {STREAM, STEP_SOCKET}
    )
    assert numbers == {check.number for check in all_checks()}


@pytest.mark.parametrize("way", all_broken(), ids=lambda way: way.id)
def test_a_server_that_is_wrong_at_one_point_fails_its_check(way: Broken, broken):
    result = outcome(way.check, broken(way.make()))
    if result.status == "SKIP":
        pytest.skip(result.why)
    assert result.status == "FAIL"
    assert way.words in str(result.unmet)


@pytest.mark.parametrize(("number", "name", "words"), PROCESSES)
def test_a_process_that_is_wrong_at_one_point_fails_its_check(number, name, words, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    program = "tests.envserver.conformance.broken_server"
    launcher = Launcher(f"{sys.executable} -m {program} {name} {{address}}", Target(""))
    result = outcome(number, Target(""), launcher)
    assert result.status == "FAIL"
    assert words in str(result.unmet)


def test_a_server_that_asks_nobody_for_the_token_fails_the_security_check(echo_server):
    result = outcome(30, replace(echo_server.target, token="f" * 64))
    assert result.status == "FAIL"
    assert "no token: expected UNAUTHENTICATED, got OK" in str(result.unmet)


def test_a_tls_server_that_asks_for_no_certificate_fails_the_security_check(echo_server):
    authority = trustme.CA()
    own, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("client")
    pair = (own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes())
    credentials = grpc.ssl_server_credentials([pair])
    proxy = Proxy(
        echo_server.target.address,
        "127.0.0.1:0",
        Call.forward,
        credentials=credentials,
    )
    proxy.start()
    target = Target(
        f"127.0.0.1:{proxy.port}",
        tls_ca=authority.cert_pem.bytes(),
        tls_cert=client.cert_chain_pems[0].bytes(),
        tls_key=client.private_key_pem.bytes(),
    )
    result = outcome(30, target)
    proxy.stop()
    assert result.status == "FAIL"
    assert "TLS without a client certificate: expected no connection, got OK" in str(result.unmet)


def test_a_socket_that_others_can_reach_fails_the_security_check(echo_server, tmp_path):
    tmp_path.chmod(0o755)
    address = f"unix:{tmp_path}/p.sock"
    proxy = Proxy(echo_server.target.address, address, Call.forward)
    proxy.start()
    result = outcome(30, Target(address))
    proxy.stop()
    assert result.status == "FAIL"
    assert "mode of the socket's directory: expected 0700, got 0755" in str(result.unmet)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stream": rewarded}, "StepStream, rows of step 1"),
        ({"ends_streams_well": True}, "expected ABORTED, got its end"),
    ],
)
def test_a_stream_that_is_wrong_at_one_point_fails_its_check(options, words, broken):
    result = outcome(STREAM, broken(Call.forward, **options))
    assert result.status == "FAIL"
    assert words in str(result.unmet)


def reward_more(request: messages.StepRequest, forward: Forward) -> bytes:
    kind, reply = _answer(forward())
    return frame(kind, rewarded(reply)) if kind == StepKind.REPLY else frame(kind, reply)


def end_at_refusals(request: messages.StepRequest, forward: Forward) -> bytes:
    answer = forward()
    if answer[4] == StepKind.REFUSED:
        raise Cut(answer)
    return answer


def reply_to_anything(request: messages.StepRequest, forward: Forward) -> bytes:
    kind, reply = _answer(forward())
    if kind == StepKind.REFUSED:
        return frame(StepKind.REPLY, messages.StepReply(seq=request.seq))
    return frame(kind, reply)


def never_replay(request: messages.StepRequest, forward: Forward) -> bytes:
    kind, reply = _answer(forward())
    if kind == StepKind.REPLY:
        reply.replayed = False
    return frame(kind, reply)


def _answer(data: bytes) -> tuple[int, Any]:
    kind = data[4]
    message = messages.StepReply if kind == StepKind.REPLY else messages.ErrorDetail
    return kind, message.FromString(data[5:])


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (reward_more, "step socket, rows of step 1"),
        (never_replay, "replayed"),
        (end_at_refusals, "got the end of the connection"),
        (reply_to_anything, "expected SEQ_GAP, got a reply"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_step_socket_that_is_wrong_at_one_point_fails_its_check(step, words, broken):
    result = outcome(STEP_SOCKET, broken(Call.forward, step=step))
    assert result.status == "FAIL"
    assert words in str(result.unmet)


def test_the_proxy_alone_breaks_nothing(broken):
    with Suite(SETTINGS, broken(Call.forward)) as suite:
        results = list(suite.run(all_checks()))
    assert [(result.check.name, str(result.unmet)) for result in results if result.unmet] == []
