# Targets are the gates of CI; `make help` lists them. POSIX sh and make 3.81 are enough.

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?=
ARGS   ?=

# One process per task, one thread per process: same seed, same bytes, and no fight over cores.
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1
export MKL_NUM_THREADS = 1
export VECLIB_MAXIMUM_THREADS = 1
export NUMEXPR_NUM_THREADS = 1
# MLflow reports home unless told not to, before it is imported (tests/test_no_telemetry.py).
export MLFLOW_DISABLE_TELEMETRY = true
export DO_NOT_TRACK = true

# Without its bytecode every process of a test would compile the repository again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup forecast test deep real faults server spark lint format type imports slow fuzz bench wheel lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.installed ## create .venv from requirements.lock (uv when present, else pip); once per change of the lock

$(VENV)/.locked: requirements.lock
	@py=; want='import sys; sys.exit(sys.version_info < (3, 11))'; \
	for candidate in $(PYTHON) python3.11 python3.12 python3.13 python3 python python3.14; do \
	    if "$$candidate" -c "$$want" >/dev/null 2>&1; then py=$$candidate; break; fi; \
	done; \
	if [ -z "$$py" ]; then \
	    echo "capshift needs Python 3.11 or newer and found none: install it, or name one with 'make setup PYTHON=/path/to/python3'." >&2; \
	    exit 2; \
	fi; \
	if ! $(BIN)/python -c "$$want" >/dev/null 2>&1; then \
	    echo "setup: creating $(VENV) with $$("$$py" --version 2>&1) ($$py)"; \
	    rm -rf $(VENV); \
	    if ! "$$py" -m venv $(VENV); then \
	        rm -rf $(VENV); \
	        if command -v uv >/dev/null 2>&1; then uv venv --quiet --python "$$py" $(VENV) || exit 2; else \
	            echo "setup: this Python cannot create an environment: install its venv module (Debian: python3-venv), or uv." >&2; \
	            exit 2; \
	        fi; \
	    fi; \
	fi; \
	echo "setup: installing the versions of requirements.lock (some minutes the first time)"; \
	if command -v uv >/dev/null 2>&1 \
	    && uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock; then :; \
	else $(BIN)/python -m pip install -qq --require-hashes -r requirements.lock; fi
	@touch $@

# The lock brings the build backend too, so this step needs no index.
$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	    $(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .; \
	else uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .; fi
	@touch $@
	@echo "setup: ready ($(BIN)/capshift)"

forecast: setup ## the weekly job on the embedded sample market
	$(BIN)/capshift weekly --market sample $(ARGS)

test: setup ## fast tests; pass options in ARGS
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

deep: setup ## the expensive tests that `make test` leaves out (marker `deep`)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "deep and not slow and not real and not network and not fault and not server" $(ARGS)

real: setup ## tests on the real data in ../shared/data; they skip where there are none
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "real and not slow and not network" $(ARGS)

faults: setup ## many kills and a thousand damaged files a reader, minutes
	$(BIN)/python -m pytest -n 2 --dist load -m "fault and not network" $(ARGS)

server: setup ## an MLflow server with PostgreSQL behind it, driven over HTTP
	$(BIN)/python -m pytest -m "server and not network" $(ARGS)

# The second environment holds pyspark alone; all else it finds in the first one, which its .pth file names.
$(VENV)-spark/.installed: $(VENV)/.installed requirements-spark.lock
	@rm -rf $(VENV)-spark
	@$(BIN)/python -m venv $(VENV)-spark
	@$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > "$$($(VENV)-spark/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/capshift-libraries.pth"
	@$(VENV)-spark/bin/python -m pip install -qq --no-deps --no-build-isolation --require-hashes -r requirements-spark.lock
	@touch $@

spark: $(VENV)-spark/.installed ## tests on Spark (marker `spark`); they skip without Java
	$(VENV)-spark/bin/python -m pytest -n 0 -m spark tests/serving/test_spark.py $(ARGS)

lint: setup ## style and layout of the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## mend what `make lint` can mend itself
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

type: setup ## types, strict, on the four packages
	$(BIN)/mypy

imports: setup ## the arrows between the packages
	$(BIN)/lint-imports

slow: setup ## statistical validity, minutes
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow and not network" $(ARGS)

fuzz: setup ## thousands of made-up requests to the HTTP service
	$(BIN)/python -m pytest -m "slow or not slow" tests/serving/api/test_fuzz.py $(ARGS)

bench: setup ## times of panel build, scenario set, books, trees, walk-forward and weekly run
	$(BIN)/python tests/bench/run.py $(ARGS)

wheel: setup ## dist/capshift-*.whl
	@rm -rf build dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist . >/dev/null
	@rm -rf build
	@ls dist

# One version of each library for every Python and platform where wheels allow it; ARGS=--upgrade moves the pins.
lock: ## write requirements.lock and requirements-spark.lock anew from pyproject.toml
	@uv=$$(command -v uv || echo .uv/bin/uv); \
	if ! [ -x "$$uv" ]; then \
	    $(BIN)/python -m venv .uv && .uv/bin/python -m pip install -qq uv || exit 2; \
	fi; \
	UV_CUSTOM_COMPILE_COMMAND="make lock" "$$uv" pip compile pyproject.toml --extra dev --extra postgres --universal \
	    --python-version 3.11 --fork-strategy fewest --generate-hashes --quiet \
	    --output-file requirements.lock $(ARGS) && \
	echo 'pyspark>=4.0' | UV_CUSTOM_COMPILE_COMMAND="make lock" "$$uv" pip compile - \
	    -c requirements.lock --universal --python-version 3.11 --generate-hashes --quiet \
	    --output-file requirements-spark.lock $(ARGS)
	@if grep -nE '://|^-|file:' requirements.lock requirements-spark.lock; then \
	    echo "lock: the lines above name an address; take them out" >&2; exit 2; \
	fi

clean: ## caches and builds; .venv and artifacts/ stay
	rm -rf build dist *.egg-info .uv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find features models training serving tests -name __pycache__ -type d -prune -exec rm -rf {} +
