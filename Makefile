.DEFAULT_GOAL := help
SHELL := bash

help: ## Show what there is
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## From a fresh machine to two running jobs
	@bin/penstock demo

up: ## The local stack without the examples
	@bin/penstock up

down: ## Stop the local stack; data is kept
	@bin/penstock down

status: ## What of the local stack is up
	@bin/penstock status

test: ## All tests, with lint and type checks
	@tests/run

check: ## Lint, types, and all tests that need no JVM and no network, with their coverage
	@tests/run check

lint: ## Format, lint, types, import rules
	@tests/run lint

faults: ## Kill, freeze and cut off every part, at every step and at random; about an hour
	@PYTHONPATH=. "$$(bin/environment test)" -m tests.faults $(ARGS)

simulate: ## Search with the simulation; ARGS="--seconds 3600 --seed 7", "--replay SEED", "--mutations"
	@PYTHONPATH=. "$$(bin/environment test)" -m tests.simulation $(ARGS)

docs: ## Draw the rooms in docs/architecture.md anew
	@PYTHONPATH=. "$$(bin/environment test)" -m tests.drawing

bench: ## Measure, and write docs/benchmarks.md
	@PYTHONPATH=. "$$(bin/environment test)" -m benchmarks

# The versions that are locked stay while they fit. UV_CUSTOM_COMPILE_COMMAND is what the files name as their maker.
compile = UV_CUSTOM_COMPILE_COMMAND="make lock" "$$(bin/environment test)" -m uv pip compile --quiet --universal \
  --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links $(ARGS)

lock: ## Write the locks anew from pyproject.toml; ARGS="--upgrade", "--upgrade-package NAME"
	@$(compile) pyproject.toml -o requirements.lock >/dev/null
	@$(compile) pyproject.toml --extra test -c requirements.lock -o requirements-test.lock >/dev/null
	@$(compile) --group build -c requirements-test.lock -o requirements-build.lock >/dev/null

.PHONY: help demo up down status test check lint faults simulate docs bench lock
