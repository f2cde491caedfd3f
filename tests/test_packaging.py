"""What each distribution brings along."""

from __future__ import annotations

import re
from importlib.metadata import requires

SIMULATORS = {"gymnasium", "dm-control", "mujoco", "ale-py", "envpool", "mlagents-envs"}


def requirements(distribution: str) -> dict[str, str]:
    """Return name and version range of what a plain install brings, extras left out."""
    found = {}
    for line in requires(distribution) or []:
        requirement, _, marker = line.partition(";")
        name, version = re.fullmatch(r"([\w.-]+)(.*)", requirement.strip()).groups()
        if "extra" not in marker:
            found[name.lower().replace("_", "-")] = version
    return found


def test_the_learner_brings_no_simulator():
    learner = requirements("wmrun")
    assert {"torch", "mlflow", "wmrun-envserver"} <= set(learner)
    assert not SIMULATORS & set(learner)


def test_the_env_server_needs_three_packages_with_low_floors_and_no_upper_pins():
    server = requirements("wmrun-envserver")
    assert set(server) == {"numpy", "grpcio", "protobuf"}
    assert not any("<" in version or "==" in version for version in server.values())
