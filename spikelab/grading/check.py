"""What a learner's notebook passes and fails, by nbgrader's own validator."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from spikelab.grading.course import (
    NOTEBOOK,
    TEST_PREFIX,
    CourseError,
    Task,
    is_test,
    nbgrader_of,
    read_meta,
    read_notebook,
    tasks_of,
)

PASSED, FAILED, NOT_STARTED, BY_HAND = "passed", "failed", "not started", "graded by hand"
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
NOT_PYTHON = ("SyntaxError", "IndentationError", "TabError")
ARROW = re.compile(r"-+> *\d+ *")
CELL_FILE = re.compile(r"\(\S+, line (\d+)\)$")


class Checked(NamedTuple):
    """One task of a checked notebook.

    Attributes:
        task: its id.
        points: its points.
        status: "passed", "failed", "not started" or "graded by hand".
        message: why it failed, "" if it did not.
        manual: whether a person grades it.
    """

    task: str
    points: float
    status: str
    message: str
    manual: bool = False


class Report(NamedTuple):
    """What the check of a notebook found.

    Attributes:
        notebook: the file.
        tasks: one entry per task, in order.
        warnings: what to mend before handing in although the tests may pass.
    """

    notebook: Path
    tasks: list[Checked]
    warnings: list[str]

    @property
    def passed(self) -> bool:
        """Whether every autograded task passes and no test cell is missing or changed."""
        return not self.warnings and all(task.manual or task.status == PASSED for task in self.tasks)

    def points(self, status: str) -> float:
        """Points of the tasks with that status."""
        return sum(task.points for task in self.tasks if task.status == status)


def find_notebook(path: str | Path) -> Path:
    """Return the notebook that ``path`` (a chapter's folder or a notebook) means; CourseError if there is none."""
    path = Path(path)
    if path.is_dir():
        if not (path / NOTEBOOK).is_file():
            raise CourseError(f"missing: {path} has no {NOTEBOOK}. Give a chapter's folder, such as chapters/01_...")
        return path / NOTEBOOK
    if not path.exists():
        raise CourseError(f"missing: {path} does not exist. Give a chapter's folder or a notebook")
    if path.suffix != ".ipynb":
        raise CourseError(f"foreign: {path} is no notebook (its name does not end in .ipynb)")
    return path


def load(path: str | Path) -> tuple[Path, dict[str, Any], list[Task]]:
    """Return a notebook's path, its content and the tasks it ought to have.

    Raises:
        CourseError: if it is missing, corrupt or foreign; the message begins with that word and says how to mend it.
    """
    notebook_path = find_notebook(path)
    try:
        notebook = read_notebook(notebook_path)
    except CourseError as error:
        raise CourseError(
            f"corrupt: {error}. Undo the last change to the file, or take {NOTEBOOK} again and copy your answers over"
        ) from None
    tasks = tasks_of(notebook)
    names = [task.cell for task in tasks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CourseError(
            f"corrupt: {notebook_path} holds the cell {', '.join(twice)} more than once. Delete the copy (nbgrader "
            "refuses such a notebook)"
        )
    meta_path = notebook_path.parent / "meta.yml"
    if not meta_path.is_file():
        if not tasks:
            raise CourseError(_foreign(notebook_path, "it has no graded cell"))
        return notebook_path, notebook, tasks
    wanted = {task for objective in read_meta(meta_path).get("objectives", []) for task in objective.get("tasks", [])}
    found = {task.id for task in tasks}
    if not tasks:
        raise CourseError(_foreign(notebook_path, "it has no graded cell"))
    if wanted and not wanted & found:
        there, due = ", ".join(sorted(found)), ", ".join(sorted(wanted))
        raise CourseError(_foreign(notebook_path, f"its tasks ({there}) are of another chapter; here belong {due}"))
    lost = [Task(name, TEST_PREFIX + name, 0.0, False) for name in sorted(wanted - found)]
    return notebook_path, notebook, tasks + lost


def check(path: str | Path, *, timeout_s: int = 60) -> Report:
    """Run a notebook's tests as nbgrader's ``validate`` does and say what passes, what fails and why.

    Args:
        path: a chapter's folder, or a notebook.
        timeout_s: seconds per cell.
    Returns:
        The report. The notebook is never written.
    Raises:
        CourseError: if the notebook is missing, corrupt or foreign.

    Explained in the instructor guide.
    """
    notebook_path, notebook, tasks = load(path)
    executed, changed = _validate(notebook_path, timeout_s)
    cells = {name: cell for cell in executed.cells if (name := nbgrader_of(cell).get("grade_id"))}
    blank = {name for name, cell in _original(notebook).items() if _is_blank(cell)}
    warnings = [f"the test cell {name} was changed: what counts is the released one" for name in changed]
    checked = []
    for task in tasks:
        cell = cells.get(task.cell)
        if cell is None:
            warnings.append(
                f"the graded cell of {task.id} is missing: take {NOTEBOOK} again and copy your answers over"
            )
            checked.append(Checked(task.id, task.points, FAILED, "its graded cell is missing"))
        elif task.manual:
            status = NOT_STARTED if task.cell in blank else BY_HAND
            checked.append(Checked(task.id, task.points, status, "", manual=True))
        else:
            message = _failure(cell)
            if message is None:
                checked.append(Checked(task.id, task.points, PASSED, ""))
            else:
                status = NOT_STARTED if task.id in blank else FAILED
                # Where the answer's cell stopped, the test only says that a name is missing, or tries an old answer.
                message = _stopped(cells.get(task.id)) or message
                checked.append(Checked(task.id, task.points, status, message))
    return Report(notebook_path, checked, warnings)


def _foreign(path: Path, why: str) -> str:
    return f"foreign: {path} is no exercise notebook of this chapter: {why}. Take {NOTEBOOK} from the course again"


def _validate(path: Path, timeout_s: int) -> tuple[Any, list[str]]:
    """Return the executed notebook and the names of changed test cells, by nbgrader's Validator."""
    from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, Execute, NbGraderPreprocessor
    from nbgrader.validator import Validator
    from traitlets.config import Config

    from spikelab.grading.sandbox import spare_stderr

    class SpareStderr(NbGraderPreprocessor):
        def preprocess_cell(self, cell: Any, resources: Any, cell_index: int) -> tuple[Any, Any]:
            if is_test(cell):
                spare_stderr(cell)
            return cell, resources

    class Keep(Validator):
        preprocessors = (CheckCellMetadata, ClearOutput, Execute, SpareStderr)

        def _preprocess(self, nb: Any) -> Any:
            self.executed = super()._preprocess(nb)
            return self.executed

    config = Config()
    config.Execute.timeout = timeout_s
    config.Execute.startup_timeout = 120
    # Keep the kernel's own warnings out of the table.
    config.Execute.extra_arguments = ["--log-level=ERROR", "--HistoryManager.hist_file=:memory:"]
    validator = Keep(config=config, log=_silent())
    try:
        results = validator.validate(str(path.resolve()))
    except Exception as error:
        if type(error).__name__ == "DeadKernelError":
            raise CourseError(
                f"corrupt: the kernel died while {path} ran. Which cell ends the process, or needs too much memory?"
            ) from None
        raise CourseError(f"corrupt: nbgrader cannot run {path}: {type(error).__name__}: {error}") from None
    if "type_changed" in results:
        raise CourseError(
            f"corrupt: {path} has graded cells of another type than released ({results['type_changed'][0]['old_type']} "
            f"instead of {results['type_changed'][0]['new_type']}). Change them back in the cell's menu"
        )
    executed = validator.executed
    return executed, [nbgrader_of(cell)["grade_id"] for cell in validator._get_changed_cells(executed)]


def _silent() -> logging.Logger:
    log = logging.Logger("spikelab.check", level=logging.CRITICAL)
    log.addHandler(logging.NullHandler())
    return log


def _original(notebook: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: cell for cell in notebook["cells"] if (name := nbgrader_of(cell).get("grade_id"))}


def _is_blank(cell: dict[str, Any]) -> bool:
    import nbformat
    from nbgrader.utils import compute_checksum

    about = nbgrader_of(cell)
    if not about.get("solution") or "checksum" not in about:
        return False
    node = nbformat.from_dict({**cell, "source": "".join(cell.get("source", ""))})
    return compute_checksum(node) == about["checksum"]


def _failure(cell: Any) -> str | None:
    """Return what a test cell's failure says, None if it earns its points."""
    from nbgrader.utils import determine_grade

    score, maximum = determine_grade(cell, _silent())
    if score == maximum:
        return None
    if any(output.get("ename") == "CellTimeoutError" for output in cell.outputs):
        return "it took too long and was interrupted: is there a loop that never ends?"
    for output in cell.outputs:
        if output.output_type == "error":
            value = ESCAPES.sub("", output.evalue).strip()
            if output.ename == "AssertionError":
                return value or f"an assert without a message failed: {_failing_line(output)}"
            return f"{output.ename}: {value}"
    return f"{score:g} of {maximum:g} points"


def _stopped(cell: Any) -> str | None:
    """Return why the cell of an answer did not run to its end, None if it did."""
    for output in cell.outputs if cell is not None and cell.cell_type == "code" else ():
        if output.output_type == "error":
            value = ESCAPES.sub("", output.evalue).strip()
            if output.ename in NOT_PYTHON:
                where = CELL_FILE.sub(r"(line \1 of the cell)", value)
            else:
                where = f"{value}, at: {_failing_line(output)}"
            return f"the cell of your answer stops with {output.ename}: {where}"
    return None


def _failing_line(output: Any) -> str:
    for line in ESCAPES.sub("", "\n".join(output.traceback)).splitlines():
        if arrow := ARROW.match(line):
            return line[arrow.end() :].strip()
    return "see the cell"


def rich_report(report: Report, say: Callable[[Any], None]) -> None:
    """Print a report with rich, ``say`` being a console's print."""
    from rich.markup import escape
    from rich.table import Table

    colours = {PASSED: "green", FAILED: "red", NOT_STARTED: "yellow", BY_HAND: "cyan"}
    signs = {PASSED: "✓", FAILED: "✗", NOT_STARTED: "○", BY_HAND: "✎"}
    table = Table(title=escape(str(report.notebook)))
    table.add_column("task", no_wrap=True)
    table.add_column("points", justify="right")
    table.add_column("result", no_wrap=True)
    table.add_column("what to look at")
    for task in report.tasks:
        shown = f"[{colours[task.status]}]{signs[task.status]} {task.status}[/]"
        message = "" if task.status == NOT_STARTED else escape(task.message)
        table.add_row(escape(task.task), f"{task.points:g}", shown, message)
    say(table)
    for warning in report.warnings:
        say(f"[red]Careful:[/] {escape(warning)}")
    counts = ", ".join(
        f"{sum(task.status == status for task in report.tasks)} {status}"
        for status in (PASSED, FAILED, NOT_STARTED, BY_HAND)
        if any(task.status == status for task in report.tasks)
    )
    auto = sum(task.points for task in report.tasks if not task.manual)
    say(f"{counts}. {report.points(PASSED):g} of {auto:g} points so far; hidden tests may ask more.")


def as_json(report: Report) -> dict[str, Any]:
    """Return a report for machines."""
    return {
        "notebook": os.fspath(report.notebook),
        "passed": report.passed,
        "points": report.points(PASSED),
        "tasks": [task._asdict() for task in report.tasks],
        "warnings": report.warnings,
    }
