"""Servers that are wrong at one point each, and the check that must notice.

A mutation answers one call of the suite in place of the real server, which it may ask first.
"""

from tests.envserver.conformance.mutations import (  # noqa: F401
    bad_actions,
    episodes,
    exactly_once,
    failures,
    handshake,
    leases,
    limits,
    optional,
    security,
    seeding,
    stepping,
)
from tests.envserver.conformance.mutations.registry import Broken, all_broken

__all__ = ["Broken", "all_broken"]
