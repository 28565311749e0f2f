# SPDX-License-Identifier: MIT
#
# `make` lists what there is. Each target installs what it needs and what is missing, see scripts/setup.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# Cargo.lock says which versions; nothing here may change it.
CARGO := cargo
LOCKED := --locked
TARGET := $(or $(CARGO_TARGET_DIR),target)
LOOM := CARGO_TARGET_DIR=$(TARGET)/loom RUSTFLAGS="--cfg vswitch_loom" $(CARGO) test $(LOCKED) --release --no-default-features --lib
PYTHON := .venv/bin/python
SCRIPTS := scripts/setup scripts/proof .ci/run

# The program under test is built, unless ALKAID names it: `tests` has built it too, with what only tests want of its dependencies.
BUILT = $(if $(ALKAID),,$(CARGO) build $(LOCKED))

# For `bench`: names of cases, with commas; all if there are none. benches/run lists what else it takes, such as JSON=1 or
# PLOT=docs/bench.svg.
CASES ?=

# How long `soak` goes on.
MINUTES ?= 10

# What the black-box tests have with Linux kernels as other hosts. None for `interop` where `test` runs too.
KERNELS := $(addprefix tests/blackbox/test_,kernel_peer.py kernel_ipv6.py over_ipv6.py)

# Seconds that each fuzz target runs.
SECONDS := 60

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 22

.PHONY: build
build: ## build the program for development
	@scripts/setup build
	$(CARGO) build $(LOCKED)

.PHONY: release
release: ## build the program for use: target/release/alkaid
	@scripts/setup build
	$(CARGO) build $(LOCKED) --release

.PHONY: deb
deb: ## build the Debian package, target/debian/alkaid_*.deb, and check what is in it
	@scripts/setup deb
	$(CARGO) build $(LOCKED) --release
	mkdir -p target/package
	$(TARGET)/release/alkaid completions bash >target/package/alkaid.bash
	$(TARGET)/release/alkaid completions zsh >target/package/_alkaid
	$(TARGET)/release/alkaid completions fish >target/package/alkaid.fish
	$(TARGET)/release/alkaid man target/package/man
	$(CARGO) deb $(LOCKED) --no-build
	$(PYTHON) -m pytest -q tests/package

.PHONY: demo
demo: ## show two switches carrying packets between their guests
	@scripts/setup demo
	$(CARGO) build $(LOCKED) --release
	$(PYTHON) demo/demo.py $(TARGET)/release/alkaid

.PHONY: test
test: ## run all tests
	@scripts/setup test
	$(CARGO) test $(LOCKED)
	$(MAKE) loom
	ALKAID=$${ALKAID:-$(TARGET)/debug/alkaid} $(PYTHON) -m pytest -q tests/blackbox tests/soak/test_judge.py

.PHONY: tests
tests: ## build what `test` runs
	@scripts/setup build
	$(CARGO) test $(LOCKED) --no-run
	$(LOOM) --no-run

.PHONY: scenarios
scenarios: ## run clouds of two hosts from a controller's view, whole and broken on purpose; root
	@scripts/setup scenarios
	$(BUILT)
	ALKAID=$${ALKAID:-$(TARGET)/debug/alkaid} $(PYTHON) -m pytest -q tests/scenarios

.PHONY: interop
interop: ## carry traffic to Linux kernels, Open vSwitch and other switches, over all kinds of networks; root
	@scripts/setup interop
	$(BUILT)
	ALKAID=$${ALKAID:-$(TARGET)/debug/alkaid} $(PYTHON) -m pytest -q tests/interop $(KERNELS)

.PHONY: interop-long
interop-long: ## let two virtual machines of two hosts exchange TCP for IPERF_SECONDS=600, and lose no second when a switch restarts; root
	@scripts/setup interop
	$(CARGO) build $(LOCKED) --release
	IPERF_SECONDS=$${IPERF_SECONDS:-600} LOSS_SECONDS=1 ALKAID=$${ALKAID:-$(TARGET)/release/alkaid} \
	  $(PYTHON) -m pytest -q tests/interop/test_virtual_machines.py

.PHONY: soak
soak: ## use and change a cloud of two hosts for MINUTES=10, and see that its switches hold no more in the end; root
	@scripts/setup soak
	$(CARGO) build $(LOCKED) --release
	DEADLINE=60 MINUTES=$(MINUTES) ALKAID=$${ALKAID:-$(TARGET)/release/alkaid} $(PYTHON) -m pytest -q tests/soak

.PHONY: loom
loom: ## model-check the tables' concurrency
	@scripts/setup build
	$(LOOM) loom_

.PHONY: lint
lint: ## check format, lints, documentation, licences and scripts
	@scripts/setup lint
	$(CARGO) fmt --check
	$(CARGO) clippy $(LOCKED) --all-targets -- -D warnings
	$(CARGO) clippy $(LOCKED) --no-default-features --lib --tests -- -D warnings
	CARGO_TARGET_DIR=$(TARGET) $(CARGO) clippy $(LOCKED) --manifest-path fuzz/Cargo.toml --bins -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(LOCKED) --no-deps
	@if $(CARGO) deny --version >/dev/null 2>&1; then set -x; $(CARGO) deny $(LOCKED) check licenses bans; \
	else echo "cargo-deny is not installed: licences and bans are not checked"; fi
	shellcheck $(SCRIPTS)

.PHONY: fmt
fmt: ## format the Rust code
	$(CARGO) fmt

.PHONY: bench
bench: ## measure beside testpmd and Open vSwitch; root; reserves huge pages; see benches/run
	@scripts/setup bench
	@$(CARGO) build $(LOCKED) --release
	@ALKAID=$(TARGET)/release/alkaid $(PYTHON) benches/run

.PHONY: bench-guests
bench-guests: ## measure guests behind vhost-user beside Open vSwitch; root; reserves huge pages; see benches/guests
	@scripts/setup bench
	@$(CARGO) build $(LOCKED) --release
	@ALKAID=$(TARGET)/release/alkaid $(PYTHON) benches/guests

.PHONY: bench-control
bench-control: ## measure a million neighbors by gRPC into a switch that forwards, and questions on demand; root; cores 0 and 1; see benches/control
	@scripts/setup build
	@$(CARGO) build $(LOCKED) --release
	@ALKAID=$(TARGET)/release/alkaid $(CARGO) run --quiet $(LOCKED) --release --example bench-control
	@$(MAKE) --no-print-directory ondemand

.PHONY: bench-watching
bench-watching: ## measure what 1000 scrapes a second, which fail above LIMIT=1 %, and a capture cost the packet path; root; reserves huge pages; see benches/watching
	@scripts/setup bench
	@$(CARGO) build $(LOCKED) --release
	@LIMIT=$${LIMIT:-1} ALKAID=$(TARGET)/release/alkaid $(PYTHON) benches/watching

.PHONY: restart-time
restart-time: ## measure how long packets stand still when the switch is killed and started again; fails above LIMIT=1 seconds; root
	@scripts/setup test
	@$(CARGO) build $(LOCKED) --release
	@LIMIT=$${LIMIT:-1} ALKAID=$(TARGET)/release/alkaid $(PYTHON) -m pytest -q tests/blackbox/restart_time.py

.PHONY: bench-quick
bench-quick: ## check in a minute that no case has become much slower beside testpmd; root; reserves huge pages if it can
	@scripts/setup bench-quick
	@$(CARGO) build $(LOCKED) --release
	@ALKAID=$(TARGET)/release/alkaid FLOORS=benches/floors.json YARDSTICKS=csum FLOWS=1000 ROUNDS=3 SECONDS_PER_RUN=0.3 \
	  $(PYTHON) benches/run

.PHONY: pipeline
pipeline: ## measure the packet path alone, between ports without devices
	@scripts/setup build
	$(CARGO) bench $(LOCKED) --no-default-features --bench pipeline

.PHONY: latency
latency: ## measure how long a frame is on its way; root; cores 0 and 1
	@scripts/setup build
	$(CARGO) bench $(LOCKED) --bench latency

.PHONY: instructions
instructions: ## count the packet path's instructions per packet; fails above 3 % more than before
	@scripts/setup instructions
	benches/instructions

.PHONY: proof
proof: ## models, sanitizers, properties, fuzzing: a line per step; what needs nightly is skipped without
	@scripts/setup build
	@SECONDS_PER_TARGET=$(SECONDS) scripts/proof

.PHONY: proof-quick
proof-quick: ## its sanitizers only, over less code
	@scripts/setup build
	@scripts/proof quick

.PHONY: churn
churn: ## measure forwarding while everything changes, and check each packet's treatment; two cores
	@scripts/setup build
	$(CARGO) bench $(LOCKED) --no-default-features --bench churn
	ALKAID_CHURN_SECONDS=$(or $(ALKAID_CHURN_SECONDS),10) $(CARGO) test $(LOCKED) --bin alkaid core::tests::churn -- --nocapture

.PHONY: ondemand
ondemand: ## measure asking the controller for destinations: questions a second, and what a first packet waits; two cores
	@scripts/setup build
	ALKAID_ONDEMAND_REQUESTS=$(or $(ALKAID_ONDEMAND_REQUESTS),300000) $(CARGO) test $(LOCKED) --release --bin alkaid \
	  core::tests::on_demand::whole -- --nocapture --test-threads=1

.PHONY: fuzz
fuzz: ## run each fuzz target for SECONDS=60; needs a nightly toolchain and cargo-fuzz
	@$(CARGO) +nightly fuzz --version >/dev/null 2>&1 || { \
	  echo "first: rustup toolchain install nightly && cargo install cargo-fuzz" >&2; exit 1; }
	@scripts/setup build
	@targets=$$($(CARGO) +nightly fuzz list); for target in $$targets; do \
	  echo "fuzz: $$target for $(SECONDS) s"; \
	  mkdir -p "fuzz/corpus/$$target"; \
	  $(CARGO) +nightly fuzz run "$$target" "fuzz/corpus/$$target" "fuzz/seeds/$$target" -- -max_total_time=$(SECONDS) -malloc_limit_mb=64 -verbosity=0; done

.PHONY: clean
clean: ## remove what was built, the Python packages and the demo's output
	$(CARGO) clean
	rm -rf .venv out
