"""Autograde a chapter's submissions: one after the other into the gradebook, several at a time in the sandbox."""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde
from nbgrader.converters.base import BaseConverter, NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import NbGraderPreprocessor
from sqlalchemy.exc import SAWarning

from spikelab.grading.course import (
    NOTEBOOK,
    Course,
    CourseError,
    OneStudent,
    last_line,
    quiet_log,
    read_notebook,
)
from spikelab.grading.release import register, write_json
from spikelab.grading.repair import notes_of
from spikelab.grading.sandbox import Limits, SandboxExecute, run
from spikelab.grading.tasks import TERM_SEED_VARIABLE

UNREADABLE = "unreadable"
MISSING = "missing notebook"
MAX_SUBMISSION_BYTES = 20_000_000


class Graded(NamedTuple):
    """What became of one submission.

    Attributes:
        student: the student's id (the name of the folder).
        score: points so far, without what waits for a person.
        max_score: points of the chapter.
        waiting: number of answers that wait for manual grading.
        anomalies: ``{"kind": ..., "detail": ...}`` for each.
        seconds: wall clock.
        skipped: whether it was graded before and nothing has changed since.
    """

    student: str
    score: float
    max_score: float
    waiting: int
    anomalies: list[dict[str, str]]
    seconds: float
    skipped: bool = False


class _Sanitize(OneStudent, Autograde):
    """First half of nbgrader's autograding: copy the files and mend the notebook."""

    def convert_single_notebook(self, notebook_filename: str) -> None:
        self._sanitizing = True
        self._init_preprocessors()
        BaseConverter.convert_single_notebook(self, notebook_filename)

    def set_permissions(self, assignment_id: str, student_id: str) -> None:
        pass


class _Record(OneStudent, Autograde):
    """Second half: take the executed notebook, enter the scores, write it."""

    executed: Any = None

    def init_destination(self, assignment_id: str, student_id: str) -> bool:
        return True

    def init_assignment(self, assignment_id: str, student_id: str) -> None:
        pass

    def _init_preprocessors(self) -> None:
        self.exporter._preprocessors = []
        self.exporter.register_preprocessor(_Take(executed=self.executed))
        for preprocessor in self.autograde_preprocessors:
            if preprocessor is not SandboxExecute:
                self.exporter.register_preprocessor(preprocessor)

    def convert_single_notebook(self, notebook_filename: str) -> None:
        student = Path(notebook_filename).parts[-3]
        self._sanitizing = False
        try:
            self._init_preprocessors()
            made = Path(self._format_dest(self.coursedir.assignment_id, student)) / Path(notebook_filename).name
            BaseConverter.convert_single_notebook(self, str(made))
        finally:
            self._sanitizing = True


class _Take(NbGraderPreprocessor):
    """Go on with a notebook that was executed elsewhere."""

    def __init__(self, executed: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.executed = executed

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        return self.executed, resources


def submitted(course: Course, chapter: str) -> list[str]:
    """Return the students who handed in a folder for the chapter, sorted."""
    folder = course.grading / "submitted"
    return sorted(path.parent.name for path in folder.glob(f"*/{chapter}") if path.is_dir())


def autograde(
    course: Course,
    chapter: str,
    students: list[str] | None = None,
    *,
    force: bool = False,
    jobs: int | None = None,
    limits: Limits | None = None,
    command: list[str] | None = None,
    report: Callable[[Graded], None] = lambda graded: None,
) -> list[Graded]:
    """Autograde the submissions of a chapter; none of them can stop the others.

    Args:
        course: the course.
        chapter: full name of the chapter.
        students: whom to grade; everybody who handed in if None.
        force: grade again what is up to date.
        jobs: notebooks that run at the same time; one per two cores if None.
        limits: instead of those in ``nbgrader_config.py``.
        command: how to start the sandbox's worker, instead of ``SandboxExecute.command``.
        report: called with each result as soon as it is there.
    Returns:
        One result per student, by name. Scores, and what waits for a person, are in nbgrader's gradebook.
    Raises:
        CourseError: if the chapter itself cannot be graded, or one of ``students`` handed nothing in.

    Explained in the instructor guide.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=SAWarning)  # nbgrader's own, about its queries
        return _autograde(course, chapter, students, force, jobs, limits, command, report)


def _autograde(
    course: Course,
    chapter: str,
    students: list[str] | None,
    force: bool,
    jobs: int | None,
    limits: Limits | None,
    command: list[str] | None,
    report: Callable[[Graded], None],
) -> list[Graded]:
    there = submitted(course, chapter)
    absent = sorted(set(students or ()) - set(there))
    if absent:
        raise CourseError(f"no submission of {', '.join(absent)} under {course.grading / 'submitted'}/*/{chapter}")
    config = course.config()
    default = SandboxExecute(config=config)
    limits = limits or default.limits()
    command = list(default.command) if command is None else command
    register(course, chapter)
    against = _digest((course.solutions / chapter / NOTEBOOK).read_bytes(), os.environ.get(TERM_SEED_VARIABLE, ""))
    finished: dict[str, Graded] = {}

    def finish(graded: Graded) -> None:
        finished[graded.student] = graded
        report(graded)

    pool = ThreadPoolExecutor(jobs or max(1, (os.cpu_count() or 2) // 2))
    try:
        running: dict[Future, tuple[str, dict]] = {}
        for student in students or there:
            key = {"submission": _submission_digest(course, chapter, student), "against": against}
            before = None if force else _status(course, chapter, student)
            if before and before["key"] == key:
                finish(Graded(**{**before["graded"], **_scores(course, chapter, student), "skipped": True}))
                continue
            _status_path(course, chapter, student).unlink(missing_ok=True)
            problem = _sanitize(course, chapter, student)
            if problem:
                finish(_refuse(course, chapter, student, key, problem))
                continue
            made = course.grading / "autograded" / student / chapter
            nb = nbformat.read(made / NOTEBOOK, as_version=4)
            running[pool.submit(_timed_run, nb, limits, made, command)] = (student, key)
        for future in as_completed(running):
            student, key = running[future]
            try:
                executed, seconds = future.result()
                finish(_record(course, chapter, student, key, executed, seconds))
            except Exception as error:  # whatever it is, the others are graded
                problem = {"kind": UNREADABLE, "detail": f"could not be graded: {type(error).__name__}: {error}"}
                finish(_refuse(course, chapter, student, {}, problem))  # no key: the next run tries again
    finally:
        pool.shutdown(cancel_futures=True)
    return [finished[student] for student in sorted(finished)]


def _timed_run(nb: Any, limits: Limits, files: Path, command: list[str]) -> tuple[Any, float]:
    begun = time.monotonic()
    return run(nb, limits, files=files, command=command), time.monotonic() - begun


def _sanitize(course: Course, chapter: str, student: str) -> dict[str, str] | None:
    """Copy and mend a submission; return what makes that impossible, None if nothing does."""
    path = course.grading / "submitted" / student / chapter / NOTEBOOK
    links = [link.name for link in (path.parent, *path.parent.rglob("*")) if link.is_symlink()]
    if links:
        return {"kind": UNREADABLE, "detail": f"links are not accepted: {', '.join(sorted(links)[:3])}"}
    if not path.is_file():
        others = sorted(other.name for other in path.parent.glob("*.ipynb"))
        found = f" (found {', '.join(others)}: rename it)" if others else ""
        return {"kind": MISSING, "detail": f"there is no {NOTEBOOK} in the submission{found}"}
    if path.stat().st_size > MAX_SUBMISSION_BYTES:
        return {"kind": UNREADABLE, "detail": f"{NOTEBOOK} has more than {MAX_SUBMISSION_BYTES // 10**6} MB"}
    try:
        read_notebook(path)
        _convert(course, chapter, student, _Sanitize)
    except CourseError as error:
        return {"kind": UNREADABLE, "detail": str(error).replace(str(path), NOTEBOOK)}
    except Exception as error:
        return {"kind": UNREADABLE, "detail": f"{NOTEBOOK} cannot be read: {type(error).__name__}: {error}"}
    return None


def _convert(course: Course, chapter: str, student: str, kind: type[Autograde], executed: Any = None) -> None:
    config = course.config()
    config.CourseDirectory.assignment_id = chapter
    config.CourseDirectory.student_id = student
    log, errors = quiet_log()
    converter = kind(coursedir=CourseDirectory(config=config, log=log), config=config, log=log, force=True)
    if executed is not None:
        converter.executed = executed
    try:
        converter.start()
    except (NbGraderException, SystemExit):
        raise CourseError(last_line(errors)) from None


def _record(course: Course, chapter: str, student: str, key: dict, executed: Any, seconds: float) -> Graded:
    _convert(course, chapter, student, _Record, executed)
    graded = Graded(student, **_scores(course, chapter, student), anomalies=notes_of(executed), seconds=seconds)
    write_json(_status_path(course, chapter, student), {"key": key, "graded": graded._asdict()})
    return graded


def _refuse(course: Course, chapter: str, student: str, key: dict, problem: dict[str, str]) -> Graded:
    """Give a submission that cannot be graded 0 points in the gradebook, so that it shows there."""
    with _gradebook(course) as gradebook:
        gradebook.update_or_create_student(student)
        gradebook.update_or_create_submission(chapter, student)
        for notebook in gradebook.find_submission(chapter, student).notebooks:
            for grade in notebook.grades:
                grade.auto_score = 0
                grade.needs_manual_grade = False
        gradebook.db.commit()
    (course.grading / "autograded" / student / chapter / NOTEBOOK).unlink(missing_ok=True)
    graded = Graded(student, **_scores(course, chapter, student), anomalies=[problem], seconds=0.0)
    write_json(_status_path(course, chapter, student), {"key": key, "graded": graded._asdict()})
    return graded


def _scores(course: Course, chapter: str, student: str) -> dict[str, Any]:
    with _gradebook(course) as gradebook:
        submission = gradebook.find_submission(chapter, student)
        waiting = sum(grade.needs_manual_grade for notebook in submission.notebooks for grade in notebook.grades)
        return {"score": submission.score, "max_score": submission.max_score, "waiting": waiting}


def _gradebook(course: Course) -> Gradebook:
    about = course.config().CourseDirectory
    return Gradebook(about.db_url, about.course_id)


def _status_path(course: Course, chapter: str, student: str) -> Path:
    return course.grading / "status" / chapter / f"{student}.json"


def _status(course: Course, chapter: str, student: str) -> dict[str, Any] | None:
    try:
        return json.loads(_status_path(course, chapter, student).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def anomalies(course: Course, chapter: str, student: str) -> list[dict[str, str]]:
    """Return what was noted when the submission was graded, [] if it was not."""
    status = _status(course, chapter, student)
    return status["graded"]["anomalies"] if status else []


def _submission_digest(course: Course, chapter: str, student: str) -> str:
    folder = course.grading / "submitted" / student / chapter
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return _digest(*(part for path in files for part in (path.relative_to(folder).as_posix(), path.read_bytes())))


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(content)}:".encode() + content)
    return digest.hexdigest()
