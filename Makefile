# `make run` trains the chapter, `make test` runs the tests; each sets itself up first.
# The environment lives in .venv and is made once, from the pins in requirements.txt.
.PHONY: run test test-all notebooks site site-test lint bench lock clean
PYTHON = .venv/bin/python
READY = .venv/.ready-$(firstword $(shell cat requirements.txt setup.py | cksum))
SITE_READY = .venv/.site-$(firstword $(shell cksum requirements-site.txt))

run: $(READY)
	$(PYTHON) -m chapters $(ARGS)

test: $(READY)
	$(PYTHON) -m pytest $(ARGS)

# The tests on each Python from 3.8 to 3.13 that is found, in environments of their own.
test-all: $(READY)
	$(PYTHON) -m nox --session tests -- $(ARGS)

notebooks: $(READY)
	$(PYTHON) -m chapters.runner.notebooks $(ARGS)

# The executed chapter as a web site in site/. It needs Python 3.11 or newer.
site: $(SITE_READY)
	$(PYTHON) docs/site/make_site.py $(ARGS)

# Build the site, and test it in Chromium.
site-test: site
	D2L_RECSYS_SITE=site $(PYTHON) -m pytest tests/site

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

# Add the site's packages to .venv. Packages that are already there keep their versions.
$(SITE_READY): $(READY)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "The site needs Python 3.11 or newer, and .venv has $$($(PYTHON) --version)." >&2; \
	  echo "Call: make clean; make site BASE_PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check \
	  --no-deps --require-hashes -r requirements-site.txt
	@touch $@

# Renew the pins: a file for Python 3.8 to 3.13 on every platform, one with the same
# versions for NVIDIA GPUs (Linux x86_64), for which there are other wheels, and one with
# the same versions and the packages of the site.
# No resolver accepts them, hence the overrides and, on installing, --no-deps.
LOCK = $(PYTHON) -m uv pip compile --quiet --universal \
  --generate-hashes --override requirements-overrides.txt \
  --custom-compile-command "make lock" setup.py
lock: $(READY)
	$(LOCK) --python-version 3.8 --extra cpu --extra dev --upgrade -o requirements.txt
	$(LOCK) --python-version 3.8 --extra cu112 --extra dev \
	  --constraint requirements.txt -o requirements-cu112.txt
	$(LOCK) --python-version 3.11 --extra cpu --extra dev --extra site \
	  --constraint requirements.txt --fork-strategy fewest --upgrade \
	  -o requirements-site.txt

clean:
	rm -rf .venv .uv .nox .site site results *.egg-info .pytest_cache .ruff_cache
