"""Parameter counts of the published agents (the paper gives 20M for the Atari world model)."""

from __future__ import annotations

from wmrun_envserver.wire.spaces import Box, Discrete

from wmrun.agents.dreamer_v2 import DreamerV2


def test_dmc_vision() -> None:
    image = {"image": Box((64, 64, 3), "uint8")}
    agent = DreamerV2(image, Box((6,), low=-1, high=1), device="cpu")
    expected = {"world_model": 13_656_772, "actor": 976_012, "critic": 971_601}
    assert agent.parameter_counts() == expected


def test_atari() -> None:
    agent = DreamerV2(
        {"image": Box((64, 64, 1), "uint8")},
        Discrete(6),
        device="cpu",
        dynamics={"type": "gru_layernorm", "deter": 600},
        continue_head={"type": "bernoulli"},
        actor={"type": "categorical"},
    )
    expected = {"world_model": 19_968_179, "actor": 1_133_606, "critic": 1_131_601}
    assert agent.parameter_counts() == expected
