"""Everything that can be said about a machine before a run is started on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from wmrun.diagnose.devices import devices
from wmrun.diagnose.env_pythons import env_families, interpreters
from wmrun.diagnose.machine import LOCAL_SOCKETS, machine
from wmrun.diagnose.probe import Probe
from wmrun.diagnose.round_trip import round_trip
from wmrun.diagnose.tracking_store import tracking_store


def examine(
    directory: Path, *, tracking_uri: str, pythons: Sequence[str] = (), family: str | None = None
) -> Iterator[Probe]:
    """Yield probe after probe; with `family`, only those that concern that env family.

    `directory` is where runs would be started: its disk, its MLflow database, its `.venvs`.
    """
    if family is None:
        can_listen = True
        for probe in machine(directory):
            can_listen &= (probe.subject, probe.state) != (LOCAL_SOCKETS, "problem")
            yield probe
        yield from devices()
        yield tracking_store(tracking_uri)
        if can_listen:
            yield round_trip()
    yield from env_families(interpreters(directory, pythons), family)
