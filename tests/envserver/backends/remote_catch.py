"""A dm_env_rpc server: a ball falls, and a paddle in the last row may catch it.

Run as a program it serves on 127.0.0.1, at the port that it is given or else a free one, and prints
the port.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from dm_env_rpc.v1 import (
    dm_env_rpc_pb2,
    dm_env_rpc_pb2_grpc,
    tensor_spec_utils,
    tensor_utils,
)
from google.rpc import status_pb2

ROWS, COLUMNS = 5, 4
RUNNING = dm_env_rpc_pb2.RUNNING
TERMINATED = dm_env_rpc_pb2.TERMINATED
INTERRUPTED = dm_env_rpc_pb2.INTERRUPTED
TYPES = {
    name: dm_env_rpc_pb2.DataType.Value(name)
    for name in ("FLOAT", "DOUBLE", "INT8", "INT32", "UINT8", "BOOL", "STRING", "PROTO")
}


class Refused(Exception):
    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code.value[0]


def spec(name: str, dtype: str, shape: tuple[int, ...] = (), low: Any = None, high: Any = None):
    result = dm_env_rpc_pb2.TensorSpec(name=name, dtype=TYPES[dtype], shape=shape)
    if low is not None or high is not None:
        tensor_spec_utils.set_bounds(result, low, high)
    return result


ACTIONS = {7: spec("move", "INT8", (), -1, 1)}
OBSERVATIONS = {
    3: spec("image", "UINT8", (ROWS, COLUMNS, 1)),
    1: spec("paddle.column", "INT32", (), 0, COLUMNS - 1),
    4: spec("paddle.label", "STRING"),
    2: spec("ball", "DOUBLE", (2,), 0.0, [float(ROWS), float(COLUMNS)]),
    9: spec("reward", "FLOAT"),
}


@dataclass
class World:
    """One game; `settings` of its creation may make it misbehave."""

    settings: dict[str, Any]
    released: threading.Event
    """Ends the hang of a world that hangs."""
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    state: int = TERMINATED

    def observations(self) -> dict[int, Any]:
        extra = {}
        if "discount" in self.settings:
            extra[8] = spec("discount", "FLOAT")
        if "score" in self.settings:
            extra[10] = spec("score", "FLOAT")
        if "variable" in self.settings:
            extra[11] = spec("events", "INT32", (-1,))
        return {**OBSERVATIONS, **extra}

    def begin(self) -> None:
        self.ball = [0, int(self.rng.integers(COLUMNS))]
        self.paddle = COLUMNS // 2
        self.step = 0
        self.reward = 0.0
        self.state = RUNNING

    def move(self, by: int) -> None:
        self.step += 1
        if self.step == self.settings.get("fail_at"):
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "the paddle is stuck")
        if self.step == self.settings.get("hang_at"):
            self.released.wait()
        self.paddle = min(max(self.paddle + by, 0), COLUMNS - 1)
        self.ball[0] += 1
        if self.ball[0] == ROWS - 1:
            self.reward = 1.0 if self.ball[1] == self.paddle else -1.0
            self.state = TERMINATED
        elif self.step == self.settings.get("limit"):
            self.state = INTERRUPTED

    def values(self) -> dict[int, Any]:
        board = np.zeros((ROWS, COLUMNS, 1), np.uint8)
        board[tuple(self.ball)] = board[ROWS - 1, self.paddle] = 255
        return {
            1: np.int32(self.paddle),
            2: np.array(self.ball, np.float64),
            3: board,
            4: "left" if self.paddle < COLUMNS // 2 else "right",
            8: np.float32(self.settings.get("discount", 0)),
            9: np.float32(self.reward),
            10: np.float32(100 * self.reward),
        }


class Catch(dm_env_rpc_pb2_grpc.EnvironmentServicer):
    """Many worlds, one connection in each; `log` has the requests as they came."""

    known_settings = ("fail_at", "hang_at", "limit", "discount", "score", "variable", "new_specs")

    def __init__(self) -> None:
        self.released = threading.Event()
        self.worlds = {name: World({}, self.released) for name in ("lobby", "")}
        self.log: list[Any] = []
        self._names = (f"world-{index}" for index in itertools.count())

    def Process(self, request_iterator: Iterator[Any], context: Any) -> Iterator[Any]:
        joined: list[World] = []
        for request in request_iterator:
            kind = request.WhichOneof("payload")
            self.log.append(getattr(request, kind))
            response = dm_env_rpc_pb2.EnvironmentResponse()
            try:
                answer = getattr(self, f"_{kind}")(getattr(request, kind), joined)
                getattr(response, kind).CopyFrom(answer)
            except Refused as error:
                response.error.CopyFrom(status_pb2.Status(code=error.code, message=str(error)))
            yield response

    def _create_world(self, request: Any, joined: list[World]) -> Any:
        settings = {key: tensor_utils.unpack_tensor(t) for key, t in request.settings.items()}
        for key in settings:
            if key not in self.known_settings:
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"unknown setting {key!r}")
        name = next(self._names)
        self.worlds[name] = World(settings, self.released)
        return dm_env_rpc_pb2.CreateWorldResponse(world_name=name)

    def _join_world(self, request: Any, joined: list[World]) -> Any:
        if request.world_name not in self.worlds:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"no world {request.world_name!r}")
        joined.append(self.worlds[request.world_name])
        return dm_env_rpc_pb2.JoinWorldResponse(specs=self._specs(joined[0]))

    def _reset(self, request: Any, joined: list[World]) -> Any:
        (world,) = joined
        if "seed" in request.settings:
            seed = tensor_utils.unpack_tensor(request.settings["seed"])
            world.rng = np.random.default_rng(int(seed))
        world.state = INTERRUPTED
        specs = self._specs(world)
        if "new_specs" in world.settings:
            specs.observations[99].CopyFrom(spec("news", "FLOAT"))
        return dm_env_rpc_pb2.ResetResponse(specs=specs)

    def _step(self, request: Any, joined: list[World]) -> Any:
        (world,) = joined
        if world.state == RUNNING:
            world.move(self._move(request.actions))
        else:
            world.begin()
        values = world.values()
        return dm_env_rpc_pb2.StepResponse(
            state=world.state,
            observations={
                uid: tensor_utils.pack_tensor(values[uid], try_compress=True)
                for uid in request.requested_observations
            },
        )

    def _leave_world(self, request: Any, joined: list[World]) -> Any:
        joined.clear()
        return dm_env_rpc_pb2.LeaveWorldResponse()

    def _destroy_world(self, request: Any, joined: list[World]) -> Any:
        del self.worlds[request.world_name]
        return dm_env_rpc_pb2.DestroyWorldResponse()

    def _move(self, actions: Any) -> int:
        values = {uid: tensor_utils.unpack_tensor(tensor) for uid, tensor in actions.items()}
        if values.keys() != {7} or values[7].dtype != np.int8 or abs(values[7]) > 1:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"bad actions {values}")
        return int(values[7])

    def _specs(self, world: World) -> Any:
        return dm_env_rpc_pb2.ActionObservationSpecs(
            actions=ACTIONS, observations=world.observations()
        )


def started(servicer: Catch, credentials: Any = None, port: int = 0) -> tuple[grpc.Server, int]:
    """Start a server and return it with its port."""
    server = grpc.server(futures.ThreadPoolExecutor(16), options=(("grpc.so_reuseport", 0),))
    dm_env_rpc_pb2_grpc.add_EnvironmentServicer_to_server(servicer, server)
    if credentials is None:
        port = server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        port = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    server.start()
    return server, port


if __name__ == "__main__":
    running, listening = started(Catch(), port=int(sys.argv[1]) if sys.argv[1:] else 0)
    print(listening, flush=True)
    running.wait_for_termination()
