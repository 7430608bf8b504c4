# Every target makes .venv by itself; all it needs is Python 3.11 or newer with pip.

PYTHON ?= python3
OUT ?= out/demo
BIN := .venv/bin
INSTALLED := .venv/.installed

CACHE ?= $(or $(FEDSPALLM_CACHE),$(HOME)/.cache/fedspallm-secure)
BASE ?= $(firstword $(wildcard $(CACHE)/models/*))
AUDITOR := .venv-auditor

.PHONY: demo audit attacks test lint bench docs clean

demo: $(INSTALLED)
	$(BIN)/fedspallm demo --out $(OUT)

# As an auditor would: an environment of its own, with the base install alone.
audit: $(AUDITOR)/.installed
	$(AUDITOR)/bin/fedspallm audit $(OUT)/transcript --base $(BASE) --model $(OUT)/model --depth full

# The adversaries of the threat model, on plain FedSpaLLM and here.
attacks: $(INSTALLED)
	$(BIN)/python -m threat_model

test: $(INSTALLED)
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.uplink --clients 8 --sparsity 0.5 --json
	$(BIN)/python -m benchmarks.secagg --clients 8 --params 10000000 --sparsity 0.5 --json
	$(BIN)/python -m benchmarks.secagg_scale --clients 64 --clients 1000 --rate 5 --json

docs: $(INSTALLED)
	$(BIN)/typer fedspallm_secure.cli.app utils docs --name fedspallm --title "Commands" --output docs/commands.md
	$(BIN)/python -m protocol.generate
	$(BIN)/python -m protocol.vectors.generate

clean:
	rm -rf .venv $(AUDITOR) out .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[run,dev,bench,ckks,dp]'
	$(BIN)/python -m pip check
	touch $@

$(AUDITOR)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(AUDITOR)
	$(AUDITOR)/bin/python -m pip install --quiet --constraint constraints.txt --upgrade pip
	$(AUDITOR)/bin/python -m pip install --quiet --constraint constraints.txt --editable .
	$(AUDITOR)/bin/python -m pip check
	touch $@
