PYTHON := python3 bootstrap.py

.PHONY: setup test fast chaos lint types format pins
setup: ; $(PYTHON)
test: ; $(PYTHON) -m pytest
fast: ; $(PYTHON) -m pytest -m "not real"
chaos: ; $(PYTHON) -m benchmarks.chaos.campaign --out benchmarks/results/chaos.json
lint: ; $(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .
types: ; $(PYTHON) -m mypy
format: ; $(PYTHON) -m ruff check --fix . && $(PYTHON) -m ruff format .

# Plain name==version lines for Python 3.11 to 3.13, no addresses. torch loses its local version, so that "+cpu" fits too.
COMPILE = .venv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --no-annotate --no-header \
	--extra eval --extra notebooks --extra dev
pins: setup
	UV_FIND_LINKS="$$PIP_FIND_LINKS" $(COMPILE) --extra cpu --override requirements/overrides-cpu.txt -o .venv/cpu.txt -q
	$(COMPILE) --extra gpu --override requirements/overrides-gpu.txt -o .venv/gpu.txt -q
	for kind in cpu gpu; do grep -v "== 'never'\|^torch==\|^pywin32==" .venv/$$kind.txt > requirements/$$kind.txt; \
		sed -n 's/^torch==\([0-9.]*\).*/torch==\1/p' .venv/$$kind.txt | sort -u >> requirements/$$kind.txt; done
