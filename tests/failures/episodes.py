"""What a stream of echo rows must be, whatever happened to the environments."""

from __future__ import annotations

import numpy as np

from tests.chaos.streams import Stream


def check_episodes(stream: Stream) -> None:
    """Assert that a slot's rows are whole episodes of the echo env, one after the other."""
    step, told, noise = stream.vector[:, 0], stream.vector[:, 1], stream.vector[:, 2:]
    first, last = stream.is_first, stream.is_last
    assert first[0]
    assert (first[1:] == last[:-1]).all(), "an episode begins where the one before was ended"
    inside = ~first[1:]
    assert (step[first] == 0).all()
    assert (step[1:][inside] == step[:-1][inside] + 1).all(), "no step is missing or doubled"
    assert (noise[1:][inside] == noise[:-1][inside]).all(), "no row is of another episode"
    assert (stream.reward == np.where(first, 0, step)).all()
    np.testing.assert_array_equal(told[~first], stream.action[~first, 0])
    assert (last | ~stream.is_terminal).all(), "what is terminal is last"
    begins = noise[first]
    assert len(np.unique(begins, axis=0)) == len(begins), "no seed was used twice"


def truncated(stream: Stream) -> int:
    """Return how many episodes ended without a terminal."""
    return int((stream.is_last & ~stream.is_terminal).sum())
