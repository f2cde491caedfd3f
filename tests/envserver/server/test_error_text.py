"""What clients are told about failures: words, without tracebacks or the server's directories."""

from __future__ import annotations

import grpc
import pytest
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.refusal import public_text
from wmrun_envserver.server.sessions import Sessions
from wmrun_envserver.wire.service import METHODS, STREAM_METHODS

from tests.envserver.server.client import TIMEOUT_S, Client, Stepper, failure, opening
from tests.envserver.server.scripted import Script, ScriptedBackend, actions


@pytest.fixture
def broken(monkeypatch):
    """Break what every call needs of the server, from now on."""

    def fail(*_: object) -> None:
        raise KeyError("no joint in /opt/simulator/joints/knee.xml")

    def install() -> None:
        for name in ("find", "close", "sweep"):
            monkeypatch.setattr(Sessions, name, fail)
        monkeypatch.setattr(Sessions, "num_free", property(fail))

    return install


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_a_bug_is_told_in_words_and_in_full_only_with_debug(connect, broken, name, debug):
    client = connect(debug=debug)
    session = Stepper(client)
    broken()
    method = METHODS[name]
    fields = opening() if name == "OpenSession" else {}
    if "session_id" in method.request.DESCRIPTOR.fields_by_name:
        fields = {"session_id": session.id}
    code, detail = client.refused(name, **fields)
    _check(code, detail, debug)


@pytest.mark.parametrize("debug", [False, True])
def test_a_bug_in_a_stream_is_told_in_words_and_in_full_only_with_debug(connect, broken, debug):
    client: Client = connect(debug=debug)
    session = Stepper(client, want_capabilities=["stream"])
    broken()
    method = STREAM_METHODS["StepStream"]
    stream = client.channel.stream_stream(
        method.path, method.request.SerializeToString, method.reply.FromString
    )
    request = method.request(session_id=session.id, seq=1, action=actions(1))
    with pytest.raises(grpc.RpcError) as caught:
        list(stream(iter([request]), timeout=TIMEOUT_S))
    _check(*failure(caught.value), debug)


def test_an_env_that_cannot_be_built_is_told_in_words(connect):
    client = connect(ScriptedBackend(OSError(2, "No such file", "/opt/simulator/joints/knee.xml")))
    code, detail = client.open_refused()
    assert (code, detail.reason) == ("FAILED_PRECONDITION", "ENV_FAILED")
    assert "No such file: 'knee.xml'" in detail.message
    assert "/opt" not in detail.message


def test_an_env_whose_reset_fails_is_told_in_words(connect):
    boom = RuntimeError("see /opt/simulator/log/")
    script = Script(reset_error=boom)
    session = Stepper(connect(ScriptedBackend(script), Limits(max_restarts=0)))
    (error,) = session.reset().errors
    assert error.message == "RuntimeError: see log"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cannot read /opt/simulator/joints/knee.xml", "cannot read knee.xml"),
        ("in '/home/alice/secret plans/a.xml'", "in 'secret plans/a.xml'"),
        ("in /home/alice/plans/", "in plans"),
        ("File:/opt/simulator/a.py", "File:a.py"),
        ("(/usr/lib/libEGL.so.1)", "(libEGL.so.1)"),
        ("see https://example.org/help/install.html", "see https://example.org/help/install.html"),
        ("unit is m/s, shape 3/4", "unit is m/s, shape 3/4"),
        ("leaf arm/0/angle", "leaf arm/0/angle"),
        ("\ud800 alone", "? alone"),
        ("", ""),
    ],
)
def test_directories_are_cut_and_the_rest_is_kept(text, told):
    assert public_text(ValueError(text), debug=False) == (
        f"ValueError: {told}" if told else "ValueError"
    )


def test_long_texts_are_cut():
    assert len(public_text(ValueError("x" * 10_000), debug=False)) == 1000


def _check(code, detail, debug):
    assert (code, detail.reason) == ("INTERNAL", "INTERNAL")
    assert "knee.xml" in detail.message
    assert ("Traceback" in detail.message) is debug
    assert ("/opt/simulator" in detail.message) is debug
