"""The certificates that a server shows and the ones it asks its clients for."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from wmrun_envserver.server.private_file import PrivateFileError, read_private


class TlsError(ValueError):
    """Certificates or keys are missing, malformed, unsafe, or do not belong together."""


@dataclass(frozen=True)
class Tls:
    """A certificate chain with its key and, for mutual TLS, the authority of the clients; PEM."""

    cert: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None = None

    @staticmethod
    def load(
        cert: str | os.PathLike[str],
        key: str | os.PathLike[str],
        client_ca: str | os.PathLike[str] | None = None,
    ) -> Tls:
        """Read the files; raises `TlsError` naming the flag and what to do."""
        try:
            key_pem = read_private(key)
        except PrivateFileError as error:
            raise TlsError(f"--tls-key: {error}") from None
        tls = Tls(
            cert=_read("--tls-cert", cert),
            key=key_pem,
            client_ca=None if client_ca is None else _read("--tls-client-ca", client_ca),
        )
        check_pair(cert, key, "--tls-cert", "--tls-key")
        if tls.client_ca is not None and client_ca is not None:
            _check_authority(client_ca)
        return tls

    def credentials(self) -> grpc.ServerCredentials:
        """Return what a port needs; with a client authority, clients must show a certificate."""
        return grpc.ssl_server_credentials(
            [(self.key, self.cert)],
            root_certificates=self.client_ca,
            require_client_auth=self.client_ca is not None,
        )


def check_pair(
    cert: str | os.PathLike[str], key: str | os.PathLike[str], cert_name: str, key_name: str
) -> None:
    """Raise `TlsError`, with the names that the user gave the files, unless `key` is `cert`'s."""
    # gRPC takes whatever it is given and then fails every handshake.
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, _no_passphrase)
    except TlsError as error:
        raise TlsError(f"{key_name}: {key}: {error}") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"{key_name}: {key} does not belong to the certificate {cert}") from None
        raise TlsError(
            f"{cert_name}, {key_name}: {cert} and {key} are not a certificate and its key in PEM: "
            f"{error.reason or error}"
        ) from None


def _read(flag: str, path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise TlsError(f"{flag}: {path}: {error.strerror}") from None


def _check_authority(path: str | os.PathLike[str]) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except ssl.SSLError as error:
        raise TlsError(
            f"--tls-client-ca: {path} holds no certificate in PEM: {error.reason or error}"
        ) from None


def _no_passphrase() -> str:
    raise TlsError(
        "the key is encrypted; expected one without a passphrase, in a file of mode 0600"
    )
