# rt: the commands that every change goes through. `make` alone lists them.

PREFIX ?= /usr/local
DESTDIR ?=
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

# Under sudo a cargo of rustup's is often not in PATH.
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help build demo test lint unit integration bench install criu clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the release binary, target/release/rt
	cargo build --release --locked

demo: ## freeze a counting container into files and let it go on (needs root)
	@scripts/setup demo
	@cargo build --release --locked
	@RT=$(TARGET_DIR)/release/rt scripts/demo

test: ## everything: lint, unit tests, integration tests with real CRIU (needs root)
	@scripts/setup test
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory integration

lint: ## formatting, and clippy with warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

unit: ## the unit tests (no root, no CRIU)
	cargo test --workspace --locked --lib --bins

integration: ## the integration tests (needs root; ARGS="name..." picks some)
	criu=$$(scripts/get-criu) && RT_CRIU=$$criu cargo test --locked --test integration -- $(ARGS)

bench: ## rt against runc and crun (needs root)
	@scripts/setup bench
	criu=$$(scripts/get-criu) && RT_CRIU=$$criu cargo bench --locked --bench runtimes

install: build ## install rt into PREFIX/bin (default /usr/local; DESTDIR is honoured)
	install -D -m 0755 $(TARGET_DIR)/release/rt $(DESTDIR)$(PREFIX)/bin/rt

criu: ## print the path of a CRIU that works here, obtaining one if need be (needs root)
	@scripts/get-criu

clean: ## remove what was built
	cargo clean
