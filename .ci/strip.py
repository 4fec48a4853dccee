"""Strip what running and editing leave in the notebooks: outputs, counters, widget states, traces of the editor.

    python .ci/strip.py [--check] [notebook ...]

Cell ids, tags, figure captions and nbgrader's marks stay. Without names: every lesson and every solution. ``--check``
writes nothing and exits with 1 if a notebook needs it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
PATTERNS = ("chapters/*/lesson.ipynb", "chapters/*/project.ipynb", "solutions/*/exercises.ipynb")
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
KEPT_IN_CELLS = ("tags", "mystnb", "nbgrader")


def stripped(text: str) -> str:
    """Return a notebook's text as it is committed.

    Raises:
        ValueError: if it is no notebook, or a cell has no id (one saved by an editor that drops them).
    """
    try:
        content = json.loads(text)
        cells, version = content["cells"], (content["nbformat"], content["nbformat_minor"])
        without_id = [cell for cell in cells if "id" not in cell]
    except (ValueError, KeyError, TypeError):
        raise ValueError("is no notebook") from None
    if version < (4, 5) or without_id:
        raise ValueError("has cells without an id: take it from git again and edit it in JupyterLab")
    notebook = nbformat.from_dict(content)
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in KEPT_IN_CELLS if cell.metadata.get(key)})
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nbformat.writes(notebook) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Strip outputs and traces of the editor from notebooks.")
    parser.add_argument("notebooks", nargs="*", type=Path, help="all lessons and solutions if none is named")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a notebook needs it")
    options = parser.parse_args(arguments)
    paths = options.notebooks or sorted(path for pattern in PATTERNS for path in ROOT.glob(pattern))
    status = 0
    for path in paths:
        try:
            old = path.read_text(encoding="utf-8")
            new = stripped(old)
        except (OSError, ValueError) as error:
            print(f"{path}: {error}")
            status = 1
            continue
        if new != old and options.check:
            print(f"{path}: holds outputs or traces of an editor: make strip")
            status = 1
        elif new != old:
            path.write_text(new, encoding="utf-8", newline="\n")
            print(f"{path}: stripped")
    if status == 0 and options.check:
        print(f"{len(paths)} notebooks are stripped")
    return status


if __name__ == "__main__":
    sys.exit(main())
