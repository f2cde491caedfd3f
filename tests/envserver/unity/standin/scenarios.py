"""The scenes that the stand-in can play, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.envserver.unity.standin.scene import Agent, Scene

WALKER = "Walker"
CATCHER = "Catcher"


@dataclass(frozen=True)
class Sensors:
    """What a behaviour sees and does."""

    kinds: tuple[str, ...] = ("vector",)
    """Of `sensors.py`."""
    continuous: int = 2
    branches: tuple[int, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """A scene, what the agents of each behaviour see and do, and what goes wrong after `after`.

    Messages are counted from the one that answers the first reset, which is 0.
    """

    scene: Callable[[], Scene]
    behaviors: dict[str, Sensors]
    version: str = "1.5.0"
    fault: str = ""
    after: int = 3
    stats: bool = False


def _agents(*lengths: int) -> Callable[[], Scene]:
    return lambda: Scene([Agent(i, length) for i, length in enumerate(lengths)])


def _single(kinds: tuple[str, ...] = ("vector",), **options: object) -> Scenario:
    return Scenario(_agents(4), {WALKER: Sensors(kinds)}, **options)  # type: ignore[arg-type]


def _acting(continuous: int, branches: tuple[int, ...]) -> Scenario:
    return Scenario(_agents(4), {WALKER: Sensors(("vector",), continuous, branches)})


def _two_behaviors(late: int) -> Scenario:
    catcher = Agent(7, 3, born=late, behavior=CATCHER)
    return Scenario(
        lambda: Scene([Agent(0, 4), Agent(**vars(catcher))]),
        {WALKER: Sensors(), CATCHER: Sensors(("vector",), 0, (3,))},
    )


SCENARIOS: dict[str, Scenario] = {
    "continuous": _single(),
    "discrete": _acting(0, (3,)),
    "branches": _acting(0, (2, 3)),
    "hybrid": _acting(2, (3,)),
    "hybrid_branches": _acting(1, (2, 3)),
    "visual": _single(("rgb", "stacked_grey", "raw", "vector")),
    "names": _single(("vector", "vector", "matrix", "goal", "unnamed", "slashed")),
    "agents": Scenario(_agents(4, 5, 6), {WALKER: Sensors()}),
    "equal_agents": Scenario(_agents(4, 4), {WALKER: Sensors()}),
    "groups": Scenario(
        lambda: Scene([Agent(0, group=0), Agent(1, group=3)]), {WALKER: Sensors()}
    ),
    "staggered": Scenario(
        lambda: Scene([Agent(i, 7, phase=(0, 2, 1)[i]) for i in range(3)], period=3),
        {WALKER: Sensors()},
    ),
    "period": Scenario(lambda: Scene([Agent(0, 7)], period=3), {WALKER: Sensors()}),
    "period_agents": Scenario(
        lambda: Scene([Agent(0, 7), Agent(1, 9)], period=3), {WALKER: Sensors()}
    ),
    "two_behaviors": _two_behaviors(late=0),
    "late_behavior": _two_behaviors(late=3),
    # Agent 1 has one episode and is gone; 2 comes two ticks later, in its place.
    "crowd": Scenario(
        lambda: Scene([Agent(0, 5), Agent(1, 3, episodes=1), Agent(2, 3, born=5)]),
        {WALKER: Sensors()},
    ),
    "newcomer": Scenario(
        lambda: Scene([Agent(0, 5), Agent(1, 4, born=2)]), {WALKER: Sensors()}
    ),
    "wrong_version": _single(version="2.0.0"),
    "older_version": _single(version="1.0.0"),
    "nan": _single(fault="nan"),
    "bright": _single(("raw", "vector"), fault="bright"),
    "large": _single(("large",)),
    "silent_start": _single(fault="never_connect"),
    "dies_in_handshake": _single(fault="die_in_handshake"),
    "dies": _single(fault="die"),
    "quits": _single(fault="quit"),
    "hangs": _single(fault="hang"),
    "stats": _single(stats=True),
    "unknown_channel": _single(fault="unknown_channel"),
}  # fmt: skip
