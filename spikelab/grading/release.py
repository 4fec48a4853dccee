"""From the solutions to the students' notebooks, the same bytes each time."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from nbgrader.preprocessors import NbGraderPreprocessor

from spikelab.files import write_atomically
from spikelab.grading.course import NOTEBOOK, Course, CourseError, last_line, nbgrader_of, quiet_log, read_notebook

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE_INFO = {"name": "python"}


class StableNotebook(NbGraderPreprocessor):
    """Give graded cells their ``grade_id`` as id and drop what editors leave in the metadata."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """Return the notebook with stable ids and only the metadata that the course uses."""
        nb.nbformat, nb.nbformat_minor = 4, 5
        nb.metadata = type(nb.metadata)({"kernelspec": KERNELSPEC, "language_info": LANGUAGE_INFO})
        for cell in nb.cells:
            name = nbgrader_of(cell).get("grade_id")
            if name:
                cell["id"] = name
            for key in ("collapsed", "ExecuteTime", "execution", "jupyter", "scrolled", "trusted", "vscode"):
                cell.metadata.pop(key, None)
        return nb, resources


class Released(NamedTuple):
    """What a release wrote.

    Attributes:
        chapter: name of the chapter.
        changed: paths of the files that are new or differ from before.
        files: all files of the release.
    """

    chapter: str
    changed: list[Path]
    files: list[Path]


def fresh_release(course: Course, chapter: str) -> dict[str, bytes]:
    """Generate a chapter's student files with nbgrader and return them without writing any into the course.

    Args:
        course: the course.
        chapter: full name of a chapter under ``solutions/``.
    Returns:
        ``{path relative to chapters/NN_slug: content}``: the notebook and what the solution folder gives along.
    Raises:
        CourseError: if nbgrader refuses the source notebook; the message carries its reason.

    Explained in the instructor guide.
    """
    from nbgrader.converters import GenerateAssignment
    from nbgrader.converters.base import NbGraderException
    from nbgrader.coursedir import CourseDirectory

    source = read_notebook(course.solutions / chapter / NOTEBOOK)
    nameless = [number for number, cell in enumerate(source["cells"], 1) if not cell.get("id")]
    if nameless:  # nbformat would invent another id each time
        raise CourseError(f"cannot release {chapter}: cell {nameless[0]} needs an id (nbformat 4.5)")
    with tempfile.TemporaryDirectory(prefix="spikelab-release-") as folder:
        config = course.config()
        config.SaveCells.enabled = False
        config.GenerateAssignment.no_database = True
        config.CourseDirectory.release_directory = folder
        config.CourseDirectory.assignment_id = chapter
        log, errors = quiet_log()
        directory = CourseDirectory(config=config, log=log)
        converter = GenerateAssignment(coursedir=directory, config=config, log=log)
        try:
            converter.start()
        except (NbGraderException, SystemExit):
            raise CourseError(f"cannot release {chapter}: nbgrader says {last_line(errors)}") from None
        made = Path(folder) / chapter
        files = sorted(path for path in made.rglob("*") if path.is_file())
        return {path.relative_to(made).as_posix(): path.read_bytes() for path in files}


def release(course: Course, chapter: str) -> Released:
    """Write a chapter's student files under ``chapters/``; untouched where they are up to date already.

    Args:
        course: the course.
        chapter: full name of a chapter under ``solutions/``.
    Returns:
        What was written. Lesson and ``meta.yml`` are never touched, and nothing is deleted.
    Raises:
        CourseError: if nbgrader refuses the source notebook; what was released before stays.

    Explained in the instructor guide.
    """
    changed, files = [], []
    for name, content in fresh_release(course, chapter).items():
        path = course.released / chapter / name
        files.append(path)
        if not path.is_file() or path.read_bytes() != content:
            write_atomically(path, content)
            changed.append(path)
    return Released(chapter, changed, files)


def register(course: Course, chapter: str) -> None:
    """Enter a chapter's graded cells into the gradebook, as ``nbgrader generate_assignment`` does.

    Raises:
        CourseError: if nbgrader refuses, for example because cells were added after students handed in.

    Explained in the instructor guide.
    """
    from nbgrader.converters import GenerateAssignment
    from nbgrader.converters.base import NbGraderException
    from nbgrader.coursedir import CourseDirectory

    with tempfile.TemporaryDirectory(prefix="spikelab-register-") as folder:
        config = course.config()
        config.CourseDirectory.release_directory = folder
        config.CourseDirectory.assignment_id = chapter
        log, errors = quiet_log()
        converter = GenerateAssignment(coursedir=CourseDirectory(config=config, log=log), config=config, log=log)
        try:
            converter.start()
        except (NbGraderException, SystemExit):
            raise CourseError(f"nbgrader cannot register {chapter}: {last_line(errors)}") from None


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that nobody ever sees half of it."""
    write_atomically(path, (json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode())
