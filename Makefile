# Two commands: `make quickstart` shows what neuroinf does, `make test` checks that it does.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# as many processes as cores; all tests of a file in one of them, so that what they share is made once
PARALLEL := -n auto --maxprocesses 8 --dist loadfile

.PHONY: install quickstart test test-slow lint benchmarks docs-figures clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing neuroinf and what it needs into $(VENV) (two to four minutes the first time)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --progress-bar on -e ".[dev]"
	@touch $@

quickstart: install
	@echo "[1/3] simulate and train: configs/quickstart.yaml"
	$(BIN)/python train.py --config configs/quickstart.yaml --output checkpoints/quickstart.ckpt
	@echo "[2/3] compare with per-neuron fits, on a stimulus never trained on"
	$(BIN)/python evaluate.py checkpoints/quickstart.ckpt --neurons 200 --fits 20 --output reports/quickstart
	@echo "[3/3] infer one neuron from a recording"
	$(BIN)/neuroinf infer checkpoints/quickstart.ckpt reports/quickstart/example_recording.npz --output reports/quickstart/infer
	@cat reports/quickstart/table.txt
	@echo "report: $$(pwd)/reports/quickstart/report.html"

test: install
	$(BIN)/python -m pytest -q $(PARALLEL)

test-slow: install
	$(BIN)/python -m pytest -q -m slow $(PARALLEL)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs-figures: install
	$(BIN)/python docs/make_figures.py
	$(BIN)/python docs/prc_figures.py

clean:
	rm -rf runs reports build .pytest_cache .ruff_cache
