# Two commands do everything on a fresh machine: `make run` and `make test`.
# The others are their parts, and what a developer needs now and then.
.DEFAULT_GOAL := help
SHELL := /bin/bash
export PATH := $(HOME)/.cargo/bin:$(PATH):/usr/local/sbin:/usr/sbin:/sbin
CARGO_FLAGS := --locked

.PHONY: help run test check fmt clippy doc-test deny build bench docker-test nightly fuzz install

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

doc-test:
	cargo test $(CARGO_FLAGS) --doc --quiet

deny: ## licences, banned crates and sources of the dependency tree, where cargo-deny is there
	@scripts/deny

build: ## the release binary, target/release/labgate
	@scripts/install-deps build
	cargo build $(CARGO_FLAGS) --release
