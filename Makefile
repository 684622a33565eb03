# `make demo` and `make test` set up all they need by themselves; `make help` lists the rest.
#
# Variables, on the command line or in the environment:
#   PYTHON    the Python (3.11 or newer) to make the virtual environment with
#   PIP_ARGS  further arguments for pip: an index of your own, a CUDA build of torch
#   VENV      where the virtual environment lies
#   DATA      a data folder for `make demo` instead of the one in examples/
#   WORKERS   how many processes run the tests
#   TEST_ARGS further arguments for pytest

PYTHON ?= python3
PIP_ARGS ?=
VENV ?= .venv
DATA ?=
WORKERS ?= 2
TEST_ARGS ?=

BIN := $(VENV)/bin
CHECKED := src tests benchmarks recipes
# A stamp a set of extras; made again when what it was made from changes.
INSTALLED_DEMO := $(VENV)/.installed-default,knowledge
INSTALLED_DEV := $(VENV)/.installed-dev

# Nothing is downloaded once everything is installed. Threads that wait must not keep the cores busy.
export HF_HUB_OFFLINE = 1
export TOKENIZERS_PARALLELISM = false
export OMP_WAIT_POLICY = passive
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test test-slow lint format bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       entities in posts with pictures; then train on a small set, score it, and show it"
	@echo "                (DATA=folder makes it use a data set of yours)"
	@echo "make test       style, types, tests, and the built wheel"
	@echo "make test-slow  the tests that take minutes"
	@echo "make lint       style and types alone"
	@echo "make format     write the code in the project's style"
	@echo "make bench      speed, side by side with peers"
	@echo "make clean      remove the virtual environment, builds and caches; runs/ stays"

demo: $(INSTALLED_DEMO)
	@$(BIN)/mner demo $(if $(DATA),--data "$(DATA)")

# Tests share the cores as processes; threads inside them would only fight over the same cores. Files keep their order:
# those with the fewest tests, which train the longest, would otherwise come last, one after the other on a single core.
test test-slow: export OMP_NUM_THREADS = 1

test: lint
	@echo "== Tests, $(WORKERS) at a time (the last of them build the wheel and try it)"
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TEST_ARGS)
	@echo "== All is well."

test-slow: $(INSTALLED_DEV)
	@echo "== Slow tests"
	@$(BIN)/python -m pytest -m slow $(TEST_ARGS)

lint: $(INSTALLED_DEV)
	@echo "== Style"
	@$(BIN)/ruff check $(CHECKED)
	@$(BIN)/ruff format --check $(CHECKED)
	@echo "== Types"
	@$(BIN)/mypy

format: $(INSTALLED_DEV)
	@$(BIN)/ruff check --fix $(CHECKED)
	@$(BIN)/ruff format $(CHECKED)

bench: $(INSTALLED_DEV)
	@for benchmark in benchmarks/[!_]*.py; do \
		echo "== $$benchmark"; $(BIN)/python "$$benchmark" || exit 1; \
	done

clean:
	@if [ -f "$(VENV)/pyvenv.cfg" ]; then echo "== Removing $(VENV)"; rm -rf "$(VENV)"; fi
	@rm -rf build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.created:
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "error: there is no '$(PYTHON)' here. mner needs Python 3.11 or newer."; \
		echo "Install it, or name one that is there: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; } >&2
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: mner needs Python 3.11 or newer; '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1)."; \
		echo "Name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; } >&2
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "error: '$(PYTHON)' cannot make virtual environments: its modules venv and ensurepip are missing."; \
		echo "On Debian and Ubuntu: apt-get install python3-venv"; exit 1; } >&2
	@echo "== Making a virtual environment in $(VENV) with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv "$(VENV)"
	@touch $@

# torch first: it is by far the largest, and its pinned version decides which build comes. Python compiles what is
# imported when it is imported; pip would compile all of it, most of which never is.
$(VENV)/.installed-%: pyproject.toml constraints.txt $(VENV)/.created
	@echo "== Installing torch (some hundred megabytes the first time; PIP_ARGS='$(PIP_ARGS)')"
	@$(BIN)/python -m pip install --no-compile $(PIP_ARGS) -c constraints.txt torch
	@echo "== Installing mner with what '$*' needs"
	@$(BIN)/python -m pip install --no-compile $(PIP_ARGS) -c constraints.txt -e '.[$*]'
	@touch $@
