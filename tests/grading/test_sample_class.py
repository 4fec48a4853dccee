"""A sample class on a real chapter, from release to CSV: eight made-up students get exactly the grades they must."""

import csv
import io
from pathlib import Path

import pytest

from spikelab.grading.course import NOTEBOOK, Course, read_notebook, tasks_of
from spikelab.grading.demo import run_demo, secret_lines
from spikelab.grading.reports import kinds
from spikelab.grading.sandbox import Limits

COURSE = Course(Path(__file__).resolve().parents[2])
CHAPTER = COURSE.chapters()[0]
LIMITS = Limits(cell_s=15, startup_s=60, notebook_s=100)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return run_demo(COURSE, CHAPTER, tmp_path_factory.mktemp("class"), limits=LIMITS, jobs=2, say=print)


@pytest.fixture(scope="module")
def tasks():
    return [task for task in tasks_of(read_notebook(COURSE.solutions / CHAPTER / NOTEBOOK)) if not task.manual]


def row_of(demo, student):
    return next(row for row in demo.grades.rows if row.student == student)


def test_every_grade_and_every_note_is_as_expected(demo):
    assert demo.wrong == []
    assert len(demo.results) == len(demo.samples) == 8


def test_perfect_and_copied_get_all_points_a_machine_can_give(demo, tasks):
    full = {task.id: task.points for task in tasks}
    for student in ("perfect", "copied-cell"):
        row = row_of(demo, student)
        assert {task.id: row.scores[task.id] for task in tasks} == full
        assert row.waiting == 1


def test_blank_and_assert_stripper_get_nothing_and_nobody_has_to_read_them(demo, tasks):
    for student in ("blank", "assert-stripper"):
        row = row_of(demo, student)
        assert set(row.scores.values()) == {0.0}
        assert row.waiting == 0


def test_half_right_gets_the_first_half(demo, tasks):
    row, half = row_of(demo, "half-right"), (len(tasks) + 1) // 2
    assert [row.scores[task.id] for task in tasks] == [
        task.points if number < half else 0 for number, task in enumerate(tasks)
    ]


def test_crash_keeps_what_came_before_it(demo, tasks):
    row, middle = row_of(demo, "crash"), len(tasks) // 2
    assert [row.scores[task.id] for task in tasks] == [
        task.points if number < middle else 0 for number, task in enumerate(tasks)
    ]


def test_endless_loop_loses_one_task_and_deleted_test_another(demo, tasks):
    loop, deleted = row_of(demo, "endless-loop"), row_of(demo, "deleted-test")
    assert [task.id for task in tasks if loop.scores[task.id] == 0] == [tasks[-1].id]
    assert [task.id for task in tasks if deleted.scores[task.id] == 0] == [tasks[0].id]


def test_each_accident_is_noted_for_the_instructor(demo):
    noted = {graded.student: kinds(graded.anomalies) for graded in demo.results if graded.anomalies}
    assert noted == {
        "crash": ["crash"],
        "endless-loop": ["timeout"],
        "deleted-test": ["deleted cell"],
        "copied-cell": ["copied cell"],
        "assert-stripper": ["assert canary"],
    }


def test_feedback_of_nobody_shows_a_hidden_line(demo):
    from html import unescape
    from re import sub

    secrets = secret_lines(read_notebook(COURSE.solutions / CHAPTER / NOTEBOOK))
    assert secrets
    assert {path.parts[-3] for path in demo.pages} == set(demo.samples)
    for page in demo.pages:
        text = unescape(sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))
        assert "HIDDEN TESTS" not in text
        leaked = {line for line in secrets if line in text}
        assert not leaked, f"{page.parts[-3]} reads {leaked}"
        assert "is not written yet" in text or page.parts[-3] not in ("blank", "half-right")


def test_csv_has_a_row_per_student_a_column_per_exercise_and_the_total(demo, tasks):
    header, *rows = csv.reader(io.StringIO(demo.csv))
    assert header[0] == "student"
    assert header[1 : 1 + len(tasks)] == [f"{task.id} ({task.points:g})" for task in tasks]
    assert [row[0] for row in rows] == sorted(demo.samples)
    total = next(i for i, name in enumerate(header) if name.startswith("total"))
    for row in rows:
        assert float(row[total]) == sum(float(value) for value in row[1:total] if value)


def test_nothing_is_left_in_the_course_itself(demo):
    assert demo.course.root != COURSE.root
    assert not (COURSE.grading / "submitted" / "assert-stripper").exists()
