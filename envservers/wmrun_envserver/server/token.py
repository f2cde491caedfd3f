"""The secret that a client shows to prove that it may use the server."""

from __future__ import annotations

import os
import re
import secrets

from wmrun_envserver.server.private_file import PrivateFileError, read_private

_NUM_BYTES = 32
_REMEDY = "`wmrun-envserver token FILE` makes a file as it should be"
_HEX = re.compile(rb"[0-9a-fA-F]{64}")


class TokenError(ValueError):
    """A token file is missing, unsafe or malformed, or would be overwritten."""


def create_token(path: str | os.PathLike[str]) -> None:
    """Write a new token of 256 random bits to a new file of mode 0600.

    Raises `TokenError` where the file exists or cannot be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o600)
    except FileExistsError:
        raise TokenError(
            f"{path}: the file exists; remove it first if nothing uses its token any more"
        ) from None
    except OSError as error:
        raise TokenError(f"{path}: {error.strerror}") from None
    with open(fd, "w") as file:
        os.fchmod(fd, 0o600)  # whatever the umask took away
        file.write(secrets.token_hex(_NUM_BYTES) + "\n")


def read_token(path: str | os.PathLike[str]) -> str:
    """Return the token in the file at `path`, 64 hex digits.

    Raises `TokenError`, which never quotes the file, where others can read the file or it holds
    anything else.
    """
    try:
        content = read_private(path).strip()
    except PrivateFileError as error:
        raise TokenError(f"{error}. {_REMEDY}") from None
    if not _HEX.fullmatch(content):
        raise TokenError(f"{path} holds no token; expected 64 hex digits. {_REMEDY}")
    return content.decode().lower()


def bearer(token: str) -> tuple[str, str]:
    """Return the metadata entry that carries `token`."""
    return "authorization", f"Bearer {token}"
