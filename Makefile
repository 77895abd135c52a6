# Two commands for a fresh machine: `make demo` and `make test`. Needs python3 with venv, git and make.
.PHONY: demo test check proto install lint clean
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT := .build/proto

$(STAMP): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

install: $(STAMP)  ## the virtual environment with everything in it

demo: $(STAMP)  ## the main job: a bottleneck found by real packets in a virtual Internet
	$(BIN)/emodis-lab demo

test: $(STAMP)  ## the whole suite, lab tests included
	$(BIN)/python -m pytest -m ""

lint: $(STAMP)  ## ruff, mypy and the import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

proto: $(STAMP)  ## regenerate emodis/wire/v1 from proto/
	rm -rf $(OUT) && mkdir -p $(OUT)
	$(BIN)/python -m grpc_tools.protoc --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy -I proto --python_out=$(OUT) --mypy_out=$(OUT) proto/emodis/v1/*.proto
	sed -i -E 's/^from emodis\.v1 import/from emodis.wire.v1 import/; s/\bemodis\.v1\.([a-z_]+_pb2)/emodis.wire.v1.\1/g' $(OUT)/emodis/v1/*_pb2.py $(OUT)/emodis/v1/*_pb2.pyi
	cp $(OUT)/emodis/v1/*_pb2.py $(OUT)/emodis/v1/*_pb2.pyi emodis/wire/v1/

check: lint test  ## what CI runs

clean:
	rm -rf $(VENV) .build build dist *.egg-info
