# The course's commands. `make` lists them. Each first makes .venv from requirements.lock, or brings it up to date.
#   make PYTHON=python3.12         with that Python (3.11 to 3.13); without it the first that fits
#   make TORCH_INDEX=address       look for torch in that index too (its CPU builds, for example)

PYTHON ?=
TORCH_INDEX ?=
UPGRADE ?=

PY = .venv/bin/python
ENVIRONMENT = TORCH_INDEX='$(TORCH_INDEX)' sh .ci/environment '$(PYTHON)'

.DEFAULT_GOAL := help
.PHONY: help book lab test quick release grade-demo bench lock strip env clean distclean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

book: env ## build the book, every lesson executed: _build/html/index.html
	@echo "book: executing the lessons and building _build/html; any warning fails it"
	@$(PY) book/build.py --strict

lab: env ## open JupyterLab on the chapters
	@echo "lab: opening JupyterLab on chapters/ (Ctrl-C ends it)"
	@root=; [ "$$(id -u)" -ne 0 ] || root=--allow-root; \
	$(PY) -m jupyterlab $$root --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/chapters

test: env ## run every stage of the tests, as CI does
	@echo "test: every stage of tests/stages.py"
	@$(PY) tests/stages.py

quick: env ## lint, unit tests and contract in under two minutes
	@echo "quick: lint, and the unit tests and contract without what is slow"
	@$(PY) tests/stages.py --quick

release: env ## regenerate the student notebooks in chapters/ from solutions/
	@echo "release: regenerating chapters/*/exercises.ipynb from solutions/"
	@.venv/bin/spikelab grade release

grade-demo: env ## run the whole grading cycle on a sample class
	@echo "grade-demo: release, submit, autograde, feedback and grade table of a sample class"
	@.venv/bin/spikelab grade demo

bench: env ## time the neurons and the detector against snnTorch
	@echo "bench: speed and memory of spikelab.neurons"
	@$(PY) -m benchmarks.neurons
	@echo "bench: speed and memory of a training step of SNN-YOLOv3"
	@$(PY) -m benchmarks.detection

env: ## make .venv, or bring it up to date, and nothing else
	@$(ENVIRONMENT)

# Pins stay where they are as long as pyproject.toml admits them. UPGRADE="name name" renews those, UPGRADE=all
# every one but torch, whose build is chosen by hand.
lock: env ## pin anew what pyproject.toml asks for: UPGRADE="name ..." or UPGRADE=all
	@echo "lock: resolving pyproject.toml into requirements.lock"
	@sh .ci/lock '$(UPGRADE)'

strip: env ## take outputs and traces of the editor out of lessons and solutions
	@echo "strip: outputs, counters and editor's metadata leave the lessons and solutions; cell ids stay"
	@$(PY) .ci/strip.py

clean: ## remove the built book and the caches of tests and linters
	@echo "clean: removing _build, the caches of pytest and ruff, coverage data"
	@rm -rf _build .pytest_cache .ruff_cache .coverage .coverage.* coverage.xml

distclean: clean ## clean, and remove .venv
	@echo "distclean: removing .venv"
	@rm -rf .venv
