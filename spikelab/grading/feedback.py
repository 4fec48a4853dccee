"""Feedback pages without hidden tests."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

from nbformat.v4 import new_markdown_cell
from nbgrader.preprocessors import NbGraderPreprocessor

from spikelab.grading.course import is_test
from spikelab.grading.repair import notes_of

BEGIN, END = "BEGIN HIDDEN TESTS", "END HIDDEN TESTS"
REMOVED = "[a line that quotes a hidden test was removed]"
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
PAGE_COLUMNS = 96  # a longer line runs out of the page
SHORTEST_QUOTE = 8  # characters; shorter lines such as "else:" give nothing away


class StripHiddenTests(NbGraderPreprocessor):
    """Remove hidden tests from a graded notebook: their source, the tracebacks and any output that quotes them.

    What stays of a failed test is the kind of error and its message, which is written for learners.
    """

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """Return the notebook as its student may see it."""
        secret: set[str] = set()
        for cell in nb.cells:
            kept, hidden = split_hidden(cell.source)
            cell.source = kept
            secret |= {line for line in map(str.strip, hidden) if len(line) >= SHORTEST_QUOTE}
        # A line that students were given anyway is no secret.
        secret -= {line.strip() for cell in nb.cells if is_test(cell) for line in cell.source.splitlines()}
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs = [_clean(output, secret, is_test(cell)) for output in cell.outputs]
        notes = notes_of(nb)
        if notes:
            lines = [f"- {entry['kind']}: {entry['detail']}" for entry in notes if entry["kind"] != "stderr"]
            if lines:
                text = "**Notes on this submission**\n\n" + "\n".join(lines)
                nb.cells.insert(0, new_markdown_cell(text))
        return nb, resources


def split_hidden(source: str) -> tuple[str, list[str]]:
    """Return a cell's text without its hidden regions, and the lines of those regions.

    A region that is never closed reaches to the end of the cell.
    """
    kept, hidden, inside = [], [], False
    for line in source.split("\n"):
        if BEGIN in line:
            inside = True
        elif END in line:
            inside = False
        else:
            (hidden if inside else kept).append(line)
    return "\n".join(kept), hidden


def _clean(output: Any, secret: set[str], of_test: bool) -> Any:
    if output.output_type == "error":
        name, value = output.ename, _without(ESCAPES.sub("", output.evalue), secret)
        output.evalue = value
        if of_test:
            said = f"{name}: {value}" if value else f"{name} in a test of this cell"
            output.traceback = ["\n".join(textwrap.fill(line, PAGE_COLUMNS) for line in said.split("\n"))]
        else:
            output.traceback = [_without_coloured(part, secret) for part in output.traceback]
    elif output.output_type == "stream":
        output.text = _without(output.text, secret)
    elif secret and any(_quotes(str(content), secret) for content in output.get("data", {}).values()):
        output["data"] = type(output["data"])({"text/plain": REMOVED})
    return output


def _quotes(text: str, secret: set[str]) -> bool:
    plain = text.replace("\\n", "\n").replace("\\'", "'").replace('\\"', '"')
    return any(line in text or line in plain for line in secret)


def _without(text: str, secret: set[str]) -> str:
    if not secret:
        return text
    return "\n".join(REMOVED if _quotes(line, secret) else line for line in text.split("\n"))


def _without_coloured(text: str, secret: set[str]) -> str:
    plain = ESCAPES.sub("", text)
    return _without(plain, secret) if _quotes(plain, secret) else text


def write_feedback(course: Any, chapter: str, students: list[str]) -> tuple[list[Path], dict[str, str]]:
    """Write one HTML page per student with nbgrader's own converter.

    Args:
        course: the course.
        chapter: full name of the chapter.
        students: whose autograded notebooks to turn into pages.
    Returns:
        The pages that were written, and ``{student: reason}`` for those that could not be.

    Explained in the instructor guide.
    """
    from nbgrader.converters import GenerateFeedback
    from nbgrader.converters.base import NbGraderException
    from nbgrader.coursedir import CourseDirectory

    from spikelab.grading.course import OneStudent, last_line, quiet_log

    class Feedback(OneStudent, GenerateFeedback):
        pass

    pages, failures = [], {}
    for student in students:
        config = course.config()
        config.CourseDirectory.assignment_id = chapter
        config.CourseDirectory.student_id = student
        log, errors = quiet_log()
        directory = CourseDirectory(config=config, log=log)
        try:
            Feedback(coursedir=directory, config=config, log=log, force=True).start()
        except (NbGraderException, SystemExit):
            failures[student] = last_line(errors)
            continue
        pages.append(course.grading / "feedback" / student / chapter / "exercises.html")
    return pages, failures
