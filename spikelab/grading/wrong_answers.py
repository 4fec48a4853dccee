"""Plausible wrong answers: what ``solutions/NN_slug/wrong_answers.py`` holds and how it is read."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import NamedTuple


class Wrong(NamedTuple):
    """A mistake that a real learner makes.

    Attributes:
        name: what the mistake is, for example "leak on the input".
        code: the whole solution cell with that mistake.
        hint: text that has to occur in the message of the first assert that fails.
    """

    name: str
    code: str
    hint: str


def load_wrong_answers(path: str | Path) -> dict[str, list[Wrong]]:
    """Read ``WRONG`` from a ``wrong_answers.py``.

    Args:
        path: the file.
    Returns:
        ``{task id: [Wrong, ...]}``.
    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if ``WRONG`` is missing or an entry is not ``Wrong(name, code, hint)`` with three texts.

    Explained in the instructor guide.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no wrong answers at {path}: every chapter has solutions/NN_slug/wrong_answers.py")
    found = runpy.run_path(str(path)).get("WRONG")
    if not isinstance(found, dict):
        raise ValueError(f"{path} must define WRONG = {{task id: [Wrong(...), ...]}}, got {type(found).__name__}")
    answers: dict[str, list[Wrong]] = {}
    for task, wrongs in found.items():
        for wrong in wrongs:
            if not isinstance(wrong, Wrong) or not all(isinstance(text, str) and text.strip() for text in wrong):
                raise ValueError(f"{path}: task {task!r} must list Wrong(name, code, hint) with text, got {wrong!r}")
        names = [wrong.name for wrong in wrongs]
        if len(set(names)) < len(names):
            raise ValueError(f"{path}: the names of task {task!r} must differ, got {names}")
        answers[task] = list(wrongs)
    return answers
