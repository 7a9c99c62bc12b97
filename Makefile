# What people, CI and hooks run. From a bare checkout it needs Python >= 3.10 and stable Rust, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# One interpreter for every build, so that cargo and maturin do not undo each other's work.
export PYO3_PYTHON := $(abspath $(BIN)/python)

.PHONY: demo paper test test-statistics mutants lint docs notebook bench wheel clean extension

demo: $(VENV)/demo.stamp extension
	$(BIN)/rsmooth demo --out demo

# The paper's experiments on CIFAR-10 (docs/paper.md): hours; PAPER='--size gpu --data …' changes what is done.
paper: $(VENV)/demo.stamp extension
	$(BIN)/python examples/paper.py $(PAPER)

test: $(VENV)/dev.stamp extension
	cargo test --workspace
	$(BIN)/python -m pytest

# The laws of the noise on billions of values, and coverage on millions of trials: minutes.
test-statistics: $(VENV)/dev.stamp extension
	$(BIN)/python -m pytest -m slow

# Deliberate mistakes in soundness-critical lines, which the tests must catch: some minutes, more where Rust is rebuilt.
mutants: $(VENV)/dev.stamp extension
	$(BIN)/python tests/mutants.py

lint: $(VENV)/dev.stamp extension
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy tests/typing
	$(BIN)/basedpyright
	$(BIN)/python -m mypy.stubtest rsmooth._core

# The site, strictly: a link or a name that leads nowhere is an error. It begins at build/site/index.html.
docs: $(VENV)/docs.stamp extension
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c site . build/site

# The notebook once more, from top to bottom: its outputs are part of the repository.
notebook: $(VENV)/docs.stamp extension
	$(BIN)/python site/notebook.py examples/first_certificate.ipynb

bench: $(VENV)/dev.stamp extension
	cargo bench --workspace
	$(BIN)/python -m pytest benches --benchmark-only

# For this machine's processor; on Linux zig links it for glibc >= 2.17, where the compiler's own would need the system's.
wheel: $(BIN)/maturin
ifeq ($(shell uname),Linux)
	$(BIN)/python -m pip install ziglang
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/maturin build --release --out dist --zig --compatibility manylinux_2_17
else
	$(BIN)/maturin build --release --out dist
endif

clean:
	rm -rf $(VENV) target dist build docs/api
	find python -name '*.so' -delete

# Always: cargo knows what is up to date, and takes a second where everything is.
extension: $(BIN)/maturin
	$(BIN)/maturin develop --release

# Python packages: those of the demo, of everything, and of the site. pyproject.toml says which.
# The demo's torch is the one for the CPU alone, without gigabytes for GPUs, where its index answers; else it is PyPI's.
$(VENV)/demo.stamp: pyproject.toml | $(BIN)/maturin
	if $(BIN)/python -c "import urllib.request as u; u.urlopen('$(TORCH_INDEX)/torch/', timeout=5)" 2>/dev/null; \
	then $(BIN)/python -m pip install --index-url $(TORCH_INDEX) torch torchvision; fi
	$(BIN)/python -m pip install --no-build-isolation --editable '.[demo]'
	touch $@

$(VENV)/dev.stamp: pyproject.toml | $(BIN)/maturin
	$(BIN)/python -m pip install --no-build-isolation --editable '.[all]' --group test --group lint
	touch $@

$(VENV)/docs.stamp: pyproject.toml | $(BIN)/maturin
	$(BIN)/python -m pip install --no-build-isolation --editable '.[all]' --group docs
	touch $@

$(BIN)/maturin:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade 'pip>=25.1' 'maturin>=1.9,<2'
