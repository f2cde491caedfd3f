"""Valid messages turned into hostile ones: the same ones for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

_EDGES = (
    0, 1, 2, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
    2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
_FLOATS = (0.0, -0.0, 1e-320, 1e308, float("inf"), float("-inf"), float("nan"))
_TEXTS = (
    "", "\0", "x" * 5000, "../../etc/passwd", "/etc/passwd", "%s%n%d", "\n\r\x1b[2J", "\u202edrow",
    "\U0010ffff", "os:system", "echo\0", "ECHO", "{}", "null", "NaN", "[" * 3000, '{"a":' * 3000,
    '{"length":1e999}', '{"length":' + "9" * 4000 + "}", '{"length":-1}', '{"a":1,"a":2}',
    '{"obs_size":0}', '{"length":true}', '{"every_space":true}', '{"image":{"size":[0,0]}}',
    '{"vector":"x"}', '{"length":"\\ud800"}',
)  # fmt: skip
_NOT_UTF8 = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"ok\xfe")
_HUGE_VARINTS = (b"\xff" * 9 + b"\x01", b"\xff" * 10, b"\xff" * 11, b"\x80" * 20)


class Mutator:
    """Draws from messages that a server would accept, and breaks each in one to three places."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._bytewise: tuple[Callable[[bytearray], bytearray], ...] = (
            self._flip_bits,
            self._set_byte,
            self._truncate,
            self._delete,
            self._repeat,
            self._insert,
            self._append_field,
            self._append_field,
            self._nest,
        )

    def mutate(self, valid: Sequence[Any]) -> bytes:
        """Return one of `valid`, protobuf messages of one rpc, mutated and serialized."""
        chosen = self._random.choice(valid)
        if self._random.random() < 0.5:
            message = type(chosen)()
            message.CopyFrom(chosen)
            for _ in range(self._random.randint(1, 3)):
                self._change_field(message)
            return bytes(message.SerializeToString())
        return self.mutate_bytes(chosen.SerializeToString())

    def mutate_bytes(self, valid: bytes) -> bytes:
        """Return `valid`, whatever it is, mutated."""
        data = bytearray(valid)
        for _ in range(self._random.randint(1, 3)):
            data = self._random.choice(self._bytewise)(data)
        return bytes(data)

    def _change_field(self, message: Any) -> None:
        field = self._random.choice(message.DESCRIPTOR.fields or [None])
        if field is None:
            return
        if hasattr(getattr(message, field.name), "extend"):
            self._change_repeated(message, field)
        elif field.message_type is None:
            self._assign(message, field)
        elif self._random.random() < 0.2:
            message.ClearField(field.name)
        else:
            self._change_field(getattr(message, field.name))

    def _change_repeated(self, message: Any, field: Any) -> None:
        values = getattr(message, field.name)
        choice = self._random.randrange(4)
        if choice == 0 or (len(values) == 0 and field.message_type is not None):
            message.ClearField(field.name)
        elif choice == 1 and len(values) > 0:
            values.extend([values[0]] * self._random.choice((1, 7, 300)))
        elif field.message_type is not None:
            self._change_field(self._random.choice(values))
        elif choice == 2 and len(values) > 0:
            values[self._random.randrange(len(values))] = self._value(field)
        else:
            values.append(self._value(field))

    def _assign(self, message: Any, field: Any) -> None:
        setattr(message, field.name, self._value(field))

    def _value(self, field: Any) -> Any:
        kind = field.cpp_type
        if kind == field.CPPTYPE_STRING:
            if field.type == field.TYPE_BYTES:
                return self._random.randbytes(self._random.choice((0, 1, 7, 8, 9, 1000)))
            return self._random.choice(_TEXTS)
        if kind == field.CPPTYPE_BOOL:
            return self._random.random() < 0.5
        if kind in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT):
            return self._random.choice(_FLOATS)
        edge = self._random.choice(_EDGES)
        if kind == field.CPPTYPE_UINT32:
            return edge % 2**32
        if kind in (field.CPPTYPE_INT32, field.CPPTYPE_ENUM):
            return (edge + 2**31) % 2**32 - 2**31
        return edge if kind == field.CPPTYPE_UINT64 else (edge + 2**63) % 2**64 - 2**63

    def _flip_bits(self, data: bytearray) -> bytearray:
        for _ in range(self._random.randint(1, 4) if data else 0):
            data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
        return data

    def _set_byte(self, data: bytearray) -> bytearray:
        if data:
            data[self._random.randrange(len(data))] = self._random.choice((0, 1, 127, 128, 255))
        return data

    def _truncate(self, data: bytearray) -> bytearray:
        return data[: self._random.randrange(len(data) + 1)]

    def _delete(self, data: bytearray) -> bytearray:
        start, end = self._span(data)
        return data[:start] + data[end:]

    def _repeat(self, data: bytearray) -> bytearray:
        start, end = self._span(data)
        return data[:end] + data[start:end] * self._random.choice((1, 2, 50)) + data[end:]

    def _insert(self, data: bytearray) -> bytearray:
        at = self._random.randrange(len(data) + 1)
        junk = self._random.choice(
            (*_HUGE_VARINTS, *_NOT_UTF8, self._random.randbytes(self._random.randint(1, 40)))
        )
        return data[:at] + junk + data[at:]

    def _append_field(self, data: bytearray) -> bytearray:
        """Add a field, known or not, of any wire type, that says something about its length."""
        number = self._random.choice((*range(1, 20), 2047, 2**29 - 1, 0))
        wire_type = self._random.choice((0, 1, 2, 2, 2, 3, 4, 5, 6, 7))
        payload = self._random.choice(
            (b"", *_HUGE_VARINTS, *_NOT_UTF8, b"\x00" * 9, self._random.randbytes(30))
        )
        lies = (len(payload), len(payload) + 1, 2**31 - 1, 2**63)
        length = varint(self._random.choice(lies)) if wire_type == 2 else b""
        return data + varint(number << 3 | wire_type) + length + payload

    def _nest(self, data: bytearray) -> bytearray:
        """Wrap the message, or a group, into itself many times over."""
        depth = self._random.choice((5, 50, 99, 101, 500))
        number = self._random.randint(1, 16)
        if self._random.random() < 0.5:
            return data + varint(number << 3 | 3) * depth + varint(number << 3 | 4) * depth
        nested = bytes(data[:200])
        for _ in range(min(depth, 120)):
            nested = varint(number << 3 | 2) + varint(len(nested)) + nested
        return data + nested

    def _span(self, data: bytearray) -> tuple[int, int]:
        start = self._random.randrange(len(data) + 1)
        return start, min(len(data), start + self._random.randint(1, 60))


def varint(number: int) -> bytes:
    """Return `number` as protobuf writes it."""
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
