import random

import numpy as np
import torch

from wmrun.run.seeding import (
    eval_seeds,
    load_global_generators,
    save_global_generators,
    seed_for,
    seed_global_generators,
)


def draw() -> tuple[float, float, float, float]:
    return random.random(), random.gauss(0, 1), float(np.random.normal()), torch.rand(()).item()


def test_one_seed_gives_one_sequence_and_another_seed_another():
    seed_global_generators(3)
    first = draw()
    seed_global_generators(3)
    assert draw() == first
    seed_global_generators(4)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_streams_of_one_seed_differ():
    seeds = [seed_for(0, stream) for stream in ("torch", "python", "numpy", "sampler", "prefill")]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len(set(eval_seeds(0, 16))) == 16


def test_saved_generators_continue_where_they_were():
    seed_global_generators(0)
    draw()  # leaves NumPy and Python with half a pair of normals
    states = save_global_generators()
    expected = [draw() for _ in range(3)]
    seed_global_generators(9)
    load_global_generators(states)
    assert [draw() for _ in range(3)] == expected
