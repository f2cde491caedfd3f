"""Agents whose every row can be computed by hand, on the clock of a scene.

Needs nothing but the standard library: the tests import it beside the player.

At each tick every agent in an episode grows by one tick. Its episodes take `length` ticks; odd ones
(by `id + episode`) are interrupted. It asks for a decision at the ticks where
`tick % period == phase`, and where it begins an episode at such a tick. `Sight` is all that its
sensors show; a tick earns `1 + action`, where `action` is the sum of the last action, or 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Sight(NamedTuple):
    """What an agent observes; the vector sensor shows these four numbers."""

    agent: int
    episode: int
    age: int
    action: float


class Info(NamedTuple):
    """What the player says of an agent in one message."""

    sight: Sight
    reward: float
    done: bool
    interrupted: bool


@dataclass
class Agent:
    """`born` is the tick at which it appears, `episodes` how many it has before it vanishes."""

    id: int
    length: int = 4
    phase: int = 0
    born: int = 0
    episodes: int | None = None
    group: int = 0
    behavior: str = "Walker"
    episode: int = -1
    age: int = 0
    action: float = 0.0
    reward: float = 0.0
    here: bool = False

    @property
    def sight(self) -> Sight:
        return Sight(self.id, self.episode, self.age, self.action)


@dataclass
class Scene:
    """All agents, and the tick they are at."""

    agents: list[Agent]
    period: int = 1
    tick: int = 0
    asking: list[Agent] = field(default_factory=list)
    """Those that wait for an action, in the order in which they asked."""

    def reset(self) -> list[tuple[Agent, Info]]:
        """Begin an episode of every agent that is here, ending none, and go on to a message."""
        for agent in self.agents:
            if agent.here:
                _begin(agent)
        infos = self._message([])
        return infos or self.advance()

    def act(self, actions: dict[str, list[float]]) -> None:
        """Give the agents that asked their actions, per behaviour in the order they asked."""
        left = {behavior: list(given) for behavior, given in actions.items()}
        for agent in self.asking:
            agent.action = left[agent.behavior].pop(0)
        unused = {behavior: given for behavior, given in left.items() if given}
        assert not unused, f"actions for agents that did not ask: {unused}"

    def advance(self) -> list[tuple[Agent, Info]]:
        """Tick until an agent ends or asks, and return what is said of whom."""
        infos: list[tuple[Agent, Info]] = []
        while not infos:
            self.tick += 1
            infos = self._message(self._grow())
        return infos

    def _grow(self) -> list[tuple[Agent, Info]]:
        ended = []
        for agent in self.agents:
            if not agent.here:
                continue
            agent.age += 1
            agent.reward += 1 + agent.action
            if agent.age == agent.length:
                interrupted = (agent.id + agent.episode) % 2 == 1
                ended.append((agent, Info(agent.sight, agent.reward, True, interrupted)))
                if agent.episode + 1 == agent.episodes:
                    agent.here = False
                else:
                    _begin(agent)
        return ended

    def _message(self, ended: list[tuple[Agent, Info]]) -> list[tuple[Agent, Info]]:
        self.asking = []
        for agent in self.agents:
            if agent.born == self.tick and agent.episode < 0:
                agent.here = True
                _begin(agent)
            if agent.here and self.tick % self.period == agent.phase:
                self.asking.append(agent)
        asked = [(agent, Info(agent.sight, agent.reward, False, False)) for agent in self.asking]
        for agent in self.asking:
            agent.reward = 0.0
        return ended + asked


def _begin(agent: Agent) -> None:
    agent.episode += 1
    agent.age = 0
    agent.action = 0.0
    agent.reward = 0.0
