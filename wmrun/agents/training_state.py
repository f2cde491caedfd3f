"""The tensors that training depends on, as one flat mapping with dotted names."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from wmrun.errors import RunError

Groups = dict[str, dict[str, Tensor]]


def join(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return every tensor under `group.name`."""
    return {
        f"{group}.{name}": t.detach() for group, part in groups.items() for name, t in part.items()
    }


def split(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Groups:
    """Undo `join` for a state that should have the names and shapes of `expected`.

    Raises `RunError` naming what is missing, unexpected or misshapen. Generator states may differ
    in size: they do between kinds of device.
    """
    problems = [f"{name} is missing" for name in expected if name not in state]
    problems += [f"{name} is unexpected" for name in state if name not in expected]
    problems += [
        f"{name} has shape {list(state[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape and not name.startswith("rng.")
    ]
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" * (len(problems) > 5))
        raise RunError(
            f"the saved agent does not fit this one: {shown}",
            hint="Use the agent options of the run that saved it; its config.yaml has them.",
        )
    groups: Groups = {}
    for name, tensor in state.items():
        group, _, rest = name.partition(".")
        groups.setdefault(group, {})[rest] = tensor
    return groups


def restore_generator(generator: torch.Generator, state: Tensor) -> None:
    """Continue the saved stream.

    One saved on another kind of device is replaced by a stream seeded from it.
    """
    if state.shape == generator.get_state().shape:
        generator.set_state(state.cpu())
    else:
        generator.manual_seed(int.from_bytes(state.cpu().numpy().tobytes()[:8], "little") >> 1)
