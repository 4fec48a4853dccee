"""Mend a submitted notebook before nbgrader sees it, and write down what was wrong with it."""

from __future__ import annotations

import contextlib
from typing import Any

from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.preprocessors import NbGraderPreprocessor

from spikelab.grading.course import nbgrader_of

OURS = "spikelab"
COPIED = "copied cell"
TAMPERED = "tampered cell"
DELETED = "deleted cell"
UNKNOWN = "unknown cell"


def note(nb: Any, kind: str, detail: str) -> None:
    """Write an anomaly into the notebook's metadata, once."""
    entry = {"kind": kind, "detail": detail}
    notes = nb.metadata.setdefault(OURS, {}).setdefault("anomalies", [])
    if entry not in notes:
        notes.append(entry)


def notes_of(nb: Any) -> list[dict[str, str]]:
    """Return the anomalies written into a notebook."""
    return [dict(entry) for entry in nb["metadata"].get(OURS, {}).get("anomalies", [])]


class RepairSubmission(NbGraderPreprocessor):
    """Restore nbgrader's metadata from the gradebook, so that no submission can stop the batch.

    A copied graded cell keeps its text and loses its claim to be graded; a deleted test cell comes back, does not run
    and counts 0; a test cell whose text or metadata was edited is restored. All of it is noted for the instructor.
    """

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """Return the mended notebook."""
        nb.metadata.pop(OURS, None)
        about = resources["nbgrader"]
        with Gradebook(about["db_url"]) as gradebook:
            try:
                notebook = gradebook.find_notebook(about["notebook"], about["assignment"])
            except MissingEntry:
                raise RuntimeError("the chapter is not in the gradebook yet: run `spikelab grade run`") from None
            points = {cell.name: cell.max_score for cell in notebook.grade_cells}
            answers = {cell.name for cell in notebook.solution_cells}
            sources = {cell.name: cell for cell in notebook.source_cells}
            canonical = {
                name: {
                    "grade_id": name,
                    "grade": name in points,
                    "solution": name in answers,
                    "locked": bool(source.locked),
                    "task": False,
                    "schema_version": 3,
                    "cell_type": source.cell_type,
                    "checksum": source.checksum,
                    **({"points": points[name]} if name in points else {}),
                }
                for name, source in sources.items()
            }
            texts = {name: source.source for name, source in sources.items()}
        self._strip_strangers(nb, canonical)
        self._keep_one_of_each(nb)
        self._restore(nb, canonical, texts)
        self._bring_back(nb, canonical, texts)
        return nb, resources

    def _strip_strangers(self, nb: Any, canonical: dict[str, dict]) -> None:
        for cell in nb.cells:
            cell.metadata.pop(OURS, None)
            if "nbgrader" not in cell.metadata:
                continue
            name = nbgrader_of(cell).get("grade_id")
            if not isinstance(name, str) or name not in canonical:
                if name:
                    note(nb, UNKNOWN, f"{name} is no cell of this chapter and is not graded")
                del cell.metadata["nbgrader"]

    def _keep_one_of_each(self, nb: Any) -> None:
        by_name: dict[str, list[Any]] = {}
        for cell in nb.cells:
            name = nbgrader_of(cell).get("grade_id")
            if name:
                by_name.setdefault(name, []).append(cell)
        for name, cells in by_name.items():
            if len(cells) < 2:
                continue
            # A released cell carries its name as id, and an editor gives a pasted copy another one.
            kept = next((cell for cell in cells if cell.get("id") == name), cells[-1])
            for cell in cells:
                if cell is not kept:
                    del cell.metadata["nbgrader"]
            note(nb, COPIED, f"{name} occurs {len(cells)} times; one is graded")

    def _restore(self, nb: Any, canonical: dict[str, dict], texts: dict[str, str]) -> None:
        for cell in nb.cells:
            name = nbgrader_of(cell).get("grade_id")
            if not name:
                continue
            right = canonical[name]
            got = cell.metadata["nbgrader"]
            flags = ("grade", "solution", "locked", "points")
            was_test = right["grade"] and right["locked"]
            edited = was_test and _visible(cell.source) != _visible(texts[name])
            moved = any(key in right and got.get(key) != right[key] for key in flags)
            if edited or moved or cell.cell_type != right["cell_type"]:
                note(nb, TAMPERED, f"{name} was changed; the released {'test' if was_test else 'settings'} count")
            if cell.cell_type != right["cell_type"]:
                _retype(cell, right["cell_type"])
            cell.metadata["nbgrader"] = type(cell.metadata)(right)
            if was_test:
                cell.source = texts[name]
                for tag in ("tags",):  # skip-execution and the like
                    cell.metadata.pop(tag, None)

    def _bring_back(self, nb: Any, canonical: dict[str, dict], texts: dict[str, str]) -> None:
        order = list(canonical)
        present = {nbgrader_of(cell).get("grade_id") for cell in nb.cells}
        for position, name in enumerate(order):
            if name in present:
                continue
            right = canonical[name]
            if not right["grade"]:
                note(nb, DELETED, f"{name} is missing: nothing answers its tests")
                continue
            note(nb, DELETED, f"{name} is missing and counts 0")
            make = new_code_cell if right["cell_type"] == "code" else new_markdown_cell
            cell = make(texts[name], metadata={"nbgrader": dict(right), OURS: {"deleted": True}})
            with contextlib.suppress(KeyError):
                cell["id"] = name
            before = set(order[:position])
            after = [i for i, c in enumerate(nb.cells) if nbgrader_of(c).get("grade_id") in before]
            nb.cells.insert(after[-1] + 1 if after else 0, cell)


def _visible(source: str) -> list[str]:
    """Lines of a test cell outside hidden regions, without trailing blanks: what the student was given."""
    kept, hidden = [], False
    for line in source.splitlines():
        if "BEGIN HIDDEN TESTS" in line:
            hidden = True
        elif "END HIDDEN TESTS" in line:
            hidden = False
        elif not hidden:
            kept.append(line.rstrip())
    while kept and not kept[-1]:
        kept.pop()
    return kept


def _retype(cell: Any, cell_type: str) -> None:
    cell["cell_type"] = cell_type
    if cell_type == "code":
        cell["outputs"], cell["execution_count"] = [], None
    else:
        cell.pop("outputs", None)
        cell.pop("execution_count", None)
