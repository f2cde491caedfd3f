"""What is said of a server that was lost: to the user who waits for it, and in errors."""

from __future__ import annotations

from wmrun_envserver.wire.status import Reason

from wmrun.envs.errors import (
    EnvBudgetSpent,
    EnvProtocolError,
    EnvRefused,
    EnvServerLost,
    EnvStartError,
    EnvUnreachable,
)
from wmrun.envs.placement import Placement
from wmrun.envs.request import Role
from wmrun.envs.restarts import RestartBudget
from wmrun.envs.spec import EnvSpec, change
from wmrun.envs.supervisor import ServerProcess

Loss = EnvServerLost | EnvStartError | EnvUnreachable
"""Why a server is away."""

_THEN_RESUME = (
    "Serve what the run began with, the same versions and options; then `wmrun resume` goes on "
    "from its last checkpoint."
)


def forgot_session(place: Placement, loss: Loss) -> bool:
    """Return whether the server at an address is there, but was restarted."""
    unknown = isinstance(loss, EnvServerLost) and loss.reason == Reason.SESSION_UNKNOWN
    return unknown and place.server.address is not None


def cause(loss: Loss, server: ServerProcess | None) -> str:
    """Say in a line what became of an own server."""
    if server is not None and server.exited():
        return f"the env server {server.state()}"
    return loss.message.splitlines()[0]


def failure(place: Placement, loss: Loss, report: str) -> str:
    """Say what became of the server; errors of its start have a report in them."""
    if forgot_session(place, loss):
        return f"{place.server_name} was restarted: it does not know the session. {report}"
    return f"{loss}. {report}" if isinstance(loss, EnvServerLost) else str(loss)


def restart_notice(place: Placement, loss: Loss, why: str, restart: str) -> str:
    """Say what is tried; `restart` is the standing of the budget."""
    server, name = place.server, place.server_name
    patience = f"trying again for up to {server.start_timeout_s:g} s (restart {restart})"
    if server.address is None:
        return f"{why}; it is restarted ({restart})"
    if forgot_session(place, loss):
        return f"{name} was restarted; opening another session ({restart})"
    if isinstance(loss, EnvStartError):
        return f"{loss.message}; {patience}"
    return f"no connection to {name}; {patience}"


def budget_spent(place: Placement, role: Role, budget: RestartBudget, last: str) -> EnvBudgetSpent:
    """Return the error for a server that was lost once too often, the `last` time like that."""
    address = place.server.address
    which = "" if place.key == "env.server" else f" of {place.key}"
    which += "" if address is None else f" at {address}"
    return EnvBudgetSpent(
        f"the {role} environments{which} were lost {budget.used + 1} times, "
        f"{place.key}.restarts allows {budget}. The last time: {last}"
    )


def refused_again(place: Placement, refusal: EnvRefused) -> EnvRefused:
    """Return the error for a server that came back and refuses what it served before."""
    return EnvRefused(
        f"{place.server_name} came back and refuses the session: {refusal.message}",
        hint=_THEN_RESUME,
    )


def other_spaces(place: Placement, task: str, before: EnvSpec, after: EnvSpec) -> EnvProtocolError:
    """Return the error for a server that came back with other spaces."""
    return EnvProtocolError(
        f"{place.server_name} came back with other spaces of {task}: {change(before, after)}",
        hint=_THEN_RESUME,
    )
