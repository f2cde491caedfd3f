"""`mlagents_envs.UnityEnvironment`, made to fail where it would hang."""

from __future__ import annotations

import atexit
import logging
import struct
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from mlagents_envs.environment import UnityEnvironment
from mlagents_envs.exception import (
    UnityCommunicatorStoppedException,
    UnityEnvironmentException,
    UnityTimeOutException,
    UnityWorkerInUseException,
)
from mlagents_envs.side_channel.side_channel_manager import SideChannelManager

from wmrun_envserver.backends.unity_communicator import LoopbackCommunicator
from wmrun_envserver.backends.unity_player import PlayerProcess
from wmrun_envserver.backends.unity_source import EDITOR_PORT, PlayerSource

_LOG = logging.getLogger(__name__)

_CHANNEL_HEADER = struct.Struct("<16si")
"""The id of a side channel (a UUID, bytes_le) and the length of what follows."""

_QUIT_GRACE_S = 2.0
"""From the word to quit until the player is killed, unless it was silent before."""

# Its messages of level INFO speak of an Editor also where a player was started.
logging.getLogger("mlagents_envs").setLevel(logging.WARNING)


class PlayerEnvironment(UnityEnvironment):  # type: ignore[misc]
    """A player that was started here, or the Editor, over a connection on the loopback.

    The port of a player is any that is free, and its alone. Whatever is asked of one that ended, or
    that lets the time limits pass, raises `UnityEnvironmentException`.
    """

    def __init__(
        self,
        source: PlayerSource,
        *,
        seed: int,
        start_timeout_s: float,
        timeout_s: float,
        no_graphics: bool,
        side_channels: Sequence[Any],
    ) -> None:
        """Start the player, or wait for the Editor, and shake hands."""
        self._source = source
        self._player: PlayerProcess | None = None
        self._is_silent = False
        self._connection = _listen(0 if source.command else EDITOR_PORT, start_timeout_s)
        channels = list(side_channels)
        try:
            if source.command:
                self._player = PlayerProcess(_command(source, self._connection.port, no_graphics))
            super().__init__(
                base_port=self._connection.port,
                seed=seed,
                side_channels=channels,
            )
            self._side_channel_manager = _KnownChannels(channels)
            self._connection.timeout_s = timeout_s
        except UnityTimeOutException:
            self._is_silent = True
            self._close()
            raise UnityEnvironmentException(self._no_connection()) from None
        except BaseException:
            self._close()
            raise

    def reset(self) -> None:
        """Begin an episode of every agent; their first decisions are then in `get_steps`."""
        self._speaking(super().reset)

    def step(self) -> None:
        """Apply the actions set, zeros for the rest, and wait until an agent asks or ends."""
        self._speaking(super().step)

    def close(self) -> None:
        """Have the player quit, or kill it. May be repeated."""
        self._close()

    def _speaking(self, exchange: Any) -> None:
        try:
            exchange()
        except UnityTimeOutException:
            self._is_silent = True
            raise UnityEnvironmentException(
                f"{self._source.name} said nothing for {self._connection.timeout_s:g} s "
                "(option timeout_s)"
            ) from None
        except UnityCommunicatorStoppedException:
            raise UnityEnvironmentException(f"{self._source.name} quit by itself") from None

    def _get_communicator(self, worker_id: int, base_port: int, timeout_wait: int) -> Any:
        return self._connection

    def _poll_process(self) -> None:
        ended = self._player.ended() if self._player is not None else ""
        if ended:
            raise UnityEnvironmentException(f"{ended}; what it printed is in this server's log")

    def _close(self, timeout: int | None = None) -> None:
        self._loaded = False
        atexit.unregister(self._close)
        self._connection.close()
        if self._player is not None:
            self._player.stop(0.0 if self._is_silent else _QUIT_GRACE_S)

    def _no_connection(self) -> str:
        waited = (
            f"{self._source.name} did not connect within {self._connection.timeout_s:g} s (option "
            "start_timeout_s)"
        )
        if not self._source.command:
            return f"{waited}: press Play in the Editor once this waits"
        return (
            f"{waited}: without a display it needs xvfb-run or the option no_graphics, and its "
            "agents the Behavior Type Default"
        )


class _KnownChannels(SideChannelManager):  # type: ignore[misc]
    """Drops what unknown channels say, with one warning for each.

    mlagents_envs adds a handler to a logger at every such message, and each handler prints it.
    """

    def __init__(self, side_channels: list[Any]) -> None:
        super().__init__(side_channels)
        self._unknown: set[UUID] = set()

    def process_side_channel_message(self, data: bytes) -> None:
        super().process_side_channel_message(b"".join(self._known_parts(data)))

    def _known_parts(self, data: bytes) -> Iterator[bytes]:
        start = 0
        while start + _CHANNEL_HEADER.size <= len(data):
            name, length = _CHANNEL_HEADER.unpack_from(data, start)
            end = start + _CHANNEL_HEADER.size + max(length, 0)
            channel = UUID(bytes_le=name)
            if channel in self._side_channels_dict:
                yield data[start:end]
            elif channel not in self._unknown:
                self._unknown.add(channel)
                _LOG.warning("messages of the side channel %s are dropped: it is unknown", channel)
            start = end
        yield data[start:]


def _listen(port: int, timeout_s: float) -> LoopbackCommunicator:
    try:
        return LoopbackCommunicator(port, timeout_s)
    except UnityWorkerInUseException:
        raise UnityEnvironmentException(
            f"port {port} of 127.0.0.1 is taken, and the Editor connects to no other: one server "
            "with one simulator can have it (num_envs at most the option agents); close what "
            f"listens there (ss -ltnp 'sport = :{port}')"
        ) from None


def _command(source: PlayerSource, port: int, no_graphics: bool) -> list[str]:
    command = [*source.command, "--mlagents-port", str(port)]
    if no_graphics:
        command += ["-nographics", "-batchmode"]
    if not any(word.lower() == "-logfile" for word in source.command):
        command += ["-logFile", "-"]
    return command
