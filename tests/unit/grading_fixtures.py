"""A tiny course, made by program, for the tests of the grading: one chapter with two tested tasks and an open one."""

import json
import shutil
from pathlib import Path

from spikelab.grading.course import Course

REPOSITORY = Path(__file__).parents[2]
CHAPTER = "90_tiny"

DOUBLE = '''def double(x):
    """Return twice x."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION'''
TEST_DOUBLE = """got = attempt(double, 3, hint="Two times three?")
assert got == 6, f"double(3) should be 6, yours is {got}: twice?"
### BEGIN HIDDEN TESTS
for value in term_numbers("double", 3, -4.0, -1.0):
    secret_got = attempt(double, value, hint="Any number.")
    assert secret_got == 2 * value, f"twice {value:.3f} is not {secret_got:.3f}: is it a square or a constant?"
### END HIDDEN TESTS"""
SHIFT = '''def shift(x, by=1):
    """Return x moved up."""
    ### BEGIN SOLUTION
    return x + by
    ### END SOLUTION'''
TEST_SHIFT = """assert attempt(shift, 1, hint="One more.") == 2, "shift(1) should be 2: is by added?"
### BEGIN HIDDEN TESTS
hidden_cases = term_numbers("shift", 3, 1.0, 9.0)
assert all(attempt(shift, 0, by=case, hint="by is an argument.") == case for case in hidden_cases), "by is ignored"
### END HIDDEN TESTS"""
SETUP = "from spikelab.grading.tasks import attempt, term_numbers"
OBJECTIVES = {"LO-90.1": ("Double a number.", ["double"]), "LO-90.2": ("Shift a number and say why.", ["shift", "why"])}


def markdown(name, text, **metadata):
    return {"cell_type": "markdown", "id": name, "metadata": metadata, "source": text}


def code(name, text, **metadata):
    return {
        "cell_type": "code",
        "id": name,
        "metadata": metadata,
        "source": text,
        "outputs": [],
        "execution_count": None,
    }


def graded(name, kind, points=None):
    flags = {
        "solution": {"grade": False, "locked": False, "solution": True},
        "test": {"grade": True, "locked": True, "solution": False},
        "manual": {"grade": True, "locked": False, "solution": True},
    }[kind]
    about = {"grade_id": name, "schema_version": 3, "task": False, **flags}
    return {"nbgrader": {**about, "points": points} if points is not None else about}


def notebook(*cells):
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def solution_cells():
    return [
        markdown("title", "# Tiny\n\nTwo tasks and an open one."),
        code("setup", SETUP),
        markdown("double-prompt", "Double a number (LO-90.1). For 3 it is 6."),
        code("double", DOUBLE, **graded("double", "solution")),
        code("test-double", TEST_DOUBLE, **graded("test-double", "test", 2)),
        markdown("shift-prompt", "Shift a number (LO-90.2)."),
        code("shift", SHIFT, **graded("shift", "solution")),
        code("test-shift", TEST_SHIFT, **graded("test-shift", "test", 3)),
        markdown("why-prompt", "Why does it matter (LO-90.2)?"),
        markdown("why", "Because sums need terms.", **graded("why", "manual", 4)),
    ]


def write_notebook(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    return path


def write_course(root, cells=None):
    """Write a course with the tiny chapter, released, and return it."""
    shutil.copy(REPOSITORY / "nbgrader_config.py", root)
    write_notebook(root / "solutions" / CHAPTER / "exercises.ipynb", notebook(*(cells or solution_cells())))
    images = root / "solutions" / CHAPTER / "images"
    images.mkdir()
    (images / "goal.png").write_bytes(b"a picture")
    (root / "solutions" / CHAPTER / "wrong_answers.py").write_text("WRONG = {}\n")
    (root / "solutions" / CHAPTER / "pictures.py").write_text("raise SystemExit\n")
    chapter = root / "chapters" / CHAPTER
    chapter.mkdir(parents=True)
    objectives = "".join(
        f"  - id: {name}\n    text: {text}\n    tasks: [{', '.join(tasks)}]\n"
        for name, (text, tasks) in OBJECTIVES.items()
    )
    (chapter / "meta.yml").write_text(f"title: Tiny\npoints: 9\nobjectives:\n{objectives}")
    write_notebook(chapter / "lesson.ipynb", notebook(markdown("title", "# A lesson")))
    return Course(root)


def cell_of(content, name):
    return next(cell for cell in content["cells"] if cell["id"] == name)
