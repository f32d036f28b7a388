# Everything a developer runs. `make` alone lists it.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PACKAGES := gemma4_mlx gemma4_cli gemma4_convert

.DEFAULT_GOAL := help
.PHONY: help setup test test-fast lint types wheel notebooks docs parity bench goldens pictures demo clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make .venv with everything for tests and development
	@rm -f $(BIN)/.installed-*
	@$(MAKE) --no-print-directory $(BIN)/.installed-test $(BIN)/.installed-dev

test: $(BIN)/.installed-test ## Run all tests, two files at a time (sets up .venv when it is missing)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

test-fast: $(BIN)/.installed-test ## Run the tests without the slow ones
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

lint: $(BIN)/.installed-dev ## Check style with ruff
	$(BIN)/ruff check .

types: $(BIN)/.installed-dev ## Check types with mypy, on the packages as they are installed
	@rm -rf build && mkdir -p build/types
	$(BIN)/pip install -q --no-deps --target build/types .
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml \
	    --python-executable ../../$(BIN)/python $(PACKAGES:%=-p %)

wheel: $(BIN)/.installed-dev ## Build the wheel into dist/
	@rm -rf dist build && mkdir build
	$(BIN)/python -m build --wheel --outdir dist . > build/wheel.log 2>&1 \
	    || { cat build/wheel.log; exit 1; }
	@ls -l dist

notebooks: $(BIN)/.installed-test $(BIN)/.installed-notebooks ## Run all notebooks from a cold start
	cd notebooks && ../$(BIN)/python -m pytest -c ../pyproject.toml --rootdir .. --nbmake \
	    --nbmake-timeout 300 -n 2 $(ARGS) *.ipynb

docs: $(BIN)/.installed-test ## Write the pages that a program writes (docs/, ARCHITECTURE.md, tables of README)
	$(BIN)/python -m tests.docs

parity: $(BIN)/.installed-test ## Compare with transformers and write the figures into README.md
	$(BIN)/python -m tests.parity --write README.md

bench: $(BIN)/.installed-test ## Measure speed beside mlx-lm and mlx-vlm (tables: BENCHMARKS.md)
	$(BIN)/python -m tests.bench $(ARGS)

goldens: $(BIN)/.installed-test ## Make the reference outputs of the fast tests again (needs torch)
	$(BIN)/python -m tests.goldens.generate

pictures: $(BIN)/.installed-test ## Draw README's picture of the chat again
	$(BIN)/python -m tests.cli.chat.screenshot

demo: $(BIN)/.installed-test ## Transcribe the bundled recording with the demo model
	$(BIN)/gemma4 transcribe --model demo notebooks/demo_model/digits.wav

.PRECIOUS: $(BIN)/.installed-%

clean: ## Remove what was built (not .venv)
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

# An editable install: the commands and tests always run this checkout.
$(BIN)/.installed-%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -e '.[$*]'
	@touch $@
