"""Run the course's tests, stage by stage: what `make test`, `make quick` and CI call.

    python tests/stages.py                    every stage
    python tests/stages.py --quick            the inner loop: lint, and unit and contract without what is slow
    python tests/stages.py --only unit,book   some of them
    python tests/stages.py --list             what there is

A stage runs even if an earlier one failed. One that runs no test, or longer than its cap, has failed.
The last line is ``N passed, M failed``; the exit status is 0 only if nothing failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Step:
    """One command of a stage; ``reports`` if it is a pytest run, whose tests are counted one by one."""

    command: tuple[str, ...]
    reports: bool = False


@dataclass(frozen=True)
class Stage:
    """Commands that prove one thing, and the seconds they may take together on two cores."""

    name: str
    proves: str
    cap_s: float
    steps: tuple[Step, ...]


@dataclass
class Outcome:
    """What a stage came to."""

    name: str
    seconds: float = 0.0
    passed: int = 0
    failed: int = 0
    notes: list[str] = field(default_factory=list)


def python(*arguments: str) -> Step:
    return Step((sys.executable, *arguments))


def pytest(*arguments: str) -> Step:
    return Step((sys.executable, "-m", "pytest", "-q", *arguments), reports=True)


def notebooks(root: Path = ROOT) -> list[str]:
    """Every lesson, project and solution; a pattern that finds none stays as it is, so that pytest fails on it."""
    found: list[str] = []
    for pattern in ("chapters/*/lesson.ipynb", "chapters/*/project.ipynb", "solutions/*/exercises.ipynb"):
        found += sorted(path.relative_to(root).as_posix() for path in root.glob(pattern)) or [pattern]
    return found


def all_stages() -> list[Stage]:
    ruff = (python("-m", "ruff", "check", "."), python("-m", "ruff", "format", "--check", "."))
    lint = (*ruff, python(".ci/strip.py", "--check"))
    covered = ("--cov=spikelab", "--cov-report=term:skip-covered", "--cov-fail-under=90")
    nbval = ("--nbval-lax", "--nbval-current-env", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider")
    unit = pytest("tests/unit", "-n", "2", *covered)
    book = (python("book/build.py", "--strict"), pytest("tests/book"))
    plan = [
        ("lint", "code and notebooks follow the rules in pyproject.toml", 60, *lint),
        ("unit", "the library is right, and 90 % of its lines are tested", 300, unit),
        ("contract", "exercises, solutions and wrong answers agree; nothing drifts", 480, pytest("tests/contract")),
        ("notebooks", "every lesson, project and solution runs", 900, pytest(*nbval, *notebooks())),
        ("book", "the book builds from clean without a warning", 600, *book),
        ("browser", "every page works in a browser and asks nothing of the network", 240, pytest("tests/browser")),
        ("grading", "a sample class goes through the whole grading cycle", 180, pytest("tests/grading")),
    ]
    return [Stage(name, proves, cap_s, tuple(steps)) for name, proves, cap_s, *steps in plan]


def quick_stages() -> list[Stage]:
    lint = next(stage for stage in all_stages() if stage.name == "lint")
    return [
        lint,
        Stage("unit", "the library is right", 120, (pytest("tests/unit", "-n", "2", "-m", "not slow"),)),
        Stage("contract", "what of the contract needs no kernel", 120, (pytest("tests/contract", "-m", "not slow"),)),
    ]


def run_stage(stage: Stage, root: Path = ROOT) -> Outcome:
    """Run every step of a stage, also after one has failed, and count what passed and failed."""
    outcome = Outcome(stage.name)
    start = time.monotonic()
    for step in stage.steps:
        left = stage.cap_s - (time.monotonic() - start)
        if left <= 0:
            outcome.failed += 1
            outcome.notes.append(f"no time left for: {shown(step.command)}")
            continue
        with tempfile.TemporaryDirectory(prefix="stage-") as folder:
            report = Path(folder) / "report.xml"
            command = (*step.command, f"--junitxml={report}") if step.reports else step.command
            status = run(command, left, root)
            passed, failed = count(report) if step.reports else (int(status == 0), int(status not in (0, None)))
        if status is None:
            failed += 1
            outcome.notes.append(f"killed at its cap of {stage.cap_s:g} s: {shown(step.command)}")
        elif passed + failed == 0:
            failed = 1
            outcome.notes.append(f"ran no test: {shown(step.command)}")
        elif status != 0 and failed == 0:
            failed = 1
            outcome.notes.append(f"its tests passed, but it ended with status {status}: {shown(step.command)}")
        outcome.passed += passed
        outcome.failed += failed
    outcome.seconds = time.monotonic() - start
    return outcome


def run(command: Sequence[str], cap_s: float, root: Path) -> int | None:
    """Exit status of a command, or None if it was killed, with everything it had started, after ``cap_s`` seconds."""
    print(f"$ {shown(command)}", flush=True)
    fixed = {"OMP_NUM_THREADS": "1", "SPIKELAB_PROFILE": "fast", "PYTHONUNBUFFERED": "1"}
    own_group = os.name == "posix"
    try:
        process = subprocess.Popen(
            command, cwd=root, env={**os.environ, **fixed}, stdin=subprocess.DEVNULL, start_new_session=own_group
        )
    except OSError as error:
        print(error, flush=True)
        return 127
    try:
        return process.wait(timeout=cap_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            stop(process, own_group)


def stop(process: subprocess.Popen[bytes], own_group: bool) -> None:
    """End a process and all its children: politely, then for certain."""
    for word in ("SIGTERM", "SIGKILL"):
        with contextlib.suppress(ProcessLookupError):
            if own_group:
                os.killpg(process.pid, getattr(signal, word))
            else:
                process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)


def count(report: Path) -> tuple[int, int]:
    """Tests passed and failed in a JUnit file; (0, 0) if there is none. A skipped test is neither."""
    try:
        suites = ElementTree.parse(report).getroot().iter("testsuite")
    except (OSError, ElementTree.ParseError):
        return 0, 0
    passed = failed = 0
    for suite in suites:
        tests, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
        bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        passed += max(tests - bad - skipped, 0)
        failed += bad
    return passed, failed


def shown(command: Iterable[str]) -> str:
    """A command as one would type it, without the machine's own paths."""
    words = ["python" if word == sys.executable else word for word in command if not word.startswith("--junitxml=")]
    return " ".join(f'"{word}"' if " " in word else word for word in words)


def table(outcomes: Sequence[Outcome]) -> str:
    rows = [f"{'stage':<12}{'seconds':>9}{'passed':>9}{'failed':>9}"]
    rows += [f"{o.name:<12}{o.seconds:>9.1f}{o.passed:>9}{o.failed:>9}" for o in outcomes]
    total = sum(o.seconds for o in outcomes)
    rows.append(f"{'all':<12}{total:>9.1f}{sum(o.passed for o in outcomes):>9}{sum(o.failed for o in outcomes):>9}")
    rows += [f"{o.name}: {note}" for o in outcomes for note in o.notes]
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None, stages: Sequence[Stage] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description="Run the course's tests, stage by stage.")
    parser.add_argument("--quick", action="store_true", help="lint, and unit and contract without what is slow")
    parser.add_argument("--only", metavar="NAMES", help="these stages only, separated by commas")
    parser.add_argument("--list", action="store_true", help="name the stages and end")
    options = parser.parse_args(arguments)
    if stages is None:
        stages = quick_stages() if options.quick else all_stages()
    if options.only is not None:
        names = [name.strip() for name in options.only.split(",")]
        unknown = sorted(set(names) - {stage.name for stage in stages})
        if unknown:
            parser.error(f"no stage {', '.join(unknown)}; there are {', '.join(stage.name for stage in stages)}")
        stages = [stage for stage in stages if stage.name in names]
    if options.list:
        for stage in stages:
            print(f"{stage.name:<12}{stage.cap_s:>5.0f} s at most   {stage.proves}")
        return 0

    outcomes: list[Outcome] = []
    stopped = False
    try:
        for stage in stages:
            print(f"\n=== {stage.name}: {stage.proves} (at most {stage.cap_s:g} s)", flush=True)
            outcomes.append(run_stage(stage, root))
    except KeyboardInterrupt:
        stopped = True
        print("\nstopped by the keyboard", flush=True)
    failed = sum(outcome.failed for outcome in outcomes)
    print(f"\n{table(outcomes)}\n\n{sum(outcome.passed for outcome in outcomes)} passed, {failed} failed", flush=True)
    if stopped:
        return 130
    return 1 if failed or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
