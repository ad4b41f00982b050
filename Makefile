# `make demo` and `make test` install what they need into .venv, once.
PYTHON ?= python3
BIN := .venv/bin
DEMO := demo

.PHONY: help demo demo-train demo-test-records demo-predict demo-evaluate demo-show test lint docs bench matrix clean

help:
	@echo "make demo   synthetic images -> records -> training -> submission and report, in $(DEMO)/"
	@echo "make test   the whole test suite"
	@echo "make lint   ruff and mypy"
	@echo "make docs   the documentation, in site/"
	@echo "make bench  speed against textbook implementations, on real files (half an hour, an otherwise idle machine)"
	@echo "make matrix the suite with TensorFlow 2.18, 2.20, 2.21 and with Colab's versions; TESTS=... for some files"
	@echo "make clean  removes .venv, .matrix, site and $(DEMO)/"

.venv/.installed: setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --editable .
	touch $@

.venv/.installed-test: .venv/.installed
	$(BIN)/python -m pip install --editable '.[test]'
	touch $@

demo: .venv/.installed
	$(BIN)/python -m tfrecord_tools.synth --output=$(DEMO) --num_patients=70 --malignant_rate=0.25
	$(BIN)/python -m tfrecord_tools.build --csv=$(DEMO)/train.csv --images=$(DEMO)/jpeg --output=$(DEMO)/records --image_size=64
	$(MAKE) --no-print-directory --jobs=2 demo-predict demo-evaluate demo-show

# Most of the time of a command is its start, on one core, so two run at a time.
demo-train:
	$(BIN)/python -m isic_tf.train --data_dir=$(DEMO)/records --workdir=$(DEMO)/run --fold=0 --flagfile=experiments/configs/demo.flags

demo-test-records:
	$(BIN)/python -m tfrecord_tools.build --csv=$(DEMO)/test.csv --images=$(DEMO)/jpeg --output=$(DEMO)/records --image_size=64 --split=test

demo-predict: demo-train demo-test-records
	$(BIN)/python -m isic_tf.predict --workdir=$(DEMO)/run --records='$(DEMO)/records/test*.tfrec' --output=$(DEMO)/submission.csv --sample_submission=$(DEMO)/sample_submission.csv

demo-evaluate: demo-train
	$(BIN)/python -m isic_tf.evaluate --predictions=$(DEMO)/run/oof.csv --labels=$(DEMO)/train.csv --records='$(DEMO)/records/train*.tfrec' --workdir=$(DEMO)/run --report=$(DEMO)/report.html

demo-show:
	$(BIN)/python -m isic_tf.show --records='$(DEMO)/records/train*.tfrec' --output=$(DEMO)/contact_sheet.png --images=4 --image_size=64 --augment

test: .venv/.installed-test
	$(BIN)/python -m pytest --numprocesses=2 --dist=worksteal

lint: .venv/.installed-test
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

docs: .venv/.installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: .venv/.installed-test
	@for claim in $$(ls experiments/benchmarks/*.py | grep -v -e common.py -e textbook.py -e tpu_compile.py -e release_comparison.py -e earlier_commit.py -e real_peers.py -e sklesion_predictions.py -e int8_accuracy.py -e unlike_detection.py -e unlike_encoding.py -e inference_engines.py -e server_load.py -e scale.py) experiments/benchmarks/release_comparison.py; do $(BIN)/python $$claim || exit 1; done

matrix:
	experiments/matrix.sh $(TESTS)

clean:
	rm -rf .venv .matrix site $(DEMO)
