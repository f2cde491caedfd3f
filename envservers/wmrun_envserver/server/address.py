"""Where a server listens: a Unix socket in a private directory, or a TCP port."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_EXPECTED = "expected unix:/DIRECTORY/NAME.sock, or IP:PORT such as 127.0.0.1:0 (0: any free port)"
MAX_UNIX_PATH_BYTES = 107


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
    """A port of the interface with the IP address `host`; 0 lets the system choose."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Address = UnixAddress | TcpAddress


@dataclass(frozen=True)
class SocketFile:
    """A socket file as its server bound it; another server may bind one at the same path later."""

    path: Path
    device: int
    inode: int

    @staticmethod
    def at(path: Path) -> SocketFile:
        """Return the file that is at `path` now."""
        status = path.lstat()
        return SocketFile(path, status.st_dev, status.st_ino)

    def remove(self) -> None:
        """Remove the file, unless there is another, or none, at its path; what stays is stale.

        To be called before the listener closes: until then no other file can have the inode.
        """
        with suppress(OSError), _locked(self.path.parent):
            status = self.path.lstat()
            if (status.st_dev, status.st_ino) == (self.device, self.inode):
                self.path.unlink()


def parse_address(text: str) -> Address:
    """Return the address that `text` names; raises `AddressError` where it is malformed."""
    scheme, _, rest = text.partition(":")
    if scheme == "unix":
        return _parse_unix(text, rest)
    if scheme in ("unix-abstract", "vsock"):
        raise AddressError(f"{text!r}: {scheme} sockets have no permissions; {_EXPECTED}")
    return _parse_tcp(text)


def private_address(directory: str) -> UnixAddress:
    """Return the address of a server's own socket in `directory`, made for it below TMPDIR.

    Raises `AddressError` where that is too long a path.
    """
    path = f"{directory}/s.sock"
    remedy = "use a shorter directory for temporary files (export TMPDIR=/tmp)"
    _check_length(path, f"unix:{path}", remedy)
    return UnixAddress(Path(path))


@contextmanager
def claimed(address: Address) -> Iterator[None]:
    """Hold `address` while it is bound, so that no other server takes it over.

    A socket file that nobody answers on is removed. Raises `AddressError` for a directory that is
    missing or open to others, and for a path in use: gRPC would quietly take it over.
    """
    if not isinstance(address, UnixAddress):
        yield
        return
    _check_directory(address)
    with _locked(address.path.parent):
        _remove_stale(address)
        yield


def why_not(address: TcpAddress) -> str:
    """Return why `address` cannot be bound, in the system's words; gRPC keeps them to itself."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((address.host, address.port))
    except OSError as error:
        return error.strerror or str(error)
    return "is it in use?"


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    # Two servers that start at once would both find the path free.
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _parse_unix(text: str, rest: str) -> UnixAddress:
    path = "/" + rest.lstrip("/") if rest.startswith("//") else rest
    if not path.startswith("/") or path.endswith("/"):
        raise AddressError(f"{text!r}: a Unix socket needs an absolute path; {_EXPECTED}")
    _check_length(path, text, "use a shorter directory")
    return UnixAddress(Path(path))


def _check_length(path: str, text: str, remedy: str) -> None:
    size = len(os.fsencode(path))
    if size > MAX_UNIX_PATH_BYTES:
        raise AddressError(
            f"{text!r}: the path has {size} bytes, a Unix socket's may have "
            f"{MAX_UNIX_PATH_BYTES}; {remedy}"
        )


def _parse_tcp(text: str) -> TcpAddress:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise AddressError(f"{text!r} is not an address; {_EXPECTED}")
    host = "127.0.0.1" if host == "localhost" else host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise AddressError(
            f"{text!r}: {host!r} is not the IP address of an interface; {_EXPECTED}"
        ) from None
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
            "expected one of your own with mode 0700 (mkdir -m 700), or leave the address out"
        )


def _remove_stale(address: UnixAddress) -> None:
    path = address.path
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise AddressError(f"{address}: the file exists and is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:  # the queue of a server that is stopped, or busy, is full
            pass
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise AddressError(f"{address}: another server listens there")
