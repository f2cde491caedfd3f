"""A dm_env_rpc server that runs somewhere is stepped as dm_env_rpc says."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wmrun_envserver.backends.base import ConfigError, Env, SourceError, UnknownEnvError
from wmrun_envserver.server.address import UnixAddress
from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.server import EnvServer
from wmrun_envserver.wire import messages, spaces

pytest.importorskip("dm_env_rpc")

import grpc
from dm_env_rpc.v1 import dm_env_rpc_pb2
from wmrun_envserver.backends import dm_env_rpc_connection
from wmrun_envserver.backends.dm_env_rpc import DmEnvRpcBackend
from wmrun_envserver.backends.dm_env_rpc_specs import Actions, Observations

from tests.envserver.backends.remote_catch import COLUMNS, ROWS, Catch, spec, started
from tests.envserver.server.client import Client

LEFT, STAY, RIGHT = ([np.array(move, np.int8)] for move in (-1, 0, 1))


class Remote:
    """A catch server of this process, and a backend that offers it as "catch"."""

    def __init__(self) -> None:
        self.catch = Catch()
        self.server, self.port = started(self.catch)
        self.backend = DmEnvRpcBackend()
        self.offer("")

    def offer(self, world: str) -> None:
        self.backend.offer("catch", f"127.0.0.1:{self.port}{world}")

    def make(self, **config: Any) -> Env:
        self.backend.prepare("catch", config)
        return self.backend.make("catch", config)

    def requests(self) -> list[str]:
        return [type(request).__name__.removesuffix("Request") for request in self.catch.log]


@pytest.fixture
def remote() -> Iterator[Remote]:
    remote = Remote()
    yield remote
    remote.catch.released.set()
    remote.server.stop(None).wait()


def played(env: Env, seed: int | None, action: list[np.ndarray]) -> list[Any]:
    """Return the results of one episode, the first of its reset."""
    results = [env.reset(seed)]
    while not (results[-1].terminated or results[-1].truncated):
        results.append(env.step(action))
    return results


def test_specs_are_spaces_nested_by_their_names(remote: Remote) -> None:
    env = remote.make()
    assert env.action_space == spaces.Discrete(3, -1, np.dtype("int8"))
    paddle = spaces.Dict(
        (("column", spaces.Discrete(COLUMNS, 0, np.dtype("int32"))), ("label", spaces.Text()))
    )
    assert env.observation_space == spaces.Dict(
        (
            ("paddle", paddle),
            ("ball", spaces.Box((2,), "float64", 0, [ROWS, COLUMNS], "VECTOR")),
            ("image", spaces.Box((ROWS, COLUMNS, 1), "uint8", role="IMAGE_HWC")),
        )
    )
    result = env.reset(None)
    for leaf, value in zip(spaces.leaves(env.observation_space), result.obs, strict=True):
        if leaf.path != "paddle/label":
            spaces.check(leaf, np.asarray(value)[None])
    column, label, ball, image = result.obs
    assert (column, str(label), ball.tolist()) == (2, "right", [0, 3])
    assert image[ROWS - 1, 2] == image[0, 3] == 255
    env.close()


def test_an_episode_is_a_sequence_and_the_next_begins_with_a_step(remote: Remote) -> None:
    env = remote.make()
    first, second = played(env, None, STAY), played(env, None, STAY)
    env.close()
    for results in (first, second):
        assert len(results) == ROWS
        assert [result.obs[2][0] for result in results] == list(range(ROWS))
        assert [result.reward for result in results[:-1]] == [0.0] * (ROWS - 1)
        assert abs(results[-1].reward) == 1
        assert (results[-1].terminated, results[-1].truncated) == (True, False)
    steps = ["Step"] * (2 * ROWS)
    assert remote.requests() == ["CreateWorld", "JoinWorld", *steps, "LeaveWorld", "DestroyWorld"]
    with_actions = [bool(request.actions) for request in remote.catch.log[2:-2]]
    assert with_actions == ([False] + [True] * (ROWS - 1)) * 2
    assert list(remote.catch.worlds) == ["lobby", ""]


def test_actions_reach_the_remote_env(remote: Remote) -> None:
    env = remote.make()
    env.reset(None)
    columns = [env.step(move).obs[0] for move in (LEFT, LEFT, RIGHT)]
    assert columns == [1, 0, 1]
    env.close()


def test_a_reset_in_mid_sequence_is_sent(remote: Remote) -> None:
    env = remote.make()
    env.reset(None)
    env.step(STAY)
    assert env.reset(None).obs[2][0] == 0
    assert remote.requests()[2:] == ["Step", "Step", "Reset", "Step"]
    env.close()


def test_an_interrupted_sequence_was_truncated(remote: Remote) -> None:
    env = remote.make(create_settings={"limit": 2})
    results = played(env, None, STAY)
    assert len(results) == 3
    assert (results[-1].terminated, results[-1].truncated) == (False, True)
    assert len(played(env, None, STAY)) == 3
    env.close()


@pytest.mark.parametrize(
    ("discount", "config", "terminated", "info"),
    [
        (0.0, {}, True, {"discount": 0.0}),
        (0.5, {}, False, {"discount": 0.5}),
        (0.5, {"discount_observation": ""}, True, {}),
    ],
)
def test_a_discount_says_whether_a_sequence_came_to_an_end_or_ran_out_of_time(
    remote: Remote, discount: float, config: dict, terminated: bool, info: dict
) -> None:
    env = remote.make(create_settings={"discount": discount}, **config)
    last = played(env, None, STAY)[-1]
    assert (last.terminated, last.truncated) == (terminated, not terminated)
    assert last.info == info
    names = [name for name, _ in env.observation_space.entries]  # type: ignore[union-attr]
    assert ("discount" in names) == (info == {})
    env.close()


def test_the_reward_may_have_another_name_and_observations_be_chosen(remote: Remote) -> None:
    env = remote.make(
        settings={}, create_settings={"score": True}, reward_observation="score",
        observations=["ball"],
    )  # fmt: skip
    assert [leaf.path for leaf in spaces.leaves(env.observation_space)] == ["ball"]
    assert abs(played(env, None, STAY)[-1].reward) == 100
    assert {uid for request in remote.catch.log[2:] for uid in request.requested_observations} == {
        2, 10,
    }  # fmt: skip
    env.close()


def test_seeds_repeat_episodes_where_a_setting_takes_them(remote: Remote) -> None:
    assert remote.backend.prepare("catch", {}).seed_scope == "none"
    config = {"seed_setting": "seed"}
    traits = remote.backend.prepare("catch", config)
    assert (traits.seed_scope, traits.deterministic) == ("reset", True)
    one, two = remote.make(**config), remote.make(**config)
    balls = {}
    for seed in range(8):
        mine, theirs = (played(env, seed, STAY) for env in (one, two))
        for a, b in zip(mine, theirs, strict=True):
            assert [np.asarray(leaf).tolist() for leaf in a.obs] == [
                np.asarray(leaf).tolist() for leaf in b.obs
            ]
            assert (a.reward, a.terminated, a.truncated) == (b.reward, b.terminated, b.truncated)
        balls[seed] = mine[0].obs[2][1]
    assert len(set(balls.values())) > 1
    one.close()
    two.close()


@pytest.mark.parametrize(
    ("dtype", "seed", "sent"),
    [
        ("int64", 2**63 - 1, 2**63 - 1),
        ("int64", 2**63 + 5, 5),
        ("int32", 2**31 + 7, 7),
        ("uint32", 2**32 - 1, 2**32 - 1),
        ("uint64", 2**64 - 1, 2**64 - 1),
    ],
)
def test_seeds_are_sent_in_the_dtype_that_the_server_wants(
    remote: Remote, dtype: str, seed: int, sent: int
) -> None:
    env = remote.make(seed_setting="seed", seed_dtype=dtype)
    env.reset(seed)
    reset = remote.catch.log[2]
    assert isinstance(reset, dm_env_rpc_pb2.ResetRequest)
    payload = reset.settings["seed"]
    assert payload.WhichOneof("payload") == f"{dtype}s"
    assert list(getattr(payload, f"{dtype}s").array) == [sent]
    env.close()


def test_settings_travel_typed_and_flat(remote: Remote) -> None:
    remote.catch.known_settings = ("a.b", "a.c", "size", "both")  # type: ignore[misc]
    env = remote.make(
        settings={"both": "x"},
        create_settings={"a": {"b": 1, "c": [0.5, 1.5]}, "size": {"dtype": "int32", "value": 3}},
        join_settings={"team": True},
    )
    created, joined = (dict(request.settings) for request in remote.catch.log[:2])
    env.close()
    assert sorted(created) == ["a.b", "a.c", "both", "size"]
    assert list(created["a.b"].int64s.array) == [1]
    assert list(created["a.c"].doubles.array) == [0.5, 1.5]
    assert list(created["size"].int32s.array) == [3]
    assert list(created["both"].strings.array) == ["x"]
    assert sorted(joined) == ["both", "team"]
    assert list(joined["team"].bools.array) == [True]


@pytest.mark.parametrize(("path", "world"), [("/lobby", "lobby"), ("/", "")])
def test_a_world_that_is_there_is_joined_and_left_alone(
    remote: Remote, path: str, world: str
) -> None:
    remote.offer(path)
    env = remote.make()
    env.reset(None)
    env.close()
    assert remote.requests() == ["JoinWorld", "Step", "LeaveWorld"]
    assert remote.catch.log[0].world_name == world
    with pytest.raises(ConfigError, match="joins a world that is there: use join_settings"):
        remote.make(create_settings={"limit": 2})


def test_servers_with_local_credentials_are_reached_too(remote: Remote) -> None:
    server, port = started(remote.catch, grpc.local_server_credentials())
    remote.backend.offer("catch", f"localhost:{port}")
    env = remote.make()
    env.reset(None)
    env.close()
    server.stop(None)


@pytest.mark.parametrize(
    ("config", "field", "message"),
    [
        (
            {"create_settings": {"rwos": 3}},
            "create_settings",
            r"refused CreateWorld: INVALID_ARGUMENT: unknown setting 'rwos'",
        ),
        (
            {"create_settings": {"size": {"dtype": "int33", "value": 3}}},
            "create_settings.size",
            "setting 'size' cannot be sent: data type 'int33' not understood",
        ),
        (
            {"reward_observation": "rewrad"},
            "reward_observation",
            r"no observation 'rewrad'\. Did you mean reward\? It has: ball, image, paddle.column",
        ),
        ({"observations": ["bal"]}, "observations", r"no observation 'bal'\. Did you mean ball"),
        ({"observations": "ball"}, "observations", "must be a list of names, got 'ball'"),
        (
            {"create_settings": {"variable": True}},
            "",
            r"'events' has a dimension of variable length, \[-1\]; .*: leave it out of observa",
        ),
        ({"seed_setting": 3}, "seed_setting", "must be a string, got 3"),
        ({"sede_setting": "x"}, "sede_setting", "Did you mean seed_setting"),
        ({"image": {}, "observations": ["ball"]}, "image", "has no observation 'image' of uint8"),
    ],
)
def test_wrong_options_are_refused(remote: Remote, config: dict, field: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        remote.make(**config)
    assert caught.value.field == field


def test_a_world_that_is_not_there_is_the_servers_to_refuse(remote: Remote) -> None:
    remote.offer("/nowhere")
    with pytest.raises(ConfigError, match="refused JoinWorld: NOT_FOUND: no world 'nowhere'"):
        remote.make()


def test_the_image_may_be_resized(remote: Remote) -> None:
    env = remote.make(image={"size": [10, 8]})
    assert [leaf.path for leaf in spaces.leaves(env.observation_space)] == ["image"]
    assert env.reset(None).obs[0].shape == (10, 8, 3)
    env.close()


def test_an_error_reply_names_the_request_and_the_server_goes_on(remote: Remote) -> None:
    env = remote.make(create_settings={"fail_at": 2})
    env.reset(None)
    env.step(STAY)
    expected = f"at 127.0.0.1:{remote.port} refused Step: FAILED_PRECONDITION: the paddle is stuck"
    with pytest.raises(Exception, match=expected):
        env.step(STAY)
    env.close()
    assert remote.requests()[-2:] == ["LeaveWorld", "DestroyWorld"]


def test_a_server_that_hangs_costs_no_more_than_the_time_limit(remote: Remote) -> None:
    env = remote.make(create_settings={"hang_at": 1}, timeout_s=1)
    env.reset(None)
    with pytest.raises(TimeoutError, match=r"127.0.0.1:\d+ did not answer Step in 1 s"):
        env.step(STAY)
    with pytest.raises(ConnectionError, match="did not answer Step in 1 s"):
        env.reset(None)
    env.close()


def test_specs_that_change_at_a_reset_are_an_error(remote: Remote) -> None:
    env = remote.make(create_settings={"new_specs": True})
    env.reset(None)
    with pytest.raises(RuntimeError, match="changed its specs at a Reset"):
        env.reset(None)
    env.close()


def catch_process(port: int = 0) -> tuple[subprocess.Popen[str], int]:
    """Start a catch server of its own process and return it with its port."""
    program = [sys.executable, str(Path(__file__).with_name("remote_catch.py")), str(port)]
    child = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    return child, int(child.stdout.readline())


def killed(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.communicate()


def test_a_server_that_is_killed_fails_the_episode_and_its_slot_says_so() -> None:
    child, port = catch_process()
    backend = DmEnvRpcBackend()
    backend.offer("catch", f"127.0.0.1:{port}")
    env = backend.make("catch", {})
    env.reset(None)
    env.step(STAY)
    killed(child)
    for _ in range(2):
        with pytest.raises(ConnectionError, match=f"at 127.0.0.1:{port} is gone: UNAVAILABLE"):
            env.step(STAY)
    env.close()


@pytest.mark.servers
def test_slots_go_on_where_their_server_was_started_again_and_fail_where_it_was_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child, port = catch_process()
    backend = DmEnvRpcBackend()
    backend.offer("catch", f"127.0.0.1:{port}")
    with tempfile.TemporaryDirectory(prefix="wm") as directory:
        server = EnvServer(Catalogue(backend), UnixAddress(Path(directory) / "s.sock"))
        server.start()
        client = Client(server.address)
        session = client.open(env_id="catch", num_envs=2).session_id
        stay = [messages.Tensor(dtype=messages.INT8, shape=[2], data=bytes(2))]

        def step(seq: int) -> messages.Rows:
            return client.call("Step", session_id=session, seq=seq, action=stay).rows

        client.call("Reset", session_id=session, seq=1)
        assert list(step(2).status) == [messages.SLOT_OK] * 2
        killed(child)
        child, _ = catch_process(port)
        rows = step(3)
        assert list(rows.status) == [messages.SLOT_RESTARTED] * 2
        assert list(rows.is_first) == [True, True]
        assert all("is gone: UNAVAILABLE" in error.message for error in rows.errors)
        assert list(step(4).step_in_episode) == [1, 1]
        monkeypatch.setattr(
            "wmrun_envserver.backends.dm_env_rpc_connection._CONNECT_TIMEOUT_S", 0.1
        )
        killed(child)
        rows = step(5)
        assert list(rows.status) == [messages.SLOT_FAILED] * 2
        assert all("no dm_env_rpc server answers" in error.message for error in rows.errors)
        client.close()
        server.drain(5.0)


def test_no_server_at_all_is_said_at_once(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dm_env_rpc_connection, "_CONNECT_TIMEOUT_S", 0.2)
    remote.server.stop(None).wait()
    with pytest.raises(
        ConnectionError, match=f"no dm_env_rpc server answers at 127.0.0.1:{remote.port}"
    ):
        remote.make()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("9911", "expected [tls://]HOST:PORT[/WORLD], such as 127.0.0.1:9911"),
        ("localhost", "expected [tls://]HOST:PORT[/WORLD]"),
        ("http://localhost:1", "expected [tls://]HOST:PORT[/WORLD]"),
        ("localhost:70000", "port 70000 is not one of 1 to 65535"),
        ("localhost:0", "port 0 is not one of 1 to 65535"),
    ],
)
def test_sources_that_are_no_address_are_refused(source: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        DmEnvRpcBackend().offer("catch", source)
    assert str(caught.value).startswith(f"--env catch={source}: {message}")


def test_only_what_was_offered_can_be_opened(remote: Remote) -> None:
    with pytest.raises(UnknownEnvError, match=r"unknown env id 'cacth'\. Did you mean catch\?"):
        remote.backend.prepare("cacth", {})
    with pytest.raises(UnknownEnvError, match="Start the server with --env x=HOST:PORT"):
        DmEnvRpcBackend().prepare("x", {})


def test_actions_of_every_kind_have_their_space_and_go_back_as_tensors() -> None:
    specs = {
        1: spec("arm.x", "FLOAT", (2,), -1.0, [1.0, 2.0]),
        2: spec("fire", "BOOL"),
        3: spec("arm.y", "DOUBLE"),
        4: spec("gears", "INT32", (2,), [0, -1], [2, 3]),
        5: spec("keys", "BOOL", (3,)),
        6: spec("say", "STRING"),
        7: spec("count", "INT32", (), 0),
        8: spec("free", "FLOAT", (), float(np.finfo(np.float32).min), 1.0),
    }
    actions = Actions(specs)
    assert actions.space == spaces.Dict(
        (
            (
                "arm",
                spaces.Dict(
                    (
                        ("x", spaces.Box((2,), "float32", -1, [1, 2])),
                        ("y", spaces.Box((), "float64")),
                    )
                ),
            ),
            ("fire", spaces.Discrete(2)),
            ("gears", spaces.MultiDiscrete([3, 5], [0, -1], "int32")),
            ("keys", spaces.MultiBinary((3,))),
            ("say", spaces.Text()),
            ("count", spaces.Box((), "int32", 0)),
            ("free", spaces.Box((), "float32", -np.inf, 1)),
        )
    )
    value = {
        "arm": {"x": [0.5, 2], "y": -3.25}, "fire": 1, "gears": [2, -1], "keys": [1, 0, 1],
        "say": "añ", "count": 9, "free": -5,
    }  # fmt: skip
    tensors = actions.pack(spaces.flatten(actions.space, value))
    assert [list(tensors[uid].shape) for uid in range(1, 9)] == [[2], [], [], [2], [3], [], [], []]
    assert list(tensors[1].floats.array) == [0.5, 2]
    assert list(tensors[2].bools.array) == [True]
    assert list(tensors[3].doubles.array) == [-3.25]
    assert list(tensors[4].int32s.array) == [2, -1]
    assert list(tensors[5].bools.array) == [True, False, True]
    assert list(tensors[6].strings.array) == ["añ"]


@pytest.mark.parametrize(
    ("make", "specs", "message"),
    [
        (Actions, {1: spec("a", "FLOAT", (2, -1))}, r"action 'a' has a dimension of variable len"),
        (Actions, {1: spec("a", "PROTO")}, "action 'a' holds protocol messages"),
        (Actions, {1: spec("a", "STRING", (3,))}, r"action 'a' holds strings of shape \[3\]"),
        (Actions, {1: spec("a", "BOOL"), 2: spec("a.b", "BOOL")}, "action 'a.b' collides"),
        (Actions, {1: spec("a.b", "BOOL"), 2: spec("a", "BOOL")}, "action 'a' collides"),
        (Actions, {1: spec("a..b", "BOOL")}, "action names cannot be nested: Dict key ''"),
    ],
)
def test_specs_without_a_counterpart_are_refused(make: Any, specs: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(specs)


def test_an_observed_number_is_a_category_only_where_it_has_few_values() -> None:
    specs = {1: spec("lives", "INT8", (), 0, 5), 2: spec("score", "INT32", (), 0, 2**31 - 1)}
    assert Observations(specs, ["lives", "score"], []).space == spaces.Dict(
        (
            ("lives", spaces.Discrete(6, 0, np.dtype("int8"))),
            ("score", spaces.Box((), "int32", 0, 2**31 - 1)),
        )
    )
