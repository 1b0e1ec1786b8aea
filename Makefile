# `make run` trains the chapter, `make test` runs the tests; each sets itself up first.
# The environment lives in .venv and is made once, from the pins in requirements.txt.
.PHONY: run test test-all notebooks lint bench lock clean
PYTHON = .venv/bin/python
READY = .venv/.ready-$(firstword $(shell cat requirements.txt setup.py | cksum))

run: $(READY)
	$(PYTHON) -m chapters $(ARGS)

test: $(READY)
	$(PYTHON) -m pytest $(ARGS)

# The tests on each Python from 3.8 to 3.13 that is found, in environments of their own.
test-all: $(READY)
	$(PYTHON) -m nox --session tests -- $(ARGS)

notebooks: $(READY)
	$(PYTHON) -m chapters.runner.notebooks $(ARGS)

lint: $(READY)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

bench: $(READY)
	$(PYTHON) -m benchmarks $(ARGS)

# BASE_PYTHON, or the first Python that can make an environment; else uv, which needs no ensurepip and
# brings a Python where there is none; else uv from pip, in a folder of its own.
# The name of the marker changes with the pins, so that new pins are installed.
$(READY):
	@rm -rf .venv .uv; \
	fits='import sys; sys.exit(not (3, 8) <= sys.version_info[:2] <= (3, 13))'; \
	fitting=; pip=; \
	for python in $(BASE_PYTHON) python3.11 python3.12 python3.13 python3.10 python3.9 python3.8 \
	    python3 python; do \
	  "$$python" -m pip --version >/dev/null 2>&1 && pip=$${pip:-$$python}; \
	  "$$python" -c "$$fits" >/dev/null 2>&1 || continue; \
	  fitting=$${fitting:-$$python}; \
	  if "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	    echo "Setting up .venv with $$("$$python" --version) (once; a minute or two)"; \
	    "$$python" -m venv .venv && exit 0; \
	  fi; \
	done; \
	uv=$$(command -v uv); \
	if [ -z "$$uv" ] && [ -n "$$pip" ]; then \
	  echo "Fetching uv into .uv, to make .venv with it"; \
	  "$$pip" -m pip install --quiet --disable-pip-version-check --target .uv uv \
	    && uv=.uv/bin/uv; \
	fi; \
	if [ -n "$$uv" ]; then \
	  echo "Setting up .venv with uv (once; a minute or two)"; \
	  "$$uv" venv --quiet --seed --python "$${fitting:-3.11}" .venv && exit 0; \
	fi; \
	if [ -n "$$fitting" ]; then \
	  echo "$$("$$fitting" --version) can't make environments without ensurepip." >&2; \
	  echo "On Debian and Ubuntu: apt install python3-venv; then call make again." >&2; \
	else \
	  echo "No Python 3.8 to 3.13 found, and no uv, which could bring one." >&2; \
	  echo "Install one of them, and call make again." >&2; \
	fi; \
	exit 2
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check \
	  --no-deps --require-hashes -r requirements.txt
	@PYTHONWARNINGS=ignore $(PYTHON) -m pip install --quiet \
	  --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(PYTHON) -c 'import sysconfig as s; \
	  open(s.get_path("purelib") + "/d2l-recsys.pth", "w").write("import d2l_recsys\n")'
	@touch $@

# Renew the pins: a file for Python 3.8 to 3.13 on every platform, and one with the same
# versions for NVIDIA GPUs (Linux x86_64), for which there are other wheels.
# No resolver accepts them, hence the overrides and, on installing, --no-deps.
LOCK = $(PYTHON) -m uv pip compile --quiet --universal --python-version 3.8 \
  --generate-hashes --override requirements-overrides.txt \
  --custom-compile-command "make lock" setup.py
lock: $(READY)
	$(LOCK) --extra cpu --extra dev --upgrade -o requirements.txt
	$(LOCK) --extra cu112 --extra dev --constraint requirements.txt \
	  -o requirements-cu112.txt

clean:
	rm -rf .venv .uv .nox results *.egg-info .pytest_cache .ruff_cache
