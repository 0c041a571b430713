# Everything a fresh Debian or Ubuntu machine with Python 3.11 needs is set up by the first target
# that wants it. `make help` lists the targets.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Byte code must be kept: without it each import of libp2p costs seconds.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test check sim chaos lifecycles bench format abi clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: $(VENV)/installed ## make the environment and install p2pool into it

$(VENV)/installed: pyproject.toml
	bash .ci/packages build
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@# libp2p brings trio_typing, whose stubs of an old trio hide trio's own types from mypy.
	rm -rf $(VENV)/lib/python3*/site-packages/trio-stubs
	touch $@

demo: setup ## set everything up, then show a pool on this machine lose its master and go on
	$(BIN)/p2pool dev demo

test: setup ## set everything up, then pass the tests
	bash .ci/packages test
	$(BIN)/pytest

check: setup ## format, lint, types, layers and the pure tests: about a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_layers.py tests/model tests/codec tests/core
	$(BIN)/python -m tests.sim --seeds 5

SEEDS ?= 50
sim: setup ## whole nodes in virtual time: SEEDS=n, FROM=m; SIM='--mutations', --elections, --health
	$(BIN)/python -m tests.sim $(or $(SIM),--from $(or $(FROM),0) --seeds $(SEEDS))

CHAOS_SECONDS ?= 600
chaos: setup ## five agents under load and faults: CHAOS_SECONDS=n, CHAOS_SEED=n to run one again
	$(BIN)/python -m tests.chaos --seconds $(CHAOS_SECONDS) $(if $(CHAOS_SEED),--seed $(CHAOS_SEED))

N ?= 200
lifecycles: setup ## random lives of copies on a real engine: N=n tries the seeds 0 to n-1
	bash .ci/packages test
	P2POOL_LIFECYCLES=$(N) $(BIN)/pytest -q tests/containers/test_lifecycles.py

bench: setup ## what should be fast, beside its peers in the same run: ONLY=own|containers|etcd|serf
	bash .ci/packages bench
	$(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY))

format: setup ## lay the sources out as ruff does
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

abi: ## compile abi/src to abi/*.json (needs node and npm)
	node abi/build.mjs

clean: ## remove what the targets above made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache
