"""Large observations in a shared file: the same rows, exactly once, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wmrun_envserver.wire import messages, tensors
from wmrun_envserver.wire.tensors import TensorError

from tests.envs.echo_server import started
from tests.envs.scripted_server import script, scripted
from wmrun.envs.channel import open_channel, unary
from wmrun.envs.client import EnvSession, SessionRequest
from wmrun.envs.errors import EnvProtocolError, EnvServerLost
from wmrun.envs.opening import SHM, open_session
from wmrun.envs.shared_memory import SharedMemory
from wmrun.envs.supervisor import ServerProcess

SHM_DIRECTORY = Path("/dev/shm")
# 2 x 300 x 300 x 3 bytes: above what makes a file worth it.
LARGE: dict[str, Any] = {"image": {"size": [300, 300]}, "length": 100}
ACTION = [np.array([[0.25, 0.0], [0.5, 0.0]], np.float32)]

pytestmark = pytest.mark.skipif(
    not os.access(SHM_DIRECTORY, os.W_OK), reason="there is no file system in memory here"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with started(tmp_path_factory.mktemp("server")) as process:
        yield process


def request(**changes: Any) -> SessionRequest:
    defaults: dict[str, Any] = {"task": "echo", "num_envs": 2, "client_id": "c", "options": LARGE}
    return SessionRequest(**{**defaults, **changes})


def files() -> set[Path]:
    return set(SHM_DIRECTORY.glob("wmrun-env-*"))


def test_observations_are_those_that_messages_bring(server: ServerProcess) -> None:
    observed = []
    for may_share in (True, False):
        with EnvSession(server.address, request(may_share=may_share)) as session:
            rows = [session.reset([1, 2]), *(session.step(ACTION) for _ in range(5))]
            observed.append([row.obs for row in rows])
    for shared, sent in zip(*observed, strict=True):
        assert shared.keys() == sent.keys()
        for key in shared:
            np.testing.assert_array_equal(shared[key], sent[key])
    assert not np.array_equal(observed[0][1]["image"], observed[0][2]["image"])


def test_rows_stay_as_they_were_when_later_calls_write_to_the_file(server: ServerProcess) -> None:
    with EnvSession(server.address, request()) as session:
        first = session.reset().obs["image"]
        kept = first.copy()
        for _ in range(4):
            session.step(ACTION)
        np.testing.assert_array_equal(first, kept)


def test_the_file_has_no_name_once_the_session_is_open(server: ServerProcess) -> None:
    before = files()
    with EnvSession(server.address, request()) as session:
        session.reset()
        assert files() == before


def test_a_reply_sent_again_has_its_tensors_where_they_were(server: ServerProcess) -> None:
    with open_channel(server.address) as channel:
        opened = open_session(channel, request(), server.address)
        memory = SharedMemory(opened.shm_path, opened.shm_bytes)
        reset, step = unary(channel, "Reset"), unary(channel, "Step")
        reset(messages.ResetRequest(session_id=opened.session_id, seq=1))
        for seq in (2, 3):
            action = messages.StepRequest(
                session_id=opened.session_id, seq=seq, action=[tensors.encode(ACTION[0])]
            )
            reply = step(action)
            again = step(action)
            assert again.replayed
            assert again.rows == reply.rows
            images = [
                tensors.decode(each.rows.obs[0], memory.reader(seq)) for each in (reply, again)
            ]
            np.testing.assert_array_equal(*images)
            assert reply.rows.step_in_episode == [seq - 1] * 2
        memory.close()


def test_small_replies_are_messages(server: ServerProcess) -> None:
    with open_channel(server.address) as channel:
        opened = open_session(channel, request(options={}), server.address)
    assert SHM not in opened.capabilities
    assert opened.shm_path == ""


def test_a_server_that_is_killed_leaves_no_file(tmp_path: Path) -> None:
    before = files()
    with started(tmp_path) as server:
        session = EnvSession(server.address, request(), server_gone=server.exited)
        session.open()
        session.reset()
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(EnvServerLost):
            session.step(ACTION)
        session.close()
    assert files() == before


def test_the_server_removes_a_file_that_its_client_never_mapped(server: ServerProcess) -> None:
    before = files()
    with open_channel(server.address) as channel:
        opened = open_session(channel, request(), server.address)
        assert Path(opened.shm_path).parent.stat().st_mode & 0o777 == 0o700
        assert Path(opened.shm_path).stat().st_mode & 0o777 == 0o600
        unary(channel, "CloseSession")(messages.CloseSessionRequest(session_id=opened.session_id))
    assert files() == before


class Elsewhere(SharedMemory):
    """A client that does not see the server's files."""

    def __init__(self, path: str, num_bytes: int) -> None:
        Path(path).unlink()
        super().__init__(path, num_bytes)


def test_a_file_out_of_reach_is_done_without(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wmrun.envs.client.SharedMemory", Elsewhere)
    before = files()
    with EnvSession(server.address, request()) as session:
        assert session.reset().obs["image"].shape == (2, 300, 300, 3)
        assert files() == before


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir=SHM_DIRECTORY))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def file(directory: Path) -> Path:
    path = directory / "rows"
    path.write_bytes(bytes(128))
    path.chmod(0o600)
    return path


def test_a_file_elsewhere_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "diary"
    path.write_bytes(bytes(128))
    path.chmod(0o600)
    for name in (path, SHM_DIRECTORY / ".." / ".." / path.relative_to("/")):
        with pytest.raises(EnvProtocolError, match="is not in /dev/shm"):
            SharedMemory(str(name), 128)
    assert path.exists()


def test_a_file_of_another_size_is_refused(file: Path) -> None:
    with pytest.raises(EnvProtocolError, match="has 128 bytes where 256 were promised"):
        SharedMemory(str(file), 256)


def test_a_file_that_others_may_use_is_refused(file: Path) -> None:
    file.chmod(0o660)
    with pytest.raises(EnvProtocolError, match="has mode 0660: others may use it"):
        SharedMemory(str(file), 128)


def test_a_file_of_another_user_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = file.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(EnvProtocolError, match=f"belongs to user {owner}, not to us"):
        SharedMemory(str(file), 128)


def test_a_link_is_not_followed(file: Path) -> None:
    link = file.parent / "link"
    link.symlink_to(file)
    with pytest.raises(OSError, match="symbolic links"):
        SharedMemory(str(link), 128)


def test_what_is_no_file_is_refused(directory: Path) -> None:
    fifo = directory / "fifo"
    os.mkfifo(fifo, 0o600)
    with pytest.raises(EnvProtocolError, match="is no file"):
        SharedMemory(str(fifo), 128)


@pytest.mark.parametrize(("offset", "length"), [(64, 64), (0, 65), (63, 2), (2**63, 1)])
def test_tensors_outside_the_half_of_their_call_are_refused(
    file: Path, offset: int, length: int
) -> None:
    with pytest.raises(TensorError, match="not within the half of call 1, from 0 to 64"):
        SharedMemory(str(file), 128).reader(1)(offset, length)


def test_calls_with_an_even_seq_read_the_second_half(file: Path) -> None:
    file.write_bytes(b"a" * 64 + b"b" * 64)
    memory = SharedMemory(str(file), 128)
    assert not file.parent.exists()
    assert memory.reader(1)(0, 2) == b"aa"
    assert memory.reader(2)(64, 2) == b"bb"


def test_a_server_that_was_not_asked_names_no_file_for_us_to_open():
    with tempfile.TemporaryDirectory(dir=SHM_DIRECTORY) as directory:
        file = Path(directory) / "rows"
        file.write_bytes(bytes(64))
        file.chmod(0o600)
        changes = {"shm_path": str(file), "shm_bytes": 64}
        with (
            scripted(script(), capabilities=[SHM], changes=changes) as server,
            pytest.raises(EnvProtocolError, match="was not asked for"),
            EnvSession(server.address, request(options={}, may_share=False)),
        ):
            pass
        assert file.exists()
