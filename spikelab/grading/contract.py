"""Rehearse a chapter's tests in one warm process: the solution, the untouched notebook, and every wrong answer.

No kernel is started: cells run in copies of one namespace, each with a time limit. A test cell that raises earns no
points; what it writes to stderr is kept, because nbgrader on its own takes that for a failure too.
"""

from __future__ import annotations

import contextlib
import io
import json
import linecache
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from spikelab.grading.course import TEST_PREFIX, CourseError, is_test, nbgrader_of, source_of
from spikelab.grading.wrong_answers import Wrong

CELL_S = 30.0
TERM_SEEDS = ("0", "1", "spring term")


class Outcome(NamedTuple):
    """How a test cell ended.

    Attributes:
        passed: whether it earns its points.
        message: what the learner reads if it does not.
        stderr: what it wrote to stderr.
        seconds: how long it took, with the answer.
    """

    passed: bool
    message: str
    stderr: str
    seconds: float


class Rehearsal(NamedTuple):
    """The outcome of each test cell of a chapter.

    Attributes:
        solution: ``{term seed: {test cell: Outcome}}`` with the solution.
        student: ``{test cell: Outcome}`` of the untouched student notebook.
        wrong: ``{task: {name of the wrong answer: one Outcome per term seed}}``.
        broken: ``{cell: message}`` of other cells of the solution that raise.
        seconds: wall clock of all of it.
    """

    solution: dict[str, dict[str, Outcome]]
    student: dict[str, Outcome]
    wrong: dict[str, dict[str, list[Outcome]]]
    broken: dict[str, str]
    seconds: float


def rehearse(
    solution: dict[str, Any],
    student: dict[str, Any],
    wrong: dict[str, list[Wrong]],
    folder: Path,
    *,
    cell_s: float = CELL_S,
    limit_s: float = 400.0,
) -> Rehearsal:
    """Run a chapter's tests in a process of their own.

    Args:
        solution: the source notebook.
        student: the notebook released from it.
        wrong: the wrong answers, per task.
        folder: working directory of the cells.
        cell_s: seconds for one cell.
        limit_s: seconds for everything.
    Returns:
        What each test cell said.
    Raises:
        CourseError: if the process does not end as it should.

    Explained in the instructor guide.
    """
    answers = {task: [answer._asdict() for answer in listed] for task, listed in wrong.items()}
    job = {"solution": solution, "student": student, "wrong": answers, "cell_s": cell_s}
    environment = {**os.environ, "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    try:
        process = subprocess.run(
            [sys.executable, "-m", "spikelab.grading.contract"],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CourseError(f"rehearsing {folder.name} took more than {limit_s:g} s") from None
    if process.returncode != 0:
        raise CourseError(f"rehearsing {folder.name} ended with {process.returncode}:\n{process.stderr[-3000:]}")
    found = json.loads(process.stdout)

    def outcomes(given: dict[str, list]) -> dict[str, Outcome]:
        return {name: Outcome(*values) for name, values in given.items()}

    return Rehearsal(
        {seed: outcomes(given) for seed, given in found["solution"].items()},
        outcomes(found["student"]),
        {
            task: {name: [Outcome(*values) for values in given] for name, given in answers.items()}
            for task, answers in found["wrong"].items()
        },
        found["broken"],
        found["seconds"],
    )


class _TimeUp(BaseException):
    """Not an Exception, so that no guard in a test cell takes it for the learner's mistake."""


@contextlib.contextmanager
def _limited(seconds: float):
    import signal

    if not hasattr(signal, "setitimer"):  # Windows: only the limit of the whole rehearsal
        yield
        return

    def ring(signum: int, frame: Any) -> None:
        raise _TimeUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _run_cells(cells: list[dict[str, Any]], names: dict[str, Any], cell_s: float) -> Outcome:
    """Run cells one after the other up to the first that fails."""
    errors, out = io.StringIO(), io.StringIO()
    message, begun = "", time.perf_counter()
    passed = False
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(out), _limited(cell_s):
            for cell in cells:
                source, file = source_of(cell), f"<{cell['id']}>"
                linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
                exec(compile(source, file, "exec"), names)
        passed = True
    except _TimeUp:
        message = f"took more than {cell_s:g} s"
    except AssertionError as error:
        message = str(error) or "an assert without a message"
    except (Exception, SystemExit) as error:
        message = f"{type(error).__name__}: {error}"
    stderr = errors.getvalue()
    return Outcome(passed, message, stderr, time.perf_counter() - begun)


def _seeded(seed: str, act: Callable[[], Any]) -> Any:
    before = os.environ.get("SPIKELAB_TERM_SEED")
    os.environ["SPIKELAB_TERM_SEED"] = seed
    try:
        return act()
    finally:
        if before is None:
            del os.environ["SPIKELAB_TERM_SEED"]
        else:
            os.environ["SPIKELAB_TERM_SEED"] = before


def _namespace() -> dict[str, Any]:
    from IPython.display import display

    return {"__name__": "__main__", "display": display}


def _rehearse(job: dict[str, Any]) -> dict[str, Any]:
    import torch

    begun, cell_s = time.perf_counter(), job["cell_s"]
    names = _namespace()
    solution: dict[str, dict[str, Outcome]] = {seed: {} for seed in TERM_SEEDS}
    wrong: dict[str, dict[str, list[Outcome]]] = {}
    broken: dict[str, str] = {}
    before: dict[str, dict[str, Any]] = {}
    between: list[dict[str, Any]] = []
    for cell in job["solution"]["cells"]:
        if cell["cell_type"] != "code":
            continue
        state = torch.get_rng_state()
        if not is_test(cell):
            between.append(cell)
            if nbgrader_of(cell).get("solution"):
                before[cell["id"]] = dict(names)
                between = []
            outcome = _run_cells([cell], names, cell_s)
            if not outcome.passed:
                broken[cell["id"]] = outcome.message
            continue
        task = nbgrader_of(cell)["grade_id"].removeprefix(TEST_PREFIX)
        for seed in TERM_SEEDS:
            copy = names if seed == TERM_SEEDS[0] else dict(names)
            solution[seed][cell["id"]] = _seeded(seed, lambda c=cell, n=copy: _run_cells([c], n, cell_s))
        wrong[task] = {}
        for answer in job["wrong"].get(task, []):
            cells = [{"id": f"{task}-wrong", "source": answer["code"]}, *between, cell]
            wrong[task][answer["name"]] = []
            for seed in TERM_SEEDS:
                torch.set_rng_state(state)
                start = dict(before.get(task, names))
                outcome = _seeded(seed, lambda c=cells, n=start: _run_cells(c, n, cell_s))
                wrong[task][answer["name"]].append(outcome)
        torch.set_rng_state(state)
    student: dict[str, Outcome] = {}
    names = _namespace()
    for cell in job["student"]["cells"]:
        if cell["cell_type"] == "code":
            outcome = _run_cells([cell], names, cell_s)
            if is_test(cell):
                student[cell["id"]] = outcome
    return {
        "solution": solution,
        "student": student,
        "wrong": wrong,
        "broken": broken,
        "seconds": time.perf_counter() - begun,
    }


def _main() -> None:
    job = json.load(sys.stdin)
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.path.insert(0, os.getcwd())
    try:
        found = _rehearse(job)
    except BaseException:
        traceback.print_exc()
        raise SystemExit(1) from None
    channel.write(json.dumps(found))
    channel.flush()


if __name__ == "__main__":
    _main()
