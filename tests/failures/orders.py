"""Orders to the environments of the fragile backend, one file for each."""

from __future__ import annotations

import os
import select
from pathlib import Path

from tests.failures.fragile_backend import ORDERS

LIMIT_S = 60.0


class Orders:
    """A folder in which a file `PID.ORDER` is for whichever env of that process sees it first."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.environment = {ORDERS: str(folder)}
        self._folder = folder
        os.mkfifo(folder / "taken")
        # Open for reading and writing: with no writer left it would be at its end.
        self._taken = os.open(folder / "taken", os.O_RDWR)

    def give(self, pid: int, order: str) -> None:
        """Order something, and return once an environment has begun to do it."""
        self.put(pid, order)
        waiter = select.poll()
        waiter.register(self._taken, select.POLLIN)
        assert waiter.poll(LIMIT_S * 1000), f"process {pid} did not take the order to {order}"
        assert os.read(self._taken, 1024).decode() == f"{pid}.{order}\n"

    def put(self, pid: int, order: str) -> None:
        """Order something, for whenever an environment asks."""
        (self._folder / f"{pid}.{order}").touch()

    def close(self) -> None:
        os.close(self._taken)
