# Everything runs in .venv, which devel/venv.sh makes from requirements/dev.txt; it returns at once when
# nothing has changed, so every target can ask for it.

.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
COMPILE := $(PYTHON) -m uv pip compile --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header --quiet
PEERS := benchmarks/peers
# What is measured is what is shipped. On the command line, COMPILED= measures the sources as they are.
COMPILED = $(CURDIR)/.run/compiled
WITH_COMPILED = $(if $(COMPILED),PYTHONSAFEPATH=1 PYTHONPATH=$(COMPILED):$(CURDIR))
# Processes, each with servers of its own; they mostly wait. 0: one test after the other, in this process.
TESTS_AT_ONCE ?= 2

.PHONY: help venv run demo test check fmt client chaos fuzz wheel bench bench-peers bench-check lock clean

help: ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

venv:
	@devel/venv.sh

run: venv ## Find or start RabbitMQ and run the bridge in development mode, until Ctrl-C.
	@exec $(PYTHON) -m devel.run

demo: venv ## Beside `make run`: publish one of every event and show who gets it.
	@exec $(PYTHON) -m devel.demo

test: venv ## Run the tests, two files at a time. ARGS='-k outbox' goes to pytest.
	$(PYTHON) -m pytest -n $(TESTS_AT_ONCE) --dist loadfile $(ARGS)

check: venv ## Check style and types.
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

fmt: venv ## Format, and repair what can be repaired.
	$(PYTHON) -m ruff format
	$(PYTHON) -m ruff check --fix

client: venv ## Install, build and test the browser client. Needs Node.js 20 or later with npm.
	cd clients/typescript && npm ci && npm run build && npm run check && npm test
	cd clients/typescript && npm run test:live && npm run test:browser

chaos: venv ## Break things on purpose and count every event. ARGS='--short' plays it small.
	$(PYTHON) -m tests.chaos $(ARGS)

fuzz: venv ## Give the socket edge 100,000 inputs that nobody means. ARGS='--seed 1' repeats a run.
	$(PYTHON) -m tests.fuzz $(ARGS)

wheel: venv ## Put a wheel into dist/, compiled for this machine and .venv's Python. Needs a C compiler.
	@devel/wheel.sh dist

# Folders, too: one is newer when a file in it has gone.
$(CURDIR)/.run/compiled: devel/wheel.sh .venv/made-from $(shell find bridge consumers -not -name '*.pyc' -not -name __pycache__)
	@mkdir -p $(@D) && touch $@.begun # As old as that: what changes while it is built is not in it.
	@new=$$(mktemp -d $@.XXXXXX) && if devel/wheel.sh $$new; \
		then $(PYTHON) -m zipfile -e $$new/*.whl $$new && rm -rf $$new/*.whl $@ && mv $$new $@ && touch -r $@.begun $@; \
		else rm -rf $$new; echo "To measure the sources as they are: make $(MAKECMDGOALS) COMPILED="; exit 1; fi

# Always asked for, and newer only when the environment was made anew.
.venv/made-from: venv ; @:

bench: venv $(COMPILED) ## Measure it all, beside every peer that is installed. ARGS='fanout --runs 5'.
	$(WITH_COMPILED) $(PYTHON) -m benchmarks $(ARGS)

bench-peers: venv ## Install the peers that the benchmarks measure beside the bridge.
	@$(PEERS)/install.sh

bench-check: venv $(COMPILED) ## In a minute: fail if a bar is missed by more than the noise.
	$(WITH_COMPILED) $(PYTHON) -m benchmarks --guard $(ARGS)

lock: venv ## Lock versions anew after a change of pyproject.toml. ARGS=--upgrade takes the newest.
	$(COMPILE) $(ARGS) pyproject.toml --group dev --extra otel --output-file requirements/dev.txt
	@cp requirements/dev.txt requirements/runtime.txt # The same versions: what is in the file is kept.
	@cp requirements/dev.txt requirements/otel.txt
	@cp requirements/dev.txt requirements/build.txt
	$(COMPILE) $(ARGS) pyproject.toml --output-file requirements/runtime.txt
	$(COMPILE) $(ARGS) pyproject.toml --extra otel --output-file requirements/otel.txt
	$(COMPILE) $(ARGS) pyproject.toml --group build --output-file requirements/build.txt
	$(COMPILE) $(ARGS) $(PEERS)/requirements.in --output-file $(PEERS)/requirements.txt
	@if command -v npm >/dev/null; then for folder in $(PEERS) tests/asyncapi tests/grafana examples/nestjs; do \
		npm --prefix $$folder install --package-lock-only --ignore-scripts --silent || exit; done; fi

clean: ## Remove caches, build results and .run. Not .venv.
	@if [ -e .run/lock ] && ! flock --nonblock .run/lock true; then echo "Stop 'make run' first."; exit 1; fi
	rm -rf .run dist clients/typescript/dist examples/nestjs/dist .mypy_cache .pytest_cache .ruff_cache .hypothesis benchmarks/results
	find bridge consumers -name '*.so' -delete && rm -f *__mypyc.*.so # Which pip leaves, if it is told to compile.
	find bridge consumers clients/python devel benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +
