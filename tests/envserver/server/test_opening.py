from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.shared_memory import is_available
from wmrun_envserver.wire import messages, spaces

from tests.envserver.server.client import Stepper, eventually, opening
from tests.envserver.server.scripted import (
    ACTION,
    OBSERVATION,
    Script,
    ScriptedBackend,
    ScriptedEnv,
)


def test_a_session_describes_its_env(connect):
    client = connect()
    reply = client.open(num_envs=2, client_name="a test")
    assert spaces.decode_space(reply.observation_space) == OBSERVATION
    assert spaces.decode_space(reply.action_space) == ACTION
    assert reply.spec_hash == spaces.spec_hash(OBSERVATION, ACTION)
    assert reply.instance_id == client.call("GetServerInfo").instance_id
    assert (reply.num_envs, reply.autoreset) == (2, messages.NEXT_STEP)
    assert (reply.max_episode_steps, reply.deterministic) == (100, True)
    assert (reply.reward_low, reply.reward_high) == (0.0, np.inf)
    assert reply.max_message_bytes == 64 * 2**20
    assert len(bytes.fromhex(reply.session_id)) == 16


def test_server_info_names_limits_and_envs(connect):
    client = connect(limits=Limits(max_sessions=3, max_envs=5))
    client.open()
    info = client.call("GetServerInfo")
    assert (info.implementation, info.protocol_major) == ("wmrun-envserver", 1)
    assert [env.env_id for env in info.envs] == ["scripted"]
    assert (info.limits.max_sessions, info.limits.free_sessions) == (3, 2)
    assert info.limits.max_envs_per_session == 5


@pytest.mark.parametrize(("theirs", "granted"), [(0, 0), (7, 0)])
def test_the_session_speaks_the_lower_minor(connect, theirs, granted):
    assert connect().open(protocol_minor=theirs).protocol_minor == granted


def test_what_is_wanted_and_available_is_granted(connect):
    client = connect()
    offered = {"partial_batch", "render", "stream", "step_socket"}
    offered |= {"shm"} if is_available() else set()
    assert set(client.call("GetServerInfo").capabilities) == offered
    wanted = ["stream", "shm", "step_timeout", "telepathy", "partial_batch"]
    assert client.open(want_capabilities=wanted).capabilities == ["partial_batch", "stream"]
    assert not client.open().capabilities


@pytest.mark.parametrize(
    ("fields", "code", "reason", "field"),
    [
        ({"env_id": "scriptd"}, "NOT_FOUND", "ENV_UNKNOWN", "env_id"),
        ({"env_id": ""}, "NOT_FOUND", "ENV_UNKNOWN", "env_id"),
        ({"env_id": "os:Env"}, "NOT_FOUND", "ENV_UNKNOWN", "env_id"),
        ({"num_envs": 0}, "INVALID_ARGUMENT", "BAD_REQUEST", "num_envs"),
        ({"num_envs": 257}, "RESOURCE_EXHAUSTED", "TOO_LARGE", "num_envs"),
        ({"autoreset": 0}, "INVALID_ARGUMENT", "BAD_REQUEST", "autoreset"),
        ({"autoreset": 9}, "INVALID_ARGUMENT", "BAD_REQUEST", "autoreset"),
        ({"seeds": [1, 2]}, "INVALID_ARGUMENT", "BAD_REQUEST", "seeds"),
        ({"render_mode": "rgb_array"}, "INVALID_ARGUMENT", "BAD_REQUEST", "render_mode"),
        ({"want_capabilities": ["x"] * 65}, "INVALID_ARGUMENT", "BAD_REQUEST", "want_capabilities"),
        ({"client_id": "x" * 257}, "INVALID_ARGUMENT", "BAD_REQUEST", "client_id"),
        ({"env_id": "x" * 100_000}, "NOT_FOUND", "ENV_UNKNOWN", "env_id"),
        ({"supersede": True}, "INVALID_ARGUMENT", "BAD_REQUEST", "client_id"),
    ],
)
def test_a_wrong_opening_is_refused_by_field_and_builds_nothing(
    connect, fields, code, reason, field
):
    backend = ScriptedBackend()
    got, detail = connect(backend).open_refused(**fields)
    assert (got, detail.reason, detail.field) == (code, reason, field)
    assert not backend.made


@pytest.mark.parametrize(
    ("config", "field", "words"),
    [
        ('{"lenght": 3}', "lenght", "unknown option 'lenght'"),
        ("{", "env_config_json", "not valid JSON"),
        ("[1]", "env_config_json", "must be an object, got list"),
        ("NaN", "env_config_json", "NaN is not JSON"),
        ('{"a": 1, "a": 2}', "env_config_json", "'a' appears twice"),
        ("[" * 50_000, "env_config_json", "nested too deeply"),
        (json.dumps({"a": "x" * 65_536}), "env_config_json", "at most 65536"),
    ],
)
def test_a_wrong_config_is_refused_by_option(connect, config, field, words):
    backend = ScriptedBackend()
    code, detail = connect(backend).open_refused(env_config_json=config)
    assert (code, detail.reason, detail.field) == ("INVALID_ARGUMENT", "BAD_CONFIG", field)
    assert words in detail.message
    assert not backend.made


def test_an_unknown_env_passes_on_the_backends_suggestion(connect):
    _, detail = connect().open_refused(env_id="scriptd")
    assert detail.message == "unknown env 'scriptd'; did you mean 'scripted'?"


def test_an_env_that_cannot_be_built_is_refused_without_paths_and_leaves_nothing(connect, caplog):
    error = FileNotFoundError("no rom in /opt/roms/pong.bin")
    backend = ScriptedBackend(Script(), error)
    client = connect(backend, Limits(max_sessions=1, max_envs=3))
    code, detail = client.open_refused(num_envs=3)
    assert (code, detail.reason) == ("FAILED_PRECONDITION", "ENV_FAILED")
    assert detail.message.endswith("FileNotFoundError: no rom in pong.bin")
    assert "/opt/roms/pong.bin" in caplog.text
    assert backend.made[0].closed.is_set()
    assert client.call("GetServerInfo").limits.free_sessions == 1


def test_slots_with_different_spaces_are_refused(connect, monkeypatch):
    backend = ScriptedBackend()
    make = backend.make

    def make_other(env_id, config):
        env = make(env_id, config)
        if len(backend.made) == 2:
            env.action_space = spaces.Discrete(2)
        return env

    monkeypatch.setattr(backend, "make", make_other)
    code, detail = connect(backend).open_refused(num_envs=2)
    assert (code, detail.reason) == ("FAILED_PRECONDITION", "ENV_FAILED")
    assert "different spaces" in detail.message
    assert all(env.closed.is_set() for env in backend.made)


def test_a_space_that_cannot_travel_is_refused_and_its_env_closed(connect, monkeypatch):
    too_deep: spaces.Space = OBSERVATION
    for _ in range(16):
        too_deep = spaces.Tuple((too_deep,))
    monkeypatch.setattr(ScriptedEnv, "observation_space", too_deep)
    backend = ScriptedBackend()
    client = connect(backend, Limits(max_sessions=1))
    code, detail = client.open_refused()
    assert (code, detail.reason) == ("FAILED_PRECONDITION", "ENV_FAILED")
    assert "nested deeper than 16" in detail.message
    assert backend.made[0].closed.wait(10)
    assert client.call("GetServerInfo").limits.free_sessions == 1


def test_a_session_whose_reply_cannot_fit_is_refused_at_the_opening(connect):
    backend = ScriptedBackend()
    client = connect(backend, Limits(max_message_bytes=4096))
    code, detail = client.open_refused(num_envs=200)
    assert (code, detail.reason, detail.field) == ("RESOURCE_EXHAUSTED", "TOO_LARGE", "num_envs")
    assert len(backend.made) == 1
    assert backend.made[0].closed.is_set()


def test_a_client_that_leaves_during_the_build_gets_no_session(connect, monkeypatch):
    monkeypatch.setattr("wmrun_envserver.server.worker._POLL_S", 0.02)
    gate, building = threading.Event(), threading.Event()
    backend = ScriptedBackend()
    make = backend.make

    def slow_make(env_id, config):
        building.set()
        assert gate.wait(30)
        return make(env_id, config)

    monkeypatch.setattr(backend, "make", slow_make)
    client = connect(backend, Limits(max_sessions=1))
    lost = client.start("OpenSession", **opening())
    assert building.wait(10)
    lost.cancel()
    eventually(lambda: client.call("GetServerInfo").limits.free_sessions == 1)
    gate.set()
    eventually(lambda: bool(backend.made))
    assert backend.made[0].closed.wait(10)
    Stepper(client).reset()
