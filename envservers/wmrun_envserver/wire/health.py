"""The messages of `protos/grpc/health/v1/health.proto`; typed in health.pyi."""

from __future__ import annotations

from wmrun_envserver.wire.descriptors import load

globals().update(load("health.binpb"))
