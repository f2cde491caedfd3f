"""The settings of an experiment: every key, its type, unit, range and default.

Steps are counted three ways, and every key says which: env steps (simulator frames, action repeat
included), agent steps (policy decisions), updates (gradient steps).
"""

from wmrun.config.schema.env import (
    EnvConfig,
    ImageConfig,
    RestartsConfig,
    ServerConfig,
    ServerShareConfig,
)
from wmrun.config.schema.experiment import (
    DEFAULT_TRACKING_URI,
    Config,
    DeviceConfig,
    ReplayConfig,
    RunConfig,
    TrackingConfig,
)
from wmrun.config.schema.section import Form, Located, NullRemoves, Section

__all__ = [
    "DEFAULT_TRACKING_URI",
    "Config",
    "DeviceConfig",
    "EnvConfig",
    "Form",
    "ImageConfig",
    "Located",
    "NullRemoves",
    "ReplayConfig",
    "RestartsConfig",
    "RunConfig",
    "Section",
    "ServerConfig",
    "ServerShareConfig",
    "TrackingConfig",
]
