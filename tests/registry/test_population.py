"""The components that come with wmrun."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wmrun.registry import KINDS, get, inventory
from wmrun.registry.entries import Registration, registrations
from wmrun.registry.kinds import KIND
from wmrun.registry.signature import read_signature, signature_of
from wmrun.run.tracker import Tracker

POPULATION = {
    "encoder": ["cnn", "cnn_residual", "cnn_v3", "mlp", "multi"],
    "decoder": ["cnn", "cnn_residual", "cnn_v3", "mlp", "multi"],
    "latent": ["categorical", "gaussian"],
    "dynamics": ["gru", "gru_block", "gru_layernorm"],
    "head": ["bernoulli", "mse", "two_hot"],
    "actor": [
        "auto",
        "bounded_normal",
        "categorical",
        "multi_categorical",
        "tanh_normal",
        "truncated_normal",
    ],
    "agent": ["dreamer_v1", "dreamer_v2", "dreamer_v3"],
    "tracker": ["jsonl", "mlflow"],
}
"""Names that experiment files may rely on: none leaves without a release that says so."""

BUILT_IN = [entry for kind in KINDS for entry in registrations(kind) if entry.built_in]
BASES = {kind: f"wmrun.{kind}s.base:{kind.title()}" for kind in KINDS}
BASES["dynamics"] = "wmrun.dynamics.base:Dynamics"


def test_no_registered_name_disappears() -> None:
    assert {kind: sorted(KIND[kind].built_in) for kind in KINDS} == POPULATION


@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_a_built_in_component_loads_and_its_source_tells_its_options(entry: Registration) -> None:
    imported = signature_of(get(entry.kind, entry.name))
    static = read_signature(entry.module, entry.attribute)
    assert [(o.name, o.type, o.required, o.default) for o in static.options] == [
        (o.name, o.type, o.required, o.default) for o in imported.options
    ]
    assert static.summary


@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_every_option_of_a_built_in_component_is_explained(entry: Registration) -> None:
    options = read_signature(entry.module, entry.attribute).options
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "tracker"])
def test_the_methods_that_are_checked_are_those_of_the_base_class(kind: str) -> None:
    module, _, name = BASES[kind].partition(":")
    base = getattr(__import__(module, fromlist=[name]), name)
    assert set(KIND[kind].methods) == set(base.__abstractmethods__)


def test_the_methods_that_are_checked_of_a_tracker_are_those_of_the_protocol() -> None:
    methods = {name for name, value in vars(Tracker).items() if callable(value)}
    assert set(KIND["tracker"].methods) == {name for name in methods if not name.startswith("_")}


def test_the_whole_inventory_is_listed_without_importing_torch() -> None:
    script = (
        "import sys; from wmrun.registry import KINDS, inventory; "
        "print(sum(len(inventory(kind)) for kind in KINDS), 'torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    count = sum(len(inventory(kind)) for kind in KINDS)
    assert result.stdout == f"{count} False\n"
