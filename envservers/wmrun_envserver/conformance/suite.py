"""The whole suite: checks in order, each by itself, however the server behaves."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import grpc

# Importing the groups registers their checks.
from wmrun_envserver.conformance import (  # noqa: F401
    bad_actions,
    episodes,
    exactly_once,
    failures,
    handshake,
    leases,
    limits,
    optional,
    process,
    security,
    seeding,
    step_socket,
    stepping,
)
from wmrun_envserver.conformance.check import Check, Result, Skip, Unmet, registered
from wmrun_envserver.conformance.launch import Launched, Launcher, LaunchError
from wmrun_envserver.conformance.peer import Deadline, Peer, Target, told
from wmrun_envserver.conformance.run import Run, Settings
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.handshake import Names, tls_trouble
from wmrun_envserver.wire.status import detail_of

ANSWER_LIMIT_S = 10.0


_NAMES = Names(
    client="this command",
    address="--target",
    tls_ca="--tls-ca",
    tls_cert="--tls-cert",
    tls_key="--tls-key",
)


class NobodyAnswersError(Exception):
    """There is no server to test, or none that answers us; the message says where and why."""


def all_checks() -> list[Check]:
    """Return every check, by number."""
    return registered()


class Suite:
    """Makes checks against one server: one that runs at `target`, or one that it launches."""

    def __init__(
        self, settings: Settings, target: Target, launcher: Launcher | None = None
    ) -> None:
        self._settings = settings
        self._target = target
        self._launcher = launcher
        self._launched: Launched | None = None
        self._stack = ExitStack()
        self._silent_since = ""

    def __enter__(self) -> Suite:
        """Find or start the server; raises `NobodyAnswersError`."""
        if self._launcher is not None:
            self._start(self._launcher)
        elif not self._answers(ANSWER_LIMIT_S):
            raise NobodyAnswersError(self._why_silent())
        try:
            self._require_access()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, checks: Sequence[Check]) -> Iterator[Result]:
        """Make the checks one after the other."""
        for check in checks:
            result = self._attempt(check)
            yield result
            if result.status == "FAIL" and not self._answers(3.0):
                self._recover(check)

    def _attempt(self, check: Check) -> Result:
        started = time.monotonic()
        if self._silent_since:
            why = f"the server no longer answers since check {self._silent_since}"
            return Result(check, "SKIP", 0.0, why=why)
        run = Run(self._settings, self._target, self._launcher)
        unmet, why = None, ""
        try:
            check.body(run)
        except Unmet as error:
            unmet = error
        except Skip as skip:
            why = str(skip)
        except grpc.RpcError as error:
            unmet = Unmet("a call", "an answer", told(error))
        except LaunchError as error:
            unmet = Unmet("--launch", "a server that answers", error)
        except Exception as error:
            # What no check foresaw, such as a slot that is missing from a reply.
            unmet = Unmet("a reply", "one that the check can read", f"{error!r} {_place(error)}")
        finally:
            run.close()
        status = "FAIL" if unmet else "SKIP" if why else "PASS"
        seconds = time.monotonic() - started
        return Result(check, status, seconds, unmet, why, tuple(run.omitted))  # type: ignore[arg-type]

    def _recover(self, check: Check) -> None:
        """Start the server again where that is ours to do; else remember that it is gone."""
        if self._launcher is None:
            self._silent_since = f"{check.number} {check.name}"
            return
        self._stack.close()
        self._start(self._launcher)

    def _start(self, launcher: Launcher) -> None:
        try:
            self._launched = self._stack.enter_context(launcher.running())
        except LaunchError as error:
            raise NobodyAnswersError(str(error)) from None
        self._target = self._launched.target

    def _why_silent(self) -> str:
        address = self._target.address
        trouble = tls_trouble(address, self._target, _NAMES)
        if trouble is None:
            return f"nothing answers at {address}: {self._silence}"
        return f"no connection to {address}: {trouble.problem}. {trouble.hint}"

    def _require_access(self) -> None:
        """Raise `NobodyAnswersError` where the server does not take our token."""
        peer = Peer(self._target, Deadline(ANSWER_LIMIT_S))
        try:
            peer.invoke("GetServerInfo", messages.GetServerInfoRequest())
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
                return  # for the checks to find
            detail = detail_of(error)
            said = detail.message if detail else error.details()
            raise NobodyAnswersError(
                f"the server at {self._target.address} refuses this command: {said}. Set "
                "--token-file to a copy of the file that the server was given as --token-file."
            ) from None
        finally:
            peer.close()

    def _answers(self, limit_s: float) -> bool:
        deadline = Deadline(limit_s)
        peer = Peer(self._target, deadline)
        self._silence = f"no answer within {limit_s:.0f} s"
        try:
            while True:
                try:
                    peer.health("", 2.0)
                    return True
                except grpc.RpcError as error:
                    self._silence = told(error)
                    if not _is_silence(error):
                        return True
                time.sleep(0.1)
        except Unmet:
            return False
        finally:
            peer.close()


def _place(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"at {Path(frame.filename).name}:{frame.lineno}"


def _is_silence(error: grpc.RpcError) -> bool:
    # A server that refuses the health check is there to be tested.
    return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
