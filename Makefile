# Everything that a person types. Each target installs what it needs (Debian 12, Rust from rustup or Debian).
SHELL := /bin/bash
.DEFAULT_GOAL := help
export CARGO_TARGET_DIR ?= $(CURDIR)/target
PREFIX ?= /usr/local
BUILD := $(CURDIR)/build

.PHONY: help demo providers cloud-demo test bench attacks fuzz build install install-units uninstall lint features setup setup-test

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## install what the build needs
	@scripts/setup build

setup-test: ## install what the tests need (container engines, cargo-deny)
	@scripts/setup test

build: setup ## build everything into build/bin and build/lib/nvbind
	@scripts/build $(BUILD)

demo: build ## run a container with two of eight simulated GPUs
	@scripts/setup demo
	@scripts/demo $(BUILD)

providers: build ## build the programs for AWS, GCP and Azure, too (minutes, 6 GiB)
	@scripts/build-providers $(BUILD)

cloud-demo: providers ## deployments on emulated clouds and SSH hosts that lose their machines and go on
	@scripts/setup test
	@scripts/cloud-demo $(BUILD)

test: setup-test ## format, clippy, licences, docs, features, every test
	@scripts/test

bench: build setup-test ## the figures of the README, measured in turn with runc
	@scripts/bench $(BUILD)

attacks: setup-test ## the races of hostile images, 1000 starts through each engine
	NVBIND_TEST_RACE_STARTS=1000 cargo test -p nvbind -p nvbind-oci --test it -- attacks::

fuzz: setup ## every fuzz target under libFuzzer, FUZZ_SECONDS each (default 60); wants a nightly toolchain
	@scripts/fuzz $${FUZZ_SECONDS:-60}

lint: setup-test ## format, clippy, licences
	@scripts/lint

install: build install-units ## install to PREFIX (default /usr/local)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/nvbind $(DESTDIR)$(PREFIX)/share/man/man1 \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 755 $(BUILD)/bin/nvbind $(BUILD)/bin/nvbind-runtime $(BUILD)/bin/nvbind-hook $(DESTDIR)$(PREFIX)/bin/
	install -m 644 $(BUILD)/lib/nvbind/libnvbind_sim_nvml.so $(DESTDIR)$(PREFIX)/lib/nvbind/
	[ ! -d $(BUILD)/libexec/nvbind ] || install -D -m 755 -t $(DESTDIR)$(PREFIX)/libexec/nvbind $(BUILD)/libexec/nvbind/*
	$(BUILD)/bin/nvbind man --output $(DESTDIR)$(PREFIX)/share/man/man1
	$(BUILD)/bin/nvbind completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/nvbind

install-units: ## install the systemd units and the udev rule to PREFIX
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/systemd/user $(DESTDIR)$(PREFIX)/lib/udev/rules.d
	sed 's|@BINDIR@|$(PREFIX)/bin|' dist/systemd/nvbind-cdi-watch.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/nvbind-cdi-watch.service
	sed 's|@BINDIR@|$(PREFIX)/bin|' dist/systemd/nvbind-cloud.service > $(DESTDIR)$(PREFIX)/lib/systemd/user/nvbind-cloud.service
	install -m 644 dist/systemd/60-nvbind.rules $(DESTDIR)$(PREFIX)/lib/udev/rules.d/

uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/nvbind $(DESTDIR)$(PREFIX)/bin/nvbind-runtime $(DESTDIR)$(PREFIX)/bin/nvbind-hook \
	    $(DESTDIR)$(PREFIX)/lib/systemd/system/nvbind-cdi-watch.service $(DESTDIR)$(PREFIX)/lib/systemd/user/nvbind-cloud.service $(DESTDIR)$(PREFIX)/lib/udev/rules.d/60-nvbind.rules \
	    $(DESTDIR)$(PREFIX)/share/man/man1/nvbind*.1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions/nvbind
	rm -rf $(DESTDIR)$(PREFIX)/lib/nvbind $(DESTDIR)$(PREFIX)/libexec/nvbind
