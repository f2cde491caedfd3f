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
    """Return versions, the git state of the working directory, and the hardware, for run.json."""
    return {
        "versions": {"python": platform.python_version(), **{p: version(p) for p in _PACKAGES}},
        "git": git_state(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
    }


def git_state() -> dict[str, Any] | None:
    """Return commit and cleanliness of the repository around the working directory, if any."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_git("status", "--porcelain"))}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
