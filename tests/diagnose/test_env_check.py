"""`check_env` on real servers: nothing to say of a sound env, one named finding for each flaw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wmrun.config.load import load_config
from wmrun.diagnose.env_check import EnvCheck, check_env

EXPERIMENT = "extends: dreamer_v2\nname: tried\nrun: {env_steps: 10_000}\n"


def checked(folder: Path, env: str, steps: int = 40) -> EnvCheck:
    file = folder / "tried.yaml"
    file.write_text(f"{EXPERIMENT}env: {env}\n")
    return check_env(load_config(file, ()), folder / "logs", steps=steps, say=lambda text: None)


def wrong(check: EnvCheck) -> list[str]:
    return [finding.name for finding in check.findings if not finding.is_note]


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))

    def check(flaw: str) -> EnvCheck:
        options = f"{{kwargs: {{flaw: {flaw}}}}}"
        env = f"{{backend: gym, task: odd, source: 'odd_envs:OddEnv', options: {options}}}"
        return checked(tmp_path, env)

    return check


def test_a_sound_env_has_no_findings_and_its_figures_are_told(tmp_path: Path) -> None:
    check = checked(tmp_path, "{backend: echo, task: echo, num_envs: 2, image: {}, vector: true}")
    assert check.findings == ()
    # 41 rows per slot: each of the 3 ended episodes of 10 steps costs one row for the next reset.
    assert check.episode_lengths == (10,) * 6
    assert check.episode_returns == (55.0,) * 6
    assert check.steps == 2 * 37
    assert check.memory_mib is not None
    assert check.memory_mib[0] > 10


@pytest.mark.servers
@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("raise", "env-failed"),
        ("nan_obs", "nan-observation"),
        ("nan_reward", "env-breaks-contract"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, fault: str, name: str) -> None:
    check = checked(
        tmp_path, f"{{backend: fault, task: fault, options: {{fault: {fault}, at: 5}}}}"
    )
    assert name in wrong(check)


@pytest.mark.servers
def test_a_leak_is_named(tmp_path: Path) -> None:
    options = "{fault: leak, at: 1, times: 0, leak_mb: 2}"
    check = checked(tmp_path, f"{{backend: fault, task: fault, options: {options}}}")
    assert wrong(check) == ["memory-growth"]


@pytest.mark.servers
@pytest.mark.parametrize(
    ("flaw", "names"),
    [
        ("none", []),
        ("unseeded", ["nondeterminism"]),
        ("blank", ["blank-frames"]),
        ("wide", ["out-of-range"]),
    ],
)
def test_a_flaw_of_an_env_of_ones_own_is_named(odd: Any, flaw: str, names: list[str]) -> None:
    assert wrong(odd(flaw)) == names


def test_an_env_without_observations_is_named(odd: Any) -> None:
    assert wrong(odd("empty")) == ["empty-observation"]


@pytest.mark.parametrize("flaw", ["none_reset", "wordy_reset"])
def test_an_env_that_never_comes_up_is_named_in_a_few_words(odd: Any, flaw: str) -> None:
    check = odd(flaw)
    (failure,) = [finding for finding in check.findings if not finding.is_note]
    assert failure.name.startswith("env-")
    assert 20 < len(failure.message) < 400
    assert check.steps == 0
