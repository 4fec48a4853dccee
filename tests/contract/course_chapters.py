"""The chapters under solutions/, each read, released and rehearsed once."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from spikelab.datasets import Pets
from spikelab.grading.contract import Rehearsal, rehearse
from spikelab.grading.course import NOTEBOOK, Course, read_meta, read_notebook
from spikelab.grading.release import fresh_release
from spikelab.grading.wrong_answers import load_wrong_answers

COURSE = Course(Path(__file__).resolve().parents[2])
CAUGHT = "wrong answer"


class Chapter:
    """One chapter of the course; everything about it is read once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.solutions = COURSE.solutions / name
        self.released = COURSE.released / name

    @property
    def solution(self) -> dict:
        return read_notebook(self.solutions / NOTEBOOK)

    @property
    def meta(self) -> dict:
        return read_meta(self.released / "meta.yml")

    @property
    def wrong(self) -> dict:
        return load_wrong_answers(self.solutions / "wrong_answers.py")

    @property
    def fresh(self) -> dict[str, bytes]:
        return _fresh(self.name)

    @property
    def rehearsal(self) -> Rehearsal:
        return _rehearsal(self.name)


@cache
def _fresh(name: str) -> dict[str, bytes]:
    return fresh_release(COURSE, name)


@cache
def _rehearsal(name: str) -> Rehearsal:
    chapter = Chapter(name)
    if any("Oxford-IIIT-Pet" in data for data in chapter.meta["data"]):
        # Learners come from the lesson, which made the drawn stand-in; making it takes longer than a cell may.
        Pets("head", "test")
    student = json.loads(chapter.fresh[NOTEBOOK])
    return rehearse(chapter.solution, student, chapter.wrong, chapter.solutions)


def committed_notebooks() -> list[Path]:
    """Every notebook of the course: lessons, exercises, solutions."""
    return sorted([*COURSE.released.glob("*/*.ipynb"), *COURSE.solutions.glob("*/*.ipynb")])
