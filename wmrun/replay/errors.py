"""What can be wrong with a replay before or while it is used."""

from __future__ import annotations

from wmrun.errors import ExitCode, RunError, UsageError


class ReplayError(RunError):
    """The replay directory does not fit the run, is damaged, or cannot be written."""


class ReplayTooLarge(ReplayError):
    """The replay at full capacity would not fit on its disk."""

    exit_code = ExitCode.CONFIG


class ReplayTooShort(UsageError):
    """No window of the wanted length exists, or can ever exist, in the slot streams."""
