"""Model states kept with the rows of the replay, from which later sequences go on."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from wmrun.agents.base import EntrySpec
from wmrun.world_model import RSSM, State


class StoredLatents:
    """Packs states for the replay and takes them out of a batch again (V3 3.6; agent.py:312-340).

    `spec` says what is kept with each row: `deter` in half precision, which rounds |deter| <= 1 of
    gated dynamics by less than 0.0005, and `stoch` in the latent's packed form.
    """

    def __init__(self, rssm: RSSM) -> None:
        self._latent = rssm.latent
        self.spec: EntrySpec = {
            "deter": ((rssm.dynamics.deter_size,), "float16"),
            "stoch": ((rssm.latent.packed_size,), rssm.latent.packed_dtype),
        }

    def pack(self, state: State) -> dict[str, Tensor]:
        """Return the entries `[..., n]` of states `[..., D]` and `[..., Z]`."""
        stoch = self._latent.pack(state.stoch.detach())
        return {"deter": state.deter.detach().to(torch.float16), "stoch": stoch}

    def split(self, data: Mapping[str, Tensor]) -> tuple[State, dict[str, Tensor]]:
        """Return the state stored with the first row of each sequence, and the rows after it."""
        deter, stoch = data["deter"][:, 0], data["stoch"][:, 0]
        state = State(deter.to(torch.float32), self._latent.unpack(stoch))
        return state, {key: t[:, 1:] for key, t in data.items() if key not in self.spec}
