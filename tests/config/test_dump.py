"""A dumped config loads back into an equal one."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.config.conftest import VALID, Write
from wmrun.config.dump import dump_yaml
from wmrun.config.load import load_config


def test_a_dump_is_the_whole_experiment_in_the_order_of_the_schema(write: Write) -> None:
    overrides = ["env.image={}", "agent.by_key={left: {type: conv}}", "agent.lr=1e-5"]
    text = dump_yaml(load_config(write("walk.yaml", VALID), overrides))
    assert (
        text
        == """\
name: walk
seed: 0
device:
  name: auto
  compile: auto
  precision: auto
threads: null
env:
  backend: gym
  task: walker-walk
  source: null
  num_envs: 1
  action_repeat: 1
  time_limit: null
  image:
    size: [64, 64]
    camera: null
    grayscale: false
  vector: null
  normalize_actions: true
  clip_actions: true
  options: {}
  server:
    python: null
    address: null
    workers: auto
    token_file: null
    tls_ca: null
    tls_cert: null
    tls_key: null
    start_timeout_s: 60.0
    reset_timeout_s: 60.0
    step_timeout_s: 60.0
    restarts:
      max: 10
      per_window: 3
      window_s: 300.0
  servers: []
agent:
  type: toy
  lr: 1e-05
  horizon: 15
  greedy: false
  clip: null
  label: toy
  dims: [1, 2]
  encoder:
    type: conv
    depth: 48
    act: elu
    kernels: [4, 4]
  latent:
    type: onehot
    groups: 32
  extra: null
  by_key:
    left:
      type: conv
      depth: 32
      act: elu
      kernels: [4, 4]
  stack: []
replay:
  capacity: 2000000
  batch_size: 16
  batch_length: 50
  sampler: windows
  prioritize_ends: false
  online: false
run:
  env_steps: 2000
  stop_at_return: null
  prefill: 1000
  prefill_with: random
  pretrain: 100
  train_ratio: 160.0
  update_burst: 1
  eval_every: 20000
  eval_episodes: 10
  eval_envs: null
  checkpoint_every: 20000
  keep_checkpoints: 2
  log_every: 1000
  video: true
tracking:
  experiment: null
  uri: null
  mlflow: true
  flush_every_s: 5.0
  trackers: []
"""
    )


def test_a_dump_of_a_dump_is_the_same(write: Write) -> None:
    config = load_config(write("walk.yaml", VALID), ["agent.encoder.kernels=[3]", "seed=7"])
    again = load_config(write("again.yaml", dump_yaml(config)))
    assert again == config
    assert again.agent["encoder"]["kernels"] == (3,)
    assert dump_yaml(again) == dump_yaml(config)


_TRICKY = st.sampled_from(
    ["1e-4", "1_000", "on", "null", "", "~", "<<", "0x1f", "true", "a: b", "# c", "- d", "é", "*x"]
)
_NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | st.text() | _TRICKY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | _TRICKY, inner),
    max_leaves=8,
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    options=st.dictionaries(
        st.text(min_size=1) | _TRICKY, _VALUES.filter(lambda value: value is not None), max_size=3
    ),
    task=_TRICKY,
)
def test_any_options_survive_dump_and_load(
    write: Write, options: dict[str, Any], task: str
) -> None:
    config = load_config(write("walk.yaml", VALID))
    env = config.env.model_copy(update={"options": options, "task": task})
    config = config.model_copy(update={"env": env})
    assert load_config(write("again.yaml", dump_yaml(config))) == config
