# The two commands of the README. Both make their own virtual environment from the lock files.

CONFIG ?= config.yaml
VENV := .venv
PYTEST_ARGS ?=
MINUTES ?= 10
SEED ?=

.PHONY: run test lint soak tools lock clean

run: $(VENV)/.run
	exec $(VENV)/bin/mirror serve --config $(CONFIG)

test: tools lint
	$(VENV)/bin/pytest $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# Random traffic under random trouble for as long as you like: make soak MINUTES=10 SEED=7
soak: $(VENV)/.dev
	$(VENV)/bin/python -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# The registries, engines and clients that the end-to-end tests use, from Debian's packages.
tools:
	scripts/install-test-tools

$(VENV)/.run: requirements/run.txt requirements/build.txt pyproject.toml
	scripts/make-venv $(VENV) requirements/run.txt requirements/build.txt
	touch $@

$(VENV)/.dev: requirements/dev.txt requirements/build.txt pyproject.toml
	scripts/make-venv $(VENV) requirements/dev.txt requirements/build.txt
	touch $@ $(VENV)/.run

# After a change to the dependencies in pyproject.toml; needs uv.
lock:
	scripts/lock

clean:
	rm -rf $(VENV)
