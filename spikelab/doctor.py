"""What this machine and its installation look like, and what is wrong with them: ``spikelab doctor``.

Each part of the report is a function that returns findings, so that the command only prints. A finding is ``fine``,
a ``note`` (something absent that only some of the course needs) or ``wrong`` (the course, or what was asked of it by a
variable, cannot work), with the mend beside it.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

OLDEST, NEWEST = (3, 11), (3, 13)
NEEDED_MEMORY_GB = 4
DATA_SETS = {
    "mnist": "MNIST",
    "nmnist": "N-MNIST",
    "nmnist-simulated": "simulated N-MNIST",
    "dvs-gesture": "DVS128 Gesture",
    "shd": "Spiking Heidelberg Digits",
    "ssc": "Spiking Speech Commands",
    "oxford-iiit-pet": "Oxford-IIIT Pet",
    "VOCdevkit": "Pascal VOC",
    "coco": "COCO",
}
PROFILES = ("fast", "full")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
USES = {
    "book": "building the book",
    "grading": "checking and grading",
    "data": "fetching and reading data sets",
    "train": "training",
    "dev": "the tests",
}


class Finding(NamedTuple):
    """One line of the report."""

    name: str
    found: str
    state: Literal["fine", "note", "wrong"] = "fine"
    mend: str = ""


def doctor() -> int:
    """Print the report of this machine.

    Returns:
        The exit status: 0 if nothing is wrong, 1 otherwise.
    """
    findings = examine()
    report(findings)
    return 1 if any(finding.state == "wrong" for finding in findings) else 0


def examine() -> list[Finding]:
    """Return every finding about this machine, in the order of the report."""
    return [
        python_version(sys.version_info[:3]),
        *packages(*course_requirements()),
        pins(Path(__file__).resolve().parents[1] / "requirements.lock"),
        *processor(),
        memory(total_memory_gb()),
        gpu(),
        profile(os.environ),
        *data_sets(os.environ),
        browser(),
    ]


def report(findings: Sequence[Finding]) -> None:
    """Print findings as a table, and after it what to do about those that are wrong."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width to fit
        console = Console(width=max(console.width, 140))
    colours = {"fine": "green", "note": "yellow", "wrong": "bold red"}
    table = Table(title="spikelab doctor", title_justify="left")
    for column in ("what", "found", "state", "mend"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        colour = colours[finding.state]
        state = f"[{colour}]{finding.state}[/{colour}]"
        table.add_row(escape(finding.name), escape(finding.found), state, escape(finding.mend))
    console.print(table)
    wrong = [finding for finding in findings if finding.state == "wrong"]
    if not wrong:
        console.print("Nothing is wrong.")
    for finding in wrong:
        console.print(
            f"[bold red]wrong[/bold red] {escape(finding.name)}: {escape(finding.found)}. {escape(finding.mend)}"
        )


def python_version(version: tuple[int, ...]) -> Finding:
    """Judge a Python version (major, minor, patch)."""
    found = ".".join(str(part) for part in version)
    if OLDEST <= tuple(version[:2]) <= NEWEST:
        return Finding("Python", f"{found} ({platform.system()}, {platform.machine()})")
    return Finding("Python", found, "wrong", "Install Python 3.11, 3.12 or 3.13, then: make PYTHON=python3.12 env")


def course_requirements() -> tuple[list[str], str]:
    """Return the requirements of the installed spikelab, and a remark if it is not installed at all."""
    try:
        return list(metadata.requires("spikelab") or []), ""
    except metadata.PackageNotFoundError:
        return [], "spikelab runs from its folder without being installed"


def packages(
    requirements: Iterable[str], remark: str = "", installed: Callable[[str], str] = metadata.version
) -> list[Finding]:
    """Judge the packages that spikelab names.

    Args:
        requirements: as in a package's metadata, those of an extra marked ``; extra == "book"``.
        remark: what is wrong if there are no requirements to go by.
        installed: returns a package's version, or raises ``PackageNotFoundError``.
    """
    from packaging.requirements import Requirement
    from packaging.version import Version

    if remark:
        return [Finding("spikelab", remark, "wrong", "make env, or: pip install -e .")]
    findings, absent = [], {}
    for text in requirements:
        need = Requirement(text)
        extra = next((name for name in USES if f'extra == "{name}"' in str(need.marker)), None)
        try:
            version = installed(need.name)
        except metadata.PackageNotFoundError:
            if extra is None:
                mend = f'make env, or: pip install "{need.name}{need.specifier}"'
                findings.append(Finding(need.name, "not installed", "wrong", mend))
            else:
                absent.setdefault(extra, []).append(need.name)
            continue
        if need.specifier.contains(Version(version), prereleases=True):
            findings.append(Finding(need.name, version))
        else:
            mend = f'make env, or: pip install "{need.name}{need.specifier}"'
            findings.append(Finding(need.name, f"{version}, the course needs {need.specifier}", "wrong", mend))
    for extra, names in absent.items():
        mend = f"For {USES[extra]}: make env, or: pip install 'spikelab[{extra}]'"
        findings.append(Finding(f"extra {extra}", f"not installed: {', '.join(names)}", "note", mend))
    return findings


def pins(lock: Path, installed: Callable[[str], str] = metadata.version) -> Finding:
    """Compare what is installed with the pins of a lock file."""
    from packaging.requirements import Requirement

    if not lock.is_file():
        return Finding("pins", "no requirements.lock beside the library", "note", "Work in a copy of the course.")
    lines = (line.split("  #")[0] for line in lock.read_text(encoding="utf-8").splitlines())
    wanted = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    wanted = [pin for pin in wanted if pin.marker is None or pin.marker.evaluate()]
    different = []
    for pin in wanted:
        try:
            version = installed(pin.name).partition("+")[0]
        except metadata.PackageNotFoundError:
            version = "none"
        if f"=={version}" != str(pin.specifier):
            different.append(f"{pin.name} {version}, pinned {str(pin.specifier).removeprefix('==')}")
    if not different:
        return Finding("pins", f"all {len(wanted)} of requirements.lock as pinned")
    some = "; ".join(different[:3]) + (f"; and {len(different) - 3} more" if len(different) > 3 else "")
    return Finding("pins", some, "note", "For the tested versions: make env, or: pip install -r requirements.lock")


def processor() -> list[Finding]:
    """Count the cores, and the threads that torch uses of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    findings = [Finding("cores", str(cores))]
    try:
        import torch
    except (ImportError, OSError):  # gpu() says so
        return findings
    return [*findings, torch_threads(torch.get_num_threads(), cores)]


def torch_threads(threads: int, cores: int) -> Finding:
    """Judge the number of torch's threads against that of the cores."""
    if threads <= cores:
        return Finding("torch threads", str(threads))
    mend = f"More threads than cores are slow: set the variable OMP_NUM_THREADS to {cores} or less."
    return Finding("torch threads", f"{threads} on {cores} cores", "wrong", mend)


def total_memory_gb() -> float | None:
    """Return the machine's memory in GB (10⁹ bytes), or None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    except (AttributeError, ValueError, OSError):
        pass
    try:
        import psutil
    except ImportError:
        return None
    return psutil.virtual_memory().total / 1e9


def memory(total_gb: float | None) -> Finding:
    """Judge the machine's memory, in GB."""
    if total_gb is None:
        return Finding("memory", "unknown")
    if total_gb >= NEEDED_MEMORY_GB * 0.9:  # a 4 GB machine reports a little less
        return Finding("memory", f"{total_gb:.1f} GB")
    mend = f"The course needs {NEEDED_MEMORY_GB} GB; close other programs, run one notebook at a time."
    return Finding("memory", f"{total_gb:.1f} GB", "note", mend)


def gpu() -> Finding:
    """Name the accelerators that torch can use."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding("GPU", f"unknown, because torch cannot be imported: {error}", "wrong", "make distclean env")
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        return Finding("GPU", ", ".join(f"{card.name}, {card.total_memory / 1e9:.0f} GB" for card in cards))
    if torch.backends.mps.is_available():
        return Finding("GPU", "Apple GPU (mps)")
    if shutil.which("nvidia-smi"):
        build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU build of torch"
        mend = "The fast profile needs none. For the full one see the book's page on installing: which PyTorch."
        return Finding("GPU", f"an NVIDIA driver, but {build} cannot use it", "note", mend)
    return Finding("GPU", "none (the fast profile needs none)")


def profile(environment: Mapping[str, str]) -> Finding:
    """Judge the variable SPIKELAB_PROFILE."""
    value = environment.get("SPIKELAB_PROFILE", "fast")
    if value in PROFILES:
        return Finding("profile", value if "SPIKELAB_PROFILE" in environment else f"{value} (SPIKELAB_PROFILE not set)")
    return Finding("profile", f"SPIKELAB_PROFILE={value}", "wrong", "Set it to fast or full, or unset it.")


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder where spikelab keeps data that it fetched."""
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "spikelab"


def data_sets(environment: Mapping[str, str]) -> list[Finding]:
    """Look for the data sets in the folder that SPIKELAB_DATA names and in the cache folder."""
    findings, folders = [], [cache_folder(environment)]
    named = environment.get("SPIKELAB_DATA")
    if named:
        folder = Path(named).expanduser()
        if folder.is_dir():
            findings.append(Finding("data folder", f"SPIKELAB_DATA={named}"))
            folders.insert(0, folder)
        else:
            mend = "Make that folder, name another one, or unset the variable."
            findings.append(Finding("data folder", f"SPIKELAB_DATA={named} is not a folder", "wrong", mend))
    else:
        findings.append(Finding("data folder", f"{folders[0]} (SPIKELAB_DATA not set)"))
    return findings + [data_set(name, title, folders) for name, title in DATA_SETS.items()]


def data_set(name: str, title: str, folders: Iterable[Path]) -> Finding:
    """Look for one data set's folder."""
    empty = None
    for folder in (parent / name for parent in folders):
        if folder.is_dir():
            if any(folder.iterdir()):
                return Finding(title, str(folder))
            empty = folder
    if empty is not None:
        return Finding(
            title, f"{empty} is empty", "wrong", "Put the data set's original files there, or remove the folder."
        )
    return Finding(title, f"no folder {name}")


def browser(find: Callable[[str], str | None] = shutil.which) -> Finding:
    """Look for the browser that the tests of the book's pages drive."""
    found = next((path for path in map(find, BROWSERS) if path), None)
    if found:
        return Finding("browser", found)
    mend = "Only `make test` needs one. On Debian and Ubuntu: apt-get install chromium"
    return Finding("browser", "no Chromium or Chrome on the path", "note", mend)
