# Every target sets up what it needs in .venv; a second call is quick.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE := $(wildcard native/* native/*/*)

.PHONY: demo test bench docs notebooks test-gpu bench-gpu lint format sanitize clean

demo: $(VENV)/.demo
	$(BIN)/ctckit demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest

bench: $(VENV)/.bench
	$(BIN)/python bench/loss.py
	$(BIN)/python bench/align.py
	$(BIN)/python bench/texts.py
	$(BIN)/python bench/monitor.py
	$(BIN)/python bench/pictures.py

# With a GPU; both need a torch for it, and triton, which comes with that.
test-gpu: $(VENV)/.dev
	$(BIN)/python -m pytest -k triton tests

bench-gpu: $(VENV)/.dev
	$(BIN)/python bench/gpu.py

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

notebooks: $(VENV)/.dev
	$(BIN)/python examples/run.py

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror native/*.h native/*.cpp native/*/*.h

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i native/*.h native/*.cpp native/*/*.h

sanitize: $(VENV)/.dev
	$(BIN)/python tests/sanitize.py

clean:
	rm -rf $(VENV) build dist site demo-report .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# One environment; the developers' tools hold all that the demo needs, and the benchmarks' peers come on top.
$(VENV)/.demo $(VENV)/.dev $(VENV)/.bench: $(VENV)/.%: pyproject.toml CMakeLists.txt constraints.txt $(NATIVE) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$*]'
	touch $@
