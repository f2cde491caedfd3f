"""Every error that wmrun raises on purpose, each with its exit code."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process exit status of every `wmrun` command means."""

    OK = 0
    INTERNAL = 1
    """A bug in wmrun: run again with --debug and report the traceback."""
    CONFIG = 2
    """The experiment file, an override or a command-line argument is wrong; nothing was started."""
    ENV = 3
    """An environment or its server could not be started, or spent its restart budget."""
    DIVERGED = 4
    """A loss became NaN or infinite; the batch was saved in the run directory."""
    RUN = 5
    """The run directory or checkpoint is missing, damaged, in use, or would be overwritten."""
    BENCHMARK = 6
    """A learning benchmark ran, and its rule does not hold."""
    FINDINGS = 7
    """`check-env` or `doctor` found something that keeps an experiment from working."""
    HUNG_UP = 129
    """SIGHUP (the terminal went away): the run wrote a checkpoint and stopped."""
    INTERRUPTED = 130
    """SIGINT: the run wrote a checkpoint and stopped."""
    TERMINATED = 143
    """SIGTERM: the run wrote a checkpoint and stopped."""


class WmrunError(Exception):
    """Base of all expected errors: a message, a hint that says what to do, an exit code."""

    exit_code = ExitCode.INTERNAL

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"


class UsageError(WmrunError):
    """A command was given arguments that cannot work together or name nothing."""

    exit_code = ExitCode.CONFIG


class ComponentError(WmrunError):
    """A registered component is unknown, broken, ambiguous or does not fit its place."""

    exit_code = ExitCode.CONFIG


class EnvError(WmrunError):
    """An environment or its server failed beyond what restarts can mend."""

    exit_code = ExitCode.ENV


class TrainingDiverged(WmrunError):
    """A loss or gradient is not finite."""

    exit_code = ExitCode.DIVERGED


class RunError(WmrunError):
    """A run directory or checkpoint cannot be used as asked."""

    exit_code = ExitCode.RUN


class UnknownComponent(ComponentError):
    """No component of the kind is registered under the name."""


class AmbiguousComponent(ComponentError):
    """Two packages registered the same name."""


class BrokenPlugin(ComponentError):
    """A registered component cannot be imported or does not meet its kind's contract."""

    def __init__(self, subject: str, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"{subject} cannot be used: {reason}", hint=hint)
        self.reason = reason
