"""Acting: preprocessing, resets, modes."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from tests.agents.small import DISCRETE, IMAGE, random_batch, small_dreamer


def test_images_are_seen_as_in_training() -> None:
    """Acting through a sequence of images follows the same states as observing it in a batch."""
    agent = small_dreamer(IMAGE)
    batch = random_batch(IMAGE)
    model = agent.world_model
    noise = model.rssm.noise((5, 2), torch.Generator().manual_seed(0))
    rows = iter(noise)
    model.rssm.latent.noise = lambda shape, generator: next(rows)
    carry, states = agent.initial_carry(2), []
    for t in range(5):
        image = batch["image"][:, t].copy()
        image.flags.writeable = False
        carry = carry._replace(action=torch.tensor(batch["action"][:, t]))
        _, carry = agent.act({"image": image}, batch["is_first"][:, t], carry, "train")
        states.append(carry.state.feat)
    data = agent._prepare(batch)
    fit = model.fit(data, noise)
    observed = fit.observed.state.feat.detach().numpy()
    np.testing.assert_allclose(torch.stack(states, 1), observed, atol=1e-5)


def test_read_only_observations_raise_no_warning() -> None:
    agent = small_dreamer()
    vector = np.ones((1, 3), np.float32)
    vector.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent.act({"vector": vector}, np.ones(1, bool), agent.initial_carry(1), "eval")


def test_is_first_forgets_state_and_action_of_its_slot_only() -> None:
    agent = small_dreamer()
    model = agent.world_model.rssm
    obs = {"vector": np.ones((2, 3), np.float32)}
    _, carry = agent.act(obs, np.ones(2, bool), agent.initial_carry(2), "train")
    _, after = agent.act(obs, np.array([True, False]), carry, "train")
    with torch.inference_mode():
        zeros = model.dynamics.embed_action(torch.zeros(1, 2))
        fresh = model.dynamics(torch.zeros(1, 6), torch.zeros(1, 12), zeros)
        action = model.dynamics.embed_action(carry.action[1:])
        kept = model.dynamics(carry.state.deter[1:], carry.state.stoch[1:], action)
    np.testing.assert_allclose(after.state.deter[:1], fresh, atol=1e-6)
    np.testing.assert_allclose(after.state.deter[1:], kept, atol=1e-6)


def test_eval_takes_the_mode_and_train_samples() -> None:
    agent = small_dreamer(act_space=DISCRETE)
    agent.actor.out.weight.data.zero_()
    agent.actor.out.bias.data.copy_(torch.tensor([0.0, 0.1]))
    obs = {"vector": np.ones((64, 3), np.float32)}
    first, carry = np.ones(64, bool), agent.initial_carry(64)
    modes, _ = agent.act(obs, first, carry, "eval")
    samples, _ = agent.act(obs, first, carry, "train")
    assert modes.tolist() == [[0, 1]] * 64
    assert 10 < samples[:, 1].sum() < 54
    assert samples.sum(1).tolist() == [1] * 64


def test_actions_are_float32_arrays() -> None:
    agent = small_dreamer()
    action, _ = agent.act(
        {"vector": np.ones((3, 3), np.float32)}, np.ones(3, bool), agent.initial_carry(3), "train"
    )
    assert action.dtype == np.float32
    assert action.shape == (3, 2)
    assert np.abs(action).max() < 1
