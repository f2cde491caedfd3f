"""Addresses that a client dials: what gRPC would make something else of is none."""

from __future__ import annotations

import re

_IPV6 = r"\[[0-9A-Fa-f:.]+\]"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"

ADDRESS_PATTERN = rf"^(unix:(//)?/[^/].*|({_NAME}|{_IPV6}):{_PORT})$"
"""A regular expression without anything that is Python's alone."""
ADDRESS_WORDS = (
    "HOST:PORT, as simulators:5005 or [::1]:5005 (ports 1 to 65535), or unix:/DIR/NAME.sock"
)
"""What the pattern matches, for messages."""


def is_address(text: str) -> bool:
    """Return whether a client can dial `text`."""
    return re.fullmatch(ADDRESS_PATTERN, text) is not None
