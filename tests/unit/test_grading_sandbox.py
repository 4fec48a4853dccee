"""The sandbox: whatever a notebook does, the results so far are kept, the rest counts 0, and nothing keeps running."""

import sys
import time

import nbformat
import psutil
import pytest
from grading_fixtures import code, graded, notebook

from spikelab.grading.repair import OURS, notes_of
from spikelab.grading.sandbox import Limits, run

NEVER = "assert True, 'never'"
pytestmark = pytest.mark.slow
SHORT = Limits(cell_s=3, startup_s=60, notebook_s=60, memory_mb=4096)


def answer(text, name="answer"):
    return code(name, text)


def graded_cell(name, text=NEVER):
    return code(name, text, **graded(name, "test", 1))


def execute(*cells, limits=SHORT, **kwargs):
    return run(nbformat.from_dict(notebook(*cells)), limits, **kwargs)


def error_of(nb, name):
    cell = next(cell for cell in nb.cells if cell.id == name)
    return next((output.ename for output in cell.outputs if output.output_type == "error"), None)


def kinds(nb):
    return [entry["kind"] for entry in notes_of(nb)]


def test_scratch_folder_has_the_files_and_neither_solutions_nor_gradebook(tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKELAB_TERM_SEED", "a secret term")
    monkeypatch.setenv("API_TOKEN", "of the instructor")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "goal.png").write_bytes(b"x")
    (tmp_path / "other.ipynb").write_text("{}")
    looks = (
        "import os, spikelab, pathlib\n"
        "here = sorted(p.name for p in pathlib.Path('.').iterdir())\n"
        "library = pathlib.Path(spikelab.__file__).resolve()\n"
        "around = sorted(p.name for p in library.parents[1].iterdir())\n"
        "grading = sorted(p.name for p in (library.parent / 'grading').iterdir())\n"
        "print(here, around, grading, os.environ.get('SPIKELAB_TERM_SEED'), os.environ.get('API_TOKEN'))"
    )
    loud = "import sys\nprint('a warning', file=sys.stderr)\nassert 1 == 1, 'never'"
    nb = execute(
        answer(looks),
        graded_cell("test-loud", loud),
        graded_cell("test-fails", "assert 1 == 2, 'not equal'"),
        files=tmp_path,
    )
    assert nb.cells[0].outputs[0].text == "['images'] ['spikelab'] ['__init__.py', 'tasks.py'] a secret term None\n"
    assert [(o.output_type, o.name) for o in nb.cells[1].outputs] == [("stream", "stdout")]
    assert error_of(nb, "test-fails") == "AssertionError"
    assert nb.cells[2].outputs[0].evalue == "not equal"
    assert kinds(nb) == ["stderr"]
    assert "assert True" not in nb.cells[1].source
    assert nb.cells[1].source == loud


def test_crash_keeps_earlier_results_and_ends_what_it_started():
    spawn = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'], start_new_session=True)\n"
        "print(child.pid)"
    )
    nb = execute(
        answer(spawn), graded_cell("test-before"), answer("import os\nos._exit(1)", "exits"), graded_cell("test-after")
    )
    assert error_of(nb, "test-before") is None
    assert error_of(nb, "exits") == "KernelDied"
    assert error_of(nb, "test-after") == "NotRun"
    assert notes_of(nb) == [{"kind": "crash", "detail": "the kernel died in cell exits; no later cell ran"}]
    child = int(nb.cells[0].outputs[0].text)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_endless_loop_is_interrupted_and_later_cells_run():
    nb = execute(answer("while True:\n    pass"), graded_cell("test-after"), limits=SHORT._replace(cell_s=1))
    assert "CellTimeoutError" in [output.ename for output in nb.cells[0].outputs]
    assert error_of(nb, "test-after") is None
    assert kinds(nb) == ["timeout"]


def test_loop_that_ignores_interrupts_ends_with_the_notebooks_time():
    stubborn = (
        "while True:\n    try:\n        while True:\n            pass\n    except KeyboardInterrupt:\n        pass"
    )
    begun = time.monotonic()
    limits = Limits(cell_s=100, startup_s=60, notebook_s=6)
    nb = execute(graded_cell("test-before"), answer(stubborn), graded_cell("test-after"), limits=limits)
    assert time.monotonic() - begun < 30
    assert error_of(nb, "test-before") is None
    assert error_of(nb, "answer") == "NotebookTimeout"
    assert error_of(nb, "test-after") == "NotRun"
    assert kinds(nb) == ["timeout"]


STRIP = (
    "import ast\n"
    "class Drop(ast.NodeTransformer):\n"
    "    def visit_Assert(self, node):\n"
    "        return ast.copy_location(ast.Pass(), node)\n"
    "get_ipython().ast_transformers.append(Drop())"
)


def test_tests_that_do_not_run_count_nothing():
    """Asserts switched off, a tag that skips the cell, a deleted cell: no error, and yet no points."""
    tagged = graded_cell("test-skipped", "assert False, 'wrong'")
    tagged["metadata"]["tags"] = ["skip-execution"]
    deleted = graded_cell("test-deleted", "print('ran')")
    deleted["metadata"][OURS] = {"deleted": True}
    after = graded_cell("test-after", "assert False, 'wrong'")
    nb = execute(graded_cell("test-before"), tagged, deleted, answer(STRIP), after)
    assert error_of(nb, "test-before") is None
    assert error_of(nb, "test-skipped") == "AssertsSwitchedOff"
    assert error_of(nb, "test-deleted") == "DeletedCell"
    assert len(nb.cells[2].outputs) == 1
    assert error_of(nb, "test-after") == "AssertsSwitchedOff"
    assert kinds(nb) == ["assert canary", "assert canary"]


def test_memory_is_limited():
    hog = "block = bytearray(3_000_000_000)"
    nb = execute(answer(hog), graded_cell("test-after"), limits=SHORT._replace(memory_mb=2000))
    assert error_of(nb, "answer") == "MemoryError"
    assert error_of(nb, "test-after") is None


def test_flood_of_output_is_cut_off(monkeypatch):
    from spikelab.grading import sandbox

    monkeypatch.setattr(sandbox, "MAX_RESULT_BYTES", 100_000)
    nb = execute(graded_cell("test-before"), answer("print('x' * 1_000_000)"), graded_cell("test-after"))
    assert error_of(nb, "test-before") is None
    assert error_of(nb, "answer") == "TooMuchOutput"
    assert error_of(nb, "test-after") == "NotRun"


def test_worker_runs_under_a_command_such_as_a_container(tmp_path):
    log = tmp_path / "log"
    script = tmp_path / "container"
    script.write_text(f'#!/bin/sh\necho "$1" > {log}\nshift\nexec "$@"\n')
    script.chmod(0o755)
    command = [str(script), "{folder}/work", sys.executable, "-m", "spikelab.grading.sandbox"]
    nb = execute(answer("print('in it')"), command=command)
    assert nb.cells[0].outputs[0].text == "in it\n"
    assert log.read_text().strip().endswith("/work")


def test_worker_that_cannot_start_is_an_anomaly_and_no_exception():
    nb = execute(graded_cell("test-a"), command=[sys.executable, "-c", "raise SystemExit(3)"])
    assert error_of(nb, "test-a") == "WorkerDied"
    assert kinds(nb) == ["crash"]
