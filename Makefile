# DLHub: five short targets over Meson. `make demo` and `make test` install what they need first.
BUILD ?= build
PYTHON ?= python3
PREFIX ?= /usr/local
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: build demo test bench lint install setup

setup:
	@tools/setup.sh $(BUILD)

build: setup
	@ninja -C $(BUILD)

demo: build
	@$(PYTHON) tools/demo.py --build $(BUILD) $(DEMO_FLAGS)

test: build
	@tools/test.sh $(BUILD)

bench: build
	@$(PYTHON) bench/run.py --build $(BUILD) $(BENCH_FLAGS)

lint: build
	@tools/lint.sh $(BUILD)

install: build
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@meson install --quiet -C $(BUILD)
	@echo "installed: $(DESTDIR)$(PREFIX)/bin/dlhub and dlhubd"
