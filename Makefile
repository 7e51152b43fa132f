# `make demo`: from a bare clone to spacy.load("en_btl_clinical").
# `make test`: the test suite. `make test-fast`: the tests that are not marked as slow.
# `make demo-spark`: the demo notes by a local Spark cluster and by one process, compared.
# `make fuzz`: 10,000 damaged files. `make audit`: known vulnerabilities of what is installed.
# `make bench`: what it costs, in ratios, on the CPU; BENCH="NAME ... --repeats 9" for a part of it.
# `make docs`: the documentation, as web pages in site/.
# `make results`: the pages of results and the README's table, from the committed result files.
# `make counts`: sizes and imports of the repository against their bounds.
# `make clean-install`: the two wheels in a new environment, without a network; with all of spacy-btl,
# and with what prediction needs and a compiled pipeline.
# `make runtime-wheel`: the wheel of spacy-btl that requires what prediction needs, in dist/runtime.
# Another torch than the pinned one: make demo TORCH_INDEX=<the address of its package index>

PYTHON ?= python3
TORCH_INDEX ?=
SPARK_MASTER ?= local-cluster[2,1,2048]
BENCH ?=

BIN := .venv/bin
DEMO := training/demo
DEMO_WHEEL := $(DEMO)/packages/en_btl_clinical-0.1.0-py3-none-any.whl
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile
TORCH := $(shell grep '^torch==' constraints.txt)

.PHONY: demo clean-install runtime-wheel demo-spark spark bench soak fuzz audit test test-fast lint docs results counts clean

demo: .venv/installed
	$(BIN)/python -m spacy btl fit assets/demo $(DEMO) --name btl_clinical --card configs/card_demo.yml
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall $(DEMO_WHEEL)
	$(BIN)/python scripts/show_entities.py en_btl_clinical assets/samples/*.txt

clean-install: demo .venv/compile
	rm -rf training/demo-compiled/packages && mkdir -p training/demo-compiled/packages
	$(BIN)/python -m spacy btl compile en_btl_clinical training/demo-compiled/pipeline --force
	$(BIN)/python -m spacy package training/demo-compiled/pipeline training/demo-compiled/packages --build wheel
	$(BIN)/python scripts/clean_install.py $(DEMO_WHEEL) \
		training/demo-compiled/packages/en_btl_clinical-*/dist/*.whl assets/samples/wrist.txt \
		$(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX))

# From the source distribution, so that nothing of this version stays in the clone.
runtime-wheel: .venv/installed
	rm -rf dist/runtime
	$(BIN)/python -m build --no-isolation --sdist --outdir dist/runtime
	SPACY_BTL_RUNTIME=1 $(BIN)/python -m pip wheel --no-deps --no-build-isolation -w dist/runtime \
		dist/runtime/*.tar.gz
	rm dist/runtime/*.tar.gz

demo-spark: demo spark
	rm -rf metrics/spark && mkdir -p metrics/spark
	$(BIN)/python -m spacy btl annotate en_btl_clinical assets/demo metrics/spark/local.parquet
	PYSPARK_SUBMIT_ARGS="--master $(SPARK_MASTER) pyspark-shell" $(BIN)/python -m spacy btl annotate \
		en_btl_clinical assets/demo metrics/spark/cluster.parquet --engine spark
	$(BIN)/python scripts/compare_entities.py metrics/spark/local.parquet metrics/spark/cluster.parquet

spark: .venv/spark
	@java -version 2>&1 | grep -qE 'version "(1[7-9]|[2-9][0-9])' || apt-get install -y openjdk-17-jre-headless || \
		{ echo "Spark needs Java 17 or later."; exit 1; }

bench: .venv/bench
	$(BIN)/python -m spacy project run encoder
	$(BIN)/python -m bench $(BENCH)

soak: .venv/installed
	$(BIN)/python -m bench.soak

fuzz: .venv/installed
	FUZZ_CASES=10000 $(BIN)/python -m pytest tests/fuzz

# --strict, since pip-audit by itself passes over what it cannot look up, and says that all is well.
# What is installed here, then what the wheel for prediction brings.
audit: .venv/installed runtime-wheel
	$(BIN)/python -m pip freeze --all --exclude-editable | grep == | sed 's/+.*//' > .venv/audit.txt
	rm -rf .venv/runtime && $(PYTHON) -m venv .venv/runtime
	.venv/runtime/bin/python -m pip install --quiet -c constraints.txt pip dist/runtime/*.whl
	.venv/runtime/bin/python -m pip freeze --all | grep == > .venv/audit-runtime.txt
	@failed=0; for list in .venv/audit-runtime.txt .venv/audit.txt; do echo $$list; \
		$(BIN)/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r $$list || failed=1; done; \
		[ $$failed = 0 ] || { echo "Not passed: a package above is vulnerable, or could not be looked up."; exit 1; }

test: .venv/installed
	$(PYTEST)

test-fast: .venv/installed
	$(PYTEST) -m "not slow"

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy spacy_btl scripts

# The variable silences a notice about the future of mkdocs.
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

results: .venv/installed
	$(BIN)/python scripts/results_page.py
	$(BIN)/python scripts/results_table.py
	$(BIN)/python scripts/pages.py
	$(BIN)/python scripts/replay_page.py
	$(BIN)/python scripts/guarantee_page.py

counts: .venv/installed
	$(BIN)/python scripts/counts.py

clean:
	rm -rf .venv corpus training metrics packages site assets/minilm project.lock

.venv/installed: setup.cfg constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --upgrade -c constraints.txt pip setuptools wheel
	$(BIN)/python -m pip install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(BIN)/python -m pip install -c constraints.txt -e '.[project,dev]'
	@touch $@

.venv/compile: .venv/installed
	$(BIN)/python -m pip install -c constraints.txt -e '.[compile]'
	@touch $@

.venv/spark: .venv/installed
	$(BIN)/python -m pip install -c constraints.txt -e '.[spark]'
	@touch $@

.venv/bench: .venv/installed
	$(BIN)/python -m pip install -c constraints.txt -e '.[bench]'
	@touch $@

.venv/docs: .venv/installed
	$(BIN)/python -m pip install -c constraints.txt -e '.[docs]'
	@touch $@
