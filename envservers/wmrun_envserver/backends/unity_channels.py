"""What is said to a Unity scene beside its actions, and what it says beside its observations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from mlagents_envs.side_channel.engine_configuration_channel import EngineConfigurationChannel
from mlagents_envs.side_channel.environment_parameters_channel import EnvironmentParametersChannel
from mlagents_envs.side_channel.stats_side_channel import StatsAggregationMethod, StatsSideChannel

from wmrun_envserver.backends.unity_options import Sampler, UnityOptions


class SceneChannels:
    """Engine settings and parameters, sent with the first reset; statistics of the scene."""

    def __init__(self, options: UnityOptions, seed: int) -> None:
        """`seed` is that of samplers that name none."""
        self._engine = EngineConfigurationChannel()
        self._parameters = EnvironmentParametersChannel()
        self._stats = StatsSideChannel()
        self.all = (self._engine, self._parameters, self._stats)
        engine = options.engine
        self._engine.set_configuration_parameters(
            width=engine.width,
            height=engine.height,
            quality_level=engine.quality_level,
            time_scale=engine.time_scale,
            target_frame_rate=engine.target_frame_rate,
            capture_frame_rate=engine.capture_frame_rate,
        )
        for name, value in options.parameters.items():
            self._set(name, value, seed)

    def stats(self) -> Mapping[str, float]:
        """Return what the scene recorded since it was last asked, as "stats/NAME"."""
        recorded: Mapping[str, list[tuple[float, Any]]] = self._stats.get_and_reset_stats()
        return {
            f"stats/{name}": _AGGREGATES.get(entries[-1][1], _mean)([v for v, _ in entries])
            for name, entries in recorded.items()
        }

    def _set(self, name: str, value: float | Sampler, seed: int) -> None:
        if not isinstance(value, Sampler):
            self._parameters.set_float_parameter(name, value)
            return
        seed = seed if value.seed is None else value.seed
        if value.kind == "uniform":
            self._parameters.set_uniform_sampler_parameters(name, *value.values, seed)
        elif value.kind == "gaussian":
            self._parameters.set_gaussian_sampler_parameters(name, *value.values, seed)
        else:
            intervals = list(zip(value.values[::2], value.values[1::2], strict=True))
            self._parameters.set_multirangeuniform_sampler_parameters(name, intervals, seed)


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _last(values: list[float]) -> float:
    return values[-1]


_AGGREGATES: Mapping[Any, Callable[[list[float]], float]] = {
    StatsAggregationMethod.SUM: sum,
    StatsAggregationMethod.MOST_RECENT: _last,
}
