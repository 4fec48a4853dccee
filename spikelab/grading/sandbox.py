"""Run a student's notebook in a process of its own: scratch folder, time limits, memory limit, and an assert canary.

The grading process (``run``) sends the notebook to a worker (``python -m spikelab.grading.sandbox``) and reads one line
of JSON per executed cell, so that whatever happens to the worker the results so far are safe. The worker knows neither
the gradebook nor the solutions. It is a fence against accidents and simple tricks, not against an attacker: see the
threat model in the instructor guide, and ``SandboxExecute.command`` for running the worker in a container.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from nbgrader.preprocessors.execute import Execute, UnresponsiveKernelError
from traitlets import Integer, List, Unicode

from spikelab.grading.course import is_test, nbgrader_of
from spikelab.grading.repair import OURS, note

CRASHED = "crash"
TIMED_OUT = "timeout"
CANARY = "assert canary"
STDERR = "stderr"
MARK = "SPIKELAB_GRADING_JOB"
MAX_RESULT_BYTES = 64_000_000
MAX_FILE_BYTES = 256_000_000
KEPT_ENVIRONMENT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "SYSTEMROOT",
    "SPIKELAB_TERM_SEED",
    "SPIKELAB_PROFILE",
    "SPIKELAB_DATA",
    "NBGRADER_EXECUTION",
)


class Limits(NamedTuple):
    """What a submission may use.

    Attributes:
        cell_s: seconds per cell, after which it is interrupted.
        startup_s: seconds for the kernel to start.
        notebook_s: seconds of wall clock for the whole notebook, after which every process of it is ended.
        memory_mb: address space of the kernel in MB, where the system can limit it.
    """

    cell_s: int = 60
    startup_s: int = 120
    notebook_s: int = 600
    memory_mb: int = 6144


class SandboxExecute(Execute):
    """nbgrader's ``Execute``, with the kernel in a sandbox; the traits are set in ``nbgrader_config.py``."""

    notebook_timeout_s = Integer(600, help="Seconds of wall clock for one submission.").tag(config=True)
    memory_mb = Integer(6144, help="Address space of the kernel in MB.").tag(config=True)
    command = List(
        Unicode(),
        help="Command that runs the worker, for example in a container; {folder} becomes the scratch folder.",
    ).tag(config=True)

    def limits(self) -> Limits:
        """Return the limits that are configured."""
        return Limits(self.timeout, self.startup_timeout, self.notebook_timeout_s, self.memory_mb)

    def preprocess(self, nb: Any, resources: Any = None, km: Any = None) -> tuple[Any, Any]:
        """Return the executed notebook; never raises for what a submission does."""
        path = (resources or {}).get("metadata", {}).get("path")
        return run(nb, self.limits(), files=path, command=list(self.command)), resources


def run(nb: Any, limits: Limits, *, files: str | Path | None = None, command: list[str] | None = None) -> Any:
    """Execute a notebook in a worker process and return a copy with outputs and with what went wrong noted.

    Args:
        nb: notebook node with nbgrader's metadata.
        limits: what it may use.
        files: folder whose files, notebooks excepted, are copied next to the notebook.
        command: how to start the worker, see ``SandboxExecute.command``; the same Python if empty.
    Returns:
        The executed copy. A cell that did not run because the kernel was gone has an error as output.

    Explained in the instructor guide.
    """
    nb = copy.deepcopy(nb)
    tokens = {i: secrets.token_hex(8) for i, cell in enumerate(nb.cells) if is_test(cell) and not _deleted(cell)}
    armed = copy.deepcopy(nb)
    for i, cell in enumerate(armed.cells):
        if i in tokens:
            cell.source = f"{cell.source}\nassert {i} == {i + 1}, {tokens[i]!r}"
        elif _deleted(cell) and cell.cell_type == "code":
            cell.source = ""
    with tempfile.TemporaryDirectory(prefix="spikelab-sandbox-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _furnish(folder, files)
        results, trouble = _work(armed, limits, folder, command)
    _collect(nb, results, trouble)
    _disarm(nb, tokens)
    for cell in nb.cells:
        if _deleted(cell) and cell.cell_type == "code":
            cell.outputs = [_error("DeletedCell", "this test cell was deleted from the submission: it counts 0")]
        if is_test(cell) and spare_stderr(cell):
            note(nb, STDERR, f"{cell.metadata.nbgrader.grade_id} wrote to stderr, which is not held against the answer")
    return nb


def spare_stderr(cell: Any) -> bool:
    """Rename a cell's stderr to stdout, since nbgrader takes it for a failure; return whether there was any."""
    found = False
    for output in cell.get("outputs", []):
        if output.output_type == "stream" and output.name == "stderr":
            output["name"], found = "stdout", True
    return found


def _deleted(cell: Any) -> bool:
    return bool(cell.metadata.get(OURS, {}).get("deleted"))


def _error(name: str, value: str) -> Any:
    return nbformat.from_dict(
        {"output_type": "error", "ename": name, "evalue": value, "traceback": [f"{name}: {value}"]}
    )


def _cell_name(nb: Any, index: int) -> str:
    cell = nb.cells[index]
    return nbgrader_of(cell).get("grade_id") or cell.get("id") or f"number {index + 1}"


def _collect(nb: Any, results: dict[int, dict], trouble: dict[str, Any]) -> None:
    code = [i for i, cell in enumerate(nb.cells) if cell.cell_type == "code" and cell.source.strip()]
    for i in code:
        cell = nb.cells[i]
        if i in results:
            cell.outputs = [nbformat.from_dict(output) for output in results[i]["outputs"]]
            cell.execution_count = results[i]["execution_count"]
            if any(o.output_type == "error" and o.ename == "CellTimeoutError" for o in cell.outputs):
                note(nb, TIMED_OUT, f"cell {_cell_name(nb, i)} took too long and was interrupted")
    pending = [i for i in code if i not in results]
    if not trouble or not pending:
        if trouble:
            note(nb, trouble["kind"], trouble["detail"])
        return
    at = _cell_name(nb, pending[0])
    note(nb, trouble["kind"], f"{trouble['detail']} in cell {at}; no later cell ran")
    nb.cells[pending[0]].outputs = [_error(trouble["ename"], f"{trouble['detail']} in this cell")]
    for i in pending[1:]:
        nb.cells[i].outputs = [_error("NotRun", f"did not run: {trouble['detail']} in cell {at}")]


def _disarm(nb: Any, tokens: dict[int, str]) -> None:
    for i, token in tokens.items():
        cell = nb.cells[i]
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if any(error.ename == "AssertionError" and error.evalue == token for error in errors):
            cell.outputs = [output for output in cell.outputs if output.output_type != "error"]
        elif not errors:
            name = _cell_name(nb, i)
            note(nb, CANARY, f"the asserts of {name} did not run: some code switched them off; it counts 0")
            cell.outputs = [_error("AssertsSwitchedOff", "the tests of this cell did not run, so it counts 0")]


def _furnish(folder: Path, files: str | Path | None) -> None:
    """Make the scratch folder: work/ with the chapter's files, lib/ with a copy of spikelab, home/."""
    work, home, library = folder / "work", folder / "home", folder / "lib" / "spikelab"
    for path in (work, home, folder / "tmp"):
        path.mkdir()
    if files and Path(files).is_dir():
        shutil.copytree(files, work, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.ipynb", "timestamp.txt"))
    package = Path(__file__).parents[1]
    shutil.copytree(package, library, ignore=shutil.ignore_patterns("__pycache__", "grading", "cli.py"))
    (library / "grading").mkdir()
    for name in ("__init__.py", "tasks.py"):
        shutil.copy(package / "grading" / name, library / "grading" / name)
    # Without its font list matplotlib takes seconds to make one for each student.
    own = (
        os.environ.get("MPLCONFIGDIR")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "matplotlib"
    )
    for fonts in Path(own).glob("fontlist-*.json"):
        target = home / ".cache" / "matplotlib"
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(fonts, target)


def _environment(folder: str) -> dict[str, str]:
    return {
        "HOME": f"{folder}/home",
        "IPYTHONDIR": f"{folder}/home/.ipython",
        "TMPDIR": f"{folder}/tmp",
        "PYTHONPATH": f"{folder}/lib",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


def _work(nb: Any, limits: Limits, folder: Path, command: list[str] | None) -> tuple[dict[int, dict], dict[str, Any]]:
    """Run the worker; return ``{cell index: result}`` and what ended it early, ``{}`` if nothing did."""
    mark = secrets.token_hex(16)
    kept = {key: os.environ[key] for key in KEPT_ENVIRONMENT if key in os.environ}
    ours = {key: value for key, value in kept.items() if key.startswith(("SPIKELAB_", "NBGRADER_"))}
    # Only the kernel gets the copy of spikelab; the worker imports the course's own (or that of its container).
    environment = {**ours, **_environment(str(folder)), MARK: mark}
    worker_environment = {**kept, **environment, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    job = {"notebook": nb, "limits": limits._asdict(), "folder": str(folder / "work"), "environment": environment}
    arguments = [part.replace("{folder}", str(folder)) for part in command or ()]
    arguments = arguments or [sys.executable, "-m", "spikelab.grading.sandbox"]
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=worker_environment,
        start_new_session=True,
    )
    lines: list[bytes] = []
    flooded = threading.Event()

    def talk() -> None:
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(job).encode())
        size = 0
        for line in iter(lambda: process.stdout.readline(MAX_RESULT_BYTES), b""):
            size += len(line)
            if size >= MAX_RESULT_BYTES:
                flooded.set()
                return
            lines.append(line)

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    thread.join(limits.notebook_s)
    late = thread.is_alive()
    _end_all(process, mark)
    thread.join(10)
    results, trouble = _read(lines)
    if late:
        trouble = _trouble(TIMED_OUT, "NotebookTimeout", f"the notebook's {limits.notebook_s} s were over")
    elif flooded.is_set():
        trouble = _trouble(CRASHED, "TooMuchOutput", "more output than can be graded was printed")
    elif trouble is None:
        trouble = _trouble(CRASHED, "WorkerDied", "the process that runs the notebook died")
    return results, trouble


def _trouble(kind: str, ename: str, detail: str) -> dict[str, str]:
    return {"kind": kind, "ename": ename, "detail": detail}


def _read(lines: list[bytes]) -> tuple[dict[int, dict], dict[str, Any] | None]:
    results: dict[int, dict] = {}
    end = None
    for line in lines:
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if "cell" in message:
                results[message["cell"]] = message
            else:
                end = message["end"]
    return results, end


def _end_all(process: subprocess.Popen, mark: str) -> None:
    """End the worker and whatever still carries its mark: the kernel lives in a session of its own."""
    import psutil

    with contextlib.suppress(ProcessLookupError, PermissionError):
        process.kill()
    for _ in range(3):
        found = False
        for other in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if other.environ().get(MARK) == mark and other.status() != psutil.STATUS_ZOMBIE:
                    other.kill()
                    found = True
        if not found:
            break
        time.sleep(0.1)
    process.wait()


class _Stream(Execute):
    """Execute that reports each cell as soon as it is done."""

    def preprocess_cell(self, cell: Any, resources: Any, index: int) -> tuple[Any, Any]:
        cell, resources = super().preprocess_cell(cell, resources, index)
        if cell.cell_type == "code" and cell.source.strip():
            self.emit({"cell": index, "outputs": cell.outputs, "execution_count": cell.execution_count})
        return cell, resources


def worker() -> None:
    """Read a job from stdin, execute its notebook, write one line per cell to stdout."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    job = json.load(sys.stdin)
    channel = os.fdopen(os.dup(1), "w")  # a duplicate is not inherited: the kernel cannot write to it
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)

    def emit(message: dict) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    limits = Limits(**job["limits"])
    _limit_resources(limits)
    os.environ.update(job["environment"])
    nb = nbformat.from_dict(job["notebook"])
    execute = _Stream(timeout=limits.cell_s, startup_timeout=limits.startup_s)
    execute.emit = emit
    end: dict[str, Any] = {}
    try:
        execute.preprocess(nb, {"metadata": {"path": job["folder"]}})
    except DeadKernelError:
        end = _trouble(CRASHED, "KernelDied", "the kernel died")
    except (CellTimeoutError, UnresponsiveKernelError):
        end = _trouble(TIMED_OUT, "CellTimeoutError", f"no answer within {limits.cell_s} s, not even to an interrupt,")
    except BaseException as error:  # the batch has to go on, whatever it was
        end = _trouble(
            CRASHED, type(error).__name__, f"the notebook could not be run ({type(error).__name__}: {error})"
        )
    emit({"end": end})


def _limit_resources(limits: Limits) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    wanted = {
        "RLIMIT_AS": limits.memory_mb * 1024 * 1024,
        "RLIMIT_FSIZE": MAX_FILE_BYTES,
        "RLIMIT_CORE": 0,
    }
    for name, value in wanted.items():
        with contextlib.suppress(ValueError, OSError, AttributeError):
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))


if __name__ == "__main__":
    worker()
