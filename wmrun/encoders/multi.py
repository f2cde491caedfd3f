"""An encoder for images and vectors together."""

# ruff: noqa: B006 - option defaults are literals that are read from this file and never changed.

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor, nn

from wmrun import registry
from wmrun.encoders.base import Encoder
from wmrun.nn.observations import ObsSpace, by_kind
from wmrun.registry import Component


class MultiEncoder(Encoder):
    """Sends images to one encoder and vectors to another.

    Their embeddings are concatenated, images first.

    Args:
        image: encoder of all images; where their sizes differ, there is one for each size.
        vector: encoder of all vectors.
    """

    def __init__(
        self,
        obs_space: ObsSpace,
        *,
        image: Annotated[Component, "encoder"] = {"type": "cnn"},
        vector: Annotated[Component, "encoder"] = {"type": "mlp"},
    ) -> None:
        super().__init__()
        images, vectors = by_kind(obs_space, "the multi encoder")
        parts = [(image, same_size) for same_size in images] + [(vector, vectors)] * bool(vectors)
        encoders: list[Encoder] = [registry.build("encoder", spec, part) for spec, part in parts]
        self.parts = nn.ModuleList(encoders)
        self.embed_size = sum(encoder.embed_size for encoder in encoders)

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([part(obs) for part in self.parts], -1)
