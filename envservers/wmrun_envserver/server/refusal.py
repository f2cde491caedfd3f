"""Calls that are turned down, and what a client is told about errors."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable

_ABSOLUTE_PATH = re.compile(r"(?<![\w/.:])(?:/[\w.+@~-]+)+/(?=[\w.+@~-])")
_MAX_TEXT = 1000


class Refused(Exception):
    """A call that ends with an `ErrorDetail`, before it changed anything unless that says so."""

    def __init__(
        self, reason: str, message: str, *, field: str = "", slots: Iterable[int] = ()
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.slots = tuple(slots)


def public_text(error: BaseException, *, debug: bool) -> str:
    """Return `error` in words fit for the client: no traceback and no directory, unless `debug`."""
    if debug:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))[-3000:]
    words = str(error).encode(errors="replace").decode()
    message = _ABSOLUTE_PATH.sub("", words).strip()
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
