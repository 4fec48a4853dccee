"""The lint finds each fault it is there for, planted one at a time, and nothing in what is right."""

import copy

import pytest
from grading_fixtures import CHAPTER, code, graded, markdown, notebook, solution_cells

from spikelab.grading.course import CourseError, is_test, nbgrader_of, read_meta, source_of, tasks_of
from spikelab.grading.lint import (
    committed_problems,
    draws,
    exercise_problems,
    graded_cell_problems,
    lesson_problems,
    meta_problems,
    word_count,
)

HINTS = "\n<details><summary>Hint</summary>a</details>\n<details><summary>Hint</summary>b</details>"
RUBRIC = "\n\n| what | points |\n|---|---|\n| a reason | 4 |"
META = {
    "title": "Tiny",
    "question": "Does it matter?",
    "objectives": [
        {"id": "LO-90.1", "text": "Double a number.", "tasks": ["double", "half"]},
        {"id": "LO-90.2", "text": "Shift a number and say why.", "tasks": ["shift", "why"]},
    ],
    "prerequisites": [],
    "minutes": {"read": 11, "solve": 22},
    "points": 11,
    "budget_s": {"lesson": 60, "exercises": 30},
    "data": "none",
    "seeds": [0],
    "authors": "spikelab contributors",
}


def exercises():
    cells = solution_cells()
    half = [copy.deepcopy(cell) for cell in cells[2:5]]
    for cell in half:
        cell["id"] = cell["id"].replace("double", "half")
        cell["source"] = cell["source"].replace("double", "half")
        if nbgrader_of(cell):
            cell["metadata"]["nbgrader"]["grade_id"] = cell["id"]
    cells[5:5] = half
    content = notebook(*cells)
    for cell in content["cells"]:
        if cell["id"] in ("double-prompt", "half-prompt", "shift-prompt"):
            cell["source"] += HINTS
        if cell["id"] == "why-prompt":
            cell["source"] += RUBRIC
    return content


def at(content, name):
    return next(cell for cell in content["cells"] if cell["id"] == name)


def replaced(name, old, new):
    def change(content, meta):
        cell = at(content, name)
        assert old in cell["source"]
        cell["source"] = cell["source"].replace(old, new)

    return change


def renamed(name, grade_id):
    def change(content, meta):
        at(content, name)["metadata"]["nbgrader"]["grade_id"] = grade_id

    return change


def set_meta(key, value):
    def change(content, meta):
        meta[key] = value

    return change


def removed(name):
    def change(content, meta):
        content["cells"].remove(at(content, name))

    return change


def set_points(name, points):
    def change(content, meta):
        at(content, name)["metadata"]["nbgrader"]["points"] = points

    return change


LAST = '    assert secret_got == 2 * value, f"twice {value:.3f} is not {secret_got:.3f}: is it a square or a constant?"'
EXERCISE_FAULTS = {
    "unbalanced markers": (replaced("double", "### END SOLUTION", ""), "BEGIN SOLUTION and END SOLUTION do not match"),
    "markers the wrong way": (
        replaced("double", "### BEGIN SOLUTION", "### END SOLUTION"),
        "BEGIN SOLUTION and END SOLUTION do not match",
    ),
    "end without begin": (replaced("double", "### BEGIN SOLUTION\n    ", ""), "do not match"),
    "hidden tests elsewhere": (
        replaced("setup", "from", "### BEGIN HIDDEN TESTS\n### END HIDDEN TESTS\nfrom"),
        "setup: has hidden tests, but is no test cell",
    ),
    "solution elsewhere": (
        replaced("setup", "from", "### BEGIN SOLUTION\n### END SOLUTION\nfrom"),
        "setup: has a solution region, but is no solution cell",
    ),
    "id is not the grade_id": (renamed("double", "doubled"), "double: its grade_id is doubled"),
    "grade_id twice": (renamed("test-shift", "test-double"), "grade_id test-double occurs twice"),
    "points do not add up": (set_points("test-double", 3), "add up to 12 points, meta.yml says 11"),
    "no points": (set_points("test-double", 0), "test-double: has no points"),
    "too few tasks": (removed("test-half"), "3 graded tasks, 4 to 7 are right"),
    "no open task": (removed("why"), "no task is open"),
    "no prompt": (removed("half-prompt"), "half: has no prompt"),
    "no solution cell": (removed("half"), "test-half: there is no solution cell half"),
    "test before solution": (
        lambda content, meta: content["cells"].append(
            content["cells"].pop(content["cells"].index(at(content, "half")))
        ),
        "half: prompt, solution and test should follow each other",
    ),
    "too few hints": (replaced("half-prompt", HINTS, ""), "half-prompt: has fewer than 2 hints"),
    "no rubric": (replaced("why-prompt", RUBRIC, ""), "why-prompt: an open task needs a rubric"),
    "objective not named": (replaced("half-prompt", "(LO-90.1)", ""), "half-prompt: does not name the objective"),
    "other objective named": (
        replaced("half-prompt", "LO-90.1", "LO-90.2"),
        "half-prompt: does not name the objective",
    ),
    "unknown objective named": (
        replaced("half-prompt", "LO-90.1", "LO-90.7"),
        "names LO-90.7, which meta.yml does not",
    ),
    "task without objective": (
        set_meta("objectives", [{**META["objectives"][0], "tasks": ["double"]}, META["objectives"][1]]),
        "half: meets no objective",
    ),
    "objective with unknown task": (
        set_meta("objectives", [{**META["objectives"][0], "tasks": ["double", "half", "x"]}, META["objectives"][1]]),
        "meta.yml names task x, which does not exist",
    ),
    "picture without alt": (
        replaced("double-prompt", "Double", "![](images/goal.png) Double"),
        "double-prompt: the picture images/goal.png has no alternative text",
    ),
    "picture that is not there": (
        replaced("double-prompt", "Double", "![Goal](images/gaol.png) Double"),
        "double-prompt: shows images/gaol.png, which does not exist",
    ),
    "setup imports too much": (
        replaced("setup", "from", "import snntorch\nfrom"),
        "setup: imports snntorch, which a learner may lack",
    ),
}

TEST_FAULTS = {
    "ends in an expression": (LAST, LAST + "\nsecret_got", "ends in an expression"),
    "ends in a number": ("### END HIDDEN TESTS", "### END HIDDEN TESTS\n0.5", "ends in an expression"),
    "imports": (
        "got = attempt(double, 3",
        "import pandas\ngot = attempt(double, 3",
        "imports pandas, which a learner may lack",
    ),
    "from import": (
        "got = attempt(double, 3",
        "from sklearn.svm import SVC\ngot = attempt(double, 3",
        "imports sklearn",
    ),
    "assert without message": (LAST, "    assert secret_got == 2 * value", "has no message"),
    "no attempt": ("attempt(double, 3", "dict.get({}, 3", None),
    "overwrites the learner's name": ("got =", "double =", "overwrites what the learner defined (double)"),
    "no hidden tests": ("### BEGIN HIDDEN TESTS", "", "has no hidden tests"),
    "hidden asserts nothing": (LAST, "    print(secret_got)", "assert nothing that the visible ones do not"),
    "hidden never changes": ('term_numbers("double", 3, -4.0, -1.0)', "(1, 2, 3)", "neither term_generator nor"),
    "no Python": ("got =", "got = =", "is no Python"),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "goal.png").write_bytes(b"x")
    return tmp_path


def test_right_exercises_have_no_problem(folder):
    content, meta = exercises(), copy.deepcopy(META)
    assert exercise_problems(content, meta, folder) == []
    assert committed_problems(content) == []
    assert meta_problems(meta, CHAPTER) == []
    assert [task.id for task in tasks_of(content)] == ["double", "half", "shift", "why"]


@pytest.mark.parametrize("name", EXERCISE_FAULTS)
def test_fault_in_the_exercises_is_found(name, folder):
    change, expected = EXERCISE_FAULTS[name]
    content, meta = exercises(), copy.deepcopy(META)
    change(content, meta)
    problems = exercise_problems(content, meta, folder)
    assert any(expected in problem for problem in problems), problems


@pytest.mark.parametrize("name", TEST_FAULTS)
def test_fault_in_a_test_cell_is_found(name):
    old, new, expected = TEST_FAULTS[name]
    cell = at(exercises(), "test-double")
    assert old in cell["source"]
    cell["source"] = cell["source"].replace(old, new)
    if expected is None:
        cell["source"] = cell["source"].replace("attempt(double, value", "dict.get({}, value")
        expected = "without `attempt`"
    problems = graded_cell_problems(cell, {"double"})
    assert any(expected in problem for problem in problems), problems


def test_hidden_tests_that_repeat_the_visible_ones_are_found():
    cell = at(exercises(), "test-double")
    visible = cell["source"].split("### BEGIN")[0]
    cell["source"] = f"{visible}### BEGIN HIDDEN TESTS\n{visible}### END HIDDEN TESTS"
    assert any("assert nothing that the visible" in problem for problem in graded_cell_problems(cell, set()))


def test_empty_and_blind_test_cells_are_found():
    empty = code("test-a", "# nothing", **graded("test-a", "test", 1))
    assert graded_cell_problems(empty, set()) == ["test-a: is empty"]
    cell = at(exercises(), "test-double")
    cell["source"] = cell["source"][cell["source"].index("### BEGIN") :]
    assert any("no visible assert" in problem for problem in graded_cell_problems(cell, set()))


def test_solution_cell_without_region_is_found(folder):
    content = exercises()
    at(content, "double")["source"] = "def double(x): return 2 * x"
    assert "double: is a solution cell without BEGIN SOLUTION" in exercise_problems(content, META, folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda nb: nb.update(nbformat_minor=4), "format 4.4 should be 4.5"),
        (lambda nb: nb["metadata"].update(widgets={}), "state of widgets"),
        (lambda nb: nb["cells"][0].pop("id"), "cell 1: has no id"),
        (lambda nb: nb["cells"][0].update(id="3f9a01bc"), "its id is not readable"),
        (lambda nb: nb["cells"][0].update(id="1e6f-bad id"), "its id is not readable"),
        (lambda nb: nb["cells"][0].update(id="setup"), "cell setup: its id occurs twice"),
        (lambda nb: nb["cells"][1].update(outputs=[{}]), "cell setup: has outputs"),
        (lambda nb: nb["cells"][1].update(execution_count=1), "cell setup: has an execution count"),
        (lambda nb: nb["cells"][1]["metadata"].update(collapsed=True), "an editor's metadata (collapsed)"),
    ],
)
def test_what_must_not_be_committed_is_found(change, expected):
    content = exercises()
    change(content)
    assert any(expected in problem for problem in committed_problems(content))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("points", None, "points is missing"),
        ("points", "nine", "points is 'nine'"),
        ("minutes", {"read": 0, "solve": 3}, "minutes.read must be a positive number, got 0"),
        ("budget_s", {"lesson": 3}, "budget_s.exercises must be a positive number, got None"),
        ("objectives", [{"id": "LO-91.1", "text": "x", "tasks": ["a"]}], "should be LO-90.1"),
        ("objectives", [{"id": "LO-90.1", "text": "", "tasks": ["a"]}], "has no text"),
        ("objectives", [{"id": "LO-90.1", "text": "x", "tasks": []}], "no task meets objective LO-90.1"),
        ("objectives", [{"id": "LO-90.1", "text": "x", "tasks": ["a"]}] * 2, "objective ids must differ"),
    ],
)
def test_fault_in_meta_is_found(key, value, expected):
    meta = {**META, key: value}
    if value is None:
        del meta[key]
    assert any(expected in problem for problem in meta_problems(meta, CHAPTER)), meta_problems(meta, CHAPTER)


BOX = """# Tiny

11 minutes to read, 22 to solve.

- **LO-90.1** Double a number.
- **LO-90.2** Shift a number and say why."""
FIGURE = {"mystnb": {"image": {"alt": "A line."}, "figure": {"caption": "It rises."}}}


def lesson():
    prose = "word " * 60
    cells = [
        markdown("title", BOX),
        markdown("question", "Vote. [the exercises](exercises.ipynb) " + "<details></details>" * 3),
    ]
    cells += [markdown(f"part-{number}", prose) for number in range(22)]
    cells += [code("figure", "fig, ax = plt.subplots()\nax.plot([1, 2]);", **copy.deepcopy(FIGURE))]
    cells += [code("claims", "assert 2 > 1", tags=["remove-cell"])]
    return notebook(*cells)


def test_right_lesson_has_no_problem():
    assert lesson_problems(lesson(), META) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda nb: nb["cells"].__delitem__(slice(2, 14)), "the lesson has 14 cells"),
        (lambda nb: nb["cells"].__delitem__(slice(2, 8)), "words, 1200 to 2500"),
        (lambda nb: nb["cells"][2].update(source="word " * 1500), "words, 1200 to 2500"),
        (lambda nb: at(nb, "figure")["metadata"]["mystnb"].pop("image"), "figure: the figure has no alternative text"),
        (lambda nb: at(nb, "figure")["metadata"]["mystnb"].pop("figure"), "figure: the figure has no caption"),
        (lambda nb: at(nb, "figure").update(source="x = 1\n" * 26), "figure: 26 lines of code"),
        (lambda nb: at(nb, "title").update(source=BOX.replace("LO-90.2", "LO-90.3")), "the box names LO-90.3"),
        (
            lambda nb: at(nb, "title").update(source=BOX.replace("LO-90.2", "LO-90.3")),
            "does not name objective LO-90.2",
        ),
        (lambda nb: at(nb, "title").update(source=BOX.replace("Double a", "Triple a")), "the box says of LO-90.1"),
        (lambda nb: at(nb, "title").update(source=BOX.replace("22", "25")), "the 22 minutes to solve"),
        (lambda nb: nb["cells"].pop(), "the last code cell should be `claims`"),
        (lambda nb: at(nb, "claims").update(source="print(1)"), "the last code cell should be `claims`"),
        (lambda nb: at(nb, "question").update(source="<details>" * 3), "does not link to exercises.ipynb"),
        (lambda nb: at(nb, "question").update(source="exercises.ipynb"), "needs three questions"),
    ],
)
def test_fault_in_a_lesson_is_found(change, expected):
    content = lesson()
    change(content)
    problems = lesson_problems(content, META)
    assert any(expected in problem for problem in problems), problems


def test_words_are_those_a_reader_reads():
    assert word_count("Two words.") == 2
    assert word_count("$\\tau \\frac{dU}{dt} = -U$ decays") == 2
    assert word_count("See [the exercises](exercises.ipynb) <details><summary>Answer</summary>b</details>") == 5
    assert word_count("```{bibliography}\n:filter: docname in docnames\n```") == 0
    assert word_count("U − θ: it *fires*") == 4


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("plotting.membrane(u, dt_ms=1.0);", True),
        ("%matplotlib inline\nfig, ax = plt.subplots()", True),
        ("def draw(tau):\n    fig, ax = plt.subplots()\n    return fig", False),
        ("frames_slider(lambda v: plt.figure(), [1, 2], label='τ', alt='x')", False),
        ("plotting.style()", False),
        ("import matplotlib.pyplot as plt\nx = 3", False),
        ("not python at all (", False),
    ],
)
def test_cell_that_draws_is_told_from_one_that_does_not(source, expected):
    assert draws(source) is expected


def test_meta_is_read_or_refused(tmp_path):
    path = tmp_path / "meta.yml"
    with pytest.raises(CourseError, match="does not exist"):
        read_meta(path)
    path.write_text("a: [")
    with pytest.raises(CourseError, match="no valid YAML"):
        read_meta(path)
    path.write_text("- a")
    with pytest.raises(CourseError, match="must be a mapping"):
        read_meta(path)


def test_cells_without_usable_metadata_are_no_tests():
    assert not is_test({"cell_type": "code", "metadata": None, "source": ["a", "b"]})
    assert source_of({"source": ["a\n", "b"]}) == "a\nb"
