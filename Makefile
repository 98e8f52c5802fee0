# The developer's door. `make help` lists the verbs; each is a line or two of plain shell.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Most tests wait for something most of the time: for a deadline, for a process to start. Slow ones are busier.
SIDE_BY_SIDE := --dist worksteal -n
# They start hundreds of processes, and are collected by several at once: what was compiled is kept, whatever the
# environment says. Collecting costs a third of the CPU then, and a role starts in two thirds of the time.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install fmt check test test-long faults interop cross needs demo serve ci bench requirements

help: ## list these verbs
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

install: .venv/installed ## make .venv with everything in it (pip only)

.venv/installed: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

fmt: install ## put the code in order
	$(BIN)/ruff check --fix --quiet . && $(BIN)/ruff format .

check: install ## linters, types, imports
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check ## all set-up, check, and the everyday tests
	$(BIN)/pytest $(SIDE_BY_SIDE) 4 -m "not slow and not debian and not long"

test-long: install ## minutes: random steps beside the model of an inbox, others each time; every order of hello and publish, benchmarks
	$(BIN)/pytest -m long -o faulthandler_timeout=0
	$(BIN)/pytest tests/registry/test_model.py --hypothesis-profile=long -o faulthandler_timeout=0
	$(BIN)/pytest tests/property tests/unit -m hypothesis --hypothesis-profile=long -o faulthandler_timeout=0

faults: install ## ten minutes: every role and Redis killed, frozen and cut off while messages flow; 3 if one is lost
	$(BIN)/python -m tests.faults

interop: install needs ## a real Firefox and Chromium, others' senders and identity providers, the standards' sentences
	$(BIN)/pytest -n 2 --dist loadfile tests/interop -o faulthandler_timeout=0

cross: install needs ## BEFORE=DIR, a checkout of the release before: upgrade from it, back to it, and both at once
	$(BIN)/python -m tests.previous.cross $(BEFORE)

DEBIAN := redis-server:redis-server npm:nodejs npm:npm chromium:chromium firefox-esr:firefox-esr tmux:tmux \
	promtool:prometheus faketime:faketime nginx:nginx-light haproxy:haproxy systemd-analyze:systemd zsh:zsh fish:fish

needs: # what tests need of Debian's packages: those whose command is missing, for npm may have come from elsewhere
	missing=$$(for each in $(DEBIAN); do command -v $${each%:*} >/dev/null || echo $${each#*:}; done); \
	test -z "$$missing" || { apt-get update && apt-get install -y --no-install-recommends $$missing; }
	redis-server --version; node --version; firefox-esr --version; chromium --version; tmux -V; promtool --version
	nginx -v; haproxy -v; systemd-analyze --version

demo: install ## the main job, for real, on free ports and a temporary directory
	$(BIN)/python examples/demo.py

serve: install ## the whole service on this machine
	$(BIN)/pushctl serve all

bench: install ## how fast it is here
	$(BIN)/python -m tests.benchmarks.http_server
	$(BIN)/python -m tests.benchmarks.posting
	$(BIN)/python -m tests.benchmarks.accept --processes 2
	$(BIN)/python -m tests.benchmarks.registry
	$(BIN)/python -m tests.benchmarks.routing
	$(BIN)/python -m tests.benchmarks.storm_simulation
	$(BIN)/python -m tests.benchmarks.websocket
	$(BIN)/python -m tests.benchmarks.connections
	$(BIN)/python -m tests.benchmarks.deliver
	$(BIN)/python -m tests.benchmarks.recovery
	$(BIN)/python -m tests.benchmarks.growth
	$(BIN)/python -m tests.benchmarks.start
	$(BIN)/python -m tests.benchmarks.peers

ci: test needs ## test, what is slow or needs Debian's packages, a real browser, and the demo
	$(BIN)/pytest $(SIDE_BY_SIDE) 3 -m "(slow or debian) and not long and not alone" --ignore tests/interop
	$(BIN)/pytest -m "(slow or debian) and not long and alone" tests/benchmarks tests/faults
	$(BIN)/pytest -n 2 --dist loadfile -m "slow or debian" tests/interop -o faulthandler_timeout=0
	$(MAKE) demo

requirements: install ## pin and hash the dependencies that pyproject.toml names
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --extra dev --no-emit-index-url \
		--no-emit-trusted-host --no-emit-find-links --no-emit-options --output-file requirements.txt pyproject.toml
