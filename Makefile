# Two commands for a fresh machine: `make demo` and `make test`. Needs python3 (3.11 or newer) with
# venv, git and make; everything else goes into .venv, nothing into the system.
.PHONY: help demo test quick fuzz bench lint format-check ruff mypy imports proto proto-code proto-check install-check coverage install clean
PYTHON ?= python3
# More for pytest, or for the benchmark: make test ARGS="-k store"
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed-run
STAMP := $(VENV)/.installed
OUT := .build/proto
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
NEED := Emodis needs Python 3.11 or newer with venv (on Debian: apt install python3-venv); \
 another one is named so: make PYTHON=python3.12

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo '$(NEED)' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): setup.cfg pyproject.toml | $(BIN)/python
	@echo 'Installing Emodis into $(VENV) ...'
	@$(PIP) -e .
	@touch $@

$(STAMP): setup.cfg pyproject.toml | $(BIN)/python
	@echo 'Installing Emodis and its development tools into $(VENV) ...'
	@$(PIP) -e '.[dev]'
	@touch $(RUN_STAMP) $@

install: $(STAMP)  ## the virtual environment with everything in it

demo: $(RUN_STAMP)  ## the main job: bottlenecks found by real packets in a virtual Internet
	@$(BIN)/emodis-lab demo

test: $(STAMP)  ## the whole suite, lab tests included
	@$(BIN)/python -m pytest -m "" -rsR -n 3 $(ARGS)

quick: $(STAMP)  ## what needs neither root nor namespaces nor patience
	@$(BIN)/python -m pytest -q $(ARGS)

fuzz: $(STAMP)  ## minutes of random input for the tests that draw theirs
	@$(BIN)/python -m pytest -q --hypothesis-profile=fuzz $(ARGS) tests/model tests/unit

# Broken off by ^C, it goes on where it was; `rm -r .build` begins anew.
bench: $(STAMP)  ## accuracy against the truth, on the paths that figures are reported of; hours
	@mkdir -p .build
	@$(BIN)/emodis-lab bench accuracy --seeds reported --paths 500 --others 60 --flat 100 \
	  --destinations 20 --jobs 2 --json .build/accuracy.json --resume $(ARGS)
	@$(BIN)/emodis-lab bench accuracy --tech pathneck --access unprivileged --seeds reported --paths 500 \
	  --others 0 --flat 100 --destinations 0 --jobs 2 --json .build/unprivileged.json --resume $(ARGS)
	@$(BIN)/emodis-lab bench timing --json .build/timing.json
	@$(BIN)/emodis-lab bench report .build/accuracy.json .build/unprivileged.json .build/timing.json \
	  --into docs/accuracy.md
	@EMODIS_FULL=1 $(BIN)/python -m pytest -m full -o faulthandler_timeout=0 -ra -n 2 -k "not igi" tests/lab
	@EMODIS_FULL=1 $(BIN)/python -m pytest -m full -o faulthandler_timeout=0 -ra -k igi tests/lab

lint: format-check ruff mypy imports  ## ruff, mypy --strict and the import rules; with -k, all of them

format-check: $(STAMP)
	@$(BIN)/ruff format --check --quiet . \
	  || { echo 'Some files are not formatted; this formats them: $(BIN)/ruff format' >&2; exit 1; }

ruff: $(STAMP)
	@$(BIN)/ruff check --quiet .

mypy: $(STAMP)
	@$(BIN)/mypy

imports: $(STAMP)
	@$(BIN)/lint-imports

# $(BIN) has the plugin that writes the types; protoc writes `emodis.v1`, our package is wire.v1.
proto-code: $(STAMP)
	@rm -rf $(OUT) && mkdir -p $(OUT)
	@$(BIN)/python -m grpc_tools.protoc --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy -I proto \
	  --python_out=$(OUT) --mypy_out=quiet:$(OUT) proto/emodis/v1/*.proto
	@sed -i -E 's/^from emodis\.v1 import/from emodis.wire.v1 import/; s/\bemodis\.v1\.([a-z_]+_pb2)/emodis.wire.v1.\1/g' \
	  $(OUT)/emodis/v1/*_pb2.py $(OUT)/emodis/v1/*_pb2.pyi

proto: proto-code  ## regenerate emodis/wire/v1 from proto/
	@cp $(OUT)/emodis/v1/*_pb2.py $(OUT)/emodis/v1/*_pb2.pyi emodis/wire/v1/

proto-check: proto-code  ## is emodis/wire/v1 what proto/ makes?
	@.ci/same-generated-code emodis/wire/v1 $(OUT)/emodis/v1

install-check: $(STAMP)  ## `pip install .` in a clean environment gives commands that work
	@.ci/clean-install $(BIN)/python

coverage: $(STAMP)  ## which branches the unit and model tests leave out
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q $(ARGS) tests/unit tests/model
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --skip-covered --skip-empty

clean:  ## remove what was built
	rm -rf $(VENV) .build build dist *.egg-info
