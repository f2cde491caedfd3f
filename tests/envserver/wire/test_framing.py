from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from enum import IntEnum

import pytest
from wmrun_envserver.wire.framing import Channel, ChannelClosed, Frame

LIMIT_S = 20.0


class Kind(IntEnum):
    PING = 1
    PONG = 2


@pytest.fixture
def ends() -> Iterator[tuple[Channel[Kind], socket.socket]]:
    """A channel, and the other end of its connection as a plain socket that waits."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(LIMIT_S)
    with ours, theirs:
        yield Channel(ours, Kind, max_bytes=8 * 2**20), theirs


@pytest.fixture
def channel(ends) -> Channel[Kind]:
    return ends[0]


@pytest.fixture
def peer(ends) -> socket.socket:
    return ends[1]


def frame(payload: bytes, kind: int = Kind.PING) -> bytes:
    return struct.pack("<IB", len(payload), kind) + payload


def soon() -> float:
    return time.monotonic() + LIMIT_S


def test_a_frame_is_a_little_endian_length_a_kind_and_the_bytes(channel, peer):
    channel.send(Kind.PONG, b"abc")
    assert peer.recv(100) == b"\x03\x00\x00\x00\x02abc"
    channel.send(Kind.PING, b"")
    assert peer.recv(100) == b"\x00\x00\x00\x00\x01"


def test_frames_come_in_order_however_they_are_cut(channel, peer):
    data = frame(b"one") + frame(b"", Kind.PONG) + frame(b"three", Kind.PONG)
    received = []
    for byte in data:
        peer.sendall(bytes([byte]))
        if (whole := channel.receive()) is not None:
            received.append(whole)
    assert received == [
        Frame(Kind.PING, b"one"),
        Frame(Kind.PONG, b""),
        Frame(Kind.PONG, b"three"),
    ]
    assert channel.receive() is None


def test_frames_that_come_together_are_taken_one_by_one(channel, peer):
    peer.sendall(frame(b"one") + frame(b"two") + frame(b"three")[:-1])
    assert [channel.wait(soon()).payload for _ in range(2)] == [b"one", b"two"]
    assert channel.receive() is None
    peer.sendall(b"e")
    assert channel.wait(soon()).payload == b"three"


def test_a_frame_larger_than_the_buffers_passes_in_both_directions(channel, peer):
    payload = bytes(range(256)) * 2**14
    echo = threading.Thread(target=lambda: peer.sendall(_exactly(peer, 5 + len(payload))))
    echo.start()
    channel.send(Kind.PING, payload, soon())
    assert channel.wait(soon()) == Frame(Kind.PING, payload)
    echo.join()


def test_a_peer_that_does_not_take_a_frame_is_waited_for_until_the_deadline(channel):
    with pytest.raises(TimeoutError):
        channel.send(Kind.PING, bytes(4 * 2**20), time.monotonic() + 0.01)


@pytest.mark.parametrize("deadline", [0.0, 0.01])
def test_what_has_come_by_the_deadline_is_kept(channel, peer, deadline):
    whole = frame(b"slow")
    peer.sendall(whole[:7])
    with pytest.raises(TimeoutError):
        channel.wait(time.monotonic() + deadline)
    peer.sendall(whole[7:])
    assert channel.wait(soon()).payload == b"slow"


def test_a_frame_that_is_there_is_returned_though_the_deadline_is_over(channel, peer):
    peer.sendall(frame(b"x"))
    assert channel.wait(0.0).payload == b"x"


@pytest.mark.parametrize("sent", [b"", b"\x03\x00", frame(b"abc")[:-1]])
def test_the_end_of_the_connection_is_told_wherever_it_comes(channel, peer, sent):
    peer.sendall(sent)
    peer.close()
    with pytest.raises(ChannelClosed):
        channel.wait(soon())
    with pytest.raises(ChannelClosed):
        channel.receive()


def test_a_frame_before_the_end_is_still_received(channel, peer):
    peer.sendall(frame(b"last"))
    peer.close()
    assert channel.wait(soon()).payload == b"last"


def test_sending_to_a_peer_that_left_is_told(channel, peer):
    peer.close()
    with pytest.raises(ChannelClosed):
        channel.send(Kind.PING, b"x")


@pytest.mark.parametrize("kind", [0, 3, 255])
def test_a_kind_that_is_none_is_no_frame(channel, peer, kind):
    peer.sendall(frame(b"x", kind))
    with pytest.raises(ChannelClosed):
        channel.wait(soon())


def test_a_length_over_the_limit_is_no_frame_and_one_at_the_limit_is(channel, peer):
    peer.sendall(struct.pack("<IB", 8 * 2**20, Kind.PING))
    assert channel.receive() is None
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(struct.pack("<IB", 8 * 2**20 + 1, Kind.PING))
        with pytest.raises(ChannelClosed):
            Channel(ours, Kind, max_bytes=8 * 2**20).receive()


def test_a_length_alone_takes_no_memory(channel, peer):
    peer.sendall(struct.pack("<IB", 8 * 2**20, Kind.PING))
    assert channel.receive() is None
    assert len(channel._buffer) <= 2**20


def test_hanging_up_in_one_thread_wakes_another_and_the_peer(channel, peer):
    woken = threading.Event()

    def wait() -> None:
        with pytest.raises(ChannelClosed):
            channel.wait(soon())
        woken.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    channel.hang_up()
    assert woken.wait(LIMIT_S)
    waiting.join()
    assert peer.recv(1) == b""
    with pytest.raises(ChannelClosed):
        channel.send(Kind.PING, b"x")


def test_hanging_up_wakes_who_waits_to_send(channel):
    def send() -> None:
        with pytest.raises(ChannelClosed):
            channel.send(Kind.PING, bytes(4 * 2**20), soon())
        woken.set()

    woken = threading.Event()
    threading.Thread(target=send).start()
    channel.hang_up()
    assert woken.wait(LIMIT_S)


def test_hanging_up_twice_or_after_the_end_is_fine(channel, peer):
    peer.close()
    channel.hang_up()
    channel.hang_up()
    channel.close()
    channel.hang_up()
    channel.close()


def test_a_channel_is_open_until_either_side_ends_it(channel, peer):
    assert channel.is_open()
    peer.sendall(frame(b"x"))
    assert channel.is_open()
    assert channel.receive() == Frame(Kind.PING, b"x")
    peer.shutdown(socket.SHUT_WR)
    assert not channel.is_open()


@pytest.mark.parametrize("end", [Channel.hang_up, Channel.close])
def test_a_channel_that_was_ended_here_is_not_open(channel, end):
    end(channel)
    assert not channel.is_open()


def _exactly(end: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        data += end.recv(2**20)
    return bytes(data)
