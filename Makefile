# `make run` trains the chapter, `make test` runs the tests; each sets itself up first.
# The environment lives in .venv and is made once, from the pins in requirements.txt.
.PHONY: run test notebooks lint bench lock clean
PYTHON = .venv/bin/python
READY = .venv/.ready-$(firstword $(shell cat requirements.txt setup.py | cksum))

run: $(READY)
	$(PYTHON) -m chapters $(ARGS)

test: $(READY)
	$(PYTHON) -m pytest $(ARGS)

notebooks: $(READY)
	$(PYTHON) -m chapters.runner.notebooks $(ARGS)

lint: $(READY)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

bench: $(READY)
	$(PYTHON) -m benchmarks $(ARGS)

# The first Python 3.8-3.11 that can make an environment, else uv, which brings its own.
# The name of the marker changes with the pins, so that new pins are installed.
$(READY):
	@rm -rf .venv; \
	for python in python3.11 python3.10 python3.9 python3.8 python3 python; do \
	  if "$$python" -c 'import ensurepip, sys, venv; \
	      sys.exit(not (3, 8) <= sys.version_info < (3, 12))' >/dev/null 2>&1; then \
	    echo "Setting up .venv with $$("$$python" --version) (once; a minute or two)"; \
	    "$$python" -m venv .venv && exit 0; \
	  fi; \
	done; \
	if command -v uv >/dev/null 2>&1; then \
	  echo "Setting up .venv with uv and Python 3.11 (once; a minute or two)"; \
	  uv venv --quiet --seed --python 3.11 .venv && exit 0; \
	fi; \
	echo "No Python 3.8-3.11 found (nor uv): MXNet 1.9.1 runs on no other." >&2; \
	echo "Install one, or uv, and call make again." >&2; \
	exit 2
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check \
	  --require-hashes -r requirements.txt
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check \
	  --no-deps --no-build-isolation -e .
	@touch $@

# Renew the pins: a file for Python 3.8-3.11 on every platform, and one with the same
# versions for NVIDIA GPUs (Linux x86_64), for which there are other wheels. Needs uv.
lock:
	uv pip compile --quiet --universal --python-version 3.8 --generate-hashes \
	  --extra cpu --extra dev --upgrade --custom-compile-command "make lock" \
	  setup.py -o requirements.txt
	uv pip compile --quiet --universal --python-version 3.8 --generate-hashes \
	  --extra cu112 --extra dev --constraint requirements.txt \
	  --custom-compile-command "make lock" setup.py -o requirements-cu112.txt

clean:
	rm -rf .venv results *.egg-info .pytest_cache .ruff_cache
