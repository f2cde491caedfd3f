"""The process in which simulators live: `python -m wmrun_envserver.server.worker_main FD`.

It builds, steps and closes simulators as the server says over the socket FD, and ends when that
reaches its end, whatever the simulators are doing then.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import select
import signal
import socket
import sys
import threading
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import NoReturn

from wmrun_envserver.backends.base import NeedsPartialBatch
from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.framing import Channel, ChannelClosed, Frame, Kind
from wmrun_envserver.server.hosts import ENV_ERRORS, Move, Spec, failure_of
from wmrun_envserver.server.output import log_to_stderr
from wmrun_envserver.server.refusal import refusal_of
from wmrun_envserver.server.rows import RowTable
from wmrun_envserver.server.simulators import LocalHost, Plan, local_host
from wmrun_envserver.server.worker_mark import MARK, kill_marked
from wmrun_envserver.wire import messages, spaces, tensors
from wmrun_envserver.wire.status import Reason

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setup:
    """What a worker is told first."""

    recipe: str
    """Of the catalogue."""
    plan: str
    num_slots: int
    """At most, of those that the worker holds."""
    log_level: str

    def to_json(self) -> str:
        """Return the text that `worker_main` reads."""
        return json.dumps(asdict(self))


def main() -> int:
    """Serve one server until it says CLOSE."""
    os.setpgid(0, 0)
    end = socket.socket(fileno=int(sys.argv[1]))
    end.set_inheritable(False)
    channel = Channel(end)
    setup = Setup(**json.loads(channel.wait().payload))
    log_to_stderr(setup.log_level)
    faulthandler.enable()
    worker = _Worker(channel, setup)
    try:
        worker.run()
    except ChannelClosed:
        worker.kill_all()
    return 0


class _Worker:
    def __init__(self, channel: Channel, setup: Setup) -> None:
        self._channel = channel
        self._setup = setup
        self._plan = Plan.from_json(setup.plan)
        self._spec = Spec(self._make_table)
        self._catalogue: Catalogue | None = None
        self._host: LocalHost | None = None
        self._resets: list[tuple[int, int | None]] = []
        self._pids: list[int] = []

    def run(self) -> None:
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        while (frame := self._channel.wait()).kind != Kind.CLOSE:
            self._handle(frame)
        if self._host is not None:
            self._host.close()

    def kill_all(self) -> NoReturn:
        """Kill this process and all that it started, in its group or not."""
        for pid in self._pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        kill_marked(os.environ[MARK])
        os.killpg(0, signal.SIGKILL)
        raise AssertionError("killed")

    def _handle(self, frame: Frame) -> None:
        if frame.kind == Kind.BUILD:
            self._build(messages.ResetRequest.FromString(frame.payload))
        elif frame.kind == Kind.RESETS:
            resets = messages.ResetRequest.FromString(frame.payload)
            seeds: list[int | None] = [*resets.seeds] or [None] * len(resets.slots)
            self._resets += zip(resets.slots, seeds, strict=True)
        elif frame.kind == Kind.ADVANCE:
            self._advance(messages.StepRequest.FromString(frame.payload))
        elif frame.kind == Kind.RENDER:
            self._render(messages.RenderRequest.FromString(frame.payload))
        elif frame.kind == Kind.DISCARD:
            self._made_host().discard(list(messages.ResetRequest.FromString(frame.payload).slots))

    def _build(self, request: messages.ResetRequest) -> None:
        slots = list(request.slots)
        try:
            host = self._made_host()
            host.discard(slots)
            host.build(slots, list(request.seeds))
            assert self._catalogue is not None
            ready = messages.OpenSessionReply(
                observation_space=spaces.encode_space(self._spec.observation_space),
                action_space=spaces.encode_space(self._spec.action_space),
                renderer=self._catalogue.renderer,
            )
        except ENV_ERRORS as error:
            self._fail(error)
            return
        self._report_children()
        self._channel.send(Kind.READY, ready.SerializeToString())

    def _advance(self, request: messages.StepRequest) -> None:
        host, table = self._made_host(), self._table
        resets, self._resets = self._resets, []
        move = Move(
            list(request.slots),
            # Simulators may write into the actions they are given.
            [tensors.decode(leaf).copy() for leaf in request.action] or self._spec.no_action,
            [slot for slot, _ in resets],
            [seed for _, seed in resets],
        )
        table.begin()
        try:
            failures = host.advance(move, table)
        except NeedsPartialBatch as error:
            self._fail(error)
            return
        for failure in failures:
            table.add_error(failure.slots[0], failure.reason, failure.message)
        rows = messages.Rows()
        table.write(rows)
        if resets:
            self._report_children()
        self._channel.send(Kind.ROWS, rows.SerializeToString())

    def _render(self, request: messages.RenderRequest) -> None:
        try:
            frame = tensors.encode(self._made_host().render(request.slots[0]))
        except ENV_ERRORS as error:
            self._fail(error)
            return
        self._channel.send(Kind.FRAME, frame.SerializeToString())

    def _fail(self, error: BaseException) -> None:
        _LOG.error("a simulator failed", exc_info=error)
        refused = refusal_of(error, debug=self._plan.debug)
        reason, message = refused.reason, refused.message
        if reason == Reason.ENV_FAILED:
            _, reason, message = failure_of((), error, debug=self._plan.debug)
        detail = messages.ErrorDetail(reason=reason, message=message, field=refused.field)
        self._channel.send(Kind.FAILED, detail.SerializeToString())

    def _made_host(self) -> LocalHost:
        if self._host is None:
            self._catalogue = Catalogue.rebuild(self._setup.recipe)
            backend = self._catalogue.backend(self._plan.env_id)
            backend.prepare(self._plan.env_id, self._plan.config)
            self._host = local_host(backend, self._plan, self._spec, nullcontext())
        return self._host

    def _make_table(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        self._table = RowTable(spaces.leaves(observation_space), self._setup.num_slots)

    def _report_children(self) -> None:
        assert self._host is not None
        pids = self._host.child_pids()
        if pids != self._pids:
            self._pids = pids
            self._channel.send(Kind.PIDS, json.dumps(pids).encode())

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLHUP | select.POLLRDHUP)
        poll.poll()
        self.kill_all()


if __name__ == "__main__":
    sys.exit(main())
