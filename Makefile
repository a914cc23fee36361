# Each target first makes its own environment in .venv: Python 3.11 or later and make are all it needs.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.stamp-base
DEV := $(VENV)/.stamp-dev

export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test slow check api lock format wheel clean

help:
	@echo "make demo    infer an agent's goal from its actions and words"
	@echo "make test    run the tests (make slow: the long ones)"
	@echo "make check   lint, types, import rules, wheel contents"
	@echo "make api     write docs/api anew; make lock: write constraints.txt anew"
	@echo "make format  sort imports, apply the linter's safe fixes, format"
	@echo "make wheel   build the wheel and the source distribution into dist/"
	@echo "make clean   remove the environment and what was built"

demo: $(BASE)
	$(BIN)/python examples/goal_inference.py --all

test: $(DEV)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not slow"

slow: $(DEV)
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m slow

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --project pyproject.toml
	$(BIN)/lint-imports
	$(BIN)/python .ci/wheel_files.py
	$(BIN)/python .ci/api_pages.py --check

api: $(DEV)
	$(BIN)/python .ci/api_pages.py

lock:
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	env -u PIP_CONSTRAINT build/lock/bin/python -m pip install --quiet --editable '.[dev]'
	(echo "# Exactly what CI tests, on Python 3.11. make lock writes it anew; pyproject.toml holds the bounds." && \
	  build/lock/bin/python -m pip freeze --exclude-editable) > constraints.txt
	rm -rf build/lock

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(DEV)
	$(BIN)/python -m build --outdir dist .

clean:
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# The stamps are younger than what they were made from, or the environment is brought up to date.
$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lmppl needs Python 3.11 or later; make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(BASE): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(BASE) $@
