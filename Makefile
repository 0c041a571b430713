# Whichever target runs first sets up a fresh Debian or Ubuntu machine with Python 3.11.
# `make help` lists the targets; PYTHON=python3.12 chooses another Python.

# Modules, not scripts: the shebang line of a script cannot hold every path.
PY := .venv/bin/python
# Keep byte code: without it each import of libp2p costs seconds.
unexport PYTHONDONTWRITEBYTECODE
SETUP = @sh packaging/setup $(if $(PYTHON),--python '$(subst ','\'',$(PYTHON))') \
	--again 'make $(or $(MAKECMDGOALS),setup)'

.PHONY: help setup setup-dev demo test check docs golden-disks sim chaos attacks kills lifecycles starts validation-report fuzz upgrade-from bench format lock abi clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: ## make the environment and install p2pool into it
	$(SETUP)

setup-dev: ## the same, with the packages that the tests need
	$(SETUP) --dev

demo: setup ## set up, then show a pool on this machine lose its leader and carry on
	$(PY) -m p2pool dev demo

test: setup-dev ## set up, then run the tests
	bash .ci/packages test
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: setup-dev ## format, lint, types, layers, pure tests and five seeds: a few minutes
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -m pytest -q tests/test_layers.py tests/model tests/codec tests/proofs tests/core tests/wire
	$(PY) -m tests.sim --seeds 5

SEEDS ?= 50
sim: setup-dev ## whole nodes in virtual time: SEEDS=n, FROM=m; SIM='--mutations', --elections, --health
	$(PY) -m tests.sim $(or $(SIM),--from $(or $(FROM),0) --seeds $(SEEDS))

CHAOS_SECONDS ?= 600
chaos: setup-dev ## five agents under load and faults: CHAOS_SECONDS=n, CHAOS_SEED=n repeats a run
	$(PY) -m tests.chaos --seconds $(CHAOS_SECONDS) $(if $(CHAOS_SEED),--seed $(CHAOS_SEED))

ATTACK_SECONDS ?= 60
attacks: setup-dev ## what strangers try on a pool of agents: ATTACK=name for one, ATTACK_SECONDS=n
	$(PY) -m tests.attacks --seconds $(ATTACK_SECONDS) \
		$(or $(foreach one,$(ATTACK),--attack $(one)),--report docs/reports/attacks.md)

lifecycles: setup-dev ## random lifecycles of copies on a real engine: N=n tries seeds 0 to n-1
	bash .ci/packages test
	P2POOL_LIFECYCLES=$(or $(N),200) $(PY) -m pytest -q tests/containers/test_lifecycles.py

starts: setup-dev ## start development pools one after the other, half under CPU load: N=n (100)
	$(PY) -m tests.starts --starts $(or $(N),100) --report docs/reports/starts.md

validation-report: setup-dev ## challenge the reference prover, and write what that costs and finds
	$(PY) -m tests.validation_report --report docs/reports/validation.md

FUZZ_SECONDS ?= 600
kills: setup-dev ## kill agents under readers of events: KILLS=n
	P2POOL_KILLS=$(or $(KILLS),50) $(PY) -m pytest -v tests/e2e/platforms/test_kills.py

fuzz: setup-dev ## fuzz what strangers' bytes reach: FUZZ_SECONDS=n for each target, ONLY=word
	$(PY) -m pip install --quiet --editable '.[fuzz]'
	$(PY) -m tests.fuzz --seconds $(FUZZ_SECONDS) --only '$(ONLY)' --report docs/reports/fuzz.md

upgrade-from: setup-dev ## agents of an earlier version become this one: EARLIER=its python
	$(PY) -m tests.upgrades $(EARLIER)

bench: setup-dev ## benchmarks, beside their peers in the same run: ONLY=cli|own|containers|etcd|serf
	bash .ci/packages bench
	$(PY) -m tests.bench $(if $(ONLY),--only $(ONLY))

golden-disks: setup-dev ## let a pool live for some minutes, and keep its disks for later versions
	$(PY) -m tests.golden

format: setup-dev ## format the sources with ruff
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

docs: setup-dev ## write anew what of docs/ is made from the code: tables, references, vectors
	$(PY) -m tests.docs

lock: ## requirements.lock anew from pyproject.toml: what is in it stays; UPGRADE=1 takes the newest
	python3 packaging/lock.py $(if $(UPGRADE),--upgrade)

abi: ## compile abi/src to abi/*.json (needs node and npm)
	node abi/build.mjs

clean: ## remove everything that the targets above made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache
