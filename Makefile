# `make` lists the targets. The environment is in .venv; see scripts/install.sh for its content.

PYTHON ?=
ARGS ?=
# Two pytest processes divide the test files, slow ones first; WORKERS= runs a single process, for a debugger.
WORKERS ?= -n 2 --dist loadfile --no-loadscope-reorder
# Busy-waiting threads slow small models down when other programs use the same cores.
OMP_WAIT_POLICY ?= PASSIVE
export PYTHON OMP_WAIT_POLICY

.DEFAULT_GOAL := help
.PHONY: help install demo glue-demo diagnose-demo test quality docs clean

help:
	@echo 'make install   build .venv (about 5 minutes, 3 GB free; later calls do only what is missing)'
	@echo '               PYTHON=/path/to/python3.11 names the Python to use (3.11 to 3.13; the first on PATH)'
	@echo '               PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu fetches a smaller torch, without CUDA'
	@echo 'make demo      install, then train a small masked LM and fill some masks'
	@echo '               ARGS="--data FILE..." passes options; or call .venv/bin/python scripts/demo_mlm.py --data FILE...'
	@echo 'make glue-demo install, then fine-tune that model; ARGS="--glue-dir DIR" does so on CoLA and RTE'
	@echo 'make diagnose-demo  install, then plant wrong labels in a small task and find them'
	@echo 'make test      install, then run the tests; ARGS="-k mask -m '"'not slow'"'" passes options to pytest'
	@echo 'make quality   install, then run ruff and mypy'
	@echo 'make docs      install, then write the API reference from the docstrings: docs/api/index.html'
	@echo 'make clean     remove what tests and builds leave behind; .venv and checkpoints stay'

install:
	@scripts/install.sh

demo: install
	.venv/bin/python scripts/demo_mlm.py $(ARGS)

glue-demo: install
	.venv/bin/python scripts/demo_glue.py $(ARGS)

diagnose-demo: install
	.venv/bin/python scripts/demo_diagnose.py $(ARGS)

test: install
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest tests $(WORKERS) $(ARGS)

quality: install
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/mypy

docs: install
	.venv/bin/python docs/build_api.py -o docs/api

clean:
	rm -rf build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -prune -exec rm -rf {} +
