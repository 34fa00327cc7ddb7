# Keyface: what a user runs. Everything builds with the release profile, so that tract compiles once.
CARGO ?= cargo
SHARED ?= ../shared
PYTHON ?= python3

.PHONY: all demo check lint test arm-test armv7-test vm-test asan arm-count peers models training-test training-venv soak install size deb memcheck helgrind \
	soak-ffi clean

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

# The tests on 64-bit ARM under QEMU, as a core of each CPU level.
arm-test:
	tests/arm/run

# The tests on 32-bit ARM under QEMU, and the C programs.
armv7-test:
	tests/arm/run armv7
	tests/c/run armv7 target/arm/armv7-unknown-linux-gnueabihf/release/libkeyface_ffi.so

# The product's ARM programs on a real kernel in a VM: cameras with every fault, and a whole door.
vm-test:
	tests/vm/run

# The default pack, from what training left in sdk/training/checkpoints. Needs Python with numpy, pillow and torch.
# The table of relatives is for comparison: its faces were trained on, though without their names.
models:
	mkdir -p target
	cd sdk/training && $(PYTHON) -m recogniser.faces --lfw $(abspath $(SHARED))/data/lfw_dev --out $(CURDIR)/target/strangers.npz
	cd sdk/training && $(PYTHON) -m recogniser.faces --families $(abspath $(SHARED))/data/faces --out $(CURDIR)/target/relatives.npz
	$(CARGO) run --release -p keyface-convert -- pack sdk/training/checkpoints -o target/uncalibrated.kfpack
	$(CARGO) run --release -p keyface-convert -- calibrate target/uncalibrated.kfpack --faces target/strangers.npz \
		--relatives target/relatives.npz -o sdk/models/default.kfpack

# The kernels' tests under AddressSanitizer, without tract. The switch is unstable, so the stable compiler is told to allow it.
asan:
	cd tests/arm/kernels && RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=$(CURDIR)/target/asan \
		$(CARGO) test --release --lib --target $(shell rustc -vV | sed -n 's/^host: //p') kernel

# Instructions per embedding on three ARM cores, under QEMU: needs qemu-user and gcc-aarch64-linux-gnu, see tests/arm.
arm-count:
	tests/arm/count --kernels

# Speed, memory and start beside ONNX Runtime, which is installed by name: see tests/peers.
peers:
	tests/peers/compare

# What takes minutes and proves more of the same: 500 real processes killed while they write, and the door terminal on a source
# that fails, for MINUTES with faults drawn from SEED.
MINUTES ?= 10
SEED ?= 1
soak:
	KEYFACE_KILL_RUNS=500 $(CARGO) test --release -p keyface --test gallery_kill -- --nocapture
	KEYFACE_SOAK_MINUTES=$(MINUTES) KEYFACE_SOAK_SEED=$(SEED) $(CARGO) test --release -p keyface-door-terminal --test soak -- --nocapture

# The C library, headers, pkg-config and CMake files: make install DESTDIR=/tmp/stage PREFIX=/usr
install:
	$(CARGO) build --release -p keyface-ffi
	ffi/dist/link target/release/libkeyface_ffi.a target/release/libkeyface.so
	ffi/dist/install target/release/libkeyface.so target/release/libkeyface_ffi.a

# What the shared library takes on an arm64 device; fails where it has grown.
size:
	ffi/dist/sizes

# Debian packages in target/deb, for this machine's architecture and, where its compiler is installed, for arm64.
deb:
	ffi/dist/debs

# The C programs of the tests with ASan and UBSan, and under valgrind's memcheck.
memcheck:
	$(CARGO) build --release -p keyface-ffi
	tests/c/run asan target/release/libkeyface_ffi.so
	tests/c/run memcheck target/release/libkeyface_ffi.so

# Two pipelines on two threads that share one engine and one gallery, under valgrind's helgrind.
helgrind:
	$(CARGO) build --release -p keyface-ffi
	tests/c/run helgrind target/release/libkeyface_ffi.so

# Frames through the C library for SOAK_SECONDS: memory must stay flat. Nightly.
SOAK_SECONDS ?= 600
soak-ffi:
	$(CARGO) build --release -p keyface-ffi
	tests/c/run soak target/release/libkeyface_ffi.so $(SOAK_SECONDS)

# The training recipe on tiny data, in an environment of its own: installs PyTorch by name (5 GB).
training-test: training-venv
	cd sdk/training && OMP_NUM_THREADS=1 $(CURDIR)/target/training/bin/python -m pytest -q tests

training-venv:
	test -x target/training/bin/python || $(PYTHON) -m venv target/training
	target/training/bin/pip install -q -r sdk/training/requirements.txt

clean:
	$(CARGO) clean
