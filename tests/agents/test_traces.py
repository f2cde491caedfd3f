"""The metrics of each agent's first updates on a fixed batch, as they were committed.

`python -m tests.agents.test_traces` writes them anew, after a change that is meant to change them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.agents.small import random_batch, small_dreamer
from tests.agents.small_v3 import small_v3, stored_batch
from tests.agents.test_dreamer_v1 import CONTINUE, small_v1
from wmrun.agents.base import Metrics
from wmrun.agents.dreamer import Dreamer
from wmrun.agents.dreamer_v3 import DreamerV3

FOLDER = Path(__file__).parent / "traces"
UPDATES = 20
# Other CPUs and releases of torch add numbers in another order. On one machine a trace is repeated
# exactly; rounding inputs differently moved no metric by more than a fifth of this in 20 updates.
RELATIVE, ABSOLUTE = 1e-4, 1e-6

AGENTS: dict[str, Callable[[], Dreamer]] = {
    "dreamer_v1": lambda: small_v1(continue_head=CONTINUE, actor_entropy=1e-3),
    "dreamer_v2": lambda: small_dreamer(slow_critic_every=5),
    "dreamer_v3": lambda: _settled(small_v3(warmup=10, lr=3e-4)),
}


@pytest.mark.parametrize("name", AGENTS)
def test_first_updates(name: str) -> None:
    committed = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    found = _trace(name)
    assert list(found) == list(committed)
    for metric, values in committed.items():
        np.testing.assert_allclose(
            found[metric], values, rtol=RELATIVE, atol=ABSOLUTE, err_msg=metric
        )


def _settled(agent: DreamerV3) -> DreamerV3:
    """Make numbers of 1e8 unlikely: as likely as others, their rounding errors make up the mean."""
    bell = -0.5 * torch.linspace(-9, 9, 255).square()
    for head in (agent.world_model.reward_head, agent.critic, agent.slow_critic):
        head.get_parameter("out.bias").data.copy_(bell)
    return agent


def _trace(name: str) -> dict[str, list[float]]:
    """Return every metric of the first updates, in their order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        agent = AGENTS[name]()
        batch = stored_batch(agent) if name == "dreamer_v3" else random_batch()
        updates: list[Metrics] = [agent.update(batch).metrics for _ in range(UPDATES)]
    finally:
        torch.set_num_threads(threads)
    return {metric: [update[metric] for update in updates] for metric in updates[0]}


def _write(name: str) -> None:
    rows = [
        f"  {json.dumps(metric)}: [{', '.join(f'{value:.7g}' for value in values)}]"
        for metric, values in _trace(name).items()
    ]
    text = "{\n" + ",\n".join(rows) + "\n}\n"
    (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for agent_name in AGENTS:
        _write(agent_name)
