"""What a server may answer to any bytes at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from wmrun_envserver.wire.messages import ErrorDetail as Detail
from wmrun_envserver.wire.status import CODES, Reason

_BY_GRPC = {"UNIMPLEMENTED", "RESOURCE_EXHAUSTED"}
"""Codes that gRPC gives by itself, without a detail."""
_ALLOWED = {code.name: set[str]() for code in CODES.values()}
for _reason, _code in CODES.items():
    _ALLOWED[_code.name].add(_reason)
del _ALLOWED["INTERNAL"]


Call = Callable[[str, bytes], bytes]
"""Makes a call, by the name of its rpc; raises `RefusedError`."""


class RefusedError(Exception):
    """A call that did not end with OK."""


class Answer(NamedTuple):
    """What became of a call: the name of its code and, where that is not OK, why."""

    code: str
    detail: Detail | None
    text: str
    reply: bytes

    def unwrapped(self) -> bytes:
        """Return the reply; raises `RefusedError` where there is none."""
        if self.code != "OK":
            raise RefusedError(f"{self.code}: {self.text}")
        return self.reply


@dataclass
class Tally:
    """Counts of the answers of one rpc; `wrong` holds requests whose answer is not in the table."""

    codes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, rpc: str, request: bytes, answer: Answer) -> None:
        """Judge one answer."""
        code, detail, text, _ = answer
        self.codes[code] += 1
        if not _is_allowed(rpc, code, detail):
            reason = detail.reason if detail else "no detail"
            self.wrong.append(f"{rpc} {request[:300]!r} -> {code} {reason}: {text[:300]}")


def _is_allowed(rpc: str, code: str, detail: Detail | None) -> bool:
    if code == "OK":
        return True
    if rpc == "Check":
        return code in ("INVALID_ARGUMENT", "NOT_FOUND")
    if detail is None:
        return code in _BY_GRPC
    return detail.reason != Reason.INTERNAL and detail.reason in _ALLOWED.get(code, set())
