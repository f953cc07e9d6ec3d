# Moongate. Only Python 3.11 (or newer) and make are assumed; everything else is installed into .venv
# from the versions in constraints.txt. `make help` lists what there is.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
COMPILED := $(VENV)/.compiled
TOOLS := $(VENV)/.tools-installed
MODEL := $(VENV)/.model-installed

# One more than there are processors, for tests wait as much as they work; four at most, for memory.
TESTERS := $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -gt 3 ] && n=3; echo $$((n + 1)))

# By name and not by size, so that the many small files of `unit` come last and no process is idle at the end.
# A process that dies is not replaced: xdist would run its files again, and could then wait for them for ever.
PYTEST = $(BIN)/python -m pytest --numprocesses $(TESTERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

# Passed on: make run ARGS="--port 9000 --offline", make test ARGS="tests/unit -k spans"
ARGS ?=

.PHONY: help
help: ## This list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | \
	while IFS='|' read -r target words; do printf '%-12s %s\n' "$$target" "$$words"; done

.PHONY: install
install: $(COMPILED) ## Make .venv with the command .venv/bin/moongate (PYTHON=… chooses the interpreter)

.PHONY: run
run: $(COMPILED) ## Install if needed, then start on http://localhost:8080 (ARGS="--port 9000 …")
	@exec $(BIN)/moongate serve $(ARGS)

.PHONY: demo
demo: $(COMPILED) $(MODEL) ## The whole mission in about a minute, without a Hub
	@exec $(BIN)/moongate demo $(ARGS)

.PHONY: setup
setup: $(COMPILED) $(TOOLS) $(MODEL) ## Everything the tests need (programs, too, when run as root)
	@scripts/setup-tests

.PHONY: test
test: setup ## Set up, then run every test (ARGS="tests/unit -k …" for some)
	$(PYTEST) -m "not long" $(ARGS)

.PHONY: test-long
test-long: setup ## Set up, then run the tests that take their time
	$(PYTEST) -m long $(ARGS)

.PHONY: lint
lint: $(INSTALLED) $(TOOLS) ## Ruff, mypy --strict, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(INSTALLED) $(TOOLS) ## Let ruff lay out the code and sort the imports
	$(BIN)/ruff check --select I --fix
	$(BIN)/ruff format

.PHONY: bench
bench: $(COMPILED) ## Ratios beside nginx and Olah in the same run (ARGS="--quick --only warm …")
	@scripts/setup-bench
	$(BIN)/python -m bench $(ARGS)

.PHONY: reference
reference: $(INSTALLED) $(TOOLS) ## Renew the reference parts of docs/ from the settings and the commands
	$(BIN)/python scripts/reference.py

.PHONY: lock
lock: ## Renew constraints.txt and the client environments' lists
	scripts/lock $(ARGS)

.PHONY: clean
clean: ## Remove what was made here (environments, caches); never a gateway's data
	rm -rf $(VENV) .venvs build dist tests/clients/js/node_modules tests/clients/oidc/node_modules
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than what it was made from, so a second `make run` starts at once.
$(INSTALLED): pyproject.toml constraints.txt requirements/build.in scripts/install
	@scripts/install run
	@touch $@

# Left to itself, Python compiles our sources at every start where it may not write what comes of it: where
# PYTHONDONTWRITEBYTECODE is set, as many container images have it. That takes half of a start's time.
$(COMPILED): $(INSTALLED) $(shell find src -name '*.py')
	@$(BIN)/python -m compileall -q -j 0 src
	@touch $@

$(TOOLS): $(INSTALLED) constraints.txt requirements/dev.in
	@scripts/install dev
	@touch $@

$(MODEL): $(INSTALLED) constraints.txt requirements/demo.in
	@scripts/install demo
	@touch $@
