"""`spikelab check`: what it says of good, failing, missing, corrupt and foreign notebooks."""

import copy
import json

import nbformat
import pytest
from grading_fixtures import CHAPTER, cell_of, code, graded, markdown, notebook, write_course, write_notebook
from typer.testing import CliRunner

from spikelab.cli import app
from spikelab.grading.check import _failure as failure_of
from spikelab.grading.check import check, find_notebook, load
from spikelab.grading.course import CourseError, read_notebook
from spikelab.grading.release import release

TALKS = "import sys\n\ndef double(x):\n    print('a warning', file=sys.stderr)\n    return 2 * x"


@pytest.fixture(scope="module")
def chapter(tmp_path_factory):
    course = write_course(tmp_path_factory.mktemp("course"))
    release(course, CHAPTER)
    return course.released / CHAPTER


@pytest.fixture
def student(chapter):
    return copy.deepcopy(read_notebook(chapter / "exercises.ipynb"))


def invoke(*arguments):
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


@pytest.mark.slow
def test_right_answers_pass_even_if_they_write_to_stderr(chapter, student, tmp_path):
    cell_of(student, "double")["source"] = TALKS
    cell_of(student, "shift")["source"] = "def shift(x, by=1): return x + by"
    path = write_notebook(tmp_path / "exercises.ipynb", student)
    before = path.read_bytes()
    result = invoke(path)
    assert result.exit_code == 0, result.output
    assert "5 of 5 points" in result.output
    assert path.read_bytes() == before


@pytest.mark.slow
def test_failing_and_unstarted_tasks_are_told_apart_and_explained(chapter, student):
    cell_of(student, "double")["source"] = "def double(x): return x * x"
    path = write_notebook(chapter / "exercises.ipynb", student)
    result = invoke(chapter, "--json")
    assert result.exit_code == 1
    found = json.loads(result.output)
    tasks = {task["task"]: task for task in found["tasks"]}
    assert {name: task["status"] for name, task in tasks.items()} == {
        "double": "failed",
        "shift": "not started",
        "why": "not started",
    }
    assert tasks["double"]["message"] == "double(3) should be 6, yours is 9: twice?"
    assert found["points"] == 0
    assert not found["passed"]
    assert path.is_file()


@pytest.mark.slow
def test_answer_that_does_not_run_is_told_before_what_its_test_missed(chapter, student):
    cell_of(student, "double")["source"] = "def double(x)\n    return 2 * x"
    cell_of(student, "shift")["source"] = "table = {}\ndef shift(x, by=table['by']): return x + by"
    write_notebook(chapter / "exercises.ipynb", student)
    said = {task.task: task.message for task in check(chapter).tasks}
    assert said["double"] == "the cell of your answer stops with SyntaxError: expected ':' (line 1 of the cell)"
    assert said["shift"].startswith("the cell of your answer stops with KeyError: 'by', at: ")
    assert "def shift(x, by=table['by'])" in said["shift"]


@pytest.mark.slow
def test_changed_and_missing_tests_do_not_pass(chapter, student):
    cell_of(student, "double")["source"] = "def double(x): return 2 * x"
    cell_of(student, "test-double")["source"] = "assert True"
    student["cells"].remove(cell_of(student, "test-shift"))
    cell_of(student, "why")["source"] = "Because."
    write_notebook(chapter / "exercises.ipynb", student)
    report = check(chapter)
    assert [(task.task, task.status) for task in report.tasks] == [
        ("double", "passed"),
        ("why", "graded by hand"),
        ("shift", "failed"),
    ]
    assert "test-double was changed" in report.warnings[0]
    assert "graded cell of shift is missing" in report.warnings[1]
    assert not report.passed


@pytest.mark.slow
def test_kernel_that_dies_is_reported_with_its_mend(tmp_path):
    dying = notebook(code("test-a", "import os\nos._exit(1)", **graded("test-a", "test", 1)))
    result = invoke(write_notebook(tmp_path / "dying.ipynb", dying))
    assert result.exit_code == 2
    assert "the kernel died" in result.output


def _failed(*outputs, points=2):
    cell = code("test-a", "assert f() == 2", **graded("test-a", "test", points))
    cell["outputs"] = list(outputs)
    return failure_of(nbformat.from_dict(cell))


def _error(name, value="", *traceback):
    return {"output_type": "error", "ename": name, "evalue": value, "traceback": list(traceback)}


def test_failure_is_told_in_one_sentence():
    assert _failed() is None
    assert _failed(_error("AssertionError", "\x1b[31mtoo small\x1b[0m by 0.3")) == "too small by 0.3"
    assert _failed(_error("NameError", "name 'f' is not defined")) == "NameError: name 'f' is not defined"
    nameless = _error("AssertionError", "", "-----------", "AssertionError", "\x1b[0;32m----> 1\x1b[0m assert f() == 2")
    assert _failed(nameless) == "an assert without a message failed: assert f() == 2"
    assert _failed(_error("AssertionError")) == "an assert without a message failed: see the cell"
    assert "a loop that never ends" in _failed(_error("KeyboardInterrupt"), _error("CellTimeoutError"))
    partial = {"output_type": "execute_result", "data": {"text/plain": "0.5"}, "metadata": {}, "execution_count": 1}
    assert _failed(partial) == "0.5 of 2 points"


BAD = {
    "missing folder's notebook": (lambda folder: folder, "missing"),
    "missing file": (lambda folder: folder / "nowhere.ipynb", "missing"),
    "no notebook by name": (lambda folder: _text(folder / "notes.txt", "hello"), "foreign"),
    "no JSON": (
        lambda folder: _text(
            folder / "a.ipynb",
            '{"cells": [',
        ),
        "corrupt",
    ),
    "not UTF-8": (lambda folder: _bytes(folder / "a.ipynb", b"\xff\xfe\x00{"), "corrupt"),
    "JSON, but no notebook": (lambda folder: _text(folder / "a.ipynb", "[1, 2]"), "corrupt"),
    "no graded cell": (lambda folder: write_notebook(folder / "a.ipynb", notebook(markdown("a", "text"))), "foreign"),
    "a test cell twice": (lambda folder: write_notebook(folder / "a.ipynb", notebook(_test(), _test())), "corrupt"),
}


def _text(path, text):
    path.write_text(text)
    return path


def _bytes(path, content):
    path.write_bytes(content)
    return path


def _test():
    return code("test-a", "assert True", **graded("test-a", "test", 1))


@pytest.mark.parametrize("name", BAD)
def test_bad_notebook_exits_2_and_says_which_and_how_to_mend(name, tmp_path):
    make, word = BAD[name]
    path = make(tmp_path)
    result = invoke(path)
    assert result.exit_code == 2
    assert f"spikelab: {word}: " in result.output
    assert str(path) in result.output
    with pytest.raises(CourseError, match=rf"^{word}: .*\b(Give|Take|take|Delete|does not end in)\b"):
        load(path)


def test_json_of_a_bad_notebook_carries_the_error(tmp_path):
    result = CliRunner().invoke(app, ["check", "--json", str(tmp_path / "nowhere.ipynb")])
    assert result.exit_code == 2
    assert "does not exist" in json.loads(result.stdout)["error"]


def test_notebook_of_another_chapter_is_foreign(chapter, tmp_path):
    (tmp_path / "meta.yml").write_text("objectives:\n  - {id: LO-91.1, text: x, tasks: [triple]}\n")
    other = write_notebook(tmp_path / "exercises.ipynb", notebook(_test()))
    with pytest.raises(CourseError, match=r"foreign: .*its tasks \(a\) are of another chapter; here belong triple"):
        load(tmp_path)
    assert invoke(other).exit_code == 2


def test_folder_means_its_exercises(chapter):
    assert find_notebook(chapter) == chapter / "exercises.ipynb"
