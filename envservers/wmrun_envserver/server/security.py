"""Who may connect to a server, and whether its address is safe with that."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from wmrun_envserver.server.address import Address, UnixAddress
from wmrun_envserver.server.tls import Tls, TlsError
from wmrun_envserver.server.token import TokenError, read_token

PathLike = str | os.PathLike[str]

_REMEDY = "--tls-cert FILE --tls-key FILE and either --token-file FILE or --tls-client-ca FILE"


class SecurityError(ValueError):
    """Tokens or certificates cannot be used, or do not protect the address to be listened on."""


@dataclass(frozen=True)
class Security:
    """What clients must show; by default nothing, which only private addresses allow."""

    token: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    insecure: bool = False
    """Listen wherever asked, whatever is missing."""

    @staticmethod
    def load(
        *,
        token_file: PathLike | None = None,
        tls_cert: PathLike | None = None,
        tls_key: PathLike | None = None,
        tls_client_ca: PathLike | None = None,
        insecure: bool = False,
    ) -> Security:
        """Read the files of the command line; raises `SecurityError`."""
        try:
            return Security(
                token=None if token_file is None else read_token(token_file),
                tls=_load_tls(tls_cert, tls_key, tls_client_ca),
                insecure=insecure,
            )
        except TokenError as error:
            raise SecurityError(f"--token-file: {error}") from None
        except TlsError as error:
            raise SecurityError(str(error)) from None

    @property
    def authenticates(self) -> bool:
        """Whether a client must prove who it is."""
        return self.token is not None or (self.tls is not None and self.tls.client_ca is not None)

    def check(self, address: Address) -> str | None:
        """Return a warning about listening at `address`, None where there is nothing to say.

        Raises `SecurityError` where other machines could connect and the connection would not be
        encrypted, or anybody's would do.
        """
        if isinstance(address, UnixAddress):
            if self.tls is not None:
                raise SecurityError(
                    f"--tls-cert: {address} is a Unix socket, which no other machine can reach; "
                    "leave TLS away, or --listen on HOST:PORT"
                )
            return None
        if address.is_loopback:
            return None if self.authenticates else _OPEN_TO_USERS.format(address=address)
        missing = self._missing()
        if missing and not self.insecure:
            raise SecurityError(
                f"'{address}' is not a loopback address: other machines could connect {missing}. "
                f"Add {_REMEDY}, or listen on 127.0.0.1; --insecure serves it as it is"
            )
        return _OPEN_TO_ALL.format(address=address, missing=missing) if missing else None

    def _missing(self) -> str:
        lacks = []
        if self.tls is None:
            lacks.append("unencrypted")
        if not self.authenticates:
            lacks.append("without proving who they are")
        return " and ".join(lacks)


OPEN = Security()
"""No credentials: for Unix sockets and loopback."""

_OPEN_TO_USERS = (
    "every user of this machine can connect to {address}: no token is asked for. Give "
    "--token-file FILE (made by `wmrun-envserver token FILE`), or --listen unix:/DIR/NAME.sock "
    "in a directory of mode 0700"
)
_OPEN_TO_ALL = (
    "INSECURE: every machine that reaches {address} can connect {missing}, and run the simulators "
    f"of this user. Drop --insecure and add {_REMEDY}"
)


def _load_tls(
    cert: PathLike | None, key: PathLike | None, client_ca: PathLike | None
) -> Tls | None:
    if cert is not None and key is not None:
        return Tls.load(cert, key, client_ca)
    if cert is not None or key is not None or client_ca is not None:
        raise TlsError(
            "TLS needs both --tls-cert FILE and --tls-key FILE"
            + (", also with --tls-client-ca" if client_ca is not None else "")
        )
    return None
