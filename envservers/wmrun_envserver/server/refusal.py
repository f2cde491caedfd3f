"""Calls that are turned down, and what a client is told about errors."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable

from wmrun_envserver.backends.base import ConfigError, NeedsPartialBatch, UnknownEnvError
from wmrun_envserver.wire.status import Reason

# Not the path of a URL, which follows a host.
_ABSOLUTE_PATH = re.compile(r"(?<![\w/.])(?:/[\w.+@~-]+)+/([\w.+@~-]+)/?")
_MAX_TEXT = 1000


class Refused(Exception):
    """A call that ends with an `ErrorDetail`, before it changed anything unless that says so."""

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        field: str = "",
        slots: Iterable[int] = (),
        ends_session: bool = False,
    ) -> None:
        """With `ends_session` environments were moved: nothing that follows could be trusted."""
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.slots = tuple(slots)
        self.ends_session = ends_session


def refusal_of(error: BaseException, *, debug: bool) -> Refused:
    """Return why a session cannot be opened when `error` came of preparing or building its envs."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, UnknownEnvError):
        return Refused(Reason.ENV_UNKNOWN, _words(error), field="env_id")
    if isinstance(error, ConfigError):
        return Refused(Reason.BAD_CONFIG, _words(error), field=error.field or "env_config_json")
    if isinstance(error, NeedsPartialBatch):
        return Refused(
            Reason.UNSUPPORTED,
            f"{_words(error)}: its slots move at different times; "
            'open the session with the capability "partial_batch"',
            field="want_capabilities",
            ends_session=True,
        )
    text = public_text(error, debug=debug)
    return Refused(Reason.ENV_FAILED, f"the environment could not be built: {text}")


def public_text(error: BaseException, *, debug: bool) -> str:
    """Return `error` in words fit for the client: no traceback and no directory, unless `debug`."""
    if debug:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))[-3000:]
    words = _said(error).encode(errors="replace").decode()
    message = _ABSOLUTE_PATH.sub(r"\1", words).strip()
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # what an environment raises may be broken, too
        return ""


def _words(error: BaseException) -> str:
    # str() of a LookupError may be the repr of its argument.
    return str(error.args[0]) if error.args else type(error).__name__
