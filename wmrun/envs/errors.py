"""What can go wrong between the learner and its environments."""

from __future__ import annotations

from wmrun.errors import EnvError, ExitCode, WmrunError


class EnvStartError(EnvError):
    """A local server did not come up, or would not open the task it was asked for."""


class EnvRefused(EnvStartError):
    """A server will not open what it was asked for, however often it is asked."""


class EnvCapacity(EnvStartError):
    """A server has no room for another session, or for as many slots, at the moment."""


class EnvAccessError(EnvError):
    """The files with the credentials for a server cannot be used."""


class EnvUnreachable(EnvError):
    """Nothing that speaks the protocol answers at the address given."""


class EnvRequestError(EnvError):
    """The server refused a request; `reason` is the protocol's word, `field` what is at fault."""

    def __init__(self, message: str, *, reason: str, field: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field


class EnvProtocolError(EnvError):
    """The server answered with something that the protocol does not allow."""


class EnvDataError(EnvError):
    """An observation or a reward is not a finite number, or a class outside its space."""


class EnvServerLost(EnvError):
    """The session is gone with everything in it: the server died, hung, or dropped the session.

    Met by `EnvPool`, which restarts and reopens; nobody above it sees this class. `reason` is the
    protocol's word, where the server had one.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class EnvBudgetSpent(EnvError):
    """Environments failed more often than `env.server.restarts` allows."""


class EnvStopped(WmrunError):
    """Environments were waited for when the run was told to stop; they are of no use any more.

    No failure, so no `EnvError`: the run ends as by a stop signal at any other moment.
    """

    exit_code = ExitCode.INTERRUPTED
