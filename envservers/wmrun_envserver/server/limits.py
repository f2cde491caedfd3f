"""The bounds that a server keeps, whatever its clients ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Explicit caps; the defaults suit a few learners with their evaluations."""

    max_sessions: int = 32
    max_envs: int = 256
    """Slots, over all sessions."""
    max_message_bytes: int = 64 * 2**20
    """Of one request or reply, in both directions."""
    max_config_bytes: int = 64 * 2**10
    """Of `env_config_json`, as UTF-8."""
    default_lease_s: float = 60.0
    min_lease_s: float = 1.0
    max_lease_s: float = 3600.0
    max_restarts: int = 3
    """Restarts of one slot within `restart_window_s`; one failure more and the slot is given up."""
    restart_window_s: float = 300.0
    restart_pause_s: float = 0.25
    """Before the second restart of a slot within the window; twice as long before each one more."""
    step_timeout_s: float = 60.0
    """Of one step of one simulator, where the client names none and workers hold the slots."""
    reset_timeout_s: float = 120.0
    """Of one reset of one simulator, likewise."""
    build_timeout_s: float = 120.0
    """Of building one simulator, the start of its process included."""
    max_wanted_capabilities: int = 64
    max_client_characters: int = 256
    """Of the name and of the id that a client gives itself."""

    @property
    def max_waiting_calls(self) -> int:
        """Calls that wait for environments at any time: per session one and its retry."""
        return 2 * self.max_sessions

    def lease_s(self, asked_ms: int) -> float:
        """Return the lease granted to who asked for `asked_ms`; 0 asks for the default."""
        if asked_ms == 0:
            return self.default_lease_s
        return min(max(asked_ms / 1000, self.min_lease_s), self.max_lease_s)
