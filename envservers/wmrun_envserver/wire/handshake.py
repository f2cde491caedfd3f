"""Why TLS with a server fails: gRPC itself says `Socket closed` to most of it."""

from __future__ import annotations

import socket
import ssl
from typing import NamedTuple, Protocol

_TIMEOUT_S = 2.0


class Credentials(Protocol):
    """What a client shows and trusts; without `tls_ca` it speaks plaintext. All PEM."""

    @property
    def tls_ca(self) -> bytes | None: ...

    @property
    def tls_cert(self) -> bytes | None: ...


class Names(NamedTuple):
    """What messages call this end, and the settings of it."""

    client: str
    address: str
    tls_ca: str
    tls_cert: str
    tls_key: str


class Trouble(NamedTuple):
    """What is wrong with a handshake, and which setting mends it."""

    problem: str
    hint: str


def tls_trouble(address: str, access: Credentials, names: Names) -> Trouble | None:
    """Shake hands with `address` once; None where TLS is not what keeps `access` from working."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if address.startswith("unix:") or not port.isdigit():
        return None
    try:
        with socket.create_connection((host, int(port)), _TIMEOUT_S) as connection:
            if access.tls_ca:
                return _encrypted(connection, host, access, names)
            return _plain(connection, names)
    except OSError:
        return None


def _plain(connection: socket.socket, names: Names) -> Trouble | None:
    """Look whether the server speaks TLS although we do not."""
    try:
        with _context(None).wrap_socket(connection):
            pass
    except ssl.SSLError as error:
        if "ALERT" not in (error.reason or ""):
            return None
    return Trouble(
        f"it speaks TLS, {names.client} does not",
        f"Set {names.tls_ca} to the certificate of the authority that signed the server's.",
    )


def _encrypted(
    connection: socket.socket, host: str, access: Credentials, names: Names
) -> Trouble | None:
    untrusted = (
        f"Check that {names.tls_ca} is the certificate of the authority that signed the server's, "
        f"and that the server's names the host of {names.address} (subjectAltName)."
    )
    try:
        context = _context(access.tls_ca)
    except ssl.SSLError as error:
        return Trouble(f"{names.tls_ca} holds no certificate: {error.reason}", untrusted)
    try:
        encrypted = context.wrap_socket(connection, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        return Trouble(f"its certificate is not trusted: {error.verify_message}", untrusted)
    except ssl.SSLError:
        return Trouble(
            "it does not speak TLS",
            f"Leave {names.tls_ca} out, or start the server with --tls-cert and --tls-key.",
        )
    return None if _goes_on(encrypted) else _rejected(access, names)


def _goes_on(encrypted: ssl.SSLSocket) -> bool:
    """Say whether the server, which judges our certificate after the handshake, sends anything."""
    try:
        with encrypted:
            return encrypted.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def _rejected(access: Credentials, names: Names) -> Trouble:
    if access.tls_cert is None:
        return Trouble(
            "it asks for a client certificate",
            f"Set {names.tls_cert} and {names.tls_key} to one that is signed by the "
            "authority of its --tls-client-ca.",
        )
    return Trouble(
        "it does not accept our client certificate",
        f"Check that {names.tls_cert} is signed by the authority of its --tls-client-ca, has "
        f"not expired, and that {names.tls_key} belongs to it.",
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
