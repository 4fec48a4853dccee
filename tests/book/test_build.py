"""book/build.py and book/vendor.py: what they do when something is wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from built_book import ROOT

sys.path.insert(0, str(ROOT / "book"))
import vendor

GOOD = "# A page\n\nNothing wrong here.\n"


def cell(kind: str, name: str, source: str) -> dict:
    code = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "id": name, "metadata": {}, "source": source.splitlines(keepends=True), **code}


def small_book(folder: Path, cells: list[dict], text: str = GOOD) -> Path:
    """A book of one page and one notebook with this book's own build and configuration."""
    shutil.copy(ROOT / "_config.yml", folder)
    shutil.copytree(ROOT / "book", folder / "book", ignore=shutil.ignore_patterns("*.md", "*.bib", "__pycache__"))
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/index\nchapters:\n- file: chapters/01_a/lesson\n")
    (folder / "book" / "index.md").write_text(text)
    (folder / "book" / "references.bib").write_text("")
    write_notebook(folder, cells)
    return folder


def write_notebook(folder: Path, cells: list[dict]) -> None:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path = folder / "chapters" / "01_a" / "lesson.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook))


def build(folder: Path, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "book/build.py", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180)


TITLE = cell("markdown", "title", "# A lesson\n")
PICTURE = cell("code", "fine", "import matplotlib.pyplot as plt\nplt.plot([1, 2]);")


def test_faults_are_named_by_page_and_cell_and_the_old_book_stays(tmp_path):
    folder = small_book(tmp_path, [TITLE, PICTURE])
    good = build(folder, "--strict")
    assert good.returncode == 0, good.stderr
    assert re.search(r"^book: +\d+\.\d s  chapters/01_a/lesson\.ipynb$", good.stdout, re.M)
    assert good.stdout.splitlines()[-1] == "book: built, no warning. Open _build/html/index.html"
    assert json.loads((folder / "_build" / "book.json").read_text())["ok"] is True
    before = (folder / "_build" / "html" / "book" / "index.html").read_bytes()

    (folder / "book" / "index.md").write_text(GOOD + "\n[gone](nowhere.md) {cite:p}`nobody1999`\n")
    broken = [
        TITLE,
        cell("markdown", "prose", "Text.\n\n{ref}`no-such-label`\n"),
        cell("code", "loud", "import sys\nprint('UserWarning: too loud', file=sys.stderr)"),
        cell("code", "broken", "x = 1\nassert x == 2"),
        cell("code", "after", "1 / 0"),
    ]
    write_notebook(folder, broken)
    bad = build(folder, "--strict")
    assert bad.returncode == 1
    last = bad.stderr[bad.stderr.index("book: FAILED") :]
    assert "5 problems; _build/html still holds the last book that built" in last
    assert "chapters/01_a/lesson.ipynb, cell 4 `broken` failed: AssertionError in `assert x == 2`" in last
    assert "chapters/01_a/lesson.ipynb, cell 3 `loud`" in last
    assert "wrote to stderr: UserWarning: too loud" in last
    assert re.search(r"lesson\.ipynb, cell 2 `prose`, line \d+: warning: .*no-such-label", last)
    assert re.search(r"book/index\.md, line 5: warning: .*nowhere\.md", last)
    assert re.search(r"book/index\.md, line 5: warning: .*nobody1999", last)
    assert "1 / 0" not in last
    assert (folder / "_build" / "html" / "book" / "index.html").read_bytes() == before
    assert json.loads((folder / "_build" / "book.json").read_text())["ok"] is False
    assert [path.name for path in (folder / "_build").glob(".book-*")] == []


def test_a_cell_that_takes_too_long_is_named(tmp_path):
    folder = small_book(tmp_path, [TITLE, cell("code", "endless", "import time\nwhile True:\n    time.sleep(1)")])
    config = (folder / "_config.yml").read_text()
    (folder / "_config.yml").write_text(re.sub(r"timeout: \d+", "timeout: 3", config))
    bad = build(folder)
    assert bad.returncode == 1
    assert re.search(r"lesson\.ipynb, cell 2 `endless` failed: it took longer than execute\.timeout", bad.stderr)


def test_a_draft_lists_warnings_and_builds(tmp_path):
    folder = small_book(tmp_path, [TITLE, PICTURE], GOOD + "\n[gone](nowhere.md)\n")
    draft = build(folder)
    assert draft.returncode == 0, draft.stderr
    assert "book/index.md, line 5: warning:" in draft.stdout
    assert draft.stdout.splitlines()[-1].startswith("book: built, 1 warning")


def test_launch_buttons_appear_with_the_repository_address(tmp_path):
    folder = small_book(tmp_path, [TITLE, PICTURE])
    config = (folder / "_config.yml").read_text()
    (folder / "_config.yml").write_text(
        re.sub(r'^  url: ""', "  url: https://github.com/owner/name", config, flags=re.M)
    )
    assert "owner/name" in (folder / "_config.yml").read_text()
    done = build(folder, "--strict")
    assert done.returncode == 0, done.stderr
    html = (folder / "_build" / "html" / "chapters" / "01_a" / "lesson.html").read_text()
    assert "https://mybinder.org/v2/gh/owner/name/main?urlpath=lab/tree/chapters/01_a/lesson.ipynb" in html
    assert "https://colab.research.google.com/github/owner/name/blob/main/chapters/01_a/lesson.ipynb" in html


def test_lock_names_exact_versions_and_no_host():
    package = json.loads((ROOT / "book" / "package.json").read_text())
    text = (ROOT / "book" / "package-lock.json").read_text()
    assert "resolved" not in text
    locked = vendor.locked_packages()
    assert {name: version for name, (version, _) in locked.items()} == package["dependencies"]
    assert all(integrity.startswith("sha512-") for _, integrity in locked.values())


def archive_of(tmp_path: Path, names: list[str]) -> tuple[Path, str]:
    source = tmp_path / "file"
    source.write_text("content")
    archive = tmp_path / "package.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in names:
            tar.add(source, f"package/{name}")
    return archive, "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()


def test_an_archive_that_is_not_the_locked_one_is_refused(tmp_path):
    archive, integrity = archive_of(tmp_path, ["require.js", "README.md"])
    vendor._check(archive, "requirejs", integrity)
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(vendor.VendorError, match=r"requirejs: the archive's sha512 is .* package-lock\.json says"):
        vendor._check(archive, "requirejs", integrity)


def test_an_archive_gives_only_what_is_named_and_nothing_outside(tmp_path):
    archive, _ = archive_of(tmp_path, ["require.js", "README.md", "bin/r.js", "../../README.md"])
    vendor._take(archive, "requirejs", tmp_path / "vendor")
    found = sorted(path.relative_to(tmp_path / "vendor").as_posix() for path in (tmp_path / "vendor").rglob("*.*"))
    assert found == ["requirejs/README.md", "requirejs/require.js"]
    lacking, _ = archive_of(tmp_path, ["README.md"])
    with pytest.raises(vendor.VendorError, match=r"requirejs: the archive holds no require\.js"):
        vendor._take(lacking, "requirejs", tmp_path / "vendor")
