"""The side channels of ML-Agents, as the player reads and writes them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any
from uuid import UUID

ENGINE = UUID("e951342c-4f7e-11ea-b238-784f4387d1f7")
PARAMETERS = UUID("534c891e-810f-11ea-a9d0-822485860400")
STATS = UUID("a1d8f7b7-cec8-50f9-b78b-d3e165a78520")
UNKNOWN = UUID("00000000-0000-0000-0000-00000000002a")

_SETTINGS = {
    0: ("resolution", "<ii"),
    1: ("quality_level", "<i"),
    2: ("time_scale", "<f"),
    3: ("target_frame_rate", "<i"),
    4: ("capture_frame_rate", "<i"),
}


def read(data: bytes) -> Iterator[tuple[str, Any]]:
    """Yield what the trainer set: ("engine" or "parameter", [name, value …])."""
    start = 0
    while start < len(data):
        channel = UUID(bytes_le=data[start : start + 16])
        (length,) = struct.unpack_from("<i", data, start + 16)
        payload = data[start + 20 : start + 20 + length]
        start += 20 + length
        if channel == ENGINE:
            yield "engine", _setting(payload)
        elif channel == PARAMETERS:
            yield "parameter", _parameter(payload)


def stats(entries: list[tuple[str, float, int]]) -> bytes:
    """Return messages that record statistics: name, value, aggregation."""
    return b"".join(
        message(STATS, _text(name) + struct.pack("<fi", value, aggregation))
        for name, value, aggregation in entries
    )


def message(channel: UUID, payload: bytes) -> bytes:
    """Return one message of a side channel."""
    return channel.bytes_le + struct.pack("<i", len(payload)) + payload


def _setting(payload: bytes) -> list[Any]:
    (kind,) = struct.unpack_from("<i", payload)
    name, layout = _SETTINGS[kind]
    return [name, *struct.unpack_from(layout, payload, 4)]


def _parameter(payload: bytes) -> list[Any]:
    (length,) = struct.unpack_from("<i", payload)
    name = payload[4 : 4 + length].decode("ascii")
    rest = payload[4 + length :]
    (sampled,) = struct.unpack_from("<i", rest)
    if not sampled:
        return [name, *struct.unpack_from("<f", rest, 4)]
    seed, kind = struct.unpack_from("<ii", rest, 4)
    values = rest[12:]
    if kind == 2:  # a list of floats, its count first
        values = values[4:]
    return [name, kind, seed, *struct.unpack(f"<{len(values) // 4}f", values)]


def _text(text: str) -> bytes:
    return struct.pack("<i", len(text)) + text.encode("ascii")
