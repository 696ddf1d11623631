# Every target sets up what it needs by itself (tools/setup.sh): a virtual environment in .venv and,
# where root, Debian packages. `make PYTHON=python3.12 ...` chooses the Python it is made from.

VENV ?= .venv
BIN := $(VENV)/bin
export VENV PYTHON

# What `python -m twisted.trial` runs, and after how many minutes it is stopped.
TESTS ?= tests
TEST_MINUTES ?= 10
TEST_ALL_MINUTES ?= 60
export TRIAL_FLAGS

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

.PHONY: help
help:  ## Show this list
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

.PHONY: demo
demo:  ## Watch ETRs register, share and move EID-prefixes, and an ITR ask
	@tools/setup.sh demo
	@$(BIN)/lispmsrt demo

.PHONY: test
test:  ## Run the tests (under 10 minutes)
	@tools/setup.sh test
	@tools/run-tests.sh $(TEST_MINUTES) $(TESTS)

.PHONY: test-all
test-all:  ## Run the tests and what takes longer (up to an hour)
	@tools/setup.sh test
	@LISPMSRT_LONG=1 tools/run-tests.sh $(TEST_ALL_MINUTES) $(TESTS)

.PHONY: lint
lint:  ## Check style, format and types
	@tools/setup.sh lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# What reads a peer's octets must be reached by tests in every branch; these need no sockets.
COVERED_BY := $(patsubst tests/%.py,tests.%,$(filter-out \
	$(addprefix tests/test_,bench.py bench_floods.py clean_lives_daemon.py demo.py guide.py internet.py \
	    metrics.py observers.py packaging.py real_sockets.py simulation.py soak.py swarm_cli.py \
	    storage_kills.py storage_restart.py tac.py tap.py units.py) \
	$(wildcard $(addprefix tests/test_,session_over_*.py faults_*.py overlay_*.py quic_*.py \
	    sctp_*.py usrsctp_*.py tls_*.py tcp_md5.py cli_*.py show*.py web_*.py)), \
	$(wildcard tests/test_*.py)))

.PHONY: coverage
coverage:  ## Check that tests reach every branch of wire/ and session/
	@tools/setup.sh test
	@tools/check-coverage.sh $(COVERED_BY)

.PHONY: run
run:  ## Run a Map-Server in the foreground with tap/map-server.toml
	@tools/setup.sh demo
	@chmod o-rwx tap/*.toml  # there are secrets in them, and git knows no such mode
	@exec $(BIN)/twistd -n --pidfile= lispmsrt --config tap/map-server.toml

.PHONY: internet
internet:  ## Register the whole routed Internet and look it up again
	@tools/setup.sh internet
	@$(BIN)/python -m benchmarks.internet

# BENCH_FLAGS: --goals 1,3 measures these only, --all what each transport costs and watching besides.
ROUNDS ?= 3

.PHONY: bench
bench:  ## Measure every goal of speed and memory beside a bare UDP echo (ROUNDS=3, BENCH_FLAGS=)
	@tools/setup.sh bench
	@mkdir -p build
	@$(BIN)/python -m benchmarks.bench --rounds $(ROUNDS) --json build/bench.json $(BENCH_FLAGS)

.PHONY: bench-plot
bench-plot:  ## Draw the growth curves of the last `make bench`
	@tools/setup.sh plot
	@$(BIN)/python -m benchmarks.plot build/bench.json docs/images/performance-growth.png

# FLOODS_FLAGS=--kinds macs,unarmed floods with these only.
.PHONY: bench-floods
bench-floods:  ## Flood a Map-Server with twice what it can take: what is left for sessions? (ROUNDS=3)
	@tools/setup.sh bench
	@mkdir -p build
	@$(BIN)/python -m benchmarks.floods --rounds $(ROUNDS) --json build/floods.json $(FLOODS_FLAGS)

# SEED=7 runs one world, SEEDS=1000 so many, HOURS= each; see docs/reliability.rst.
.PHONY: simulate
simulate:  ## Break whole worlds of Map-Servers, ETRs and ITRs in virtual time, and check every promise
	@tools/setup.sh test
	@$(BIN)/python -m tests.simulate

# MINUTES of churn over every transport; the exit code says whether anything has grown.
MINUTES ?= 10

.PHONY: soak
soak:  ## Churn over every transport for MINUTES=10: do memory and open files stay flat? With a plot
	@tools/setup.sh demo
	@tools/setup.sh plot
	@mkdir -p build
	@$(BIN)/python -m benchmarks.soak --minutes $(MINUTES) --json build/soak.json; status=$$?; \
	    $(BIN)/python -m benchmarks.soak.plot build/soak.json build/soak.png; exit $$status

# EXECUTIONS of each target; FUZZ_FLAGS=--target frames fuzzes that alone.
EXECUTIONS ?= 20000

.PHONY: fuzz
fuzz:  ## Feed every decoder and both ends of a session what nobody would send
	@tools/setup.sh fuzz
	@$(BIN)/python -m tests.fuzz.run --executions $(EXECUTIONS) $(FUZZ_FLAGS)

.PHONY: clean
clean:  ## Remove .venv and everything that was built
	@tools/setup.sh clean
	@rm -rf build dist *.egg-info _trial_temp* .coverage .coverage.* htmlcov docs/_build
	@rm -rf .hypothesis .mypy_cache .ruff_cache twisted/plugins/dropin.cache
	@for top in lispmsrt twisted tests benchmarks; do \
	    [ ! -d "$$top" ] || find "$$top" -name __pycache__ -prune -exec rm -rf {} +; done
