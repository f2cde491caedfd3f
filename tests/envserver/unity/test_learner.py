"""The learner, in its own Python, acts in scenes that a server in the Python of ML-Agents plays."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.envserver.unity.conftest import PlayerLog
from wmrun.config.schema import EnvConfig
from wmrun.envs.actions import ActionAdapter
from wmrun.envs.driver import Driver
from wmrun.envs.pool import EnvPool

pytestmark = pytest.mark.servers


@pytest.fixture
def pool(request: pytest.FixtureRequest, unity_python: Path, player: Path, tmp_path: Path) -> Any:
    """A pool whose server it starts by itself: two players of three agents each."""
    config = EnvConfig(
        backend="unity_mlagents",
        task="walkers",
        source=f"{player} --scenario {request.param} --log {shlex.quote(str(tmp_path))}",
        num_envs=6,
        options={"agents": 3},
        server={"python": str(unity_python)},
    )
    with EnvPool(config, log_dir=tmp_path / "servers", seed=3, role="train") as pool:
        yield pool


def played(driver: Driver, pool: EnvPool, steps: int) -> Iterator[tuple[int, list[float], float]]:
    """Yield slot, what the agent sees and its reward, of the rows of `steps` calls."""
    action = ActionAdapter(pool.spec.act_space).random(np.random.default_rng(0), pool.num_envs)
    transitions = driver.reset()
    for _ in range(steps):
        sights = transitions.obs["Vector"]
        for row, slot in enumerate(transitions.slots):
            yield int(slot), sights[row].tolist(), float(transitions.reward[row])
        transitions = driver.step(0 * action[transitions.slots] + 0.25)


@pytest.mark.parametrize("pool", ["agents", "staggered"], indirect=True)
def test_every_slot_is_one_agent_whose_time_goes_on(pool: EnvPool, tmp_path: Path) -> None:
    driver = Driver(pool, ActionAdapter(pool.spec.act_space))
    agents: dict[int, set[float]] = {}
    times: dict[int, list[tuple[float, float]]] = {}
    for slot, (agent, episode, age, action), reward in played(driver, pool, 40):
        agents.setdefault(slot, set()).add(agent)
        seen = times.setdefault(slot, [])
        if seen and seen[-1][0] == episode:
            # The action is 2 numbers of 0.25: each tick since the row before earns 1.5.
            assert action == 0.5
            assert reward == 1.5 * (age - seen[-1][1])
        else:
            assert (action, reward) == (0, 0)
        seen.append((episode, age))
    assert sorted(agents) == list(range(6))
    assert all(len(ids) == 1 for ids in agents.values())
    assert all(seen == sorted(set(seen)) for seen in times.values())
    assert all(seen[-1][0] >= 1 for seen in times.values())
    seeds = [PlayerLog(file).events("hello")[0]["seed"] for file in tmp_path.glob("*.jsonl")]
    assert len(set(seeds)) == 2
