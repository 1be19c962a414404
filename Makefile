# A thin door: every target is one command that works without make as well.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help up setup test test-slow faults faults-long simulate check lint types imports bench clean

help:            ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

up: setup        ## set up, then start everything on this machine
	@exec $(BIN)/workstation up

setup: $(VENV)/.installed $(VENV)/.browser  ## set up .venv (runtime) and the browser

test: setup $(VENV)/.dev $(VENV)/.proxies  ## set up, then run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not faults"

test-slow: setup $(VENV)/.dev  ## the long tests
	$(BIN)/python -m pytest -m "slow" --timeout 600

faults: setup $(VENV)/.dev  ## the short fault suite: kills and freezes real processes
	$(BIN)/python -m pytest -m "faults" --timeout 300

FAULT_SEEDS ?= 1-20

faults-long: setup $(VENV)/.dev  ## twenty seeds of the fault suite, 45 minutes; report in build/faults.md
	mkdir -p build
	$(BIN)/python -m tests.chaos --seeds $(FAULT_SEEDS) --report build/faults.md

SEEDS ?= 3000
BASE ?= 10001

simulate: setup $(VENV)/.dev  ## thousands of seeds of the simulation in virtual time
	$(BIN)/python -m tests.simulation --base $(BASE) --count $(SEEDS) --workers 2

check: setup $(VENV)/.dev  ## lint, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup $(VENV)/.dev  ## benchmarks against the peers, into benchmarks/results
	$(BIN)/python -m benchmarks

clean:           ## remove what set-up made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python requirements/runtime.txt pyproject.toml sdk/pyproject.toml
	@echo "setting up $(VENV) (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --compile --require-hashes -r requirements/runtime.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e ./sdk -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed requirements/dev.txt
	@echo "adding the development tools"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --compile --require-hashes -r requirements/dev.txt
	@touch $@

# Tests put pgbouncer and nginx in front of things; they are Debian's.
$(VENV)/.proxies: $(VENV)/.dev
	@scripts/install-proxies
	@touch $@

# The browser is Debian's or Playwright's own; without one the browser agent says so and reads static pages only.
$(VENV)/.browser: $(VENV)/.installed
	@scripts/install-browser $(BIN)/python
	@touch $@
