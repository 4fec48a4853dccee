"""pyproject.toml, requirements.lock, environment.yml and what is installed say the same."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import spikelab

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PINS = [Requirement(line.split("  #")[0]) for line in LOCK.splitlines() if line and not line.startswith("#")]

# Where torch's build needs these, its own metadata pins them; the CPU build has none of them.
FROM_TORCH = re.compile(r"nvidia-|cuda-|triton$")

# Every machine the lock speaks for, as pip describes it: (python, sys_platform, os_name, platform_system, machine).
MACHINES = [
    (python, *machine)
    for python in ("3.11.0", "3.11.9", "3.12.1", "3.13.0")
    for machine in (
        ("linux", "posix", "Linux", "x86_64"),
        ("darwin", "posix", "Darwin", "arm64"),
        ("win32", "nt", "Windows", "AMD64"),
    )
]


def direct_requirements() -> list[Requirement]:
    return [Requirement(text) for text in (*PROJECT["dependencies"], *(r for extra in EXTRAS.values() for r in extra))]


def pins_on(python: str, sys_platform: str, os_name: str, system: str, machine: str) -> dict[str, str]:
    """Name and version of every pin that applies on that machine."""
    environment = {
        "python_version": python.rpartition(".")[0],
        "python_full_version": python,
        "sys_platform": sys_platform,
        "os_name": os_name,
        "platform_system": system,
        "platform_machine": machine,
    }
    applying = [pin for pin in PINS if pin.marker is None or pin.marker.evaluate(environment)]
    names = [canonicalize_name(pin.name) for pin in applying]
    assert len(names) == len(set(names)), f"pinned twice: {sorted({n for n in names if names.count(n) > 1})}"
    return {name: str(pin.specifier).removeprefix("==") for name, pin in zip(names, applying, strict=True)}


def pins_here() -> dict[str, str]:
    here = default_environment()
    keys = ("python_full_version", "sys_platform", "os_name", "platform_system", "platform_machine")
    return pins_on(*(here[key] for key in keys))


def installed_needs(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> Iterator[str]:
    """Every package that an installed package asks for on this machine, directly or not."""
    if (name, extras) in seen:
        return
    seen.add((name, extras))
    for text in requires(name) or []:
        need = Requirement(text)
        contexts = [{"extra": extra} for extra in extras or {""}]
        if need.marker is None or any(need.marker.evaluate(context) for context in contexts):
            child = canonicalize_name(need.name)
            yield child
            if not FROM_TORCH.match(child):
                yield from installed_needs(child, frozenset(need.extras), seen)


def test_the_version_is_the_same_wherever_it_is_written():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {PROJECT["version"], spikelab.__version__, cited, heading[1]} == {PROJECT["version"]}


def test_every_pin_is_one_exact_version():
    loose = [str(pin) for pin in PINS if not re.fullmatch(r"==[0-9][0-9a-z.]*", str(pin.specifier))]
    assert loose == []
    assert len(PINS) > len(direct_requirements())


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: f"{machine[0]}-{machine[1]}")
def test_every_direct_dependency_is_pinned_inside_its_range_on_every_machine(machine):
    pins = pins_on(*machine)
    for need in direct_requirements():
        name = canonicalize_name(need.name)
        assert name in pins, f"{need.name} is in pyproject.toml but not in requirements.lock: make lock"
        assert Version(pins[name]) in need.specifier, (
            f"{need.name}=={pins[name]} is outside {need.specifier}: make lock"
        )


def test_the_book_keeps_the_themes_that_draw_one_search_box():
    pins = pins_here()
    assert pins["jupyter-book"] == "1.0.4.post1"
    assert pins["sphinx-book-theme"] == "1.1.4"
    assert pins["pydata-sphinx-theme"] == "0.15.4"
    assert Version(pins["sphinx"]) < Version("8")


def test_lock_fits_any_computer():
    assert not re.search(r"://|--|@|\\|(^|\s)/|\+cpu", LOCK), "the lock must name no host, option, path or local build"
    assert [pin.name for pin in PINS if FROM_TORCH.match(canonicalize_name(pin.name))] == []


def test_conda_installs_the_same_lock_on_a_python_that_pyproject_admits():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["name"] == "spikelab"
    packages = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip_section,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip_section == ["-r requirements.lock", "-e ."]
    (python,) = [entry.removeprefix("python=") for entry in packages if entry.startswith("python=")]
    assert Version(f"{python}.0") in SpecifierSet(PROJECT["requires-python"])
    assert "pip" in packages
    assert [entry for entry in packages if "=" in entry] == [f"python={python}"], "pins belong into requirements.lock"


def test_make_and_pyproject_admit_the_same_pythons():
    bounds = re.search(
        r"\((\d), (\d+)\) <= sys.version_info\[:2\] <= \((\d), (\d+)\)", (ROOT / ".ci/environment").read_text()
    )
    assert bounds, ".ci/environment no longer checks Python's version where this test looks for it"
    lowest, highest = int(bounds[2]), int(bounds[4])
    assert PROJECT["requires-python"] == f">=3.{lowest},<3.{highest + 1}"


def test_what_is_installed_is_what_is_pinned():
    wrong = []
    for name, pin in pins_here().items():
        try:
            found = version(name).partition("+")[0]  # torch 2.13.0+cpu is a build of torch 2.13.0
        except PackageNotFoundError:
            found = "nothing"
        if Version(pin) != Version(found if found != "nothing" else "0"):
            wrong.append(f"{name}: pinned {pin}, installed {found}")
    assert wrong == [], "make env brings .venv up to date"


def test_nothing_that_is_needed_goes_unpinned():
    needed = set(installed_needs("spikelab", frozenset(EXTRAS), set()))
    assert len(needed) > 100
    unpinned = sorted(name for name in needed - set(pins_here()) if not FROM_TORCH.match(name))
    assert unpinned == [], "make lock pins them"
