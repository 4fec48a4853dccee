"""The rehearsal: solution, untouched notebook and wrong answers in one process, judged as a learner would be."""

import json

import pytest
from grading_fixtures import CHAPTER, cell_of, code, graded, notebook, solution_cells, write_course

from spikelab.grading.contract import TERM_SEEDS, _rehearse, rehearse
from spikelab.grading.course import CourseError
from spikelab.grading.release import fresh_release
from spikelab.grading.wrong_answers import Wrong

WRONG = {
    "double": [
        Wrong("square", "def double(x): return x * x", hint="twice?"),
        Wrong("absolute", "def double(x): return 2 * abs(x)", hint="a square or a constant"),
        Wrong("raises", "def double(x): return 2 * x / 0", hint="Two times three?"),
        Wrong("not caught", "def double(x): return 2.0 * x", hint="never"),
        Wrong("no Python", "def double(x) return x", hint="SyntaxError"),
        Wrong("endless", "def double(x):\n    while True: pass", hint="took more than"),
        Wrong("exits", "raise SystemExit('bye')", hint="SystemExit: bye"),
    ],
    "shift": [Wrong("by ignored", "def shift(x, by=1): return x + 1", hint="by is ignored")],
}


@pytest.fixture(scope="module")
def chapter(tmp_path_factory):
    cells = solution_cells()
    loud = "import sys\nprint('careful', file=sys.stderr)\nassert attempt(shift, 1) == 2, 'no'"
    cells.append(code("test-loud", loud, **graded("test-loud", "test", 1)))
    cells.append(code("breaks", "1 / 0"))
    course = write_course(tmp_path_factory.mktemp("course"), cells)
    student = json.loads(fresh_release(course, CHAPTER)["exercises.ipynb"])
    # A test that an untouched notebook passes must not go unnoticed.
    cell_of(student, "test-loud")["source"] = "assert True, 'never'"
    return notebook(*cells), student, course.solutions / CHAPTER


@pytest.fixture(scope="module")
def rehearsal(chapter):
    solution, student, folder = chapter
    return rehearse(solution, student, WRONG, folder, cell_s=0.5)


def test_solution_passes_with_every_term_seed(rehearsal):
    assert set(rehearsal.solution) == set(TERM_SEEDS)
    assert all(outcome.passed for outcomes in rehearsal.solution.values() for outcome in outcomes.values())


def test_stderr_and_cells_that_break_are_seen(rehearsal):
    assert rehearsal.solution["0"]["test-loud"].stderr == "careful\n"
    assert rehearsal.solution["0"]["test-double"].stderr == ""
    assert rehearsal.broken == {"breaks": "ZeroDivisionError: division by zero"}


def test_untouched_notebook_fails_all_but_the_empty_test(rehearsal):
    assert {name: outcome.passed for name, outcome in rehearsal.student.items()} == {
        "test-double": False,
        "test-shift": False,
        "test-loud": True,
    }
    assert "`double` is not written yet" in rehearsal.student["test-double"].message


@pytest.mark.parametrize(("task", "wrong"), [(task, wrong) for task, listed in WRONG.items() for wrong in listed])
def test_wrong_answers_get_their_hint_and_right_ones_pass(rehearsal, task, wrong):
    outcomes = rehearsal.wrong[task][wrong.name]
    assert len(outcomes) == len(TERM_SEEDS)
    for outcome in outcomes:
        assert outcome.passed == (wrong.name == "not caught")
        assert outcome.passed or wrong.hint in outcome.message


def test_warm_process_says_what_a_run_in_this_one_says(chapter, rehearsal):
    solution, student, _ = chapter
    answers = {task: [wrong._asdict() for wrong in listed] for task, listed in WRONG.items()}
    job = {"solution": solution, "student": student, "wrong": answers, "cell_s": 0.5}
    here = _rehearse(json.loads(json.dumps(job)))

    def said(outcomes):
        return {name: (outcome.passed, outcome.message) for name, outcome in outcomes.items()}

    assert said(here["student"]) == said(rehearsal.student)
    assert said(here["solution"]["1"]) == said(rehearsal.solution["1"])
    assert {name: listed[0][:2] for name, listed in here["wrong"]["double"].items()} == {
        name: tuple(listed[0][:2]) for name, listed in rehearsal.wrong["double"].items()
    }
    assert here["broken"] == rehearsal.broken


def test_process_that_dies_or_takes_too_long_is_an_error(tmp_path):
    dying = notebook(code("dies", "import os\nos._exit(3)"))
    with pytest.raises(CourseError, match="ended with 3"):
        rehearse(dying, notebook(), {}, tmp_path)
    slow = notebook(code("slow", "import time\ntime.sleep(30)"))
    with pytest.raises(CourseError, match=r"took more than 0\.2 s"):
        rehearse(slow, notebook(), {}, tmp_path, limit_s=0.2)
