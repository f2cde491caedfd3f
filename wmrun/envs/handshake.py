"""Why TLS with an env server fails: gRPC itself says `Socket closed` to most of it."""

from __future__ import annotations

import socket
import ssl
from typing import NamedTuple

from wmrun.envs.access import Access

_TIMEOUT_S = 2.0
_UNTRUSTED_HINT = (
    "Check that env.server.tls_ca is the certificate of the authority that signed the server's, "
    "and that the server's names the host of env.server.address (subjectAltName)."
)


class Trouble(NamedTuple):
    """What is wrong with a handshake, and which setting mends it."""

    problem: str
    hint: str


def tls_trouble(address: str, access: Access) -> Trouble | None:
    """Shake hands with `address` once; None where TLS is not what keeps `access` from working."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if address.startswith("unix:") or not port.isdigit():
        return None
    try:
        with socket.create_connection((host, int(port)), _TIMEOUT_S) as connection:
            return _encrypted(connection, host, access) if access.tls_ca else _plain(connection)
    except OSError:
        return None


def _plain(connection: socket.socket) -> Trouble | None:
    """Look whether the server speaks TLS although we do not."""
    try:
        with _context(None).wrap_socket(connection):
            pass
    except ssl.SSLError as error:
        if "ALERT" not in (error.reason or ""):
            return None
    return Trouble(
        "it speaks TLS, this learner does not",
        "Set env.server.tls_ca to the certificate of the authority that signed the server's.",
    )


def _encrypted(connection: socket.socket, host: str, access: Access) -> Trouble | None:
    try:
        context = _context(access.tls_ca)
    except ssl.SSLError as error:
        return Trouble(f"env.server.tls_ca holds no certificate: {error.reason}", _UNTRUSTED_HINT)
    try:
        encrypted = context.wrap_socket(connection, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        return Trouble(f"its certificate is not trusted: {error.verify_message}", _UNTRUSTED_HINT)
    except ssl.SSLError:
        return Trouble(
            "it does not speak TLS",
            "Leave env.server.tls_ca out, or start the server with --tls-cert and --tls-key.",
        )
    return None if _goes_on(encrypted) else _rejected(access)


def _goes_on(encrypted: ssl.SSLSocket) -> bool:
    """Say whether the server, which judges our certificate after the handshake, sends anything."""
    try:
        with encrypted:
            return encrypted.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def _rejected(access: Access) -> Trouble:
    if access.tls_cert is None:
        return Trouble(
            "it asks for a client certificate",
            "Set env.server.tls_cert and env.server.tls_key to one that is signed by the "
            "authority of its --tls-client-ca.",
        )
    return Trouble(
        "it does not accept our client certificate",
        "Check that env.server.tls_cert is signed by the authority of its --tls-client-ca, has "
        "not expired, and that env.server.tls_key belongs to it.",
    )


def _context(authority: bytes | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    if authority is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=authority.decode("ascii", errors="replace"))
    return context
