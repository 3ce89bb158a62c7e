# The two commands of the README. Both make their own virtual environment from the lock files.

CONFIG ?= config.yaml
VENV := .venv
PYTEST_ARGS ?=
WORKERS ?= 3
MINUTES ?= 10
SEED ?=
ENGINE ?= docker
ROWS ?=
BENCH_ARGS ?=
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

.PHONY: run test lint soak bench image tools lock clean

run: $(VENV)/.run
	exec $(VENV)/bin/mirror serve --config $(CONFIG)

test: tools lint
	$(VENV)/bin/pytest --numprocesses $(WORKERS) --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/hadolint Dockerfile
	$(VENV)/bin/shellcheck .ci/run scripts/*

# Random traffic under random trouble for as long as you like: make soak MINUTES=10 SEED=7
soak: $(VENV)/.dev
	$(VENV)/bin/python -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# The mirror against its peers (docs/performance.md): make bench ROWS="warm-manifest cold-fill" BENCH_ARGS=--quick
bench: $(VENV)/.dev
	scripts/install-benchmark-tools .bench/peers
	$(VENV)/bin/python -m benchmarks --json .bench/results.json $(BENCH_ARGS) $(ROWS)

# The container image, mirror:VERSION. Another engine: make image ENGINE=podman
image:
	$(ENGINE) build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(shell git rev-parse HEAD) --tag mirror:$(VERSION) .

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
	rm -rf $(VENV) .bench
