# The project's commands; `make help` lists them. The first one that needs it makes .venv and installs
# sltprob into it, and only a change to pyproject.toml or constraints.txt installs again.

# Tried in this order. A PYTHON of your own replaces the list: make PYTHON=/path/to/python3.12 test
PYTHON ?= .venv/bin/python python3.12 python3
# Passed on by demo, calibrate, test, test-slow: make demo ARGS='--betas 1,100'
ARGS ?=
# Passed on to Sphinx by docs.
DOCS ?=

BIN := .venv/bin
STAMP := .venv/.installed
# Test processes. Most of their time is compilation, which uses one core; 0 runs the tests in pytest's own process.
WORKERS ?= 2
# Neighbours go to one process, as they share what is compiled; who has finished takes from the others.
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo study calibrate test test-slow faults lint docs bench peers constraints audit clean python

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## measure lambda-hat with three samplers; a new folder runs/demo-DATE-TIME each time
	@out=runs/demo-$$(date +%Y%m%d-%H%M%S); \
	$(BIN)/sltprob compare tanh_zero --out "$$out" $(ARGS) && echo "Report: $$out/report.html"

test: $(STAMP) ## run the tests, without the slow ones
	$(PYTEST) $(ARGS)

test-slow: $(STAMP) ## run only the slow tests
	$(PYTEST) -m slow $(ARGS)

lint: $(STAMP) ## check format, style, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# Forty minutes on two cores. Every number and picture of docs/finding.md.
study: $(STAMP) ## make all numbers of docs/finding.md again, in a new folder runs/study-DATE-TIME
	@set -e; out=runs/study-$$(date +%Y%m%d-%H%M%S); mkdir -p "$$out"; export OMP_NUM_THREADS=1; \
	{ $(BIN)/sltprob compare tanh_zero --samplers hmc,sgld --betas 1,1e2,1e4,1e6 --out "$$out/runs"; \
	$(BIN)/sltprob curve tanh_zero --betas 1:1e24:0.5 --runs "$$out/runs" --out "$$out/curve"; \
	$(BIN)/sltprob modes --out "$$out/modes"; \
	$(BIN)/sltprob modes --inputs circle --out "$$out/circle"; \
	$(BIN)/sltprob ansatz; $(BIN)/sltprob free-energy; \
	$(BIN)/python benchmarks/turn.py 5,10,16,32,64,128 "$$out"; } > "$$out/curves.txt" & \
	{ $(BIN)/python benchmarks/low_temperature.py; $(BIN)/python benchmarks/variants.py; \
	$(BIN)/python benchmarks/germs.py; $(BIN)/python benchmarks/bulk.py unit; \
	$(BIN)/python benchmarks/bulk.py modular "$$out"; $(BIN)/python benchmarks/spectra.py; \
	$(BIN)/sltprob effective; \
	$(BIN)/sltprob generalisation --sizes 1e2,1e3,1e4,1e5 --out "$$out/generalisation"; } > "$$out/limits.txt"; \
	wait $$!; cat "$$out/curves.txt" "$$out/limits.txt"; echo "Pages: $$out"

# Some hours on two cores; a call that was stopped goes on. What is there is judged again, not run again.
calibrate: $(STAMP) ## count how often the verdict is wrong, in runs/calibration, and write docs/calibration.md
	$(BIN)/sltprob calibrate --out runs/calibration $(ARGS) && cp runs/calibration/calibration.md docs/calibration.md

# Two hours on two idle cores, and half as much for each of TRIES; what is chosen at random is chosen so often.
# In pieces: make faults COUNTED=pieces.jsonl ARGS='-k kill', then the others, all of one commit.
TRIES ?= 1
COUNTED ?= $(shell mktemp)
faults: $(STAMP) ## try every fault TRIES times, and write docs/reliability.md from what is counted
	@counted="$(COUNTED)"; SLTPROB_FAULTS="$$counted" SLTPROB_TRIES=$(TRIES) \
	$(BIN)/python -m pytest -m "slow or not slow" tests/faults $(ARGS); code=$$?; \
	$(BIN)/python tests/faults/reliability.py "$$counted" docs/reliability.md && exit $$code

# In an environment of its own, since what is in .venv is what the old file says.
constraints: $(STAMP) ## renew constraints.txt: what pip chooses today; then run make test
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; $(BIN)/python -m venv "$$folder"; \
	"$$folder/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[dev]'; \
	{ head -2 constraints.txt; "$$folder/bin/python" -m pip freeze --exclude-editable; } > constraints.new; \
	mv constraints.new constraints.txt; echo "Renewed: constraints.txt"

audit: $(STAMP) ## ask PyPI for known vulnerabilities of what constraints.txt pins; needs the network
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; $(BIN)/python -m venv "$$folder" && \
	"$$folder/bin/python" -m pip install --quiet --disable-pip-version-check pip-audit || exit 2; \
	"$$folder/bin/pip-audit" --requirement constraints.txt --no-deps --disable-pip --format json \
	--progress-spinner off --output "$$folder/found" >/dev/null 2>"$$folder/said"; \
	[ -s "$$folder/found" ] || { echo "audit: nothing was looked up ($$(tail -n 1 "$$folder/said"))" >&2; exit 2; }; \
	$(BIN)/python tests/faults/audit.py "$$folder/found"

# Every warning is an error. The notebooks run; DOCS='-D nb_execution_mode=off' leaves that out.
docs: $(STAMP) ## build the documentation, its notebooks run; open site/index.html, no server needed
	$(BIN)/python -m sphinx -q -W --keep-going -E -j auto -d site/.doctrees $(DOCS) docs site && echo "Documentation: site/index.html"

bench: $(STAMP) ## run the measurements in benchmarks/, one after the other
	@set -e; for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python "$$file"; done

# Environments of their own in .peers, some GB and minutes the first time; nothing of them enters .venv.
# PyTorch's wheels on PyPI bring CUDA on some systems: PIP_EXTRA_INDEX_URL names an index with CPU builds.
TORCH_PYTHON ?= python3.11
PEERS := .peers/jax/.installed .peers/devinterp1/.installed .peers/devinterp2/.installed
peers: $(STAMP) $(PEERS) ## measure sltprob beside its peers, thirty minutes on two cores; writes docs/peers.md
	$(BIN)/python benchmarks/peers/run.py --environments .peers $(ARGS)
	$(BIN)/python benchmarks/peers/page.py

.peers/jax/.installed: PEER_PYTHON = $(BIN)/python
.peers/jax/.installed: ALSO = -e . -c constraints.txt
.peers/devinterp%/.installed: PEER_PYTHON = $(TORCH_PYTHON)
.peers/%/.installed: benchmarks/peers/requirements-%.txt | $(STAMP)
	$(PEER_PYTHON) -m venv .peers/$*
	.peers/$*/bin/python -m pip install --quiet --disable-pip-version-check -r $< $(ALSO)
	@touch $@

clean: ## remove .venv, builds and caches; runs/ stays
	rm -rf .venv .peers build dist site jupyter_execute *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv takes 30 seconds where pip takes 90. It compiles Python too: where nothing may be written into .venv
# later, every process would do that anew. It does not read pip's settings, so pip tries where uv fails.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing sltprob into .venv (once, some minutes) ..."
	@$(PIP) uv -c constraints.txt && \
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -e '.[dev]' -c constraints.txt || \
	$(PIP) -e '.[dev]' -c constraints.txt
	@touch $@

$(BIN)/python: | python
	@$(if $(filter uv,$(FOUND)),uv venv --quiet --seed --python 3.12 .venv,$(FOUND) -m venv .venv)

# Checked on every call, so that an old PYTHON is refused even when .venv exists already.
python:
	@$(if $(FOUND),:,$(error sltprob needs Python 3.12 or newer with its venv module, and found $(or \
	$(shell $(versions)),nothing that runs as $(PYTHON)); get one (pyenv install 3.12, or \
	apt install python3.12-venv, or uv, which fetches its own) or name one (make PYTHON=...)))

probe := import ensurepip, sys; sys.exit(sys.version_info < (3, 12))
version := import platform; print(platform.python_version())
first = for p in $(PYTHON); do "$$p" -c '$(probe)' >/dev/null 2>&1 && { echo "$$p"; exit; }; done
versions = for p in $(filter-out $(BIN)/%,$(PYTHON)); do v=$$("$$p" -c '$(version)' 2>/dev/null) && echo "$$p $$v"; done
# uv steps in for the list above, not for a PYTHON that somebody named.
uv = $(if $(filter file,$(origin PYTHON)),command -v uv >/dev/null 2>&1 && echo uv)
# The interpreter (or uv) that makes .venv; empty when there is none. Looked for once, when first asked.
FOUND = $(eval FOUND := $(or $(shell $(first)),$(shell $(uv))))$(FOUND)
