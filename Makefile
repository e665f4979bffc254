# `make demo` shows what Textmill does; `make test` says whether it is sound. Python >= 3.11 and make are enough.
PYTHON ?= python3
BIN = .venv/bin
WORK ?= work

# What says in a minute whether the core is sound: the rooms below the stages, and the plan of the house.
CORE = tests/test_architecture.py tests/test_suite.py $(wildcard $(addprefix tests/,\
    base specs tokenization text metrics index data nn models objectives training decoding))
PARALLEL = $(BIN)/python -m pytest -n 2 --dist worksteal
FAST = not slow and not figures

.PHONY: demo test core offline slow figures slowest lint clean

demo: .venv/.core
	$(BIN)/textmill quickstart --work $(WORK)

test: .venv/.all
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/pyrefly check --python-interpreter-path $(BIN)/python
	$(PARALLEL) -m "$(FAST)"

core: .venv/.all
	$(PARALLEL) -m "$(FAST) and not long" $(CORE)

# The fast suite where there is no network but loopback.
offline: .venv/.all
	unshare --map-root-user --net $(BIN)/python tests/helpers/offline.py $(PARALLEL) -m "$(FAST)"

# The slowest 20 tests of the last run, and the seconds of each room.
slowest:
	$(BIN)/python tests/helpers/suite.py

slow: .venv/.all
	$(BIN)/python -m pytest -m "slow and not figures"

# Tests of speed and memory want a quiet machine, so they run alone.
figures: .venv/.all
	$(BIN)/python -m pytest -m figures

lint: .venv/.all
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks
	$(BIN)/pyrefly check --python-interpreter-path $(BIN)/python

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.core: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/.all: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	touch $@ .venv/.core

clean:
	rm -rf .venv .pytest_cache .hypothesis .ruff_cache
