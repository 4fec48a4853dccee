"""Grades for people and for learning management systems."""

from __future__ import annotations

import csv
import io
from typing import Any, NamedTuple

from nbgrader.api import Gradebook, MissingEntry
from rich.table import Table

from spikelab.grading.autograde import Graded, anomalies
from spikelab.grading.course import NOTEBOOK, Course, CourseError, read_notebook, tasks_of


class Row(NamedTuple):
    """One student's grades in a chapter.

    Attributes:
        student: the student's id.
        scores: points per task; None where a person has still to grade.
        total: points so far.
        waiting: answers that wait for manual grading.
        anomalies: what was noted when the submission was graded.
    """

    student: str
    scores: dict[str, float | None]
    total: float
    waiting: int
    anomalies: list[dict[str, str]]


class GradeTable(NamedTuple):
    """The grades of a chapter.

    Attributes:
        chapter: its name.
        points: points per task, in the notebook's order.
        rows: one per student, sorted by id.
    """

    chapter: str
    points: dict[str, float]
    rows: list[Row]


def grade_table(course: Course, chapter: str) -> GradeTable:
    """Read a chapter's grades from nbgrader's gradebook.

    Raises:
        CourseError: if the chapter has not been graded yet.

    Explained in the instructor guide.
    """
    tasks = tasks_of(read_notebook(course.solutions / chapter / NOTEBOOK))
    rows = []
    about = course.config().CourseDirectory
    with Gradebook(about.db_url, about.course_id) as gradebook:
        try:
            gradebook.find_assignment(chapter)
        except MissingEntry:
            raise CourseError(f"{chapter} is not in the gradebook: run `spikelab grade run {chapter}`") from None
        for submission in gradebook.assignment_submissions(chapter):
            grades = {grade.name: grade for notebook in submission.notebooks for grade in notebook.grades}
            scores: dict[str, float | None] = {}
            for task in tasks:
                grade = grades.get(task.cell)
                scores[task.id] = None if grade is None or grade.needs_manual_grade else grade.score
            waiting = sum(score is None for score in scores.values())
            name = submission.student.id
            rows.append(Row(name, scores, submission.score, waiting, anomalies(course, chapter, name)))
    return GradeTable(chapter, {task.id: task.points for task in tasks}, sorted(rows))


def to_csv(grades: GradeTable) -> str:
    """Return a grade table as CSV: one row per student, one column per exercise, the total, and what to look at.

    The header gives the points of each column; an empty field waits for manual grading.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    maximum = sum(grades.points.values())
    columns = [f"{task} ({points:g})" for task, points in grades.points.items()]
    writer.writerow(["student", *columns, f"total ({maximum:g})", "waiting for manual grading", "anomalies"])
    for row in grades.rows:
        scores = ["" if score is None else f"{score:g}" for score in row.scores.values()]
        noted = "; ".join(f"{entry['kind']}: {entry['detail']}" for entry in row.anomalies)
        writer.writerow([row.student, *scores, f"{row.total:g}", row.waiting, noted])
    return out.getvalue()


def rich_table(grades: GradeTable) -> Table:
    """Return a grade table for the terminal; a dot stands for what waits for a person."""
    table = Table(title=grades.chapter, caption="· waits for manual grading (nbgrader's formgrader)")
    table.add_column("student", no_wrap=True)
    for task, points in grades.points.items():
        table.add_column(f"{task}\n({points:g})", justify="right")
    table.add_column(f"total\n({sum(grades.points.values()):g})", justify="right", style="bold", no_wrap=True)
    table.add_column("noted")
    for row in grades.rows:
        scores = ["·" if score is None else f"{score:g}" for score in row.scores.values()]
        table.add_row(row.student, *scores, f"{row.total:g}", ", ".join(kinds(row.anomalies)))
    return table


def kinds(notes: list[dict[str, str]]) -> list[str]:
    """Return the kinds of a list of anomalies, each once, in order."""
    return list(dict.fromkeys(entry["kind"] for entry in notes))


def progress_line(graded: Graded, number: int, of: int) -> str:
    """Return the line that reports one graded submission."""
    state = "as before" if graded.skipped else f"{graded.seconds:.0f} s"
    noted = f"  {', '.join(kinds(graded.anomalies))}" if graded.anomalies else ""
    return f"[{number}/{of}] {graded.student}: {graded.score:g} of {graded.max_score:g} ({state}){noted}"


def anomaly_lines(results: list[Graded]) -> list[str]:
    """Return one line per anomaly, for the list at the end of a run."""
    return [f"{g.student}: {note['kind']}: {note['detail']}" for g in results for note in g.anomalies]


def summary(grades: GradeTable) -> dict[str, Any]:
    """Return per task the mean score and the share of full marks, over what has been graded.

    A task with a low share of full marks is where the next lecture should begin.
    """
    found = {}
    for task, points in grades.points.items():
        scores = [row.scores[task] for row in grades.rows if row.scores[task] is not None]
        if scores:
            found[task] = {
                "points": points,
                "graded": len(scores),
                "mean": sum(scores) / len(scores),
                "full": sum(score >= points for score in scores) / len(scores),
            }
    return found
