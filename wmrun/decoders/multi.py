"""A decoder for images and vectors together."""

# ruff: noqa: B006 - option defaults are literals that are read from this file and never changed.

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from torch import Tensor, nn

from wmrun import registry
from wmrun.decoders.base import Decoder
from wmrun.nn.distributions import Prediction
from wmrun.nn.observations import ObsSpace, by_kind
from wmrun.registry import Component


class MultiDecoder(Decoder):
    """Lets one decoder make the images and another one the vectors.

    Args:
        image: decoder of all images; where their sizes differ, there is one for each size.
        vector: decoder of all vectors.
    """

    def __init__(
        self,
        obs_space: ObsSpace,
        stoch_size: int,
        deter_size: int,
        *,
        image: Annotated[Component, "decoder"] = {"type": "cnn"},
        vector: Annotated[Component, "decoder"] = {"type": "mlp"},
    ) -> None:
        super().__init__()
        images, vectors = by_kind(obs_space, "the multi decoder")
        parts = [(image, same_size) for same_size in images] + [(vector, vectors)] * bool(vectors)
        self._decoders: list[Decoder] = [
            registry.build("decoder", spec, part, stoch_size, deter_size) for spec, part in parts
        ]
        self.parts = nn.ModuleList(self._decoders)

    def forward(self, feat: Tensor) -> dict[str, Prediction]:
        return {key: value for part in self._decoders for key, value in part(feat).items()}

    def targets(self, obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {key: value for part in self._decoders for key, value in part.targets(obs).items()}
