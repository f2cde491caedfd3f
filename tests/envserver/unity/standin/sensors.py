"""Observations of the stand-in as ML-Agents sends them.

Images show `pixels` of what the agent sees: as PNG, or divided by 255.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from mlagents_envs.communicator_objects import observation_pb2
from PIL import Image

from tests.envserver.unity.standin.pixels import HEIGHT, LARGE, WIDTH, pixels
from tests.envserver.unity.standin.scene import Sight


def observation(kind: str, sight: Sight) -> Any:
    """Return the ObservationProto of one sensor."""
    return _SENSORS[kind](sight)


def _floats(name: str, shape: list[int], data: list[float], **fields: Any) -> Any:
    proto = observation_pb2.ObservationProto(name=name, shape=shape, **fields)
    proto.float_data.data.extend(data)
    return proto


def _png(name: str, shape: list[int], images: list[np.ndarray], mapping: list[int]) -> Any:
    stream = io.BytesIO()
    for image in images:
        Image.fromarray(image).save(stream, format="png")
    return observation_pb2.ObservationProto(
        name=name,
        shape=shape,
        compression_type=observation_pb2.PNG,
        compressed_data=stream.getvalue(),
        compressed_channel_mapping=mapping,
    )


def _rgb(sight: Sight) -> Any:
    return _png("Camera", [3, HEIGHT, WIDTH], [pixels(sight, 3)], [0, 1, 2])


def _stacked_grey(sight: Sight) -> Any:
    """Two grey frames, each sent as the three equal channels of a PNG."""
    frames = np.split(pixels(sight, 2), 2, axis=2)
    images = [np.repeat(frame, 3, axis=2) for frame in frames]
    return _png("Stacked", [2, HEIGHT, WIDTH], images, [0, 0, 0, 1, 1, 1])


def _raw(sight: Sight, side: int = 0) -> Any:
    frame = pixels(sight, 1, side or HEIGHT, side or WIDTH)[..., 0]
    return _floats("Raw", [1, *frame.shape], list(frame.reshape(-1) / 255))


_SENSORS: dict[str, Callable[[Sight], Any]] = {
    "vector": lambda sight: _floats("Vector", [4], list(sight)),
    "matrix": lambda sight: _floats("Buffer", [2, 2], list(sight)),
    "goal": lambda sight: _floats(
        "Goal", [2], [float(sight.agent), 1.0], observation_type=observation_pb2.GOAL_SIGNAL
    ),
    "unnamed": lambda sight: _floats("", [1], [float(sight.age)]),
    "slashed": lambda sight: _floats("a/b", [1], [float(sight.age)]),
    "rgb": _rgb,
    "stacked_grey": _stacked_grey,
    "raw": _raw,
    "large": lambda sight: _raw(sight, LARGE),
}
