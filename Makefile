# `make demo` shows what Textmill does; `make test` says whether it is sound. Python >= 3.11 and make are enough.
PYTHON ?= python3
BIN = .venv/bin
WORK ?= work

.PHONY: demo test slow figures lint clean

demo: .venv/.core
	$(BIN)/textmill quickstart --work $(WORK)

test: .venv/.all
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/pyrefly check --python-interpreter-path $(BIN)/python
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not figures"

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
