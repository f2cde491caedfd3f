"""Checks 16 and 17: determinism, and seeds that are used or refused."""

from __future__ import annotations

from collections.abc import Sequence

from wmrun_envserver.conformance.check import Skip, check, equal, require
from wmrun_envserver.conformance.peer import Peer
from wmrun_envserver.conformance.run import Choice, Run
from wmrun_envserver.conformance.session import Session
from wmrun_envserver.wire import messages, tensors

_TRACE_STEPS = 50
_SCOPES = {
    messages.SEED_PER_RESET: "SEED_PER_RESET",
    messages.SEED_PER_SESSION: "SEED_PER_SESSION",
    messages.SEED_NONE: "SEED_NONE",
}


@check(16, "determinism", needs="--launch for two processes")
def determinism(run: Run) -> None:
    """Where promised, equal seeds and actions give byte-equal rows in any session and process."""
    was_promised = False
    for choice in run.subjects(length=20):
        first = _trace(run, choice, run.peer, base_seed=100)
        if first is None:
            run.omit(choice.env_id, "it does not promise to be deterministic")
            continue
        was_promised = True
        _same_trace(choice, first, _trace(run, choice, run.peer, base_seed=100), "another session")
        with run.part(f"{choice.env_id} in two processes"):
            other = run.connect(run.launched().target)
            _same_trace(choice, first, _trace(run, choice, other, base_seed=100), "another process")
        if run.has_echo and choice == run.subjects(length=20)[0]:
            different = _trace(run, choice, run.peer, base_seed=200)
            where = f"{choice.env_id}: rows of other seeds"
            require(first != different, where, "other rows", "the same")
    if not was_promised:
        raise Skip("no environment here promises to be deterministic")


@check(17, "seed-scope")
def seed_scope(run: Run) -> None:
    """A seed is used where `seed_scope` says so, else refused; the number of seeds must fit."""
    for choice in run.subjects():
        session = run.open(choice)
        scope = session.opened.seed_scope
        require(scope in _SCOPES, "OpenSessionReply.seed_scope", list(_SCOPES.values()), scope)
        seeds = list(range(50, 50 + session.num_envs))
        if scope == messages.SEED_PER_RESET:
            _check_reset_seeds(run, choice, session, seeds)
        else:
            request = session.resetting(seeds=seeds)
            _refuse(run, "Reset", request, f"{choice.env_id} with {_SCOPES[scope]}")
            session.reset()
        opening = run.opening(choice, seeds=seeds)
        if scope == messages.SEED_NONE:
            _refuse(run, "OpenSession", opening, f"{choice.env_id} with SEED_NONE")
        else:
            few = run.opening(choice, seeds=[*seeds, 1])
            run.peer.refused("OpenSession", few, "INVALID_ARGUMENT", field="seeds",
                             about="more seeds than slots")  # fmt: skip


def _trace(run: Run, choice: Choice, peer: Peer, base_seed: int) -> list[bytes] | None:
    """Return the rows of a reset and some steps as bytes, None where nothing is promised."""
    seeds = list(range(base_seed, base_seed + run.settings.num_envs))
    probe = run.open(choice, peer)
    if not probe.opened.deterministic:
        return None
    scope = probe.opened.seed_scope
    session = probe
    if scope == messages.SEED_PER_SESSION:
        probe.close()
        session = run.open(choice, peer, seeds=seeds)
    given: Sequence[int] = seeds if scope == messages.SEED_PER_RESET else ()
    trace = [_rows(session, "Reset", session.resetting(seeds=given))]
    for _ in range(_TRACE_STEPS):
        trace.append(_rows(session, "Step", session.stepping()))
    session.close()
    return trace


def _rows(session: Session, name: str, request: object) -> bytes:
    reply = session.peer.call(name, request)
    session.accept(name, reply)
    data: bytes = reply.rows.SerializeToString(deterministic=True)
    return data


def _same_trace(choice: Choice, first: list[bytes], other: list[bytes] | None, who: str) -> None:
    where = f"{choice.env_id}: OpenSessionReply.deterministic in {who}"
    require(other is not None, where, True, False)
    assert other is not None
    for step, (one, two) in enumerate(zip(first, other, strict=True)):
        where = f"{choice.env_id}: rows of call {step + 1} in {who}"
        require(one == two, where, "the same bytes", "others")


def _check_reset_seeds(run: Run, choice: Choice, session: Session, seeds: list[int]) -> None:
    first = _reset_obs(session, seeds)
    session.step()
    where = f"{choice.env_id}: Reset with the same seeds"
    require(_reset_obs(session, seeds) == first, where, "the same observations", "others")
    if choice.env_id == run.settings.echo_env_id:
        other = _reset_obs(session, [seed + 1000 for seed in seeds])
        require(other != first, "echo: Reset with other seeds", "other observations", "the same")
        opened = run.open(choice, seeds=seeds)
        same = _reset_obs(opened, ()) == first
        where = "echo: first Reset of a session opened with seeds"
        require(same, where, "the observations of a Reset with them", "others")
    for count in (1, session.num_envs + 1):
        if count != session.num_envs:
            request = session.resetting(seeds=[1] * count)
            about = f"{count} seeds for {session.num_envs} slots"
            run.peer.refused("Reset", request, "INVALID_ARGUMENT", field="seeds", about=about)
    equal("seq after refused Resets", session.reset()[0].is_first, True)


def _reset_obs(session: Session, seeds: Sequence[int]) -> list[list[bytes]]:
    """Return the observations of a Reset as they were sent: those of text are objects here."""
    rows = session.reset(seeds=seeds)
    return [[tensors.encode(array).data for array in row.obs] for row in rows]


def _refuse(run: Run, name: str, request: object, about: str) -> None:
    run.peer.refused(name, request, "FAILED_PRECONDITION", reason="SEED_SCOPE", about=about)
