"""Tests run for each chapter that is there; at the end the count of wrong answers caught."""

from __future__ import annotations

import pytest
from course_chapters import CAUGHT, COURSE, Chapter, committed_notebooks


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chapters = COURSE.chapters()
    if "wrong_answer" in metafunc.fixturenames:
        entries = []
        for name in chapters:
            for task, answers in _wrong(name).items():
                entries += [pytest.param((name, task, answer), id=f"{name}-{task}-{answer.name}") for answer in answers]
        metafunc.parametrize("wrong_answer", entries)
    if "chapter" in metafunc.fixturenames:
        metafunc.parametrize("chapter", [Chapter(name) for name in chapters], ids=chapters)
    if "notebook_path" in metafunc.fixturenames:
        paths = committed_notebooks()
        metafunc.parametrize("notebook_path", paths, ids=[str(path.relative_to(COURSE.root)) for path in paths])
    if "lesson_path" in metafunc.fixturenames:
        paths = [path for path in committed_notebooks() if path.name == "lesson.ipynb"]
        metafunc.parametrize("lesson_path", paths, ids=[path.parent.name for path in paths])


def _wrong(name: str) -> dict:
    try:
        return Chapter(name).wrong
    except Exception:  # what is wrong with the file, the tests of that chapter say
        return {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Without any chapter there is nothing to test; pytest would report such a test as skipped.
    items[:] = [item for item in items if not _is_empty(item)]


def _is_empty(item: pytest.Item) -> bool:
    return "NOTSET" in getattr(getattr(item, "callspec", None), "id", "")


def pytest_terminal_summary(terminalreporter) -> None:
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.when == "call" and any(key == CAUGHT for key, _ in report.user_properties)
    ]
    if reports:
        caught = sum((CAUGHT, "caught") in report.user_properties for report in reports)
        terminalreporter.write_line(f"wrong answers caught: {caught} of {len(reports)}")
