# Keyface: what a user runs. Everything builds with the release profile, so that tract compiles once.
CARGO ?= cargo
SHARED ?= ../shared

.PHONY: all demo check lint test clean

all:
	$(CARGO) build --release --workspace

# The main job, end to end, on photographs that ship with the tree.
demo:
	$(CARGO) run --release --quiet -p keyface-cli -- demo

# Everything a change must pass.
check: lint test demo

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets

test:
	$(CARGO) test --release --workspace

clean:
	$(CARGO) clean
