"""What torch can compute on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import torch

from wmrun.diagnose.probe import Probe, ask, last_line
from wmrun.replay.disk import format_bytes


def devices() -> Iterator[Probe]:
    """Yield a probe of torch and of every CUDA device, each used once."""
    yield Probe("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    if not torch.cuda.is_available():
        yield _no_cuda()
        return
    for index in range(torch.cuda.device_count()):
        yield _cuda(index)


def _cuda(index: int) -> Probe:
    name = f"cuda:{index}"
    try:
        properties = torch.cuda.get_device_properties(index)
        ones = torch.ones(64, 64, device=name)
        works = bool((ones @ ones == 64).all())
    except RuntimeError as error:
        message = f"cannot be used: {str(error).splitlines()[0]}"
        return Probe(name, "problem", message, "Choose another with device: cuda:N, or cpu.")
    if not works:
        return Probe(name, "problem", f"{properties.name} computes wrongly", "Do not train on it.")
    free, total = torch.cuda.mem_get_info(index)
    half = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16: float32 is used"
    return Probe(
        name, "ok", f"{properties.name}, {format_bytes(free)} of {format_bytes(total)} free, {half}"
    )


def _no_cuda() -> Probe:
    driver = shutil.which("nvidia-smi")
    if driver is None:
        return Probe("cuda", "note", "no CUDA device: agents compute on the CPU")
    status, out, err = ask([driver, "--list-gpus"])
    if status != 0 or not out.strip():
        message = f"nvidia-smi finds no device: {last_line(err) or last_line(out) or status}"
        return Probe("cuda", "problem", message, "Mend the driver, or set device: cpu.")
    if torch.version.cuda is None:
        return Probe(
            "cuda",
            "problem",
            f"there is a GPU ({out.splitlines()[0]}) but torch {torch.__version__} is a CPU build",
            "Install a CUDA build of torch in this environment.",
        )
    return Probe(
        "cuda",
        "problem",
        f"torch {torch.__version__} (CUDA {torch.version.cuda}) cannot use the GPU "
        f"({out.splitlines()[0]})",
        "Update the driver to one that has this CUDA version; look at CUDA_VISIBLE_DEVICES.",
    )
