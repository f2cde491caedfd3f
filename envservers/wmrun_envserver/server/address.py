"""Where a server listens: a Unix socket in a private directory, or a loopback port."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

_EXPECTED = "expected unix:/DIRECTORY/NAME.sock, or 127.0.0.1:PORT with port 0 for any free one"
_MAX_UNIX_PATH_BYTES = 107


class AddressError(ValueError):
    """An address is malformed, unsafe or taken."""


@dataclass(frozen=True)
class UnixAddress:
    """A socket file."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True)
class TcpAddress:
    """A port of a loopback interface; 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Address = UnixAddress | TcpAddress


def parse_address(text: str) -> Address:
    """Return the address that `text` names; raises `AddressError` unless it is Unix or loopback."""
    scheme, _, rest = text.partition(":")
    if scheme == "unix":
        return _parse_unix(text, rest)
    if scheme in ("unix-abstract", "vsock"):
        raise AddressError(f"{text!r}: {scheme} sockets have no permissions; {_EXPECTED}")
    return _parse_tcp(text)


def claim(address: Address) -> None:
    """Make sure that a server may bind `address` and that nobody else can reach into it.

    A socket file that nobody answers on is removed. Raises `AddressError` for a directory that is
    missing or open to others, and for a path in use: gRPC would quietly take it over.
    """
    if isinstance(address, UnixAddress):
        _check_directory(address)
        _remove_stale(address)


def _parse_unix(text: str, rest: str) -> UnixAddress:
    path = "/" + rest.lstrip("/") if rest.startswith("//") else rest
    if not path.startswith("/") or path.endswith("/"):
        raise AddressError(f"{text!r}: a Unix socket needs an absolute path; {_EXPECTED}")
    size = len(os.fsencode(path))
    if size > _MAX_UNIX_PATH_BYTES:
        raise AddressError(
            f"{text!r}: the path has {size} bytes, a Unix socket's may have "
            f"{_MAX_UNIX_PATH_BYTES}; use a shorter directory"
        )
    return UnixAddress(Path(path))


def _parse_tcp(text: str) -> TcpAddress:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise AddressError(f"{text!r} is not an address; {_EXPECTED}")
    host = "127.0.0.1" if host == "localhost" else host
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise AddressError(
            f"{text!r} is not a loopback address: without TLS and client authentication a server "
            f"is not offered to other machines; {_EXPECTED}"
        )
    return TcpAddress(host, int(port))


def _check_directory(address: UnixAddress) -> None:
    directory = address.path.parent
    try:
        status = directory.stat()
    except OSError as error:
        raise AddressError(f"{address}: {directory}: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode):
        raise AddressError(f"{address}: {directory} is not a directory")
    if status.st_uid != os.geteuid():
        raise AddressError(f"{address}: {directory} belongs to another user (uid {status.st_uid})")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise AddressError(
            f"{address}: {directory} has mode {mode:04o}, open to other users; "
            f"expected 0700: chmod 700 {directory}"
        )


def _remove_stale(address: UnixAddress) -> None:
    path = address.path
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise AddressError(f"{address}: the file exists and is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise AddressError(f"{address}: another server listens there")
