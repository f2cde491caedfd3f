"""Why TLS with an env server fails, in terms of the config."""

from __future__ import annotations

from wmrun_envserver.wire import handshake

from wmrun.envs.access import Access

_NAMES = handshake.Names(
    client="this learner",
    address="env.server.address",
    tls_ca="env.server.tls_ca",
    tls_cert="env.server.tls_cert",
    tls_key="env.server.tls_key",
)


def tls_trouble(address: str, access: Access) -> handshake.Trouble | None:
    """Shake hands with `address` once; None where TLS is not what keeps `access` from working."""
    return handshake.tls_trouble(address, access, _NAMES)
