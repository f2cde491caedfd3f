"""Files that hold a secret: refused where other users of the machine can read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_MAX_BYTES = 64 * 2**10


class PrivateFileError(ValueError):
    """A file with a secret is missing, unreadable, or open to others."""


def read_private(path: str | os.PathLike[str]) -> bytes:
    """Return the content of the file at `path`.

    Raises `PrivateFileError` where it cannot be read, where it belongs to somebody else than this
    user and root, where others can read or change it, and where it is larger than 64 KiB.

    The directories above it may be anybody's, as for the keys of ssh: who puts another file into
    its place cannot make that one belong to this user.
    """
    try:
        with open(path, "rb") as file:
            _require_private(Path(path), os.fstat(file.fileno()))
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise PrivateFileError(f"{path}: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise PrivateFileError(f"{path}: larger than {_MAX_BYTES} bytes; expected a token or a key")
    return content


def _require_private(path: Path, status: os.stat_result) -> None:
    # The owner first: nobody can change the mode of a file that is not theirs.
    if status.st_uid not in (os.geteuid(), 0):
        raise PrivateFileError(
            f"{path} belongs to another user (uid {status.st_uid}), who could read and change it; "
            f"expected a file of this user (uid {os.geteuid()})"
        )
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise PrivateFileError(
            f"{path} has mode {mode:04o}, open to other users; a file that holds a secret, and "
            "nothing else, has mode 0600 (chmod 600)"
        )
