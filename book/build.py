"""Build the book: every lesson executed anew, from clean, into _build/html.

    python book/build.py --strict      what make book and CI run: a warning or a failed cell fails the build
    python book/build.py               a draft: warnings are listed but only failed cells and errors fail it

The new book is made beside the old one and takes its place at the end, so a build that fails leaves the last good book
where it was. How the last build ended stands in _build/book.json, its whole log in _build/book.log.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import vendor

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
SOURCES = ("_config.yml", "_toc.yml", "book/**/*", "chapters/**/*", "spikelab/**/*.py")
PASSING = ("__pycache__", ".ipynb_checkpoints", "vendor", ".stamp")  # parts of paths that are no source
ANSI = re.compile(r"\x1b\[[0-9;]*m")
PROBLEM = re.compile(r"^(?:(?P<where>\S.*?): )?(?P<level>WARNING|ERROR|CRITICAL|SEVERE): (?P<text>.+)$")
EXECUTED = re.compile(r"^(?P<path>.+?): Executed notebook in (?P<seconds>[\d.]+) seconds")
RULE = re.compile(r"^-{18,}$", re.MULTILINE)  # nbclient's lines around the source of a cell that failed


class Log(io.TextIOBase):
    """A stream that keeps every line in a file and hands it to ``look``."""

    def __init__(self, file, look=lambda line: None):
        super().__init__()
        self.file, self.look, self.rest = file, look, ""

    def write(self, text: str) -> int:
        *lines, self.rest = ANSI.sub("", self.rest + text).replace("\r", "\n").split("\n")
        for line in lines:
            self.file.write(line + "\n")
            self.look(line)
        return len(text)


def sources_digest() -> str:
    """Return a hash of everything that a page is made from."""
    digest = hashlib.sha256()
    files = {path for pattern in SOURCES for path in ROOT.glob(pattern) if path.is_file()}
    for path in sorted(files):
        name = path.relative_to(ROOT).as_posix()
        if not any(part in PASSING for part in name.split("/")):
            digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def build(strict: bool) -> int:
    """Build the book; return the exit status."""
    began = time.monotonic()
    try:
        if vendor.fetch():
            print("book: fetched the pages' scripts into book/_static/vendor")
    except vendor.VendorError as error:
        return _report(f"book: FAILED before it began: {error}")
    BUILD.mkdir(exist_ok=True)
    (BUILD / "book.json").unlink(missing_ok=True)
    digest = sources_digest()
    with tempfile.TemporaryDirectory(prefix=".book-", dir=BUILD) as folder:
        new = Path(folder)
        log = new / "book.log"
        with log.open("w", encoding="utf-8") as stream:
            outcome = _sphinx(new, stream, strict)
        lines = log.read_text(encoding="utf-8").splitlines()
        shutil.copyfile(log, BUILD / "book.log")
        times = _run_times(lines)
        problems = _failed_cells(new / "html" / "reports") + _warnings(lines, new / "jupyter_execute")
        fatal = [text for kind, text in problems if kind != "warning" or strict]
        if isinstance(outcome, BaseException):
            fatal.append(f"{type(outcome).__name__}: {outcome}")
        elif outcome and not fatal:
            fatal.append(f"Sphinx ended with status {outcome}, see _build/book.log")
        seconds = time.monotonic() - began
        print(f"book: {sum(times.values()):6.1f} s  all {len(times)} executed pages, {seconds:.1f} s with the rest")
        summary = {"ok": not fatal, "sources": digest, "seconds": times, "problems": [text for _, text in problems]}
        if not fatal:
            _replace(new / "html", BUILD / "html")
            _replace(new / "jupyter_execute", BUILD / "jupyter_execute")
        (BUILD / "book.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if fatal:
        kept = "; _build/html still holds the last book that built" if (BUILD / "html").is_dir() else ""
        found = "\n".join(f"  {text}" for text in fatal)
        return _report(f"book: FAILED, {len(fatal)} {'problem' if len(fatal) == 1 else 'problems'}{kept}:\n{found}")
    for _, text in problems:
        print(f"  {text}")
    noted = f", {len(problems)} warnings" if problems else ", no warning"
    print(f"book: built{noted}. Open {(BUILD / 'html' / 'index.html').relative_to(ROOT)}")
    return 0


def _sphinx(new: Path, log, strict: bool):
    """Run Sphinx as Jupyter Book sets it up; return its status, or the exception that ended it."""
    settings = new / "ipython" / "profile_default" / "ipython_kernel_config.py"  # the reader's own have no say here
    settings.parent.mkdir(parents=True)
    settings.write_text("c.IPKernelApp.log_level = 40\n")  # no advice on encryption from every kernel
    os.environ |= {"NO_COLOR": "1", "IPYTHONDIR": str(new / "ipython"), "PYTHONHASHSEED": "0"}
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        from jupyter_book.sphinx import build_sphinx
    except ImportError as missing:
        return ImportError(f"{missing}: install the book's extra, pip install -e '.[book]'")
    terminal = sys.stdout

    def show_progress(line: str) -> None:
        if found := EXECUTED.match(line):
            print(f"book: {float(found['seconds']):6.1f} s  {_short(found['path'])}", file=terminal, flush=True)

    with contextlib.redirect_stdout(Log(log, show_progress)), contextlib.redirect_stderr(Log(log, show_progress)):
        outcome = build_sphinx(
            ROOT,
            new / "html",
            path_config=ROOT / "_config.yml",
            noconfig=True,
            confoverrides={
                "external_toc_path": str(ROOT / "_toc.yml"),
                "latex_individualpages": False,
                "nitpicky": True,
                "nb_execution_raise_on_error": False,  # go on, so that one run names every cell that fails
            },
            builder="html",
            warningiserror=strict,
            keep_going=True,
            freshenv=True,
        )
    return outcome


def _failed_cells(reports: Path) -> list[tuple[str, str]]:
    """Say for each notebook that stopped which cell stopped it, and why."""
    failures = []
    for report in sorted(reports.rglob("*.err.log")):
        page = report.relative_to(reports).as_posix().removesuffix(".err.log")
        notebook = ROOT / f"{page}.ipynb"
        text = ANSI.sub("", report.read_text(encoding="utf-8")).strip()
        parts = RULE.split(text)
        cell = _cell_with_source(notebook, parts[1].strip()) if len(parts) > 2 else "a cell"
        why = next((line for line in reversed(text.splitlines()) if line.strip()), "no message").strip()
        if re.fullmatch(r"\w+:?", why):  # an error without a message: add the line that raised it
            arrows = re.findall(r"^-+> *\d+ (.+)$", text, flags=re.MULTILINE)
            why = f"{why.rstrip(':')} in `{arrows[-1].strip()}`" if arrows else why
        if "Timeout" in text.splitlines()[0] or "execution timed out" in text:
            why = "it took longer than execute.timeout in _config.yml allows"
        failures.append(("cell", f"{_page(page)}, {cell} failed: {why}"))
    return failures


def _warnings(lines: list[str], executed: Path) -> list[tuple[str, str]]:
    """Return every warning and error in the log, with cells named instead of line numbers."""
    problems = []
    for line in lines:
        found = PROBLEM.match(line)
        if not found or found["text"].startswith(("Executing notebook failed", "Notebook exception traceback")):
            continue  # failed cells have their own report
        level = "warning" if found["level"] == "WARNING" else "error"
        text = f"{_where(found['where'] or '')}{level}: {found['text']}"
        if "[mystnb.stderr]" in line:
            level, text = "warning", f"{_where(found['where'])}wrote to stderr: {_stderr(found['where'], executed)}"
        if (level, text) not in problems:
            problems.append((level, text))
    return problems


def _where(place: str) -> str:
    path, _, number = place.rpartition(":")
    if not number.isdigit():
        return f"{_short(place)}: " if place else ""
    if not path.endswith(".ipynb") or int(number) < 10000:
        return f"{_short(path)}, line {number}: "
    # MyST-NB gives cell i (from 0), line n the number 10000 (i + 1) + n
    index, line = int(number) // 10000 - 1, int(number) % 10000
    return f"{_short(path)}, {_cell_name(Path(path), index)}, line {line}: "


def _stderr(place: str, executed: Path) -> str:
    """Return what a cell wrote to stderr: the line that names a warning or error, or its beginning."""
    path, _, number = place.rpartition(":")
    cells = _cells(executed / Path(path).relative_to(ROOT))
    index = int(number) // 10000 - 1
    outputs = cells[index].get("outputs", []) if index < len(cells) else []
    lines = [
        line for output in outputs if output.get("name") == "stderr" for line in "".join(output["text"]).splitlines()
    ]
    return next((line.strip() for line in lines if "Warning" in line or "Error" in line), " ".join(lines)[:200])


def _cell_with_source(notebook: Path, source: str) -> str:
    head = source.partition("\n...\n")[0]  # of a cell that took too long only the ends are shown
    for index, cell in enumerate(_cells(notebook)):
        text = "".join(cell["source"]).strip()
        if cell["cell_type"] == "code" and (text == source or (head != source and text.startswith(head))):
            return _cell_name(notebook, index)
    return f"the cell that begins with {source.splitlines()[0]!r}" if source else "a cell"


def _cell_name(notebook: Path, index: int) -> str:
    cells = _cells(notebook)
    name = f" `{cells[index]['id']}`" if index < len(cells) and "id" in cells[index] else ""
    return f"cell {index + 1}{name}"


def _cells(notebook: Path) -> list[dict]:
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"] if notebook.is_file() else []


def _page(name: str) -> str:
    return next((f"{name}{end}" for end in (".ipynb", ".md") if (ROOT / f"{name}{end}").is_file()), name)


def _short(path: str) -> str:
    return path.removeprefix(f"{ROOT}{os.sep}").replace(os.sep, "/")


def _run_times(lines: list[str]) -> dict[str, float]:
    found = (EXECUTED.match(line) for line in lines)
    return {_short(match["path"]): float(match["seconds"]) for match in found if match}


def _replace(new: Path, old: Path) -> None:
    """Put the folder ``new`` where ``old`` is."""
    if not new.exists():
        return
    if old.exists():
        old.rename(new.with_name(f"{old.name}.old"))  # goes with the temporary folder
    new.rename(old)


def _report(message: str) -> int:
    print(message, file=sys.stderr, flush=True)
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the book into _build/html.")
    parser.add_argument("--strict", action="store_true", help="a warning fails the build too, as in make book and CI")
    return build(parser.parse_args().strict)


if __name__ == "__main__":
    sys.exit(main())
