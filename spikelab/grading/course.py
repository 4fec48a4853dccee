"""Where the course is: its root, its chapters, nbgrader's configuration, and the graded cells of a notebook."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CONFIG_NAME = "nbgrader_config.py"
NOTEBOOK = "exercises.ipynb"
TEST_PREFIX = "test-"


class CourseError(Exception):
    """Something an instructor or a learner has to mend; the message says what and how."""


class Task(NamedTuple):
    """One graded task of an exercise notebook.

    Attributes:
        id: id of the solution cell, or of the answer cell of an open task.
        cell: id of the cell that carries the points.
        points: its points.
        manual: whether a person grades it.
    """

    id: str
    cell: str
    points: float
    manual: bool


class Course(NamedTuple):
    """A course on disk.

    Attributes:
        root: folder that holds ``nbgrader_config.py``, ``solutions/`` and ``chapters/``.
    """

    root: Path

    @property
    def solutions(self) -> Path:
        """Folder of the solutions."""
        return self.root / "solutions"

    @property
    def released(self) -> Path:
        """Folder of the students' notebooks."""
        return self.root / "chapters"

    @property
    def grading(self) -> Path:
        """Folder of submissions, grades and feedback, which is never committed."""
        return self.root / "grading"

    def chapters(self) -> list[str]:
        """Names of the chapters that have exercises, in order."""
        return sorted(path.parent.name for path in self.solutions.glob(f"*/{NOTEBOOK}"))

    def chapter(self, name: str) -> str:
        """Full name of a chapter given by name, by number ("01") or by path; CourseError if there is none."""
        wanted = Path(name).name
        chapters = self.chapters()
        if wanted in chapters:
            return wanted
        matches = [chapter for chapter in chapters if chapter.split("_")[0] in (wanted, wanted.zfill(2))]
        if len(matches) == 1:
            return matches[0]
        there = ", ".join(chapters) or "none"
        raise CourseError(f"no exercises for chapter {name!r} under {self.solutions} (chapters: {there})")

    def config(self) -> Any:
        """Return nbgrader's configuration: a traitlets ``Config`` with the paths of this course."""
        from traitlets.config import PyFileConfigLoader

        config = PyFileConfigLoader(CONFIG_NAME, path=str(self.root)).load_config()
        config.CourseDirectory.root = str(self.root)
        return config


def find_course(start: str | Path | None = None) -> Course:
    """Return the course that holds ``start`` (the working directory), or raise CourseError."""
    here = Path(start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / CONFIG_NAME).is_file():
            return Course(folder)
    raise CourseError(f"no {CONFIG_NAME} in {here} or above it: run this in a clone of the course, or give --root")


def read_notebook(path: str | Path) -> dict[str, Any]:
    """Return a notebook as plain JSON; CourseError if it is missing, no JSON or no notebook."""
    path = Path(path)
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CourseError(f"{path} does not exist") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CourseError(f"{path} is no readable notebook: {error}") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise CourseError(f"{path} is JSON, but no notebook (version 4): it has no list of cells")
    return notebook


def read_meta(path: str | Path) -> dict[str, Any]:
    """Return a chapter's ``meta.yml``; CourseError if it is missing or no mapping."""
    path = Path(path)
    try:
        meta = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CourseError(f"{path} does not exist") from None
    except yaml.YAMLError as error:
        raise CourseError(f"{path} is no valid YAML: {error}") from None
    if not isinstance(meta, dict):
        raise CourseError(f"{path} must be a mapping (title: ..., objectives: ...)")
    return meta


def source_of(cell: dict[str, Any]) -> str:
    """Return the text of a cell, however it is stored."""
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def nbgrader_of(cell: dict[str, Any]) -> dict[str, Any]:
    """Return nbgrader's metadata of a cell, ``{}`` if it has none that is usable."""
    metadata = cell.get("metadata")
    found = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) and found.get("grade_id") else {}


def is_test(cell: dict[str, Any]) -> bool:
    """Return whether a cell is an autograded test."""
    about = nbgrader_of(cell)
    return cell.get("cell_type") == "code" and bool(about.get("grade")) and not about.get("solution")


def tasks_of(notebook: dict[str, Any]) -> list[Task]:
    """Return the graded tasks of a notebook in their order."""
    tasks = []
    for cell in notebook["cells"]:
        about = nbgrader_of(cell)
        if about.get("grade"):
            name = about["grade_id"]
            manual = bool(about.get("solution"))
            tasks.append(Task(name.removeprefix(TEST_PREFIX), name, float(about.get("points", 0)), manual))
    return tasks


class OneStudent:
    """For nbgrader's converters: take the student's id literally, where nbgrader takes it for a pattern of files."""

    def init_notebooks(self) -> None:
        """Find the one notebook there is to convert."""
        from nbgrader.converters.base import NbGraderException

        folder = Path(self._format_source(self.coursedir.assignment_id, self.coursedir.student_id))
        if not (folder / NOTEBOOK).is_file():
            self.log.error(f"there is no {folder / NOTEBOOK}")
            raise NbGraderException(f"there is no {folder / NOTEBOOK}")
        self.notebooks = []
        self.assignments = {str(folder): [str(folder / NOTEBOOK)]}


def quiet_log() -> tuple[logging.Logger, list[str]]:
    """Return a logger for nbgrader's own messages and the list that collects its errors."""
    errors: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            errors.append(record.getMessage())

    log = logging.Logger("spikelab.grading", level=logging.ERROR)
    log.addHandler(Collect())
    return log, errors


def last_line(messages: list[str]) -> str:
    """Return the line that says most: the last of the last traceback among the messages."""
    for message in reversed(messages):
        if "Traceback (most recent call last)" in message:
            return message.strip().splitlines()[-1]
    return messages[-1].strip().splitlines()[0] if messages else ""
