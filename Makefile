# rt: the commands that every change goes through. `make` alone lists them.

PREFIX ?= /usr/local
DESTDIR ?=
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
RT := $(TARGET_DIR)/release/rt

# Under sudo a cargo of rustup's is often not in PATH.
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help build demo test test-vm test-engines test-vm-engines vm-shell lint unit integration compat docs bench fuzz install criu clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Statically linked, at fixed addresses (decision 0008), with what is seldom needed behind the rest (0009): create, run and exec
# go on as a copy of the program, and a copy that needs neither libraries nor relocations starts sooner. The target is the machine's
# own, but has to be named: without it cargo would hand the flags to procedural macros too, which are libraries for the compiler and
# cannot be static.
# The compiler knows where libseccomp is, which differs between machines and architectures.
STATIC := export CARGO_BUILD_TARGET=$$(rustc -vV | sed -n 's/^host: //p') \
	RUSTFLAGS="$$RUSTFLAGS -C target-feature=+crt-static -C relocation-model=static -C link-arg=-Wl,-T,crates/rt/seldom.ld" LIBSECCOMP_LINK_TYPE=static \
	LIBSECCOMP_LIB_PATH="$${LIBSECCOMP_LIB_PATH:-$$(dirname "$$(cc -print-file-name=libseccomp.a)")}" &&

build: ## build the release binary, target/release/rt, which needs no libraries
	$(STATIC) cargo build --release --locked && \
	install -D -m 0755 "$(TARGET_DIR)/$$CARGO_BUILD_TARGET/release/rt" "$(RT)"

demo: ## freeze a counting container into files and let it go on (needs root)
	@scripts/setup demo
	@$(MAKE) --no-print-directory -s build
	@RT=$(RT) scripts/demo

# One cargo command for all tests, since each choice of packages gives the dependencies other features,
# and so builds them once more.
test: ## everything: lint, and all tests, those with real containers and CRIU included (needs root)
	@scripts/setup test
	@$(MAKE) --no-print-directory lint
	criu=$$(scripts/get-criu) && RT_CRIU=$$criu cargo test --workspace --locked --no-fail-fast

test-vm: ## the integration tests in a virtual machine: cgroup v2 alone, AppArmor (ARGS=pause picks by name)
	@scripts/setup test-vm
	@$(STATIC) scripts/vm test $(ARGS)

test-vm-engines: ## podman with rt in such a machine: cgroup v2, booted by systemd (ARGS=podman::systemd_pod picks by name)
	@scripts/setup test-vm
	@$(STATIC) scripts/vm engines $(ARGS)

vm-shell: ## a shell in that machine, with rt in PATH (ARGS=commands runs these there)
	@scripts/setup test-vm
	@$(STATIC) scripts/vm shell $(ARGS)

lint: ## formatting, and clippy with warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --test engines --locked -- -D warnings # not among all targets, since `cargo test` leaves it out

unit: ## all tests but the integration tests (one that needs root or CRIU says so and skips)
	cargo build --workspace --locked --examples
	cargo test --workspace --locked --lib --bins --test '[!ice]*'

integration: ## the integration tests (needs root; ARGS=checkpoint picks those with that in their name)
	criu=$${RT_CRIU:-$$(scripts/get-criu)} && RT_CRIU=$$criu cargo test --locked --test integration -- $(ARGS)

compat: ## the same bundles and command lines on rt and on runc (needs root; ARGS=mounts picks by name)
	cargo test --locked --test compat -- $(ARGS)

test-engines: ## podman, containerd, docker and Kubernetes' interface with rt, and `rt docker` (needs root; ARGS=podman::exec picks operations by name)
	@scripts/setup engines
	export RT_CRIU=$${RT_CRIU:-$$(scripts/get-criu)} && cargo test --locked --test engines -- $(ARGS) && \
	$(if $(ARGS),true,cargo test --locked --test integration -- docker && cargo test --locked --test integration -- crio::)

bench: ## rt against runc and crun (needs root; ARGS=--help lists what else it takes)
	@scripts/setup bench
	criu=$$(scripts/get-criu) && $(STATIC) RT_CRIU=$$criu cargo bench --locked --bench runtimes -- $(ARGS)

docs: ## write what is made from the sources: man pages, completions, the text of all help, the table of docs/diagnosis.md, docs/compat-runc.md
	RT_BLESS=1 cargo test --locked --bin rt --quiet manual
	RT_BLESS=1 cargo test --locked -p criu --lib --quiet manual
	RT_BLESS=1 cargo test --locked --test compat --quiet -- docs::

fuzz: ## look for inputs that break rt (TIME=seconds for each target, default 600; TARGET=config picks one)
	@scripts/setup fuzz
	@TIME="$(TIME)" ARGS="$(ARGS)" scripts/fuzz $(TARGET)

install: build ## install rt, man pages, completions and the engines' snippets into PREFIX (default /usr/local; DESTDIR is honoured)
	install -D -m 0755 $(RT) $(DESTDIR)$(PREFIX)/bin/rt
	cd share && find . -type f -exec install -D -m 0644 '{}' '$(DESTDIR)$(PREFIX)/share/{}' ';'
	install -d -m 0755 $(DESTDIR)$(PREFIX)/share/rt/engines
	cd $(DESTDIR)$(PREFIX)/share/rt/engines && for pair in podman:podman.conf containerd:containerd.toml docker:daemon.json cri-o:cri-o.conf; do \
		$(abspath $(RT)) engine-config --binary $(PREFIX)/bin/rt "$${pair%%:*}" >"$${pair#*:}" || exit 1; \
	done

criu: ## print the path of a CRIU that works here, obtaining one if need be (needs root)
	@scripts/get-criu

clean: ## remove what was built
	cargo clean
