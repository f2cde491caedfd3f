"""The gru_block dynamics against its definition in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wmrun.dynamics.gru_block import GruBlockDynamics
from wmrun.errors import ComponentError

Arrays = dict[str, np.ndarray]
BLOCKS, DETER, HIDDEN = 2, 6, 3


@pytest.fixture
def dynamics() -> GruBlockDynamics:
    torch.manual_seed(0)
    dynamics = GruBlockDynamics(4, 2, deter=DETER, hidden=HIDDEN, blocks=BLOCKS)
    for parameter in dynamics.parameters():
        torch.nn.init.normal_(parameter)
    return dynamics


def test_a_step_by_its_definition(dynamics: GruBlockDynamics) -> None:
    deter, stoch, action = torch.randn(5, DETER), torch.randn(5, 4), 3 * torch.randn(5, 2)
    ours = dynamics(deter, stoch, dynamics.embed_action(action)).detach()
    weights = {name: p.detach().double().numpy() for name, p in dynamics.named_parameters()}
    inputs = (tensor.double().numpy() for tensor in (deter, stoch, action))
    np.testing.assert_allclose(ours, _step(weights, *inputs), atol=1e-5)


def test_large_actions_are_divided_without_a_gradient_through_the_divisor(
    dynamics: GruBlockDynamics,
) -> None:
    small, large = torch.tensor([[1.0, -0.5]]), torch.tensor([[7.0, -0.5]])
    assert torch.equal(dynamics.embed_action(large), dynamics.embed_action(small))
    gradients = []
    for action in (small, large):
        action.requires_grad_()
        gradients.append(torch.autograd.grad(dynamics.embed_action(action).sum(), action)[0])
    np.testing.assert_allclose(gradients[1], gradients[0] / torch.tensor([7.0, 1.0]), rtol=1e-5)


def test_actions_of_a_sequence_are_embedded_at_once(dynamics: GruBlockDynamics) -> None:
    actions = torch.randn(3, 7, 2)
    one_by_one = torch.stack([dynamics.embed_action(action) for action in actions])
    torch.testing.assert_close(dynamics.embed_action(actions), one_by_one)


def test_blocks_must_share_deter_equally() -> None:
    with pytest.raises(ComponentError, match="deter is 100, which 8 blocks cannot share equally"):
        GruBlockDynamics(4, 2, deter=100, hidden=3)


@pytest.mark.parametrize("option", ["deter", "hidden"])
def test_widths_must_come_from_somewhere(option: str) -> None:
    widths = {"deter": 16, "hidden": 3} | {option: None}
    with pytest.raises(ComponentError, match=f"the option {option} is null"):
        GruBlockDynamics(4, 2, **widths)


def test_parameters_of_the_published_1m_size() -> None:
    """Of the start-up log's 364,416 for dyn: all but prior and posterior of a vector encoder."""
    dynamics = GruBlockDynamics(128, 6, deter=512, hidden=64)
    layers = (512 + 1 + 1) * 64 + (128 + 1 + 1) * 64 + (6 + 1 + 1) * 64
    hidden = 512 * (64 + 3 * 64) + 2 * 512
    gates = 3 * 512 * 64 + 3 * 512
    prior = (512 + 1 + 1) * 64 + (64 + 1 + 1) * 64 + (64 + 1) * 128
    posterior = (512 + 64 + 1 + 1) * 64 + (64 + 1) * 128
    assert sum(p.numel() for p in dynamics.parameters()) == layers + hidden + gates
    assert layers + hidden + gates + prior + posterior == 364_416


def _step(w: Arrays, deter: np.ndarray, stoch: np.ndarray, action: np.ndarray) -> np.ndarray:
    action = action / np.maximum(1, np.abs(action))
    shared = [
        _hidden(w, name, x)
        for name, x in (("deter_in", deter), ("stoch_in", stoch), ("action_in", action))
    ]
    slices = np.split(deter, BLOCKS, -1)
    inputs = [np.concatenate([own, *shared], -1) for own in slices]
    mixed = _blocks(w, "hidden", inputs)
    hidden = _silu(_rms(np.concatenate(mixed, -1)) * w["hidden_norm.weight"])
    after = []
    gates = _blocks(w, "gates", np.split(hidden, BLOCKS, -1))
    for own, (reset, candidate, update) in zip(
        slices, (np.split(gate, 3, -1) for gate in gates), strict=True
    ):
        new, share = np.tanh(_sigmoid(reset) * candidate), _sigmoid(update - 1)
        after.append(share * new + (1 - share) * own)
    return np.concatenate(after, -1)


def _hidden(w: Arrays, name: str, x: np.ndarray) -> np.ndarray:
    linear = x @ w[f"{name}.dense.weight"].T + w[f"{name}.dense.bias"]
    return _silu(_rms(linear) * w[f"{name}.norm.weight"])


def _blocks(w: Arrays, name: str, inputs: list[np.ndarray]) -> list[np.ndarray]:
    biases = np.split(w[f"{name}.bias"], BLOCKS)
    kernels = w[f"{name}.weight"]
    return [x @ k + b for x, k, b in zip(inputs, kernels, biases, strict=True)]


def _rms(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-4)


def _silu(x: np.ndarray) -> np.ndarray:
    return x * _sigmoid(x)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
