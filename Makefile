# make compare   check every port against the specification, time those that agree, print the table
# make test      all tests; those of a language that is not here are skipped, with the reason; with PORTBENCH_LONG=1
#                also some that take minutes; those that need the processors for themselves come last; one cache
#                serves them all, and no other is touched
# make benchmarks   each port on each case in pytest-benchmark
#
# All need only Python 3.11 or later, and make their own environment in .venv (with uv, where it is there).
# COMPARE_FLAGS, TEST_FLAGS and BENCHMARK_FLAGS are handed on: make compare COMPARE_FLAGS="--threads 1,2".

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: compare test benchmarks clean

compare: $(VENV)/ports
	@$(BIN)/portbench compare $(COMPARE_FLAGS)

test: $(VENV)/tests
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy -p portbench
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	export PORTBENCH_CACHE="$${PORTBENCH_CACHE:-$$folder}"; \
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not alone" $(TEST_FLAGS) || test $$? = 5; \
	$(BIN)/python -m pytest -m alone $(TEST_FLAGS) || test $$? = 5

benchmarks: $(VENV)/tests
	@$(BIN)/python -m pytest tests/benchmarks $(BENCHMARK_FLAGS)

clean:
	rm -rf $(VENV)

$(VENV)/ports: pyproject.toml constraints.txt
	@$(PYTHON) tools/environment.py $(VENV) ".[ports]"
	@touch $@

$(VENV)/tests: $(VENV)/ports
	@$(PYTHON) tools/environment.py $(VENV) ".[ports,dev]"
	@touch $@
