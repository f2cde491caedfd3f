"""Checks 7 to 10: Reset, Step, the rows they return, and the bytes of every dtype."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wmrun_envserver.conformance.check import check, equal, require
from wmrun_envserver.conformance.rows import (
    Row,
    check_first,
    check_info,
    check_row,
    check_successor,
    status_name,
)
from wmrun_envserver.conformance.run import Choice, Run
from wmrun_envserver.conformance.session import Session
from wmrun_envserver.wire import messages

ECHO_DTYPES = (
    "float16", "float32", "float64", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64", "bool",
)  # fmt: skip
_PARTIAL_STEPS = 100


@check(7, "step-before-reset")
def step_before_reset(run: Run) -> None:
    """A Step before the first Reset of every slot is refused and consumes no seq."""
    session = run.open(run.subject)
    refused = "FAILED_PRECONDITION"
    run.peer.refused("Step", session.stepping(), refused, reason="NOT_RESET", about="never reset")
    equal("HeartbeatReply.last_seq after a refused Step", session.heartbeat().last_seq, 0)
    session.reset([0])
    if session.num_envs > 1:
        about = "slot 0 alone was reset"
        run.peer.refused("Step", session.stepping(), refused, reason="NOT_RESET", about=about)
        session.reset(range(1, session.num_envs))
    equal("seq of the first Step that ran", session.seq + 1, 2 + (session.num_envs > 1))
    for row in session.step():
        equal(f"first Step, slot {row.slot}, step_in_episode", row.step, 1)


@check(8, "reset-rows")
def reset_rows(run: Run) -> None:
    """Reset returns one sound first row per slot named, in that order, and counts episodes."""
    for choice in run.subjects(every_space=True):
        session = run.open(choice)
        slots = list(range(session.num_envs))
        _check_reset(session, session.reset(), slots, episodes=[0] * len(slots))
        session.step()
        _check_reset(session, session.reset(slots[::-1]), slots[::-1], episodes=[1] * len(slots))
        with run.part(f"{choice.env_id}, a Reset of one slot"):
            _check_reset(session, session.reset_some(slots[-1:]), slots[-1:], episodes=[2])
        request = session.resetting([session.num_envs])
        code = "INVALID_ARGUMENT"
        run.peer.refused("Reset", request, code, field="slots", about="a slot that is not there")


@check(9, "random-steps")
def random_steps(run: Run) -> None:
    """Every row of a long run of random actions is sound, and its counters follow the last row."""
    for choice in run.subjects(every_space=True, length=7):
        session = run.open(choice)
        last = {row.slot: row for row in session.reset()}
        for _ in range(run.settings.steps):
            request = session.stepping()
            reply = run.peer.call("Step", request)
            where = f"{choice.env_id}: Step {session.seq + 1}"
            rows = session.accept("Step", reply)
            slots = sorted(row.slot for row in rows)
            equal(f"{where}, slots", slots, list(range(session.num_envs)))
            _check_rewards(session, rows, where)
            check_info(reply.rows, where)
            for row in rows:
                check_row(row, session.observation, where)
                check_successor(last[row.slot], row, where)
                last[row.slot] = row
        _partial_steps(run, choice)


@check(10, "tensors", needs='test env "echo"')
def tensors_of_every_dtype(run: Run) -> None:
    """Every dtype travels little endian, row major and whole, there and back (echo's ramps)."""
    session = run.open(run.echo(every_space=True, length=5))
    paths = [leaf.path for leaf in session.observation]
    rows = session.reset()
    _check_ramps(paths, rows)
    for _ in range(4):
        action = session.sample()
        rows = session.step(action)
        _check_ramps(paths, rows)
        for leaf, sent in zip(session.action, action, strict=True):
            path = f"action/{leaf.path}"
            require(path in paths, "echo's observation space", f"a leaf {path!r}", "none")
            for row in rows:
                got = row.obs[paths.index(path)]
                expected = sent[row.slot, ...]
                same = np.array_equal(got, expected)
                where = f"Step {session.seq}, slot {row.slot}, obs {path!r}"
                require(same, where, expected.tolist(), got.tolist())


def _check_reset(
    session: Session, rows: list[Row], slots: Sequence[int], episodes: Sequence[int]
) -> None:
    where = f"Reset {session.seq}"
    equal(f"{where}, slots of the rows", [row.slot for row in rows], list(slots))
    for row, episode in zip(rows, episodes, strict=True):
        check_row(row, session.observation, where)
        check_first(row, f"{where}, slot {row.slot}", episode=episode)


def _check_rewards(session: Session, rows: list[Row], where: str) -> None:
    low, high = session.opened.reward_low, session.opened.reward_high
    for row in rows:
        within = row.is_first or low <= row.reward <= high
        require(within, f"{where}, slot {row.slot}, reward", f"in [{low}, {high}]", row.reward)


def _partial_steps(run: Run, choice: Choice) -> None:
    """Step only the slots whose row came, where the server grants that."""
    if "partial_batch" not in run.peer.info().capabilities:
        return
    session = run.open(choice, want_capabilities=["partial_batch"])
    if "partial_batch" not in session.opened.capabilities:
        return
    rows = session.reset()
    last = {row.slot: row for row in rows if row.status == messages.SLOT_OK}
    awaiting = sorted(last)
    for number in range(min(run.settings.steps, _PARTIAL_STEPS)):
        # Now and then only half of them are answered.
        named = awaiting[: (len(awaiting) + 1) // 2] if number % 3 == 2 else awaiting
        where = f"{choice.env_id}, partial_batch: Step {session.seq + 1}"
        rows = session.step(slots=named) if named else session.step()
        slots = [row.slot for row in rows]
        equal(f"{where}, slots that appear twice", len(slots) - len(set(slots)), 0)
        left = set(awaiting) - set(named)
        answered = not (set(slots) & left)
        require(answered, f"{where}, slots", f"none of {sorted(left)}, not answered yet", slots)
        require(bool(rows) or bool(left), f"{where}, rows", "at least one", 0)
        for row in rows:
            check_row(row, session.observation, where)
            if row.slot in last:
                check_successor(last[row.slot], row, where)
            last[row.slot] = row
        awaiting = sorted(left | set(slots))


def _check_ramps(paths: list[str], rows: list[Row]) -> None:
    for row in rows:
        where = f"echo at step {row.step}, slot {row.slot}, obs"
        equal(f"{where} status", status_name(row.status), "SLOT_OK")
        by_path = dict(zip(paths, row.obs, strict=True))
        for dtype in ECHO_DTYPES:
            expected = _ramp(dtype, row.step)
            got = by_path.get(f"ramp/{dtype}")
            require(got is not None, f"{where} 'ramp/{dtype}'", "a leaf", "none")
            assert got is not None
            equal(f"{where} 'ramp/{dtype}'", (got.dtype.name, got.tolist()), (dtype, expected))
        equal(f"{where} 'ramp/scalar'", float(by_path["ramp/scalar"]), float(row.step))
        equal(f"{where} 'ramp/empty', shape", by_path["ramp/empty"].shape, (2, 0))
        equal(f"{where} 'ramp/text'", by_path["ramp/text"].item(), f"step {row.step}")


def _ramp(dtype: str, step: int) -> list[list[object]]:
    ramp = np.arange(step, step + 6).reshape(2, 3)
    values: list[list[object]] = (ramp % 2 == 1 if dtype == "bool" else ramp.astype(dtype)).tolist()
    return values
