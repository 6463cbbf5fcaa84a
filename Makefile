# Every target sets up what it needs in .venv; a second call is quick.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE := $(shell find native -name '*.h' -o -name '*.cpp')
# A worker per CPU, at most eight: each holds the package, torch and its own copy of the inputs.
PARALLEL := -n logical --maxprocesses 8 --dist worksteal

.PHONY: demo demo-speech test test-long test-ray wheel bench docs notebooks test-gpu bench-gpu gpu-report gpu-counts lint format sanitize clean

demo: $(VENV)/.demo
	$(BIN)/ctckit demo

# Six recordings and some drawn lines, on a page that plays each word.
demo-speech: $(VENV)/.demo-speech $(VENV)/.pp-ocr
	$(BIN)/ctckit demo-speech

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(PARALLEL)

# What make test leaves out because it takes long, and what needs a package that only the benchmarks need. Triton's kernels
# are tested by themselves, with most of the cases that make test leaves out in Triton's interpreter.
test-long: $(VENV)/.peers
	$(BIN)/python -m pytest -m long -k "not triton" --timeout 3600 tests
	CTCKIT_INTERPRETED=most $(BIN)/python -m pytest $(PARALLEL) -m "" -k triton --timeout 3600 tests

# A corpus on Ray Data. Ray weighs 600 MB, so no other target installs it.
test-ray: $(VENV)/.ray
	$(BIN)/python -m pytest -m "" tests/frameworks/test_ray.py tests/frameworks/test_align_corpus.py

bench: $(VENV)/.peers
	$(BIN)/python bench/loss.py
	$(BIN)/python bench/jax_loss.py
	$(BIN)/python bench/lattices.py
	$(BIN)/python bench/variants.py
	$(BIN)/python bench/align.py
	$(BIN)/python bench/texts.py
	$(BIN)/python bench/monitor.py
	$(BIN)/python bench/training_steps.py
	$(BIN)/python bench/pictures.py
	$(BIN)/python bench/language.py
	$(BIN)/python bench/decode.py
	$(BIN)/python bench/decode_ways.py
	$(BIN)/python bench/recogniser.py

# What would be published: the source archive and this machine's wheel, built, checked, and tried in an empty environment.
wheel: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --requirement release/tools.txt
	$(BIN)/python release/check.py
	CTCKIT_INSTALL=$$(ls $(CURDIR)/dist/*.whl) $(BIN)/python -m pytest -m long tests/project/test_plain_install.py

# These need a GPU and a torch built for it, which brings triton along.
test-gpu: $(VENV)/.dev
	$(BIN)/python -m pytest -m "" -k "triton or gpu or cuda" tests

bench-gpu: $(VENV)/.dev
	$(BIN)/python bench/gpu.py

# Everything that a GPU is needed for. Uses .venv where make has set it up, and PYTHON as it is elsewhere: a machine with a
# GPU may have no network, but a Python with torch. DRY=1 runs all stages without a GPU.
gpu-report: $(wildcard $(VENV)/.dev)
	$(if $(wildcard $(VENV)/.dev),$(BIN)/python,$(PYTHON)) bench/gpu_report.py $(if $(DRY),--dry)

gpu-counts: $(VENV)/.dev
	$(BIN)/python bench/gpu_counts.py

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

notebooks: $(VENV)/.dev
	$(BIN)/python examples/run.py

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $(NATIVE)

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i $(NATIVE)

sanitize: $(VENV)/.dev
	$(BIN)/python tests/sanitize.py

clean:
	rm -rf $(VENV) build dist site demo-report demo-speech .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# One environment; the developers' tools hold all that the demo needs, and the benchmarks' peers come on top. Python compiles
# modules when they are first imported, which most of the packages' never are.
$(VENV)/.demo $(VENV)/.demo-speech $(VENV)/.dev $(VENV)/.bench $(VENV)/.ray: $(VENV)/.%: pyproject.toml CMakeLists.txt constraints.txt $(NATIVE) | $(BIN)/python
	@echo "Once: installing what \"make $(or $(MAKECMDGOALS),demo)\" needs into $(VENV). $(if $(filter demo-speech,$*),Packages are,PyTorch is) downloaded, and"
	@echo "ctckit's C++ is compiled, which takes a minute or two."
	$(BIN)/python -m pip install --no-compile $(if $(filter demo%,$*),,--quiet) --constraint constraints.txt --editable '.[$*]'
	touch $@

# Without its dependencies: only one file of it is used. It does not allow Python 3.13 and later; there, lines are left out.
$(VENV)/.pp-ocr: | $(VENV)/.demo-speech
	$(BIN)/python -m pip install --quiet --no-deps rapidocr-onnxruntime==1.4.4 && touch $@ || \
	echo "left out: lines of print, since rapidocr-onnxruntime can't be had here"

# Each by itself, since some have no wheel for some Pythons. Without their dependencies: pyctcdecode requires an old NumPy
# but works with any, and of rapidocr-onnxruntime only one file is used, which does not need the package's OpenCV.
$(VENV)/.peers: bench/peers.txt $(VENV)/.bench
	while read -r peer; do $(BIN)/python -m pip install --quiet --no-deps "$$peer" || echo "left out: $$peer"; done < $<
	touch $@
