# Two commands do everything on a fresh machine: `make run` and `make test`.
# The others are their parts, and what a developer needs now and then.
.DEFAULT_GOAL := help
SHELL := /bin/bash
export PATH := $(HOME)/.cargo/bin:$(PATH):/usr/local/sbin:/usr/sbin:/sbin
CARGO_FLAGS := --locked

.PHONY: help run test check fmt clippy doc doc-test deny build install bench microbench docker-test systemd-test fuzz differential nightly

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1@/p' Makefile | column -t -s @

run: ## install what is missing, build, and live in the virtual home until Ctrl-C
	@scripts/install-deps run
	@cargo build $(CARGO_FLAGS)
	@cargo run $(CARGO_FLAGS) --quiet -- lab

test: ## install what is missing, and run every test
	@scripts/install-deps test
	$(MAKE) --no-print-directory check doc-test
	cargo nextest run $(CARGO_FLAGS)

check: fmt clippy ## formatting and lints, warnings are errors

fmt:
	cargo fmt --check

clippy:
	cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings

doc: ## the library's documentation, target/doc/labgate; broken links are errors
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_FLAGS) --no-deps --lib

doc-test:
	cargo test $(CARGO_FLAGS) --doc --quiet

deny: ## licences, banned crates and sources of the dependency tree, where cargo-deny is there
	@scripts/deny

build: ## the release binary, target/release/labgate
	@scripts/install-deps build
	cargo build $(CARGO_FLAGS) --release

# `make build` as an ordinary user first; this copies, and needs root only where PREFIX does.
DESTDIR ?=
PREFIX ?= /usr/local
RELEASE ?= target/release/labgate
install: ## copy the release binary, the units and the reference configuration (PREFIX=/usr/local, DESTDIR=)
	@test -x $(RELEASE) || { echo "run 'make build' first" >&2; exit 1; }
	install -D -m 755 $(RELEASE) $(DESTDIR)$(PREFIX)/bin/labgate
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/share/doc/labgate $(DESTDIR)$(PREFIX)/share/man/man1
	for unit in labgate.service labgate-early.service; do \
	  sed 's|/usr/bin/labgate|$(PREFIX)/bin/labgate|g' systemd/$$unit > $(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit || exit 1; done
	install -D -m 644 systemd/sysusers.d/labgate.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/labgate.conf
	install -D -m 644 systemd/tmpfiles.d/labgate.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/labgate.conf
	install -m 644 config/labgate.toml README.md docs/manual/*.md $(DESTDIR)$(PREFIX)/share/doc/labgate/
	$(RELEASE) man > $(DESTDIR)$(PREFIX)/share/man/man1/labgate.1
	@test -n "$(DESTDIR)" || ! test -d /run/systemd/system || { systemd-sysusers; systemd-tmpfiles --create labgate.conf; systemctl daemon-reload; }

bench: ## side by side with the servers that Debian has, about an hour and a half (root); writes bench/RESULTS.md
	@bench/run

microbench: ## the pure engines alone
	@scripts/install-deps build
	cargo bench $(CARGO_FLAGS)

docker-test: ## build the image and run it for real, with a Docker daemon of its own (root)
	@scripts/docker-test

systemd-test: ## run the units under a live systemd, in a container of its own (root)
	@scripts/systemd-test

fuzz: ## every fuzz target for a minute each (needs cargo-fuzz and a nightly toolchain)
	@scripts/fuzz

differential: ## the model of the firewall against the kernel: 250 random homes, two to three minutes
	LABGATE_NIGHTLY=1 cargo test $(CARGO_FLAGS) --test differential -- --nocapture --test-threads=1

nightly: ## everything that is too long for `make test`: the long forms of tests, docker-test, systemd-test, fuzz
	scripts/install-deps docker
	LABGATE_NIGHTLY=1 $(MAKE) --no-print-directory test
	scripts/docker-test
	scripts/systemd-test
	scripts/fuzz
