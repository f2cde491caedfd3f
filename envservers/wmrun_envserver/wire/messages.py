"""The messages and enums of `protos/wmrun/env/v1/env.proto` by name; typed in messages.pyi."""

from __future__ import annotations

from wmrun_envserver.wire.descriptors import load

globals().update(load("env.binpb"))
