"""`make strip` takes out what running leaves in a notebook, and nothing that an author put there."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / ".ci" / "strip.py"
SPEC = importlib.util.spec_from_file_location("spikelab_strip", PATH)
strip = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(strip)

MARKS = {
    "tags": ["hide-input"],
    "mystnb": {"figure": {"caption": "It halves."}, "image": {"alt": "A falling line."}},
    "nbgrader": {"grade": False, "grade_id": "decay", "locked": False, "schema_version": 3, "solution": True},
}


def notebook(**code) -> dict:
    cell = {"cell_type": "code", "id": "decay", "source": ["β = 0.9"], "metadata": MARKS, "execution_count": None}
    return {
        "cells": [
            {"cell_type": "markdown", "id": "title", "metadata": {}, "source": ["# τ"]},
            cell | {"outputs": []} | code,
        ],
        "metadata": strip.METADATA,
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def written(path: Path, content: dict) -> Path:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def clean(tmp_path):
    return written(tmp_path / "clean.ipynb", notebook())


@pytest.fixture
def used(tmp_path):
    """The clean notebook after a run in JupyterLab."""
    output = {"name": "stdout", "output_type": "stream", "text": ["0.9"]}
    traces = {"execution": {"iopub.status.busy": "now"}, "scrolled": True, "editable": True, "collapsed": False}
    content = notebook(outputs=[output], execution_count=7, metadata=MARKS | traces)
    content["metadata"] = {
        "kernelspec": {"display_name": "mine", "language": "python", "name": "mine"},
        "language_info": {"name": "python", "version": "3.11.7"},
        "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {}}},
    }
    return written(tmp_path / "used.ipynb", content)


def test_a_notebook_that_was_run_becomes_again_what_it_was(clean, used):
    assert strip.main([str(used)]) == 0
    assert used.read_bytes() == clean.read_bytes()


def test_a_clean_notebook_is_not_written(clean, capsys):
    clean.chmod(0o444)
    before = clean.stat().st_mtime_ns
    assert strip.main([str(clean)]) == 0
    assert clean.stat().st_mtime_ns == before
    assert capsys.readouterr().out == ""


def test_check_writes_nothing_and_fails_only_on_what_needs_it(clean, used, capsys):
    before = used.read_bytes()
    assert strip.main(["--check", str(clean)]) == 0
    assert strip.main(["--check", str(clean), str(used)]) == 1
    assert used.read_bytes() == before
    out = capsys.readouterr().out
    assert "used.ipynb: holds outputs" in out
    assert "clean.ipynb" not in out


@pytest.mark.parametrize("text", ["", "{}", "not json", '{"cells": 3}'])
def test_what_is_no_notebook_is_named_and_left_alone(tmp_path, capsys, text):
    path = tmp_path / "broken.ipynb"
    path.write_text(text)
    assert strip.main([str(path)]) == 1
    assert "broken.ipynb" in capsys.readouterr().out
    assert path.read_text() == text


def test_cells_without_ids_are_refused(tmp_path, capsys):
    content = notebook()
    del content["cells"][1]["id"]
    content["nbformat_minor"] = 4
    path = written(tmp_path / "old.ipynb", content)
    assert strip.main([str(path)]) == 1
    assert "without an id" in capsys.readouterr().out
