"""What proves the two ends of a connection to each other: a token and TLS certificates."""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import grpc
from wmrun_envserver.server.private_file import PrivateFileError, read_private
from wmrun_envserver.server.tls import TlsError, check_pair
from wmrun_envserver.server.token import TokenError, bearer, read_token

from wmrun.envs.errors import EnvAccessError

_LOG = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Access:
    """Credentials for one env server; all absent: plaintext, for Unix sockets and loopback.

    With `tls_ca` the connection is TLS and the server must show a certificate of that authority;
    `tls_cert` with `tls_key` is what the client shows in turn. All three are PEM. No secret is in
    the repr.
    """

    token: str | None = field(default=None, repr=False)
    tls_ca: bytes | None = field(default=None, repr=False)
    tls_cert: bytes | None = field(default=None, repr=False)
    tls_key: bytes | None = field(default=None, repr=False)

    @staticmethod
    def load(
        *,
        token_file: PathLike | None = None,
        tls_ca: PathLike | None = None,
        tls_cert: PathLike | None = None,
        tls_key: PathLike | None = None,
    ) -> Access:
        """Read the files; raises `EnvAccessError` naming the config key and the remedy."""
        if (tls_cert is None) != (tls_key is None):
            there, missing = ("cert", "key") if tls_key is None else ("key", "cert")
            raise EnvAccessError(
                f"env.server.tls_{there} is set without env.server.tls_{missing}; a client "
                "certificate needs both"
            )
        if tls_cert is not None and tls_ca is None:
            raise EnvAccessError(
                "env.server.tls_cert is set without env.server.tls_ca; TLS needs the certificate "
                "of the authority that signed the server's"
            )
        access = Access(
            token=None if token_file is None else _read_token(token_file),
            tls_ca=None if tls_ca is None else _read_pem("tls_ca", tls_ca),
            tls_cert=None if tls_cert is None else _read_pem("tls_cert", tls_cert),
            tls_key=None if tls_key is None else _read_key(tls_key),
        )
        if tls_cert is not None and tls_key is not None:
            _check_pair(tls_cert, tls_key)
        return access

    def channel(self, address: str, options: Sequence[tuple[str, Any]]) -> grpc.Channel:
        """Return a channel to `address` whose every call carries the token."""
        if self.tls_ca is None:
            if self.token is not None and not _is_local(address):
                _warn_of_cleartext(address)
            channel = grpc.insecure_channel(address, options)
        else:
            credentials = grpc.ssl_channel_credentials(self.tls_ca, self.tls_key, self.tls_cert)
            channel = grpc.secure_channel(address, credentials, options)
        if self.token is None:
            return channel
        # Not call credentials: gRPC refuses those on a channel without TLS.
        return grpc.intercept_channel(channel, _Bearer(self.token))


OPEN_ACCESS = Access()
"""No credentials: a server on a Unix socket in a private directory, or on loopback."""


class _Bearer(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]
    grpc.StreamStreamClientInterceptor,  # type: ignore[misc]
):
    """Adds the token to the metadata of every call."""

    def __init__(self, token: str) -> None:
        self._entry = bearer(token)

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._signed(details), request)

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        return continuation(self._signed(details), requests)

    def _signed(self, details: Any) -> _CallDetails:
        return _CallDetails(
            method=details.method,
            timeout=details.timeout,
            metadata=(*(details.metadata or ()), self._entry),
            credentials=details.credentials,
            wait_for_ready=getattr(details, "wait_for_ready", None),
            compression=getattr(details, "compression", None),
        )


@dataclass(frozen=True)
class _CallDetails(grpc.ClientCallDetails):  # type: ignore[misc]
    method: str
    timeout: float | None
    metadata: Sequence[tuple[str, str | bytes]]
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


@cache
def _warn_of_cleartext(address: str) -> None:
    _LOG.warning(
        "the token for the env server at %s crosses the network unencrypted; "
        "set env.server.tls_ca, and start the server with --tls-cert and --tls-key",
        address,
    )


def _is_local(address: str) -> bool:
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    if address.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_token(path: PathLike) -> str:
    try:
        return read_token(path)
    except TokenError as error:
        raise EnvAccessError(f"env.server.token_file: {error}") from None


def _read_key(path: PathLike) -> bytes:
    try:
        return read_private(path)
    except PrivateFileError as error:
        raise EnvAccessError(f"env.server.tls_key: {error}") from None


def _read_pem(key: str, path: PathLike) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise EnvAccessError(f"env.server.{key}: {path}: {error.strerror}") from None
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise EnvAccessError(f"env.server.{key}: {path} holds no certificate; expected PEM")
    return content


def _check_pair(cert: PathLike, key: PathLike) -> None:
    try:
        check_pair(cert, key, "env.server.tls_cert", "env.server.tls_key")
    except TlsError as error:
        raise EnvAccessError(str(error)) from None
