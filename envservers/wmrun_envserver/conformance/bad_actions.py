"""Check 18: every action that does not fit is refused and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from wmrun_envserver.conformance.actions import above_value, below_value, invalid_value
from wmrun_envserver.conformance.check import check, equal, require
from wmrun_envserver.conformance.run import Run
from wmrun_envserver.conformance.session import Session
from wmrun_envserver.wire import messages, spaces, tensors


class Wrong(NamedTuple):
    """A request with one thing wrong, and what `ErrorDetail.field` may say of it."""

    about: str
    request: messages.StepRequest
    fields: tuple[str, ...]


@check(18, "bad-actions")
def bad_actions(run: Run) -> None:
    """Actions and slots that do not fit are refused with their field; the same seq then works."""
    for choice in run.subjects(every_space=True, length=1000):
        session = run.open(choice)
        session.reset()
        before = {row.slot: row for row in session.step()}
        if any(row.ended for row in before.values()):
            before = {row.slot: row for row in session.reset()}
        for wrong in (*_wrong_shapes(session), *_wrong_slots(session), *_wrong_values(session)):
            about = f"{choice.env_id}: {wrong.about}"
            code = "INVALID_ARGUMENT"
            detail = run.peer.refused("Step", wrong.request, code, about=about)
            field = detail.field
            where = f"Step, {about}, ErrorDetail.field"
            require(field in wrong.fields, where, " or ".join(map(repr, wrong.fields)), repr(field))
        equal("HeartbeatReply.last_seq after refusals", session.heartbeat().last_seq, session.seq)
        for row in session.step():
            last = before[row.slot]
            where = f"{choice.env_id}: the Step after refusals, slot {row.slot}"
            equal(where, row.counters, (last.episode, last.step + 1))


def _wrong_shapes(session: Session) -> Iterator[Wrong]:
    count = len(session.action)
    good = session.sample()
    fields = ("action", session.action[0].path or "action", session.action[-1].path or "action")
    yield Wrong("a tensor too few", session.stepping(good[:-1]), fields)
    yield Wrong("a tensor too many", session.stepping([*good, good[0]]), fields)
    for i in range(count):
        leaf = session.action[i]
        named = (leaf.path or "action",)
        other = _other_dtype(leaf.space)
        if other is not None:
            yield _with(session, good, i, good[i].astype(other), f"{leaf.path!r} as {other}", named)
        longer = np.concatenate([good[i], good[i][:1]])
        yield _with(session, good, i, longer, f"{leaf.path!r} with a row too many", named)
        deeper = good[i][..., None]
        yield _with(session, good, i, deeper, f"{leaf.path!r} with an axis too many", named)
        yield from _broken_tensors(session, good, i, named)


def _broken_tensors(
    session: Session, good: list[np.ndarray], i: int, named: tuple[str, ...]
) -> Iterator[Wrong]:
    path = session.action[i].path
    whole = tensors.encode(good[i])
    cases: list[tuple[str, dict[str, Any]]] = [
        ("data a byte too long", {"data": whole.data + b"\0"}),
        ("no dtype", {"dtype": messages.DTYPE_UNSPECIFIED}),
        ("encoding ZLIB, not granted", {"encoding": messages.ZLIB}),
        ("a shape that wants 2^62 bytes", {"shape": [2**31, 2**31]}),
    ]
    if whole.data:
        cases.append(("data a byte too short", {"data": whole.data[:-1]}))
    for about, changes in cases:
        request = session.stepping(good)
        for name, value in changes.items():
            if name == "shape":
                request.action[i].ClearField("shape")
                request.action[i].shape.extend(value)
            else:
                setattr(request.action[i], name, value)
        yield Wrong(f"{path!r}: {about}", request, named)


def _wrong_slots(session: Session) -> Iterator[Wrong]:
    count = session.num_envs
    every = list(range(count))
    for about, slots in (
        ("a slot that is not there", [*every[:-1], count]),
        ("slot 2^32 - 1", [*every[:-1], 2**32 - 1]),
        ("a slot named twice", [*every, 0]),
    ):
        action = [np.repeat(array[:1], len(slots), axis=0) for array in session.sample()]
        request = session.stepping(action, slots)
        yield Wrong(about, request, ("slots",))
    if count > 1:
        action = [array[:1] for array in session.sample()]
        yield Wrong("a slot is missing", session.stepping(action, [0]), ("slots",))
        short = [session.action[0].path or "action", "action"]
        yield Wrong("actions for one slot of several", session.stepping(action), tuple(short))


def _wrong_values(session: Session) -> Iterator[Wrong]:
    for i, leaf in enumerate(session.action):
        space = leaf.space
        values = {
            "just above the space": above_value(space),
            "just below the space": below_value(space),
            "NaN": invalid_value(space) if space.dtype.kind == "f" else None,
            "infinity": _infinite(space),
        }
        for about, value in values.items():
            if value is not None:
                action = session.sample()
                action[i][-1] = value
                request = session.stepping(action)
                named = (leaf.path or "action",)
                yield Wrong(f"{leaf.path!r}, last slot: {about}", request, named)
        if isinstance(space, spaces.Box) and space.dtype == np.bool_ and np.prod(space.shape):
            request = session.stepping()
            data = bytearray(request.action[i].data)
            data[-1] = 2
            request.action[i].data = bytes(data)
            yield Wrong(f"{leaf.path!r}: a bool of 2", request, (leaf.path or "action",))
        if isinstance(space, spaces.Text):
            request = session.stepping()
            request.action[i].data = b"\x01\0\0\0\xff" * session.num_envs
            yield Wrong(f"{leaf.path!r}: no UTF-8", request, (leaf.path or "action",))


def _with(
    session: Session, good: list[np.ndarray], i: int, array: np.ndarray, about: str,
    fields: tuple[str, ...],
) -> Wrong:  # fmt: skip
    return Wrong(about, session.stepping([*good[:i], array, *good[i + 1 :]]), fields)


def _other_dtype(space: spaces.LeafSpace) -> str | None:
    if isinstance(space, spaces.Text):
        return None
    return "float64" if space.dtype != np.float64 else "float32"


def _infinite(space: spaces.LeafSpace) -> np.ndarray | None:
    if space.dtype.kind != "f" or np.prod(space.shape) == 0:
        return None
    return np.full(space.shape, np.inf, space.dtype)
