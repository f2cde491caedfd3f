"""The file in memory through which a server on the same host sends large tensors."""

from __future__ import annotations

import mmap
import os
import stat
from contextlib import suppress
from pathlib import Path

from wmrun_envserver.wire import tensors

from wmrun.envs.errors import EnvProtocolError

_TMPFS = Path("/dev/shm")


class SharedMemory:
    """A server's file, mapped for reading; its name is gone from then on."""

    def __init__(self, path: str, num_bytes: int) -> None:
        """Map the file at `path`.

        Raises `OSError` where it cannot be opened, `EnvProtocolError` unless it is a file in
        `/dev/shm`, of ours alone, and of `num_bytes`.
        """
        directory = Path(path).parent.resolve()
        if _TMPFS not in directory.parents:  # we are going to remove it: it must be nothing else
            raise EnvProtocolError(f"the env server's shared file {path} is not in {_TMPFS}")
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _check(path, os.fstat(fd), num_bytes)
            self._map = mmap.mmap(fd, num_bytes, prot=mmap.PROT_READ)
        finally:
            os.close(fd)
        self._half_bytes = num_bytes // 2
        # The directory was made for the file; where it has others it stays.
        with suppress(OSError):
            os.unlink(path)
            Path(path).parent.rmdir()

    def reader(self, seq: int) -> tensors.ReadShared:
        """Return what copies bytes out of the half that belongs to call `seq`."""
        start = 0 if seq % 2 else self._half_bytes

        def read(offset: int, length: int) -> bytes:
            if not start <= offset <= offset + length <= start + self._half_bytes:
                raise tensors.TensorError(
                    f"{length} bytes at {offset} of the shared file are not within the half of "
                    f"call {seq}, from {start} to {start + self._half_bytes}"
                )
            # A copy: two calls later the server writes there again.
            return self._map[offset : offset + length]

        return read

    def close(self) -> None:
        """Give the memory back."""
        self._map.close()


def _check(path: str, status: os.stat_result, num_bytes: int) -> None:
    """Refuse what others may write to, and what is too short to be read to its end."""
    problem = None
    if not stat.S_ISREG(status.st_mode):
        problem = "is no file"
    elif status.st_uid != os.geteuid():
        problem = f"belongs to user {status.st_uid}, not to us ({os.geteuid()})"
    elif status.st_mode & 0o077:
        problem = f"has mode {stat.S_IMODE(status.st_mode):04o}: others may use it"
    elif num_bytes <= 0 or num_bytes % 2 or status.st_size != num_bytes:
        problem = f"has {status.st_size} bytes where {num_bytes} were promised"
    if problem is not None:
        raise EnvProtocolError(f"the env server's shared file {path} {problem}")
