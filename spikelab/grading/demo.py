"""A sample class, from release to grade table: submissions made by program, with the grades they have to get."""

from __future__ import annotations

import ast
import copy
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from spikelab.grading.course import (
    CONFIG_NAME,
    NOTEBOOK,
    Course,
    is_test,
    nbgrader_of,
    read_notebook,
    source_of,
    tasks_of,
)
from spikelab.grading.release import release
from spikelab.grading.sandbox import Limits

DEMO_LIMITS = Limits(cell_s=20, startup_s=120, notebook_s=240)
STRIPPER = """\
import ast

class DropAsserts(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.copy_location(ast.Pass(), node)

get_ipython().ast_transformers.append(DropAsserts())
"""


class Sample(NamedTuple):
    """One made-up submission.

    Attributes:
        notebook: what is handed in.
        score: the autograded points it has to get.
        waiting: the open answers that have to wait for a person.
        noted: kinds of anomaly that have to be noted.
    """

    notebook: dict[str, Any]
    score: float
    waiting: int
    noted: tuple[str, ...] = ()


def sample_class(solution: dict[str, Any], student: dict[str, Any]) -> dict[str, Sample]:
    """Make the submissions of a sample class.

    Args:
        solution: the source notebook of a chapter.
        student: the notebook that was released from it.
    Returns:
        ``{name: Sample}`` for perfect, blank, half right, crash, endless loop, deleted test cell, copied cell and
        assert-stripper. The expected scores follow from the points in the notebook.

    Explained in the instructor guide.
    """
    tasks = tasks_of(solution)
    tested = [task for task in tasks if not task.manual]
    everything = {task.id for task in tasks}
    full, by_hand = sum(task.points for task in tested), len(tasks) - len(tested)
    half = tested[: math.ceil(len(tested) / 2)]
    middle, first, last = tested[len(tested) // 2], tested[0], tested[-1]

    def solved(names: set[str]) -> dict[str, Any]:
        return _answered(student, solution, names)

    crash = solved(everything)
    _cell(crash, middle.id)["source"] = "import os\n\nos._exit(1)"
    before = tested[: tested.index(middle)]
    loop = solved(everything)
    _cell(loop, last.id)["source"] = "while True:\n    pass"
    deleted = solved(everything)
    deleted["cells"].remove(_cell(deleted, first.cell))
    copied = solved(everything)
    for name in (first.id, first.cell):
        _paste(copied, name)
    stripper = _pretending(student)
    return {
        "perfect": Sample(solved(everything), full, by_hand),
        "blank": Sample(copy.deepcopy(student), 0, 0),
        "half-right": Sample(solved({task.id for task in half}), sum(task.points for task in half), 0),
        "crash": Sample(crash, sum(task.points for task in before), by_hand, ("crash",)),
        "endless-loop": Sample(loop, full - last.points, by_hand, ("timeout",)),
        "deleted-test": Sample(deleted, full - first.points, by_hand, ("deleted cell",)),
        "copied-cell": Sample(copied, full, by_hand, ("copied cell",)),
        "assert-stripper": Sample(stripper, 0, 0, ("assert canary",)),
    }


def _answered(student: dict[str, Any], solution: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Copy the solution's answers to these tasks (and to everything that is no task, such as a figure) over."""
    notebook = copy.deepcopy(student)
    answers = {name: cell for cell in solution["cells"] if (name := nbgrader_of(cell).get("grade_id"))}
    for cell in notebook["cells"]:
        about = nbgrader_of(cell)
        name = about.get("grade_id", "")
        if about.get("solution") and any(name == task or name.startswith(f"{task}-") for task in names):
            kept = [line for line in source_of(answers[name]).split("\n") if " SOLUTION" not in line]
            cell["source"] = "\n".join(kept)
    return notebook


def _cell(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    return next(cell for cell in notebook["cells"] if nbgrader_of(cell).get("grade_id") == name)


def _paste(notebook: dict[str, Any], name: str) -> None:
    """Duplicate a cell below itself as an editor does: same metadata, another id."""
    cell = _cell(notebook, name)
    twin = {**copy.deepcopy(cell), "id": f"pasted-{name}"[:64]}
    notebook["cells"].insert(notebook["cells"].index(cell) + 1, twin)


def _pretending(student: dict[str, Any]) -> dict[str, Any]:
    """Switch the asserts off and answer each task with a function that returns 0."""
    notebook = copy.deepcopy(student)
    for cell in notebook["cells"]:
        about = nbgrader_of(cell)
        if cell["cell_type"] == "code" and about.get("solution"):
            tree = ast.parse(source_of(cell))
            names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
            if names:
                cell["source"] = "\n".join(f"def {name}(*args, **kwargs): return 0.0" for name in names)
    position = next(i for i, cell in enumerate(notebook["cells"]) if cell["cell_type"] == "code")
    notebook["cells"].insert(
        position,
        {
            "cell_type": "code",
            "id": "strip",
            "metadata": {},
            "source": STRIPPER,
            "outputs": [],
            "execution_count": None,
        },
    )
    return notebook


class Demo(NamedTuple):
    """What a sample class got.

    Attributes:
        course: the temporary course.
        samples: what each student handed in and had to get.
        results: what autograding said.
        grades: the grade table.
        csv: the exported table.
        pages: feedback pages.
        wrong: one line per grade that is not as expected.
    """

    course: Course
    samples: dict[str, Sample]
    results: list[Any]
    grades: Any
    csv: str
    pages: list[Path]
    wrong: list[str]


def run_demo(
    course: Course,
    chapter: str,
    folder: Path,
    *,
    limits: Limits = DEMO_LIMITS,
    jobs: int = 2,
    students: set[str] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Demo:
    """Run the whole cycle for a sample class in a folder of its own.

    Args:
        course: where the chapter comes from; it is only read.
        chapter: full name of the chapter.
        folder: an empty folder for the temporary course.
        limits: for each submission.
        jobs: submissions that run at the same time.
        students: names out of ``sample_class``; all if None.
        say: called with one line per step.
    Returns:
        Everything that came out.

    Explained in the instructor guide.
    """
    from spikelab.grading.autograde import autograde
    from spikelab.grading.feedback import write_feedback
    from spikelab.grading.reports import grade_table, kinds, progress_line, to_csv

    shutil.copy(course.root / CONFIG_NAME, folder / CONFIG_NAME)
    shutil.copytree(course.solutions / chapter, folder / "solutions" / chapter)
    sample_course = Course(folder)
    say(f"release: solutions/{chapter} to chapters/{chapter}")
    release(sample_course, chapter)
    samples = sample_class(
        read_notebook(sample_course.solutions / chapter / NOTEBOOK),
        read_notebook(sample_course.released / chapter / NOTEBOOK),
    )
    samples = {name: sample for name, sample in samples.items() if students is None or name in students}
    for name, sample in samples.items():
        path = sample_course.grading / "submitted" / name / chapter / NOTEBOOK
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(sample.notebook), encoding="utf-8")
    say(f"submit: {len(samples)} made-up students, {', '.join(samples)}")
    done = []

    def report(graded: Any) -> None:
        done.append(graded)
        say(progress_line(graded, len(done), len(samples)))

    results = autograde(sample_course, chapter, limits=limits, jobs=jobs, report=report)
    pages, failures = write_feedback(sample_course, chapter, list(samples))
    say(f"feedback: {len(pages)} pages")
    grades = grade_table(sample_course, chapter)
    exported = to_csv(grades)
    (sample_course.grading / f"{chapter}.csv").write_text(exported, encoding="utf-8")
    say(f"export: grading/{chapter}.csv")
    wrong = [f"{name}: no feedback ({reason})" for name, reason in failures.items()]
    for graded in results:
        sample = samples[graded.student]
        if (graded.score, graded.waiting) != (sample.score, sample.waiting):
            wrong.append(
                f"{graded.student}: {graded.score:g} points and {graded.waiting} waiting, "
                f"expected {sample.score:g} and {sample.waiting}"
            )
        unseen = set(sample.noted) ^ set(kinds(graded.anomalies))
        if unseen:
            wrong.append(f"{graded.student}: noted {kinds(graded.anomalies)}, expected {list(sample.noted)}")
    return Demo(sample_course, samples, results, grades, exported, pages, wrong)


def secret_lines(solution: dict[str, Any]) -> set[str]:
    """Return the lines of a source notebook's hidden tests that are in no cell a student gets."""
    from spikelab.grading.feedback import split_hidden

    hidden, shown = set(), set()
    for cell in solution["cells"]:
        kept, secret = split_hidden(source_of(cell))
        shown |= {line.strip() for line in kept.split("\n")}
        hidden |= {line.strip() for line in secret} if is_test(cell) else set()
    return {line for line in hidden - shown if len(line) >= 12}
