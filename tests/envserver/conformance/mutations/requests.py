"""Requests that mutations send in place of those of the suite."""

from __future__ import annotations

from wmrun_envserver.wire import messages

MUTATING = ("Reset", "Step")


def opening(request: messages.OpenSessionRequest) -> messages.OpenSessionRequest:
    """Return a request that the server grants, from one that it refused."""
    good = messages.OpenSessionRequest()
    good.CopyFrom(request)
    good.env_id, good.env_config_json, good.num_envs = "echo", "{}", 1
    good.autoreset = messages.NEXT_STEP
    good.lease_ms = 1000
    return good


def resetting(request: messages.StepRequest) -> messages.ResetRequest:
    """Return a Reset of all slots in place of a Step."""
    return messages.ResetRequest(session_id=request.session_id, seq=request.seq)
