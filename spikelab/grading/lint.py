"""Rules for the notebooks that a machine can check: each function returns the problems it found, as sentences."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

from spikelab.grading.course import TEST_PREFIX, Task, is_test, nbgrader_of, source_of, tasks_of
from spikelab.grading.feedback import split_hidden

LESSON_CELLS = (15, 35)
LESSON_WORDS = (1200, 2500)
CODE_LINES = 25
TASKS = (4, 7)
HINTS = 2
LEARNER_HAS = frozenset(sys.stdlib_module_names) | {"IPython", "ipywidgets", "matplotlib", "numpy", "spikelab", "torch"}
MARKERS = (("BEGIN SOLUTION", "END SOLUTION"), ("BEGIN HIDDEN TESTS", "END HIDDEN TESTS"))
READABLE_ID = re.compile(r"^[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*$")
RANDOM_ID = re.compile(r"^[0-9a-f]{8,}$|^[0-9a-f]{8}-[0-9a-f]{4}-")
OBJECTIVE = re.compile(r"LO-\d\d\.\d+")
BOX_LINE = re.compile(r"^[-*] \*\*(LO-\d\d\.\d+)\*\* (.+)$", re.MULTILINE)
META_KEYS = {
    "title": str,
    "question": str,
    "objectives": list,
    "prerequisites": list,
    "minutes": dict,
    "points": int,
    "budget_s": dict,
    "data": (str, list),
    "seeds": list,
    "authors": (str, list),
}


def committed_problems(notebook: dict[str, Any]) -> list[str]:
    """Return what a notebook must not carry into the repository: outputs, counts, random ids, an editor's metadata."""
    found = []
    if (notebook.get("nbformat"), notebook.get("nbformat_minor")) != (4, 5):
        found.append(f"format {notebook.get('nbformat')}.{notebook.get('nbformat_minor')} should be 4.5")
    if "widgets" in notebook.get("metadata", {}):
        found.append("the notebook carries the state of widgets")
    seen: set[str] = set()
    for number, cell in enumerate(notebook["cells"], 1):
        name = cell.get("id", "")
        label = f"cell {name or number}"
        if not name:
            found.append(f"{label}: has no id")
        elif not READABLE_ID.match(name) or RANDOM_ID.match(name):
            found.append(f"{label}: its id is not readable (words and hyphens)")
        if name in seen:
            found.append(f"{label}: its id occurs twice")
        seen.add(name)
        if cell.get("cell_type") == "code":
            if cell.get("outputs"):
                found.append(f"{label}: has outputs")
            if cell.get("execution_count") is not None:
                found.append(f"{label}: has an execution count")
        stray = {"execution", "ExecuteTime", "collapsed", "scrolled"} & set(cell.get("metadata", {}))
        if stray:
            found.append(f"{label}: carries an editor's metadata ({', '.join(sorted(stray))})")
    return found


def meta_problems(meta: dict[str, Any], chapter: str) -> list[str]:
    """Return what is wrong with a chapter's ``meta.yml`` itself."""
    found = [f"meta.yml: {key} is missing" for key in META_KEYS if key not in meta]
    found += [
        f"meta.yml: {key} is {meta[key]!r}, which is no {kind if isinstance(kind, type) else 'text or list'}"
        for key, kind in META_KEYS.items()
        if key in meta and not isinstance(meta[key], kind)
    ]
    if found:
        return found
    number = chapter.split("_")[0]
    ids = [objective.get("id", "") for objective in meta["objectives"]]
    if len(set(ids)) < len(ids):
        found.append(f"meta.yml: objective ids must differ, got {ids}")
    for objective in meta["objectives"]:
        name = str(objective.get("id", ""))
        if not OBJECTIVE.fullmatch(name) or not name.startswith(f"LO-{number}."):
            found.append(f"meta.yml: objective id {name!r} should be LO-{number}.1 and so on")
        if not objective.get("text"):
            found.append(f"meta.yml: objective {name} has no text")
        if not objective.get("tasks"):
            found.append(f"meta.yml: no task meets objective {name}")
    for key, parts in (("minutes", ("read", "solve")), ("budget_s", ("lesson", "exercises"))):
        for part in parts:
            if not isinstance(meta[key].get(part), int | float) or not meta[key][part] > 0:
                found.append(f"meta.yml: {key}.{part} must be a positive number, got {meta[key].get(part)!r}")
    return found


def exercise_problems(notebook: dict[str, Any], meta: dict[str, Any], folder: Path | None = None) -> list[str]:
    """Return where a source notebook of exercises breaks the contract of its cells.

    Args:
        notebook: ``solutions/NN_slug/exercises.ipynb``.
        meta: the chapter's ``meta.yml``.
        folder: the solution's folder, to look for the pictures that prompts show.
    Returns:
        One sentence per problem, each naming the cell.

    Explained in the instructor guide.
    """
    cells = notebook["cells"]
    tasks = tasks_of(notebook)
    found = _cell_problems(cells) + _task_problems(cells, tasks, meta)
    taught = set().union(*(_defined(source_of(cell)) for cell in cells if nbgrader_of(cell).get("solution")))
    for cell in cells:
        if is_test(cell):
            found += graded_cell_problems(cell, taught)
        elif cell.get("cell_type") == "code":
            found += _import_problems(cell["id"], source_of(cell))
        for alt, picture in re.findall(r"!\[([^\]]*)\]\((images/[^)\s]+)", source_of(cell)):
            if not alt.strip():
                found.append(f"{cell['id']}: the picture {picture} has no alternative text")
            if folder is not None and not (folder / picture).is_file():
                found.append(f"{cell['id']}: shows {picture}, which does not exist")
    return found


def graded_cell_problems(cell: dict[str, Any], taught: set[str] = frozenset()) -> list[str]:
    """Return what is wrong with a test cell: its end, imports, messages, guards, hidden part.

    Args:
        cell: the cell.
        taught: names that learners define, which a test must not overwrite.
    Returns:
        One sentence per problem.

    Explained in the instructor guide.
    """
    name, source = cell["id"], source_of(cell)
    visible_text, hidden_lines = split_hidden(source)
    try:
        tree, visible = ast.parse(source), ast.parse(visible_text)
    except SyntaxError as error:
        return [f"{name}: is no Python ({error.msg}, line {error.lineno})"]
    if not tree.body:
        return [f"{name}: is empty"]
    found = _import_problems(name, source)
    if isinstance(tree.body[-1], ast.Expr):
        found.append(f"{name}: ends in an expression, which nbgrader may read as partial credit; end in an assert")
    asserts = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    found += [f"{name}: the assert in line {node.lineno} has no message" for node in asserts if node.msg is None]
    if not any(isinstance(node, ast.Assert) for node in ast.walk(visible)):
        found.append(f"{name}: has no visible assert to learn from")
    shadowed = taught & _assigned(tree)
    if shadowed:
        found.append(f"{name}: overwrites what the learner defined ({', '.join(sorted(shadowed))})")
    if "attempt" not in _called(tree):
        found.append(f"{name}: calls the learner's function without `attempt`, so an exception is no hint")
    if not hidden_lines:
        return [*found, f"{name}: has no hidden tests"]
    shown = {ast.unparse(statement) for statement in visible.body}
    secret = [statement for statement in tree.body if ast.unparse(statement) not in shown]
    if not any(isinstance(node, ast.Assert) for statement in secret for node in ast.walk(statement)):
        found.append(f"{name}: its hidden tests assert nothing that the visible ones do not")
    hidden_calls = set().union(*(_called(statement) for statement in secret)) if secret else set()
    if not hidden_calls & {"term_generator", "term_numbers"}:
        found.append(f"{name}: its hidden tests use neither term_generator nor term_numbers, so they never change")
    return found


def lesson_problems(notebook: dict[str, Any], meta: dict[str, Any]) -> list[str]:
    """Return where a lesson breaks the shape that all lessons share.

    Args:
        notebook: ``chapters/NN_slug/lesson.ipynb``.
        meta: the chapter's ``meta.yml``.
    Returns:
        One sentence per problem.

    Explained in the instructor guide.
    """
    cells = notebook["cells"]
    texts = [source_of(cell) for cell in cells if cell["cell_type"] == "markdown"]
    everything = "\n\n".join(texts)
    found = []
    if not LESSON_CELLS[0] <= len(cells) <= LESSON_CELLS[1]:
        found.append(f"the lesson has {len(cells)} cells, {LESSON_CELLS[0]} to {LESSON_CELLS[1]} are right")
    words = word_count(everything)
    if not LESSON_WORDS[0] <= words <= LESSON_WORDS[1]:
        found.append(f"the lesson has {words} words, {LESSON_WORDS[0]} to {LESSON_WORDS[1]} are right")
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        lines = len(source_of(cell).strip().splitlines())
        if lines > CODE_LINES and "remove-cell" not in cell["metadata"].get("tags", []):
            found.append(f"{cell['id']}: {lines} lines of code, at most {CODE_LINES} can be read at once")
        if draws(source_of(cell)):
            about = cell["metadata"].get("mystnb", {})
            if not str(about.get("image", {}).get("alt", "")).strip():
                found.append(f"{cell['id']}: the figure has no alternative text (mystnb.image.alt)")
            if not str(about.get("figure", {}).get("caption", "")).strip():
                found.append(f"{cell['id']}: the figure has no caption (mystnb.figure.caption)")
    found += _box_problems(texts, meta)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    if not code or code[-1]["id"] != "claims" or "assert" not in source_of(code[-1]):
        found.append("the last code cell should be `claims` and assert what captions and prose say")
    if "exercises.ipynb" not in everything:
        found.append("the lesson does not link to exercises.ipynb")
    if everything.count("<details") < 3:
        found.append("check yourself needs three questions with their answers in <details>")
    return found


def word_count(text: str) -> int:
    """Count the words of Markdown that a reader reads: no code, no formula, no markup, no address."""
    text = re.sub(r"```\{bibliography\}.*?```", " ", text, flags=re.DOTALL)
    text = re.sub(r"```\{?[^\n]*\n?", " ", text)
    text = re.sub(r"^:[a-z-]+:.*$", " ", text, flags=re.MULTILINE)
    text = re.sub(r"\$\$.*?\$\$|\$[^$\n]*\$", " formula ", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]+>|\]\([^)]*\)|\{[a-z:-]+\}", " ", text)
    return sum(any(character.isalnum() for character in word) for word in text.split())


def draws(source: str) -> bool:
    """Return whether running a cell leaves a figure: it calls pyplot or spikelab.plotting outside a definition."""
    try:
        tree = ast.parse("\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))))
    except SyntaxError:
        return False
    calls = [node for node in _outside_definitions(tree) if isinstance(node, ast.Call)]
    names = [ast.unparse(call.func) for call in calls]
    if any(name.split(".")[-1] == "frames_slider" for name in names):
        return False
    silent = {"style", "close", "rcParams", "rc"}
    prefixes = ("plt.", "plotting.", "spikelab.plotting.", "pyplot.")
    return any(name.startswith(prefixes) and name.split(".")[-1] not in silent for name in names)


def _outside_definitions(node: ast.AST) -> list[ast.AST]:
    found = []
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            found += [child, *_outside_definitions(child)]
    return found


def _box_problems(texts: list[str], meta: dict[str, Any]) -> list[str]:
    opening = "\n".join(texts[:2])
    box = {name: text.strip() for name, text in BOX_LINE.findall(opening)}
    wanted = {objective["id"]: str(objective["text"]).strip() for objective in meta["objectives"]}
    found = [f"the box does not name objective {name}" for name in wanted if name not in box]
    found += [f"the box names {name}, which meta.yml does not" for name in box if name not in wanted]
    found += [
        f"the box says of {name}: {box[name]!r}; meta.yml says {text!r}"
        for name, text in wanted.items()
        if name in box and box[name] != text
    ]
    for part, minutes in meta["minutes"].items():
        if not re.search(rf"\b{minutes}\b", opening):
            found.append(f"the box does not give the {minutes} minutes to {part} of meta.yml")
    return found


def _cell_problems(cells: list[dict[str, Any]]) -> list[str]:
    found = []
    names: list[str] = []
    for cell in cells:
        about, source, label = nbgrader_of(cell), source_of(cell), cell.get("id", "?")
        name = about.get("grade_id")
        if name:
            names.append(name)
            if name != cell.get("id"):
                found.append(f"{label}: its grade_id is {name}, which should be its id")
        for begin, end in MARKERS:
            depth = 0
            for line in source.splitlines():
                depth += (begin in line) - (end in line)
                if depth not in (0, 1):
                    break
            if depth != 0:
                found.append(f"{label}: {begin} and {end} do not match")
        if MARKERS[0][0] in source and not about.get("solution"):
            found.append(f"{label}: has a solution region, but is no solution cell")
        if MARKERS[1][0] in source and not is_test(cell):
            found.append(f"{label}: has hidden tests, but is no test cell")
        if cell.get("cell_type") == "code" and about.get("solution") and MARKERS[0][0] not in source:
            found.append(f"{label}: is a solution cell without {MARKERS[0][0]}")
    found += [f"grade_id {name} occurs twice" for name in sorted({n for n in names if names.count(n) > 1})]
    return found


def _task_problems(cells: list[dict[str, Any]], tasks: list[Task], meta: dict[str, Any]) -> list[str]:
    found = []
    if not TASKS[0] <= len(tasks) <= TASKS[1]:
        found.append(f"{len(tasks)} graded tasks, {TASKS[0]} to {TASKS[1]} are right")
    if not any(task.manual for task in tasks):
        found.append("no task is open (graded by hand)")
    total = sum(task.points for task in tasks)
    if total != meta["points"]:
        found.append(f"the tasks add up to {total:g} points, meta.yml says {meta['points']}")
    position = {cell["id"]: number for number, cell in enumerate(cells) if cell.get("id")}
    sources = {cell["id"]: source_of(cell) for cell in cells if cell.get("id")}
    objectives = {objective["id"]: set(objective["tasks"]) for objective in meta["objectives"]}
    listed = set().union(*objectives.values())
    found += [f"meta.yml names task {name}, which does not exist" for name in sorted(listed - {t.id for t in tasks})]
    for task in tasks:
        if not task.points > 0:
            found.append(f"{task.cell}: has no points")
        if task.id not in listed:
            found.append(f"{task.id}: meets no objective of meta.yml")
        prompt = sources.get(f"{task.id}-prompt")
        if prompt is None:
            found.append(f"{task.id}: has no prompt ({task.id}-prompt)")
            continue
        named = set(OBJECTIVE.findall(prompt))
        found += [
            f"{task.id}-prompt: names {name}, which meta.yml does not" for name in sorted(named - set(objectives))
        ]
        if not any(task.id in objectives[name] for name in named & set(objectives)):
            found.append(f"{task.id}-prompt: does not name the objective it meets")
        if task.manual:
            if not re.search(r"^\|.*\bpoints?\b.*\|", prompt, re.IGNORECASE | re.MULTILINE):
                found.append(f"{task.id}-prompt: an open task needs a rubric (a table with a column of points)")
            continue
        if task.cell != TEST_PREFIX + task.id:
            found.append(f"{task.cell}: the test of a task is called {TEST_PREFIX}<task>")
        if task.id not in position:
            found.append(f"{task.cell}: there is no solution cell {task.id}")
        elif not position[f"{task.id}-prompt"] < position[task.id] < position[task.cell]:
            found.append(f"{task.id}: prompt, solution and test should follow each other in this order")
        if prompt.count("<details") < HINTS:
            found.append(f"{task.id}-prompt: has fewer than {HINTS} hints in <details>")
    return found


def _import_problems(name: str, source: str) -> list[str]:
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return [f"{name}: is no plain Python ({error.msg}, line {error.lineno})"]
    wanted = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            wanted.add(node.module.split(".")[0])
    return [f"{name}: imports {module}, which a learner may lack" for module in sorted(wanted - LEARNER_HAS)]


def _called(tree: ast.AST) -> set[str]:
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {ast.unparse(call).split(".")[-1] for call in calls}


def _defined(source: str) -> set[str]:
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return set()
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def _assigned(tree: ast.AST) -> set[str]:
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    names |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return names
