"""Servers that are wrong at one point each, and the check that must notice.

A mutation answers one call of the suite in place of the real server, which it may ask first.
"""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import numpy as np
from wmrun_envserver.wire import health, messages, tensors

from tests.envserver.conformance.proxy import Call, Mutation, Refusal

MUTATING = ("Reset", "Step")


class Broken(NamedTuple):
    """A way to be wrong: which check must fail, and what its report must say."""

    check: int
    words: str
    make: Callable[[], Mutation]
    """A fresh mutation; what it remembers is its own."""

    @property
    def id(self) -> str:
        return f"{self.check:02}-{self.make.__name__}"


BROKEN: list[Broken] = []


def breaks(check: int, words: str) -> Callable[[Mutation], Mutation]:
    """Register a mutation without memory."""

    def register(mutation: Mutation) -> Mutation:
        def make() -> Mutation:
            return mutation

        make.__name__ = mutation.__name__
        BROKEN.append(Broken(check, words, make))
        return mutation

    return register


def remembers(check: int, words: str) -> Callable[[type], type]:
    """Register a class whose instances are mutations."""

    def register(kind: type) -> type:
        def make() -> Mutation:
            return kind()  # type: ignore[no-any-return]

        make.__name__ = kind.__name__
        BROKEN.append(Broken(check, words, make))
        return kind

    return register


HEALTH = "/grpc.health.v1.Health/Check"


@breaks(1, "no.such.Service")
def serving_whatever_the_name(call: Call) -> Any:
    if call.name != HEALTH:
        return call.forward()
    return health.HealthCheckResponse(status=health.HealthCheckResponse.SERVING)


@breaks(1, "expected SERVING, got NOT_SERVING")
def never_serving(call: Call) -> Any:
    if call.name != HEALTH:
        return call.forward()
    reply = health.HealthCheckResponse.FromString(call.forward())
    reply.status = health.HealthCheckResponse.NOT_SERVING
    return reply


@breaks(2, "instance_id, asked again")
def a_new_instance_id_each_time(call: Call) -> Any:
    reply = call.forward()
    if call.name == "GetServerInfo":
        reply.instance_id = f"{random.getrandbits(128):x}"
    return reply


@breaks(2, "OpenSessionReply.instance_id")
def sessions_of_another_instance(call: Call) -> Any:
    reply = call.forward()
    if call.name == "OpenSession":
        reply.instance_id = "another"
    return reply


@breaks(3, "protocol_minor")
def minor_of_the_client(call: Call) -> Any:
    reply = call.forward()
    if call.name == "OpenSession":
        reply.protocol_minor = call.request.protocol_minor
    return reply


@breaks(3, "a field that is unknown")
def unknown_fields_refused(call: Call) -> Any:
    if call.request is not None and call.data.endswith(b"later"):
        call.refuse("INVALID_ARGUMENT", "BAD_REQUEST", "unknown field 1000")
    return call.forward()


@breaks(3, "autoreset 0")
def unspecified_means_next_step(call: Call) -> Any:
    if call.name == "OpenSession" and call.request.autoreset == 0:
        call.request.autoreset = messages.NEXT_STEP
    return call.forward()


@breaks(4, "spec_hash")
def hash_in_upper_case(call: Call) -> Any:
    reply = call.forward()
    if call.name == "OpenSession":
        reply.spec_hash = reply.spec_hash.upper()
    return reply


@breaks(4, "a space that can be decoded")
def bounds_swapped(call: Call) -> Any:
    reply = call.forward()
    if call.name == "OpenSession":
        box = reply.observation_space.dict.entries[0].space.box
        low, high = box.low.data, box.high.data
        box.low.data, box.high.data = high, low
    return reply


@breaks(4, "128 bits")
def short_session_ids(call: Call) -> Any:
    reply = call.forward()
    if call.name == "OpenSession":
        reply.session_id = reply.session_id[:8]
    return reply


@breaks(5, "no-such-env")
def any_env_id_is_echo(call: Call) -> Any:
    if call.name == "OpenSession":
        call.request.env_id = "echo"
    return call.forward()


@breaks(5, "env_config_json")
def unknown_options_ignored(call: Call) -> Any:
    if call.name == "OpenSession" and "no_such_option" in call.request.env_config_json:
        call.request.env_config_json = "{}"
    return call.forward()


@breaks(5, "ErrorDetail.field")
def config_errors_name_no_option(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if call.name == "OpenSession" and "option" in refusal.text:
            call.refuse("INVALID_ARGUMENT", "BAD_CONFIG", refusal.text)
        raise


@breaks(6, "num_envs")
def zero_slots_mean_one(call: Call) -> Any:
    if call.name == "OpenSession" and call.request.num_envs == 0:
        call.request.num_envs = 1
    return call.forward()


@breaks(6, "free_sessions after refusals")
def refusals_keep_a_session(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal:
        if call.name == "OpenSession" and call.request.num_envs == 0:
            call.forward(opening(call.request))
        raise


@breaks(7, "never reset")
def step_resets_by_itself(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if call.name == "Step" and refusal.code == grpc.StatusCode.FAILED_PRECONDITION:
            return call.forward(resetting(call.request), name="Reset")
        raise


@breaks(7, "last_seq after a refused Step")
def refused_steps_consume_their_seq(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if call.name == "Step" and refusal.code == grpc.StatusCode.FAILED_PRECONDITION:
            call.forward(resetting(call.request), name="Reset")
        raise


@breaks(8, "is_first")
def resets_are_not_first(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Reset":
        reply.rows.is_first[:] = [False] * len(reply.rows.slot)
    return reply


@breaks(8, "slots of the rows")
def reset_rows_in_order_of_slots(call: Call) -> Any:
    if call.name == "Reset":
        slots = sorted(call.request.slots)
        call.request.ClearField("slots")
        call.request.slots.extend(slots)
    return call.forward()


@breaks(8, "reward of the first row")
def a_reward_for_resetting(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Reset":
        reply.rows.reward[:] = [1.0] * len(reply.rows.slot)
    return reply


@breaks(9, "reward")
def nan_reward_in_a_later_step(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step" and reply.seq == 9:
        reply.rows.reward[0] = float("nan")
    return reply


@breaks(9, "step_in_episode")
def counts_steps_over_episodes(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step" and reply.rows.episode[0] > 0:
        reply.rows.step_in_episode[0] += 7
    return reply


@breaks(9, "a value of its space")
def observations_out_of_bounds(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step":
        tensor = reply.rows.obs[0]
        vector = tensors.decode(tensor).copy()
        vector[-1, 0] = np.inf
        tensor.CopyFrom(tensors.encode(vector))
    return reply


@breaks(9, "len(rows.terminated)")
def one_flag_too_few(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step":
        del reply.rows.terminated[0]
    return reply


@breaks(10, "ramp/float64")
def big_endian_doubles(call: Call) -> Any:
    reply = call.forward()
    for tensor in observed(reply, call):
        if tensor.dtype == messages.FLOAT64:
            tensor.data = tensors.decode(tensor).astype(">f8").tobytes()
    return reply


@breaks(10, "ramp/float16")
def column_major_arrays(call: Call) -> Any:
    reply = call.forward()
    for tensor in observed(reply, call):
        if len(tensor.shape) == 3:
            array = tensors.decode(tensor)
            tensor.data = np.ascontiguousarray(array.transpose(0, 2, 1)).tobytes()
    return reply


@breaks(11, "Step")
def actions_checked_where_they_are_ignored(call: Call) -> Any:
    if call.name == "Step":
        for action in call.request.action:
            if action.dtype == messages.FLOAT32 and np.isnan(tensors.decode(action)).any():
                call.refuse("INVALID_ARGUMENT", "BAD_ACTION", "NaN")
    return call.forward()


@breaks(11, "the step in the observation")
def last_row_shows_the_next_episode(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step":
        vector = tensors.decode(reply.rows.obs[0]).copy()
        vector[np.array(reply.rows.terminated), 0] = 0
        reply.rows.obs[0].CopyFrom(tensors.encode(vector))
    return reply


@breaks(12, "expected FAILED_PRECONDITION, got OK")
def disabled_means_next_step(call: Call) -> Any:
    if call.name == "OpenSession" and call.request.autoreset == messages.DISABLED:
        call.request.autoreset = messages.NEXT_STEP
        reply = call.forward()
        reply.autoreset = messages.DISABLED
        return reply
    return call.forward()


@breaks(12, "expected NOT_RESET")
def finished_slots_refused_for_another_reason(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if refusal.code == grpc.StatusCode.FAILED_PRECONDITION:
            call.refuse("FAILED_PRECONDITION", "SEED_SCOPE")
        raise


@breaks(12, "a Reset of some slots")
def a_reset_of_one_resets_all(call: Call) -> Any:
    if call.name == "Reset":
        call.request.ClearField("slots")
    return call.forward()


@remembers(13, "is_first")
class AutoresetAfterAnExplicitReset:
    """Turns the Step after a Reset of slots whose episode was over into another Reset of them."""

    def __init__(self) -> None:
        self._ended: dict[str, set[int]] = defaultdict(set)
        self._pending: dict[str, list[int]] = {}

    def __call__(self, call: Call) -> Any:
        if call.name not in MUTATING:
            return call.forward()
        session = call.request.session_id
        if call.name == "Reset" and self._ended[session] & set(call.request.slots):
            self._pending[session] = list(call.request.slots)
        elif call.name == "Step" and session in self._pending:
            del self._pending[session]
            return call.forward(resetting(call.request), name="Reset")
        reply = call.forward()
        rows = reply.rows
        self._ended[session] = {
            slot for slot, end in zip(rows.slot, rows.terminated, strict=True) if end
        }
        return reply


@breaks(14, "rows of slot")
def same_step_means_next_step(call: Call) -> Any:
    if call.name == "OpenSession" and call.request.autoreset == messages.SAME_STEP:
        call.request.autoreset = messages.NEXT_STEP
        reply = call.forward()
        reply.autoreset = messages.SAME_STEP
        return reply
    return call.forward()


@breaks(14, "INVALID_ARGUMENT")
def same_step_unimplemented(call: Call) -> Any:
    if call.name == "OpenSession" and call.request.autoreset == messages.SAME_STEP:
        call.refuse("UNIMPLEMENTED", "UNSUPPORTED", field="autoreset")
    return call.forward()


@breaks(15, "terminated and truncated")
def time_limits_terminate(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step":
        rows = reply.rows
        ended = [one or two for one, two in zip(rows.terminated, rows.truncated, strict=True)]
        rows.terminated[:] = ended
        rows.truncated[:] = [False] * len(ended)
    return reply


@breaks(16, "the same bytes")
def rows_with_noise(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step":
        reply.rows.reward[0] += random.random() * 1e-6
    return reply


@breaks(16, "other rows")
def one_seed_for_all(call: Call) -> Any:
    if call.name == "Reset":
        call.request.seeds[:] = [7] * len(call.request.seeds)
    return call.forward()


@breaks(17, "the same seeds")
def seeds_ignored(call: Call) -> Any:
    if call.name == "Reset":
        call.request.ClearField("seeds")
    return call.forward()


@breaks(17, "seeds for")
def number_of_seeds_not_checked(call: Call) -> Any:
    if call.name == "Reset" and len(call.request.seeds) == 1:
        call.request.ClearField("seeds")
    return call.forward()


@breaks(18, "just above the space")
def actions_clipped(call: Call) -> Any:
    if call.name == "Step":
        for action in call.request.action:
            array = decoded(action)
            if array is not None and array.dtype == np.float32 and np.isfinite(array).all():
                action.CopyFrom(tensors.encode(np.clip(array, 0, 1)))
    return call.forward()


@breaks(18, "ErrorDetail.field")
def bad_actions_without_their_field(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if call.name == "Step":
            call.refuse(refusal.code.name, "BAD_ACTION", refusal.text)
        raise


@breaks(18, "OK")
def surplus_actions_ignored(call: Call) -> Any:
    if call.name == "Step" and len(call.request.action) > 1:
        first, last = call.request.action[0], call.request.action[-1]
        if first == last:
            del call.request.action[-1]
    return call.forward()


@breaks(18, "expected INVALID_ARGUMENT, got OK")
def bad_actions_consume_a_step(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal:
        if call.name == "Step":
            call.forward(resetting(call.request), name="Reset")
        raise


class Renumbering:
    """Gives every Reset and Step a new seq: nothing that is sent again is recognised."""

    def __init__(self) -> None:
        self._last: dict[str, int] = defaultdict(int)
        self._seen: dict[tuple[str, int], Any] = {}

    def __call__(self, call: Call) -> Any:
        if call.name not in MUTATING:
            return call.forward()
        session, seq = call.request.session_id, call.request.seq
        if self.repeats(session, seq):
            return self._seen[session, seq]
        self._last[session] += 1
        call.request.seq = self._last[session]
        reply = call.forward()
        reply.seq = seq
        replayed = messages.StepReply()
        replayed.CopyFrom(reply)
        replayed.replayed = True
        self._seen[session, seq] = replayed
        return reply

    def repeats(self, session: str, seq: int) -> bool:
        return False


@remembers(19, "replayed")
class EveryCallRuns(Renumbering):
    pass


@breaks(19, "replayed")
def repeated_replies_do_not_say_so(call: Call) -> Any:
    reply = call.forward()
    if call.name in MUTATING:
        reply.replayed = False
    return reply


@breaks(19, "the same bytes")
def repeated_replies_without_rows(call: Call) -> Any:
    reply = call.forward()
    if call.name in MUTATING and reply.replayed:
        reply.ClearField("rows")
    return reply


@remembers(20, "seq")
class AnySeqIsNext(Renumbering):
    def repeats(self, session: str, seq: int) -> bool:
        return (session, seq) in self._seen


@breaks(20, "expected ABORTED")
def gaps_are_bad_requests(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if refusal.code == grpc.StatusCode.ABORTED:
            call.refuse("INVALID_ARGUMENT", "BAD_REQUEST", refusal.text, field="seq")
        raise


@remembers(21, "replayed")
class ARetryRunsAgain(Renumbering):
    """Waits for the call that runs, then runs the retry as one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def __call__(self, call: Call) -> Any:
        if call.name not in MUTATING:
            return call.forward()
        with self._lock:
            return super().__call__(call)


@remembers(22, "expected ABORTED")
class CallsWaitInLine:
    """Lets a second mutating call wait for the first instead of refusing it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, call: Call) -> Any:
        if call.name not in MUTATING:
            return call.forward()
        with self._lock:
            return call.forward()


@breaks(22, "retryable")
def busy_is_final(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if refusal.code == grpc.StatusCode.ABORTED:
            detail = error_of(refusal)
            detail.retryable = False
            raise Refusal(refusal.code, refusal.text, with_detail(refusal, detail)) from None
        raise


@remembers(23, "seq")
class OneSessionForAll:
    """Answers every session with the one that was opened last."""

    def __init__(self) -> None:
        self._newest = ""

    def __call__(self, call: Call) -> Any:
        if call.request is not None and "session_id" in call.request.DESCRIPTOR.fields_by_name:
            call.request.session_id = self._newest
        reply = call.forward()
        if call.name == "OpenSession":
            self._newest = reply.session_id
        return reply


@breaks(23, "CloseSession")
def closing_twice_is_an_error(call: Call) -> Any:
    if call.name == "CloseSession":
        call.forward(messages.HeartbeatRequest(session_id=call.request.session_id), "Heartbeat")
    return call.forward()


@breaks(23, "a foreign session_id")
def foreign_sessions_are_invalid_arguments(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if refusal.code == grpc.StatusCode.NOT_FOUND:
            call.refuse("INVALID_ARGUMENT", "SESSION_UNKNOWN", refusal.text)
        raise


@breaks(24, "after the lease")
def heartbeats_keep_nothing(call: Call) -> Any:
    if call.name == "Heartbeat":
        return messages.HeartbeatReply(lease_remaining_ms=500, last_seq=1)
    return call.forward()


@breaks(24, "superseded")
def supersede_ignored(call: Call) -> Any:
    if call.name == "OpenSession" and call.request.client_id:
        call.request.supersede = False
    return call.forward()


@breaks(25, "INTERNAL")
def a_failure_fails_the_call(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step" and messages.SLOT_RESTARTED in reply.rows.status:
        call.refuse("INTERNAL", "INTERNAL", "an environment raised")
    return reply


@breaks(25, "SLOT_RESTARTED")
def failures_kept_quiet(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step":
        reply.rows.status[:] = [messages.SLOT_OK] * len(reply.rows.slot)
    return reply


@breaks(25, "SLOT_FAILED")
def slots_never_given_up(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step":
        rows = reply.rows
        for i, status in enumerate(rows.status):
            if status == messages.SLOT_FAILED:
                rows.status[i] = messages.SLOT_RESTARTED
    return reply


@remembers(27, "Heartbeat")
class HeartbeatsWaitForTheStep:
    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, call: Call) -> Any:
        if call.name not in ("Step", "Heartbeat"):
            return call.forward()
        with self._lock:
            return call.forward()


@breaks(29, "UNKNOWN")
def garbage_raises_in_the_handler(call: Call) -> Any:
    if not call.name.startswith("/") and call.request is None:
        raise ValueError("not a message")
    return call.forward()


@breaks(29, "a request over the limit")
def large_requests_cut_short(call: Call) -> Any:
    if call.name == "Step" and call.request is not None and len(call.data) > 64 * 2**20:
        action = call.request.action[0]
        action.CopyFrom(tensors.encode(np.zeros(tuple(action.shape), np.float32)))
    return call.forward()


@breaks(29, "replies cannot fit")
def openings_promise_what_cannot_fit(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if call.name == "OpenSession" and refusal.code == grpc.StatusCode.RESOURCE_EXHAUSTED:
            return call.forward(opening(call.request))
        raise


@breaks(30, "a traceback")
def errors_with_a_traceback(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if call.name == "OpenSession":
            text = f'Traceback (most recent call last):\n  File "server.py", line 3\n{refusal.text}'
            raise Refusal(refusal.code, text, refusal.metadata) from None
        raise


@breaks(30, "a path of the server")
def slot_errors_with_a_path(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step":
        for error in reply.rows.errors:
            error.message += " in /home/someone/sim/env.py"
    return reply


@breaks(30, "reflection")
def reflection_served(call: Call) -> Any:
    if "reflection" in call.name:
        return b""
    return call.forward()


@breaks(31, "frame of slot")
def grayscale_frames(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Render":
        for frame in reply.frames:
            array = tensors.decode(frame)[..., :1]
            frame.CopyFrom(tensors.encode(array))
    return reply


@remembers(31, "with Render in between")
class RenderingCountsAsAStep:
    """Shows in the rows of a session that it was drawn."""

    def __init__(self) -> None:
        self._drawn: set[str] = set()

    def __call__(self, call: Call) -> Any:
        reply = call.forward()
        if call.name == "Render":
            self._drawn.add(call.request.session_id)
        elif call.name == "Step" and call.request.session_id in self._drawn:
            reply.rows.reward[0] += 1.0
        return reply


@breaks(31, "render_mode")
def any_render_mode(call: Call) -> Any:
    if call.name == "OpenSession":
        call.request.render_mode = ""
    return call.forward()


def opening(request: messages.OpenSessionRequest) -> messages.OpenSessionRequest:
    """Return a request that the server grants, from one that it refused."""
    good = messages.OpenSessionRequest()
    good.CopyFrom(request)
    good.env_id, good.env_config_json, good.num_envs = "echo", "{}", 1
    good.autoreset = messages.NEXT_STEP
    good.lease_ms = 1000
    return good


def resetting(request: messages.StepRequest) -> messages.ResetRequest:
    """Return a Reset of all slots in place of a Step."""
    return messages.ResetRequest(session_id=request.session_id, seq=request.seq)


def observed(reply: Any, call: Call) -> Any:
    return reply.rows.obs if call.name in MUTATING else ()


def decoded(tensor: messages.Tensor) -> np.ndarray | None:
    try:
        return tensors.decode(tensor)
    except tensors.TensorError:
        return None


def error_of(refusal: Refusal) -> messages.ErrorDetail:
    ((_, data),) = refusal.metadata
    return messages.ErrorDetail.FromString(data)


def with_detail(refusal: Refusal, detail: messages.ErrorDetail) -> Any:
    ((key, _),) = refusal.metadata
    return ((key, detail.SerializeToString()),)
