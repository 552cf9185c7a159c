# make help lists the targets. CMake does the work; these are the usual ways to call it.
# As many compilers as there are cores, and as fit into memory: one takes up to 1.5 GiB.
JOBS   ?= $(shell awk -v cores=$$(nproc) '/^MemAvailable:/ { fit = int($$2 / 1572864) } \
  END { print fit < 1 ? 1 : fit < cores ? fit : cores }' /proc/meminfo)
PREFIX ?= /usr/local
release := build/release

.DEFAULT_GOAL := build
.PHONY: help bootstrap configure build run test nightly bench install format clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

bootstrap: ## Install the Debian packages that building needs and that are missing
	@tools/bootstrap

# Tests and benchmarks stay off until `make test` or `make bench` turns them on.
configure: bootstrap
	@cmake --preset release --log-level=WARNING > /dev/null

build: configure ## Build the command, build/release/cbit, and the library
	@cmake --build $(release) --parallel $(JOBS) --target product

run: ## Boot Linux under SEV, with a disk, a secret and a driver's mistake
	@tools/bootstrap run
	@$(MAKE) --no-print-directory build
	@examples/real_linux/show.sh $(release)/cbit

test: ## Build everything and run all tests, also under sanitizers and fuzzers
	@tools/bootstrap test
	@tools/test --jobs $(JOBS)

nightly: ## What takes longer than tests may: each header alone, the host's CPU as a judge, lies, hours
	@tools/bootstrap test
	@cmake --preset release --log-level=WARNING -D CBIT_TESTS=ON > /dev/null
	@cmake --build $(release) --parallel $(JOBS) --target product check_headers test_cpu -- -k 0
	@CBIT_ORACLE_CASES=1000000 $(release)/test_cpu --gtest_brief=1 --gtest_filter='*HostOracle*'
	@$(if $(BUSYBOX_SOURCES),tools/judge-busybox $(release)/cbit $(BUSYBOX_SOURCES))
	@tools/attack-nightly $(release)/cbit
	@tools/soak $(release)/cbit

bench: ## Run the benchmarks; the report is Markdown on stdout
	@tools/bootstrap bench
	@cmake --preset release --log-level=WARNING -D CBIT_BENCH=ON > /dev/null
	@cmake --build $(release) --parallel $(JOBS) --target benches >&2
	@tools/bench-report $(release)/bench

install: build ## Install below $(DESTDIR)$(PREFIX)
	@cmake --install $(release) --prefix $(PREFIX)

format: ## Format the C++ sources with clang-format 19
	@tools/format

clean: ## Remove the build folder
	rm -rf build
