# Everything the README promises. Each target sets up what it needs in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CUDA   := .venv-cuda
# Many tests wait for processes that they have started: two more than there are cores keep these busy.
PROCESSES ?= $(shell $(BIN)/python -c "import os; print((os.cpu_count() or 1) + 2)")
export PYTHONUNBUFFERED := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests and benchmarks start hundreds of processes: where Python keeps no bytecode, each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test images-test audit lint format bench soak clean

run: $(VENV)/.installed
	$(BIN)/flux-bot run

test: $(VENV)/.installed-dev
	$(BIN)/pytest -n $(PROCESSES) --dist worksteal

# The commands of the Dockerfile in a clean environment, and what a worker with a card has beside: a minute or two, so it
# is no part of `test`.
images-test: $(CUDA)/.installed
	$(CUDA)/bin/python -m pytest -m images

# Known vulnerabilities in what constraints.txt pins. It needs the network, and says so where there is none.
audit: $(VENV)/.installed-dev
	$(BIN)/python .ci/audit.py constraints.txt

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev
	$(BIN)/python -m tests.bench

# Everything is killed at random moments, for a quarter of an hour; random lives are held against a model; thousands
# spend at once; database and disk are away for a minute. `make soak SEED=7 JOBS=500 LIVES=50` repeats a run.
soak: $(VENV)/.installed-dev
	$(BIN)/python -m tests.soak $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS))
	$(BIN)/python -m tests.database.life --examples $(or $(LIVES),200) $(if $(SEED),--seed $(SEED))
	SPREE_OPERATIONS=10000 $(BIN)/pytest --timeout 600 tests/database/test_spending_spree.py
	OUTAGE_SECONDS=60 $(BIN)/pytest --timeout 600 tests/bot/test_database_trouble.py tests/e2e/test_full_disk.py

# torchao and bitsandbytes on top of what is in .venv, and apart from it: torch starts more slowly with them.
$(CUDA)/.installed: $(VENV)/.installed-dev
	$(BIN)/python -m venv $(CUDA)
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
		> "$$($(CUDA)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/below.pth"
	$(CUDA)/bin/pip install -q --no-deps $$(grep -E '^(torchao|bitsandbytes)==' constraints.txt)
	touch $@

clean:
	rm -rf $(VENV) $(CUDA) build dist *.egg-info

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "flux-bot needs Python 3.11 or newer, and \
	$(PYTHON) is none. Name another one, such as: make run PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch comes first and pinned, so that no other package's looser wish chooses a different build.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install -q $$(grep '^torch==' constraints.txt)
	$(BIN)/pip install -q -c constraints.txt -e '.[bot,worker]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install -q -c constraints.txt -e '.[bot,worker,test,lint]'
	touch $@
