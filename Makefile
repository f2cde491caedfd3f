# The two first commands are `make quickstart` and `make test`; both install what they need into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
UNITY := .venvs/unity/.installed

.PHONY: quickstart install test test-servers test-slow lint format fidelity protos bench unity-venv clean

quickstart: install ## Train experiments/quickstart.yaml (CartPole, CPU, under 10 minutes)
	$(BIN)/wmrun run experiments/quickstart.yaml
	@echo "To type wmrun without its path: source $(VENV)/bin/activate"

install: $(INSTALLED) ## Create .venv with both distributions, the env families that pip can install here, and the tools

$(INSTALLED): pyproject.toml envservers/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "wmrun needs Python 3.10 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable "./envservers[gym,dmc,atari,envpool,dm_env_rpc]" --editable ".[dev]"
	@touch $(INSTALLED)

test: install ## The default suite: fast, no learning, no GPU
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-servers: install unity-venv ## Env servers in many processes: conformance, Unity, failures, chaos (minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m servers

test-slow: install ## The tests that take longer, the quickstart learning check among them
	$(BIN)/python -m pytest -m "slow or learning"

lint: install ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fidelity: install ## Compare with the original Dreamers' numbers and write docs/fidelity.md
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/golden --fidelity docs/fidelity.md

protos: install ## Rebuild the committed descriptor sets from protos/
	$(BIN)/python protos/compile.py

bench: install ## Speed of the env server and of one update
	$(BIN)/wmrun bench env
	$(BIN)/wmrun bench update experiments/quickstart.yaml

unity-venv: $(UNITY) ## Build .venvs/unity, the Python in which Unity scenes are served

$(UNITY): envservers/unity/build.py envservers/unity/requirements.txt envservers/unity/requirements-shim.txt
	$(PYTHON) envservers/unity/build.py
	@touch $(UNITY)

clean:
	rm -rf $(VENV) .venvs build dist *.egg-info envservers/*.egg-info .pytest_cache .mypy_cache .ruff_cache
