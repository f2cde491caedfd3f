"""Checks 11 to 15: what happens where an episode ends."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wmrun_envserver.conformance.actions import invalid_value
from wmrun_envserver.conformance.check import Skip, Unmet, check, equal, require
from wmrun_envserver.conformance.peer import refusal
from wmrun_envserver.conformance.rows import Row, check_first, check_row
from wmrun_envserver.conformance.run import Choice, Run
from wmrun_envserver.conformance.session import Session
from wmrun_envserver.wire import messages

_ECHO_LENGTH = 3


class Ended(NamedTuple):
    """A session in which the episode of `slots` has just ended."""

    session: Session
    rows: dict[int, Row]
    """The rows of the call in which it ended, by slot; the last one where there are two."""
    slots: list[int]
    where: str


@check(11, "next-step")
def next_step(run: Run) -> None:
    """NEXT_STEP: the last row has the final observation; the next Step ignores the action."""
    for ended in _endings(run, messages.NEXT_STEP):
        session = ended.session
        for slot in ended.slots:
            _check_final(ended, ended.rows[slot])
        action = session.sample()
        for slot in ended.slots:
            _spoil(session, action, slot)
        rows = {row.slot: row for row in session.step(action)}
        for slot in ended.slots:
            where = f"{ended.where}, the Step after the end, slot {slot}"
            check_first(rows[slot], where, episode=ended.rows[slot].episode + 1)
            check_row(rows[slot], session.observation, where)
        rows = {row.slot: row for row in session.step()}
        for slot in ended.slots:
            where = f"{ended.where}, the second Step after the end, slot {slot}"
            equal(f"{where}, is_first", rows[slot].is_first, False)
            equal(where, rows[slot].counters, (ended.rows[slot].episode + 1, 1))


@check(12, "disabled")
def disabled(run: Run) -> None:
    """DISABLED: a finished slot cannot be stepped; a Reset of it leaves the others alone."""
    for ended in _endings(run, messages.DISABLED):
        session, slots = ended.session, ended.slots
        equal("OpenSessionReply.autoreset", session.opened.autoreset, messages.DISABLED)
        for slot in slots:
            _check_final(ended, ended.rows[slot])
        for _ in range(2):
            detail = run.peer.refused(
                "Step", session.stepping(), "FAILED_PRECONDITION", reason="NOT_RESET",
                about="a slot whose episode is over",
            )  # fmt: skip
        require(
            set(detail.slots) <= set(slots), "ErrorDetail.slots", f"among {slots}", detail.slots
        )
        rows = session.reset(slots)
        equal(f"{ended.where}, slots of the Reset's rows", [row.slot for row in rows], slots)
        for row in rows:
            where = f"{ended.where}, Reset, slot {row.slot}"
            check_first(row, where, episode=ended.rows[row.slot].episode + 1)
        for row in session.step():
            where = f"{ended.where}, the Step after the Reset, slot {row.slot}"
            before = ended.rows[row.slot]
            again = row.slot in slots
            expected = (before.episode + 1, 1) if again else (before.episode, before.step + 1)
            equal(where, row.counters, expected)


@check(13, "reset-at-the-end")
def reset_at_the_end(run: Run) -> None:
    """A Reset of a slot with a pending autoreset takes its place: the next action is applied."""
    for ended in _endings(run, messages.NEXT_STEP):
        for row in ended.session.reset(ended.slots):
            where = f"{ended.where}, Reset, slot {row.slot}"
            check_first(row, where, episode=ended.rows[row.slot].episode + 1)
        rows = {row.slot: row for row in ended.session.step()}
        for slot in ended.slots:
            where = f"{ended.where}, the Step after the Reset, slot {slot}"
            equal(f"{where}, is_first", rows[slot].is_first, False)
            equal(where, rows[slot].counters, (ended.rows[slot].episode + 1, 1))


@check(14, "same-step")
def same_step(run: Run) -> None:
    """SAME_STEP is refused at OpenSession, or the call that ends an episode begins the next."""
    request = run.opening(run.subject, autoreset=messages.SAME_STEP)
    if not _is_granted(run, request):
        run.omit("two rows in one reply", "the server does not offer SAME_STEP")
        return
    for ended in _endings(run, messages.SAME_STEP):
        session = ended.session
        equal("OpenSessionReply.autoreset", session.opened.autoreset, messages.SAME_STEP)
        for slot in ended.slots:
            first = ended.rows[slot]
            check_first(first, f"{ended.where}, second row of slot {slot}")
            check_row(first, session.observation, ended.where)
        rows = {row.slot: row for row in session.step()}
        for slot in ended.slots:
            expected = (ended.rows[slot].episode, 1)
            equal(f"{ended.where}, the Step after, slot {slot}", rows[slot].counters, expected)


@check(15, "how-it-ended")
def how_it_ended(run: Run) -> None:
    """A time limit truncates and does not terminate; an end state terminates."""
    if run.has_echo:
        for terminate in (False, True):
            choice = run.echo(length=_ECHO_LENGTH, terminate=terminate)
            ended = _run_to_the_end(run, choice, messages.NEXT_STEP)
            assert ended is not None
            limit = 0 if terminate else _ECHO_LENGTH
            max_steps = ended.session.opened.max_episode_steps
            equal("echo: OpenSessionReply.max_episode_steps", max_steps, limit)
            for slot in ended.slots:
                row = ended.rows[slot]
                where = f"echo with terminate {terminate}, slot {slot}"
                ends = (row.terminated, row.truncated)
                equal(f"{where}, terminated and truncated", ends, (terminate, not terminate))
                equal(f"{where}, steps", row.step, _ECHO_LENGTH)
    with run.part("the time limit of the environment under test"):
        _check_limit(run, run.subject)


def _endings(run: Run, autoreset: int) -> list[Ended]:
    """Return sessions of echo and of the subject in which an episode has just ended."""
    ended = [
        _run_to_the_end(run, choice, autoreset) for choice in run.subjects(length=_ECHO_LENGTH)
    ]
    found = [ending for ending in ended if ending is not None]
    if not found:
        raise Skip(f"no episode ended within {run.settings.steps} steps: give more with --steps")
    return found


def _run_to_the_end(run: Run, choice: Choice, autoreset: int) -> Ended | None:
    session = run.open(choice, autoreset=autoreset)
    session.reset()
    held_back = False
    for number in range(run.settings.steps):
        rows = session.step()
        where = f"{choice.env_id}: Step {session.seq}"
        slots = sorted({row.slot for row in rows if row.ended})
        if slots:
            if autoreset == messages.SAME_STEP:
                _check_pairs(session, rows, slots, where)
            return Ended(session, {row.slot: row for row in rows}, slots, where)
        for row in rows:
            steps = number if held_back and row.slot else number + 1
            equal(f"{where}, slot {row.slot}, step_in_episode", row.step, steps)
        if number == 0:
            with run.part(f"{choice.env_id}, slots that end at different times"):
                held_back = _hold_back(session, where)
    run.omit(choice.env_id, f"no episode ended within {run.settings.steps} steps (--steps)")
    return None


def _hold_back(session: Session, where: str) -> bool:
    """Reset all slots but the first: where they end together nothing is said of the others."""
    slots = list(range(1, session.num_envs))
    if slots:
        got = [row.slot for row in session.reset_some(slots)]
        equal(f"{where}, a Reset of some slots: its rows", got, slots)
    return True


def _check_pairs(session: Session, rows: list[Row], slots: list[int], where: str) -> None:
    for slot in range(session.num_envs):
        own = [row for row in rows if row.slot == slot]
        equal(f"{where}, rows of slot {slot}", len(own), 2 if slot in slots else 1)
        if slot in slots:
            equal(f"{where}, slot {slot}, is_first of its two rows",
                  [row.is_first for row in own], [False, True])  # fmt: skip
            equal(f"{where}, slot {slot}, the end is told by", [row.ended for row in own],
                  [True, False])  # fmt: skip
            equal(f"{where}, slot {slot}, episodes", own[1].episode, own[0].episode + 1)


def _check_final(ended: Ended, row: Row) -> None:
    where = f"{ended.where}, the row that ends the episode, slot {row.slot}"
    equal(f"{where}, is_first", row.is_first, False)
    require(row.step > 0, f"{where}, step_in_episode", "at least 1", row.step)
    check_row(row, ended.session.observation, where)
    if ended.where.startswith("echo:"):
        paths = [leaf.path for leaf in ended.session.observation]
        told = float(row.obs[paths.index("vector")][0])
        equal(f"{where}, the step in the observation", told, float(row.step))


def _spoil(session: Session, action: list[np.ndarray], slot: int) -> None:
    """Put values outside the space, well-shaped, where `slot` takes its action."""
    for leaf, column in zip(session.action, action, strict=True):
        value = invalid_value(leaf.space)
        if value is not None:
            column[slot] = value


def _is_granted(run: Run, request: messages.OpenSessionRequest) -> bool:
    peer = run.peer
    future = peer.start("OpenSession", request)
    error = future.exception()
    if error is None:
        Session(peer, future.result()).close()
        return True
    refusal("OpenSession, SAME_STEP", error, "INVALID_ARGUMENT", field="autoreset")
    return False


def _check_limit(run: Run, subject: Choice) -> None:
    session = run.open(subject)
    limit = session.opened.max_episode_steps
    if limit == 0:
        raise Skip("it names no limit of steps (max_episode_steps is 0)")
    if limit > run.settings.steps:
        raise Skip(f"it is {limit} steps long: give more with --steps")
    session.reset()
    for _ in range(limit):
        for row in session.step():
            where = f"{subject.env_id}, slot {row.slot}, step {row.step} of at most {limit}"
            if row.step == limit and not row.ended:
                raise Unmet(where, "truncated", "an episode that goes on")
            if row.ended and row.step == limit:
                require(row.truncated or row.terminated, where, "truncated", "neither")
