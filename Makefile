# make demo     serve the app on 127.0.0.1:7860
# make test     linter, unit and client tests, browser tests
# make pythons  the unit tests under each of PYTHONS: by default the Python 3.10 and 3.12 found here (ZeroGPU has these)
# make format   let ruff format the code
#
# Each makes .venv first, and pythons one for each. PYTHON picks the interpreter (3.10 or newer), TORCH another build of torch, for example
#   make demo TORCH="torch==2.11.0 --index-url https://download.pytorch.org/whl/cu128"

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
# Two processes: on the small tensors of the toys two threads mostly wait for each other, and a page mostly waits.
TWICE = $(BIN)/python -m pytest -q -n 2 --dist loadfile
UNITS = OMP_NUM_THREADS=1 $(TWICE) -m "not browser and not slow"
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet
TORCH ?=
# The index of CPU builds, where it can be reached: pip would try it again for every package.
CPU_INDEX = $(shell $(BIN)/python -c "import socket; socket.create_connection(('download.pytorch.org', 443), 5)" \
	2>/dev/null && echo --extra-index-url https://download.pytorch.org/whl/cpu)
found = $(firstword $(wildcard $(HOME)/.pyenv/versions/$(1).*/bin/python) $(shell command -v python$(1)))
PYTHONS ?= $(foreach version,3.10 3.12,$(call found,$(version)))

.PHONY: demo test units pythons format browser clean

demo: $(VENV)/.app
	$(BIN)/python app.py

test: $(VENV)/.dev browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(UNITS)
	$(TWICE) -m "browser and not slow"

units: $(VENV)/.dev
	$(UNITS) --ignore tests/client

pythons:
	@[ -n "$(strip $(PYTHONS))" ] || \
		{ echo "found no Python 3.10 or 3.12: make pythons PYTHONS=/path/to/python" >&2; exit 1; }
	@for python in $(PYTHONS); do \
		version=$$($$python -c "import platform; print(platform.python_version())") && \
		$(MAKE) --no-print-directory units PYTHON=$$python VENV=$(VENV)-$$version || exit 1; \
	done

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV)-*

# Debian's python3 comes without ensurepip: python3-venv brings it.
$(BIN)/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" || \
		{ echo "linsem needs Python 3.10 or newer: make demo PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c "import ensurepip" 2>/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
			apt-get install -y -qq python3-venv; } || \
		{ echo "Python's venv module is missing: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch goes first: a machine without an NVIDIA GPU takes the CPU build where one can be had, and no CUDA libraries.
$(VENV)/.torch: | $(BIN)/python
	@if [ -n "$(TORCH)" ]; then echo "installing $(TORCH)"; $(PIP) $(TORCH); \
	elif command -v nvidia-smi >/dev/null 2>&1; then echo "installing torch"; $(PIP) torch==2.13.0; \
	else echo "installing torch (CPU)"; $(PIP) torch==2.13.0+cpu 2>/dev/null || $(PIP) torch==2.13.0 $(CPU_INDEX); fi
	@touch $@

$(VENV)/.app: requirements.txt | $(VENV)/.torch
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt | $(VENV)/.torch
	$(PIP) -r requirements-dev.txt
	@touch $@ $(VENV)/.app

# The browser tests take the system's Chromium, else Playwright's own.
browser: $(VENV)/.dev
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq chromium; } || \
		$(BIN)/playwright install chromium
