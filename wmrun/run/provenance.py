"""What a run was made with: versions, code, machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from typing import Any

import torch

_PACKAGES = ("wmrun", "wmrun-envserver", "torch", "numpy", "mlflow", "grpcio", "protobuf")


def describe_process(device: torch.device) -> dict[str, Any]:
    """Return versions, the git commit of the working directory, and the hardware, for run.json."""
    return {
        "versions": {"python": platform.python_version(), **{p: version(p) for p in _PACKAGES}},
        "git_commit": git_commit(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
    }


def git_commit() -> str | None:
    """Return the commit of the working directory, ending in -dirty if files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
