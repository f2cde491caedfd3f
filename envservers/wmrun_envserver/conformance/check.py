"""What a check is, and how one ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from wmrun_envserver.conformance.run import Run

Status = Literal["PASS", "FAIL", "SKIP"]


class Unmet(Exception):
    """The server did not do what the protocol demands."""

    def __init__(self, field: str, expected: object, got: object) -> None:
        super().__init__(f"{field}: expected {expected}, got {got}")
        self.field = field
        self.expected = str(expected)
        self.got = str(got)


class Skip(Exception):
    """The check cannot be made here; the message says what it needs."""


class Check(NamedTuple):
    """One numbered rule of the protocol."""

    number: int
    name: str
    needs: str
    """What else than a server it needs, in words; empty: nothing."""
    body: Callable[[Run], None]

    @property
    def summary(self) -> str:
        """The rule in one sentence."""
        return " ".join((self.body.__doc__ or "").split("\n\n")[0].split())


@dataclass(frozen=True)
class Result:
    """How a check ended, and what was left out of it."""

    check: Check
    status: Status
    seconds: float
    unmet: Unmet | None = None
    why: str = ""
    """Of a SKIP."""
    omitted: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        record: dict[str, Any] = {
            "number": self.check.number,
            "name": self.check.name,
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "omitted": list(self.omitted),
        }
        if self.unmet is not None:
            unmet = self.unmet
            record |= {"field": unmet.field, "expected": unmet.expected, "got": unmet.got}
        if self.why:
            record["why"] = self.why
        return record


_CHECKS: dict[int, Check] = {}


def check(
    number: int, name: str, *, needs: str = ""
) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
    """Register a function as check `number`; its docstring's first paragraph is the rule."""

    def register(body: Callable[[Run], None]) -> Callable[[Run], None]:
        assert number not in _CHECKS, f"there are two checks {number}"
        _CHECKS[number] = Check(number, name, needs, body)
        return body

    return register


def registered() -> list[Check]:
    """Return the checks that were registered, by number."""
    return [_CHECKS[number] for number in sorted(_CHECKS)]


def equal(field: str, got: object, expected: object) -> None:
    """Raise `Unmet` unless the two are equal."""
    if got != expected:
        raise Unmet(field, _short(expected), _short(got))


def require(condition: bool, field: str, expected: object, got: object) -> None:
    """Raise `Unmet` unless `condition`."""
    if not condition:
        raise Unmet(field, _short(expected), _short(got))


def _short(value: object) -> str:
    text = value if isinstance(value, str) and len(value) < 200 else repr(value)
    return text if len(text) <= 200 else text[:199] + "…"
