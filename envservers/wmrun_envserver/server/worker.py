"""A thread per session, because a simulator may be bound to the thread that built it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")

_POLL_S = 1.0


class Abandoned(Exception):
    """Nobody waits for the task any more; it goes on."""


class Task(Generic[T]):
    """Work handed to a `Worker`; any number of threads may wait for its outcome, then or later."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work
        self._error: BaseException | None = None
        # A lock as a latch: half the cost of threading.Event, and every step pays for one.
        self._pending = threading.Lock()
        self._pending.acquire()

    def run(self) -> None:
        """Do the work and keep what it returned or raised; called once."""
        assert self._work is not None
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error
        finally:
            self._work = None
            self._pending.release()

    def wait(self, wanted: Callable[[], bool] = lambda: True) -> T:
        """Return or raise the outcome.

        Raises `Abandoned` when `wanted()`, asked about once a second, says that nobody needs it.
        """
        while not self._pending.acquire(timeout=_POLL_S):
            if not wanted():
                raise Abandoned
        self._pending.release()
        if self._error is not None:
            raise self._error
        return self._result

    def wait_until(self, timeout_s: float) -> bool:
        """Return whether the task is done, after at most `timeout_s`."""
        done = self._pending.acquire(timeout=max(0.0, timeout_s))
        if done:
            self._pending.release()
        return done


class Worker:
    """One thread that runs tasks in the order in which they were given to it.

    Who has its turn keeps it from running any, and may run one in its place: handing a task over
    and back costs more than stepping a small simulator.
    """

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._turn = threading.Lock()
        # A daemon: a simulator that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T]) -> Task[T]:
        """Queue `work` and return its task at once."""
        task = Task(work)
        self._tasks.put(task)
        return task

    def finish(self, work: Callable[[], T]) -> Task[T]:
        """Queue `work` as the last task; the thread ends after it."""
        task = self.submit(work)
        self._tasks.put(None)
        return task

    def take_turn(self) -> bool:
        """Return whether the turn was free, and is now the caller's."""
        return self._turn.acquire(blocking=False)

    def end_turn(self) -> None:
        """Give the turn back."""
        self._turn.release()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            with self._turn:
                task.run()
