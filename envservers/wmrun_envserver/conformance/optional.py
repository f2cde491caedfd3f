"""Checks 31 and 32: Render and StepStream, where a server offers them."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import grpc
import numpy as np

from wmrun_envserver.conformance.check import Skip, Unmet, check, equal, require
from wmrun_envserver.conformance.peer import refusal, told
from wmrun_envserver.conformance.run import Choice, Run
from wmrun_envserver.conformance.session import Session
from wmrun_envserver.wire import messages, tensors

_STEPS = 16
_SLOW_MS = 1000
_NARROW = 16
_REFUSED = ("FAILED_PRECONDITION", "INVALID_ARGUMENT")


@check(31, "render", needs='capability "render"')
def render(run: Run) -> None:
    """Render returns uint8 HWC frames, changes nothing, and wants its grant and a render_mode."""
    if "render" not in run.peer.info().capabilities:
        request = messages.RenderRequest(session_id=run.open(run.subject).id)
        run.peer.refused("Render", request, "UNIMPLEMENTED", about="not offered")
        raise Skip("the server does not offer the capability render")
    choices = [choice for choice in run.subjects(length=5) if _modes(run, choice)]
    if not choices:
        raise Skip("no environment here has a render mode")
    for choice in choices:
        mode = _modes(run, choice)[0]
        session = run.open(choice, render_mode=mode, want_capabilities=["render"])
        _check_frames(run, choice, session)
        _check_state(run, choice, mode)
        _check_refusals(run, choice, mode)


@check(32, "stream", needs='capability "stream"')
def stream(run: Run) -> None:
    """StepStream gives the bytes that Step gives; breaking it loses and repeats nothing."""
    if "stream" not in run.peer.info().capabilities:
        raise Skip("the server does not offer the capability stream")
    for choice in run.subjects(length=5):
        _check_same_bytes(run, choice)
    _check_refusal_on_stream(run)
    with run.part("a stream that breaks in the middle of a step"):
        _check_broken_stream(run)


def _modes(run: Run, choice: Choice) -> list[str]:
    env = run.on_offer.get(choice.env_id)
    return list(env.render_modes) if env else []


def _check_frames(run: Run, choice: Choice, session: Session) -> None:
    session.reset()
    where = f"{choice.env_id}: Render"
    frames = _frames(session, where)
    equal(f"{where}, slots", sorted(frames), list(range(session.num_envs)))
    session.step()
    frames = _frames(session, where)
    if choice.env_id == run.settings.echo_env_id:
        ramp = (np.arange(64 * 64 * 3) + 8).astype(np.uint8).reshape(64, 64, 3)
        for slot, frame in frames.items():
            same = np.array_equal(frame, ramp)
            require(same, f"{where}, frame of slot {slot}", "the ramp of step 1", "another frame")
    last = session.num_envs - 1
    equal(f"{where} of one slot, slots", sorted(_frames(session, where, slots=[last])), [last])
    for slot, frame in _frames(session, where, max_width=_NARROW).items():
        width = frame.shape[1]
        about = f"{where} with max_width, slot {slot}"
        require(width <= _NARROW, about, f"at most {_NARROW} wide", width)


def _check_state(run: Run, choice: Choice, mode: str) -> None:
    """Two sessions with the same seeds and actions, one of which is drawn after every call."""
    drawn = run.open(choice, render_mode=mode, want_capabilities=["render"])
    plain = run.open(choice)
    seeds = _seeds(drawn)
    for number in range(_STEPS + 1):
        replies = []
        for session in (drawn, plain):
            name = "Step" if number else "Reset"
            request = session.stepping() if number else session.resetting(seeds=seeds)
            reply = session.peer.call(name, request)
            session.accept(name, reply)
            replies.append(reply.rows.SerializeToString(deterministic=True))
        _frames(drawn, f"{choice.env_id}: Render")
        if drawn.opened.deterministic and seeds:
            where = f"{choice.env_id}: rows of call {number + 1} with Render in between"
            require(replies[0] == replies[1], where, "the same bytes as without", "others")
    equal("HeartbeatReply.last_seq after Render", drawn.heartbeat().last_seq, drawn.seq)


def _check_refusals(run: Run, choice: Choice, mode: str) -> None:
    blind = run.open(choice, want_capabilities=["render"])
    blind.reset()
    request = messages.RenderRequest(session_id=blind.id)
    run.peer.refused("Render", request, _REFUSED, about="a session without render_mode")
    blind.close()
    plain = run.open(choice, render_mode=mode)
    plain.reset()
    request = messages.RenderRequest(session_id=plain.id)
    run.peer.refused("Render", request, "UNIMPLEMENTED", about="a session without the capability")
    plain.close()
    unknown = run.opening(choice, render_mode="no-such-mode")
    code = "INVALID_ARGUMENT"
    run.peer.refused("OpenSession", unknown, code, field="render_mode", about="unknown mode")
    foreign = messages.RenderRequest(session_id="no-such-session")
    run.peer.refused("Render", foreign, "NOT_FOUND", about="a foreign session_id")


def _frames(
    session: Session, where: str, slots: list[int] | None = None, max_width: int = 0
) -> dict[int, np.ndarray]:
    request = messages.RenderRequest(session_id=session.id, slots=slots or [], max_width=max_width)
    reply = session.peer.call("Render", request)
    equal(f"{where}, frames", len(reply.frames), len(reply.slots))
    frames = {}
    for slot, tensor in zip(reply.slots, reply.frames, strict=True):
        try:
            frame = tensors.decode(tensor)
        except tensors.TensorError as error:
            raise Unmet(f"{where}, frame of slot {slot}", "a tensor", error) from None
        sound = frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3 and frame.size
        got = f"{frame.dtype.name} {list(frame.shape)}"
        require(bool(sound), f"{where}, frame of slot {slot}", "uint8 [height, width, 3]", got)
        frames[slot] = frame
    return frames


def _seeds(session: Session) -> list[int]:
    per_reset = session.opened.seed_scope == messages.SEED_PER_RESET
    return list(range(70, 70 + session.num_envs)) if per_reset else []


class _Requests:
    """The requests of a stream, handed over one by one."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[messages.StepRequest | None] = queue.SimpleQueue()

    def send(self, request: messages.StepRequest) -> None:
        self._queue.put(request)

    def finish(self) -> None:
        self._queue.put(None)

    def __iter__(self) -> Iterator[messages.StepRequest]:
        while (request := self._queue.get()) is not None:
            yield request


def _check_same_bytes(run: Run, choice: Choice) -> None:
    streamed = run.open(choice, want_capabilities=["stream"])
    plain = run.open(choice)
    granted = list(streamed.opened.capabilities)
    require("stream" in granted, "OpenSessionReply.capabilities", "stream among them", granted)
    seeds = _seeds(streamed)
    for session in (streamed, plain):
        session.reset(seeds=seeds)
    requests = _Requests()
    replies = run.peer.stream(requests)
    try:
        for number in range(_STEPS):
            requests.send(streamed.stepping())
            reply = next(replies)
            streamed.accept("StepStream", reply)
            other = run.peer.call("Step", plain.stepping())
            plain.accept("Step", other)
            if streamed.opened.deterministic and seeds:
                same = _bytes(reply) == _bytes(other)
                where = f"{choice.env_id}: StepStream, rows of step {number + 1}"
                require(same, where, "the bytes that Step gives", "others")
        requests.finish()
        rest = list(replies)
        equal("replies of a StepStream after its last request", len(rest), 0)
    except grpc.RpcError as error:
        raise Unmet(f"{choice.env_id}: StepStream", "replies", told(error)) from None
    finally:
        requests.finish()
        replies.cancel()
    streamed.step()


def _check_refusal_on_stream(run: Run) -> None:
    session = run.open(run.subject, want_capabilities=["stream"])
    session.reset()
    requests = _Requests()
    replies = run.peer.stream(requests)
    requests.send(session.stepping(seq=session.seq + 5))
    try:
        next(replies)
    except grpc.RpcError as error:
        refusal("StepStream with a seq that is no successor", error, "ABORTED", reason="SEQ_GAP")
    except StopIteration:
        raise Unmet("StepStream with a seq that is no successor", "ABORTED", "its end") from None
    else:
        raise Unmet("StepStream with a seq that is no successor", "ABORTED", "a reply")
    finally:
        requests.finish()
    session.step()


def _check_broken_stream(run: Run) -> None:
    choice = run.echo(length=1000, step_ms=_SLOW_MS)
    session = run.open(choice, num_envs=1, want_capabilities=["stream"])
    session.reset()
    requests = _Requests()
    replies = run.peer.stream(requests)
    request = session.stepping()
    requests.send(request)
    while not session.heartbeat().busy:
        done = session.heartbeat().last_seq > session.seq
        require(not done, "HeartbeatReply.busy while a streamed Step runs", True, False)
    replies.cancel()
    requests.finish()
    reply = run.peer.call("Step", request)
    equal("Step after the stream broke, replayed", reply.replayed, True)
    (row,) = session.accept("Step", reply)
    equal("steps of the env", (row.step, float(row.obs[0][0])), (1, 1.0))
    (row,) = session.step()
    equal("steps of the env after one more", (row.step, float(row.obs[0][0])), (2, 2.0))


def _bytes(reply: messages.StepReply) -> bytes:
    data: bytes = reply.rows.SerializeToString(deterministic=True)
    return data
