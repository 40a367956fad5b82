# The front door. Everything is done by cmake and the scripts named here; results of builds stay in build/, what is
# fetched or built once stays in the cache outside the tree (KILN_CACHE, default ~/.cache/kiln).
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help deps run build test lint format bench soak install

export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1
PREFIX ?= /usr/local

help:
	@echo 'make run       build kiln and show it at work (examples/hello)'
	@echo 'make test      all tests: release + end to end, ASan + UBSan + short fuzzing, TSan'
	@echo 'make lint      formatting, clang-tidy, module graph, scripts'
	@echo 'make build     only build build/release/kiln'
	@echo 'make format    format C++ and Python'
	@echo 'make bench     the comparison with buildkitd (BENCH="--quick", "--only push", …)'
	@echo 'make soak      what takes longer than CI may: kills, long fuzzing, full comparison'
	@echo 'make install   install kiln and kilnd into $(PREFIX)/bin'
	@echo 'make deps      install every Debian package and build the static libraries'

deps:
	packaging/install-deps
	packaging/build-deps

build:
	packaging/install-deps build
	cmake --preset release --log-level=WARNING
	cmake --build build/release --target kiln

run: build
	packaging/install-deps run
	examples/hello/run

test:
	packaging/install-deps build run test
	python3 tools/ci/run.py test

lint:
	packaging/install-deps build test lint
	python3 tools/ci/run.py lint

format:
	packaging/install-deps lint
	tools/lint/clang_format --fix
	tools/lint/ruff --fix

bench:
	packaging/install-deps build run test
	cmake --preset release --log-level=WARNING
	cmake --build build/release --target kiln
	bench/run $(BENCH)

soak:
	packaging/install-deps build run test
	tests/soak

# Builds only if nothing was built, so that root need not run compilers.
install:
	[ -x build/release/kiln ] || $(MAKE) build
	install -D -m 755 -s build/release/kiln $(DESTDIR)$(PREFIX)/bin/kiln
	ln -sf kiln $(DESTDIR)$(PREFIX)/bin/kilnd
