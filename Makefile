PYTHON := python3 bootstrap.py

EXAMPLES = 2000
.PHONY: setup test fast fuzz bench chaos chaos-real docs lint types format pins package audit
setup: ; $(PYTHON)
test: ; $(PYTHON) -m pytest
fast: ; $(PYTHON) -m pytest -m "not real"
fuzz: ; TOOLKIT_FUZZ=$(EXAMPLES) $(PYTHON) -m pytest tests/test_fuzz.py --timeout 3600
bench:
	$(PYTHON) benchmarks/speed/store.py --out build/bench/store.json --prompts 20000 --share 5000 --pairs 20000 \
		--answers 10240 --growth 5000 10000 20000 --judged 1000 5000 10000
	$(PYTHON) benchmarks/speed/pipeline.py --out build/bench/pipeline.json --prompts 100 1000
	$(PYTHON) benchmarks/speed/diagnostics.py --out build/bench/diagnostics.json --pairs 8 --rounds 1 --read 20 --first 2 \
		--each 2 --few 1
	$(PYTHON) benchmarks/speed/engines.py --out build/bench/engines.json --prompts 4 --rounds 1
	$(PYTHON) benchmarks/speed/training.py --out build/bench/training.json --pairs 8 --rounds 1
	$(PYTHON) benchmarks/speed/overhead.py --out build/bench/overhead.json --set prompts.part_size=4 --set iterations=1
	$(PYTHON) benchmarks/speed/peers.py --out build/bench/peers.json --prompts 4
chaos: ; $(PYTHON) -m benchmarks.chaos.campaign --out benchmarks/results/chaos.json
chaos-real: ; $(PYTHON) -m benchmarks.chaos.campaign --real --out benchmarks/results/chaos_real.json
docs: ; NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict && echo build/site/index.html
lint: ; $(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .
types: ; $(PYTHON) -m mypy
format: ; $(PYTHON) -m ruff check --fix . && $(PYTHON) -m ruff format .

# The wheel in a new environment with what it declares, by a registry. VERSION: a Python, or the path of one.
VERSION = 3.11
package: setup
	rm -rf dist build/clean && .venv/bin/uv build -q && .venv/bin/uv venv -q --python $(VERSION) build/clean
	.venv/bin/uv pip install -q --python build/clean/bin/python dist/*.whl && .venv/bin/uv pip check --python build/clean/bin/python
	TOOLKIT_CLEAN=$(CURDIR)/build/clean/bin $(PYTHON) -m pytest tests/packaging

# Plain name==version lines for Python 3.11 to 3.13, no addresses. torch loses its local version, so that "+cpu" fits too.
COMPILE = .venv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --no-annotate --no-header \
	--extra eval --extra notebooks --extra docs --extra dev
pins: setup
	UV_FIND_LINKS="$$PIP_FIND_LINKS" $(COMPILE) --extra cpu --override requirements/overrides-cpu.txt -o .venv/cpu.txt -q
	$(COMPILE) --extra gpu --override requirements/overrides-gpu.txt -o .venv/gpu.txt -q
	for kind in cpu gpu; do grep -v "== 'never'\|^torch==\|^pywin32==" .venv/$$kind.txt > requirements/$$kind.txt; \
		sed -n 's/^torch==\([0-9.]*\).*/torch==\1/p' .venv/$$kind.txt | sort -u >> requirements/$$kind.txt; done

# Known holes in the pinned versions; needs a network. What can be checked without one is tests/test_supply_chain.py.
audit: ; $(PYTHON) -m requirements.audit --strict
