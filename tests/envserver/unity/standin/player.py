"""The stand-in's program: `--mlagents-port N --scenario NAME [--log DIR] [--once DIR]`.

Writes what it is told, one JSON object a line, to `DIR/PID.jsonl`. With `--once`, what goes wrong
in the scenario goes wrong only in the first process that plays it with that DIR.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import grpc
from mlagents_envs.communicator_objects.agent_info_pb2 import AgentInfoProto
from mlagents_envs.communicator_objects.unity_message_pb2 import UnityMessageProto
from mlagents_envs.communicator_objects.unity_rl_input_pb2 import UnityRLInputProto
from mlagents_envs.communicator_objects.unity_to_external_pb2_grpc import UnityToExternalProtoStub

from tests.envserver.unity.standin import channels
from tests.envserver.unity.standin.scenarios import SCENARIOS, Scenario, Sensors
from tests.envserver.unity.standin.scene import Agent, Info, Scene
from tests.envserver.unity.standin.sensors import observation

GO_ON = 200
RESET = 1
EXIT_CODE_OF_THE_DEAD = 9


def main() -> int:
    options = _options()
    player = Player(SCENARIOS[options.scenario], Log(options.log), options.mlagents_port)
    if options.once is not None and not _first(options.once / options.scenario):
        player.fault = ""
    player.log("started", port=options.mlagents_port, arguments=sys.argv[1:])
    return player.play()


class Log:
    """Lines of JSON in a file of this process."""

    def __init__(self, directory: Path | None) -> None:
        target = os.devnull if directory is None else directory / f"{os.getpid()}.jsonl"
        self._file = open(target, "w", buffering=1)  # noqa: SIM115

    def __call__(self, event: str, **fields: Any) -> None:
        self._file.write(json.dumps({"event": event, **fields}) + "\n")


class Player:
    """Plays one scenario until it is told to quit."""

    def __init__(self, scenario: Scenario, log: Log, port: int) -> None:
        self.fault = scenario.fault
        self.log = log
        self._scenario = scenario
        self._scene: Scene = scenario.scene()
        self._announced: set[str] = set()
        self._messages = 0
        unlimited = [
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ]
        self._channel = grpc.insecure_channel(f"localhost:{port}", options=unlimited)
        self._stub = UnityToExternalProtoStub(self._channel)

    def play(self) -> int:
        if self.fault == "never_connect":
            return _hang()
        told = self._exchange(self._introduction()).unity_input.rl_initialization_input
        self.log("hello", seed=told.seed, version=told.communication_version)
        if self.fault == "die_in_handshake":
            _die()
        reply = self._exchange(_message())
        while reply.header.status == GO_ON:
            answer = self._answer(reply.unity_input.rl_input)
            if self.fault and self._messages > self._scenario.after:
                if self.fault == "die":
                    _die()
                if self.fault == "hang":
                    return _hang()
                if self.fault == "quit":
                    answer.header.status = 400
            reply = self._exchange(answer)
        self.log("told to quit")
        return 0

    def _introduction(self) -> Any:
        message = _message()
        hello = message.unity_output.rl_initialization_output
        hello.name = "AcademySingleton"
        hello.communication_version = self._scenario.version
        hello.package_version = "2.3.0"
        hello.capabilities.baseRLCapabilities = True
        return message

    def _answer(self, order: UnityRLInputProto) -> Any:
        for event, value in channels.read(order.side_channel):
            self.log(event, value=value)
        if order.command == RESET:
            self.log("reset")
            infos = self._scene.reset()
        else:
            self._scene.act(self._actions(order))
            infos = self._scene.advance()
        message = _message()
        output = message.unity_output.rl_output
        for agent, info in infos:
            output.agentInfos[agent.behavior].value.append(self._agent_info(agent, info))
        self._announce(message)
        output.side_channel = self._side_channel()
        self._messages += 1
        return message

    def _actions(self, order: UnityRLInputProto) -> dict[str, list[float]]:
        actions: dict[str, list[float]] = {}
        for behavior, given in order.agent_actions.items():
            both = [
                [*action.continuous_actions, *action.discrete_actions] for action in given.value
            ]
            self.log("actions", behavior=behavior, values=both)
            actions[behavior] = [float(sum(numbers)) for numbers in both]
        return actions

    def _announce(self, message: Any) -> None:
        """Describe the behaviours whose first agents are in the message."""
        for name in message.unity_output.rl_output.agentInfos:
            if name in self._announced:
                continue
            self._announced.add(name)
            brain = message.unity_output.rl_initialization_output.brain_parameters.add()
            brain.brain_name = name
            brain.is_training = True
            sensors = self._scenario.behaviors[name]
            brain.action_spec.num_continuous_actions = sensors.continuous
            brain.action_spec.num_discrete_actions = len(sensors.branches)
            brain.action_spec.discrete_branch_sizes.extend(sensors.branches)

    def _agent_info(self, agent: Agent, info: Info) -> Any:
        sensors = self._scenario.behaviors[agent.behavior]
        spoilt = self._messages >= self._scenario.after
        sight = info.sight
        if self.fault == "nan" and spoilt:
            sight = sight._replace(action=float("nan"))
        observations = [observation(kind, sight) for kind in sensors.kinds]
        if self.fault == "bright" and spoilt:
            observations[0].float_data.data[0] = 3.0
        return AgentInfoProto(
            id=agent.id,
            reward=info.reward,
            done=info.done,
            max_step_reached=info.interrupted,
            group_id=agent.group,
            group_reward=10.0 * info.reward if agent.group else 0.0,
            observations=observations,
            action_mask=[] if info.done else _mask(info, sensors),
        )

    def _side_channel(self) -> bytes:
        if self._scenario.stats:
            count = float(self._messages)
            average, most_recent, total = 0, 1, 2
            return channels.stats(
                [
                    ("height", count, average),
                    ("height", count + 1, average),
                    ("falls", 1.0, total),
                    ("falls", 2.0, total),
                    ("lesson", 5.0, most_recent),
                    ("lesson", count, most_recent),
                ]
            )
        if self.fault == "unknown_channel":
            return channels.message(channels.UNKNOWN, b"psst")
        return b""

    def _exchange(self, message: Any) -> Any:
        return self._stub.Exchange(message, wait_for_ready=True)


def _mask(info: Info, sensors: Sensors) -> list[bool]:
    """Forbid one action in each branch, another at every age."""
    return [choice == info.sight.age % size for size in sensors.branches for choice in range(size)]


def _message() -> Any:
    message = UnityMessageProto()
    message.header.status = GO_ON
    return message


def _die() -> NoReturn:
    os._exit(EXIT_CODE_OF_THE_DEAD)


def _hang() -> int:
    while True:
        time.sleep(3600)


def _first(path: Path) -> bool:
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--mlagents-port", type=int, required=True)
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default="continuous")
    parser.add_argument("--log", type=Path)
    parser.add_argument("--once", type=Path)
    parser.add_argument("-logFile", dest="unity_log")
    parser.add_argument("-nographics", action="store_true")
    parser.add_argument("-batchmode", action="store_true")
    return parser.parse_args()
