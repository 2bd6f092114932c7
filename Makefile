# The handful of verbs that a contributor needs. `make` alone prints them.

BIN := .venv/bin
READY := .venv/.ready

# Some machines ask Python not to keep what it compiles; each of a thousand processes of the tests would compile it all anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test check chaos lock bench clean

help:  ## print these verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## make .venv with every dependency as locked, and Limner itself, editable

$(READY): requirements.lock pyproject.toml tools/setup.sh
	tools/setup.sh .venv
	@touch $@

demo: $(READY)  ## set up, then run the catalogue end to end on pictures that it makes
	$(BIN)/limner demo catalogue

test: $(READY)  ## run every test but storms of minutes (`pytest -m chaos`), with the services that they ask for
	$(BIN)/python -m tools.services $(BIN)/python -m tools.all_tests

check: $(READY)  ## formatting, lint, types, layers and docs
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tools.check_rooms
	$(BIN)/python -m tools.check_docs

chaos: $(READY)  ## storms over every combination of store, bus and artifacts; writes docs/chaos.md
	$(BIN)/python -m tools.services $(BIN)/python -m tests.cluster.table

UV := $(firstword $(wildcard $(BIN)/uv) uv)
PIN := pip compile pyproject.toml --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --quiet

lock:  ## pin every dependency again, hashed, naming no index
	$(UV) $(PIN) --all-extras --group dev --no-emit-package ray -o requirements.lock
	$(UV) $(PIN) --extra ray --constraints requirements.lock -o deploy/ray/requirements.txt

bench: $(READY)  ## measure Limner beside its peers; writes bench/RESULTS.md
	$(BIN)/python bench/run.py

clean:  ## remove what these verbs made; collections under .limner stay
	rm -rf .venv dist build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
