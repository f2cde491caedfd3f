"""How many sessions a server has room for."""

from __future__ import annotations

from wmrun.config.schema import ServerConfig
from wmrun.envs.access import Access
from wmrun.envs.channel import check_server, open_channel
from wmrun.errors import EnvError

_PATIENCE_S = 3.0


def free_sessions(server: ServerConfig) -> int | None:
    """Return how many more sessions the server at an address takes; None where it does not say."""
    assert server.address is not None, "only servers at an address are shared"
    access = Access.load(
        token_file=server.token_file,
        tls_ca=server.tls_ca,
        tls_cert=server.tls_cert,
        tls_key=server.tls_key,
    )
    channel = open_channel(server.address, access)
    try:
        limits = check_server(channel, server.address, _PATIENCE_S, access).limits
    except EnvError:  # who opens a session there says it better
        return None
    finally:
        channel.close()
    return limits.free_sessions if limits.max_sessions else None
