"""A batch of submissions: bad ones do not stop it, nothing is graded twice, and the scores come out right."""

import copy
import csv
import io
import json

import pytest
from grading_fixtures import CHAPTER, cell_of, write_course, write_notebook
from nbgrader.api import Gradebook
from typer.testing import CliRunner

from spikelab.cli import app
from spikelab.grading import autograde as grading
from spikelab.grading.autograde import autograde
from spikelab.grading.course import CourseError, read_notebook
from spikelab.grading.demo import sample_class, secret_lines
from spikelab.grading.feedback import write_feedback
from spikelab.grading.release import release
from spikelab.grading.reports import grade_table, summary, to_csv
from spikelab.grading.sandbox import Limits

pytestmark = pytest.mark.slow
LIMITS = Limits(cell_s=10, startup_s=60, notebook_s=60)


def invoke(course, *arguments):
    return CliRunner().invoke(app, ["grade", *arguments, "--root", str(course.root)])


def submit(course, student, content):
    path = course.grading / "submitted" / student / CHAPTER / "exercises.ipynb"
    if isinstance(content, dict):
        return write_notebook(path, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def samples_of(course):
    return sample_class(
        read_notebook(course.solutions / CHAPTER / "exercises.ipynb"),
        read_notebook(course.released / CHAPTER / "exercises.ipynb"),
    )


@pytest.fixture(scope="module")
def graded_course(tmp_path_factory):
    """A course with a right, a half right and four unreadable submissions, graded once."""
    course = write_course(tmp_path_factory.mktemp("course"))
    release(course, CHAPTER)
    samples = samples_of(course)
    submit(course, "a-corrupt", b'{"cells": [')
    submit(course, "b-no-notebook", b"[]")
    (course.grading / "submitted" / "c-other-name" / CHAPTER).mkdir(parents=True)
    (course.grading / "submitted" / "c-other-name" / CHAPTER / "exercises (1).ipynb").write_text("{}")
    linked = submit(course, "d-linked", samples["perfect"].notebook)
    (linked.parent / "data").symlink_to(course.solutions)
    submit(course, "e [odd] name", samples["half-right"].notebook)
    submit(course, "z-right", samples["perfect"].notebook)
    results = autograde(course, CHAPTER, limits=LIMITS, jobs=2)
    return course, {graded.student: graded for graded in results}


def test_unreadable_submissions_count_0_are_named_and_stop_nobody(graded_course):
    _, results = graded_course
    assert list(results) == ["a-corrupt", "b-no-notebook", "c-other-name", "d-linked", "e [odd] name", "z-right"]
    notes = {name: graded.anomalies for name, graded in results.items()}
    assert [notes[name][0]["kind"] for name in list(results)[:4]] == [
        "unreadable",
        "unreadable",
        "missing notebook",
        "unreadable",
    ]
    assert "exercises (1).ipynb: rename it" in notes["c-other-name"][0]["detail"]
    assert "links are not accepted: data" in notes["d-linked"][0]["detail"]
    assert all(results[name].score == 0 for name in list(results)[:4])
    assert all(results[name].waiting == 0 for name in list(results)[:4])


def test_right_and_half_right_answers_get_their_points(graded_course):
    _, results = graded_course
    right, half = results["z-right"], results["e [odd] name"]
    assert (right.score, right.max_score, right.waiting, right.anomalies) == (5, 9, 1, [])
    assert (half.score, half.waiting, half.anomalies) == (2, 0, [])


def test_gradebook_is_nbgraders_and_manual_points_survive_another_run(graded_course):
    course, _ = graded_course
    about = course.config().CourseDirectory
    with Gradebook(about.db_url, about.course_id) as gradebook:
        grade = gradebook.find_grade("why", "exercises", CHAPTER, "z-right")
        assert grade.needs_manual_grade
        grade.manual_score, grade.needs_manual_grade = 3, False
        gradebook.db.commit()
    table = grade_table(course, CHAPTER)
    row = next(row for row in table.rows if row.student == "z-right")
    assert row.scores == {"double": 2, "shift": 3, "why": 3}
    assert (row.total, row.waiting) == (8, 0)
    again = {graded.student: graded for graded in autograde(course, CHAPTER, limits=LIMITS)}
    assert again["z-right"].skipped
    assert again["z-right"].score == 8


def test_what_is_graded_is_skipped_until_it_changes(graded_course, monkeypatch):
    course, _ = graded_course
    runs = []

    def count(nb, limits, **kwargs):
        runs.append(nb)
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs = []
        return nb

    monkeypatch.setattr(grading, "run", count)
    seen = []
    first = autograde(course, CHAPTER, limits=LIMITS, report=seen.append)
    assert all(graded.skipped for graded in first)
    assert len(seen) == 6
    assert not runs
    path = course.grading / "submitted" / "e [odd] name" / CHAPTER / "exercises.ipynb"
    path.write_text(path.read_text() + "\n")
    assert [graded.student for graded in autograde(course, CHAPTER, limits=LIMITS) if not graded.skipped] == [
        "e [odd] name"
    ]
    monkeypatch.setenv("SPIKELAB_TERM_SEED", "another term")
    autograde(course, CHAPTER, ["z-right"], limits=LIMITS)
    autograde(course, CHAPTER, ["z-right"], limits=LIMITS, force=True)
    assert len(runs) == 3
    # An interrupted run leaves no status, so the submission is graded the next time.
    (course.grading / "status" / CHAPTER / "z-right.json").unlink()
    autograde(course, CHAPTER, ["z-right"], limits=LIMITS)
    assert len(runs) == 4


def test_failure_of_the_grader_itself_is_noted_and_the_rest_is_graded(graded_course, monkeypatch):
    course, _ = graded_course

    def fail(nb, limits, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(grading, "run", fail)
    results = autograde(course, CHAPTER, ["a-corrupt", "e [odd] name"], limits=LIMITS, force=True)
    assert results[0].anomalies[0]["kind"] == "unreadable"
    assert results[1].anomalies[0]["detail"] == "could not be graded: OSError: disk full"
    monkeypatch.undo()
    (again,) = autograde(course, CHAPTER, ["e [odd] name"], limits=LIMITS)
    assert not again.skipped
    assert again.score == 2


def test_feedback_has_reasons_and_no_hidden_line(graded_course):
    course, _ = graded_course
    pages, failures = write_feedback(course, CHAPTER, ["e [odd] name", "z-right", "a-corrupt"])
    assert [path.parts[-3] for path in pages] == ["e [odd] name", "z-right"]
    assert list(failures) == ["a-corrupt"]
    text = pages[0].read_text(encoding="utf-8")
    assert "not written yet" in text
    secrets = secret_lines(read_notebook(course.solutions / CHAPTER / "exercises.ipynb"))
    assert secrets
    for page in pages:
        content = page.read_text(encoding="utf-8")
        assert "HIDDEN TESTS" not in content
        assert "secret_got" not in content
        assert "hidden_cases" not in content


def test_csv_has_points_per_exercise_and_total(graded_course):
    course, _ = graded_course
    rows = list(csv.reader(io.StringIO(to_csv(grade_table(course, CHAPTER)))))
    assert rows[0] == [
        "student",
        "double (2)",
        "shift (3)",
        "why (4)",
        "total (9)",
        "waiting for manual grading",
        "anomalies",
    ]
    by_name = {row[0]: row[1:] for row in rows[1:]}
    assert by_name["e [odd] name"][:2] == ["2", "0"]
    assert by_name["a-corrupt"][:5] == ["0", "0", "0", "0", "0"]
    assert by_name["a-corrupt"][5].startswith("unreadable: exercises.ipynb is no readable notebook")
    assert summary(grade_table(course, CHAPTER))["double"]["graded"] == 6


def test_commands_run_export_and_feedback(graded_course, tmp_path):
    course, _ = graded_course
    ran = invoke(course, "run", "90")
    assert ran.exit_code == 0, ran.output
    assert "[6/6] " in ran.output
    assert "as before" in ran.output
    assert "a-corrupt: unreadable" in ran.output
    out = tmp_path / "grades.csv"
    exported = invoke(course, "export", "90", "--out", str(out))
    assert exported.exit_code == 0
    assert out.read_text() == invoke(course, "export", "90").output
    page = invoke(course, "feedback", "90", "--student", "z-right")
    assert page.exit_code == 0
    assert "1 pages" in page.output
    assert invoke(course, "feedback", "90", "--student", "a-corrupt").exit_code == 1
    absent = invoke(course, "run", "90", "--student", "nobody")
    assert absent.exit_code == 2
    assert "no submission of nobody" in absent.output


def test_nothing_handed_in_is_said(tmp_path):
    course = write_course(tmp_path)
    result = invoke(course, "run", "90")
    assert result.exit_code == 2
    assert "nothing handed in" in result.output
    ungraded = invoke(course, "export", "90")
    assert ungraded.exit_code == 2
    assert f"run `spikelab grade run {CHAPTER}`" in ungraded.output


def test_cells_added_after_submissions_are_refused_with_nbgraders_reason(graded_course):
    course, _ = graded_course
    path = course.solutions / CHAPTER / "exercises.ipynb"
    before = path.read_text()
    content = json.loads(before)
    more = copy.deepcopy(cell_of(content, "test-shift"))
    more["id"] = more["metadata"]["nbgrader"]["grade_id"] = "test-more"
    content["cells"].append(more)
    write_notebook(path, content)
    try:
        with pytest.raises(CourseError, match="Cannot add or remove cells"):
            autograde(course, CHAPTER, limits=LIMITS)
    finally:
        path.write_text(before)


def test_demo_reports_a_grade_that_is_not_as_expected(tmp_path, monkeypatch):
    from spikelab.grading import demo

    (tmp_path / "made").mkdir()
    course = write_course(tmp_path / "made")
    right = demo.sample_class

    def optimistic(solution, student):
        return {"blank": right(solution, student)["blank"]._replace(score=9, noted=("crash",))}

    monkeypatch.setattr(demo, "sample_class", optimistic)
    result = invoke(course, "demo", "90", "--keep", str(tmp_path / "kept"))
    assert result.exit_code == 1
    assert "not as expected: blank: 0 points and 0 waiting, expected 9 and 0" in result.output
    assert "not as expected: blank: noted [], expected ['crash']" in result.output
    assert "as expected" not in result.output.replace("not as expected", "")
    assert (tmp_path / "kept" / "grading" / "feedback" / "blank" / CHAPTER / "exercises.html").is_file()
