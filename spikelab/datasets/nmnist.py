"""N-MNIST: recorded, simulated from MNIST, or a synthetic stand-in. One reader, the same files."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from spikelab.datasets.errors import DataError
from spikelab.datasets.files import data_hash, read_json, write_json
from spikelab.datasets.places import cache_folder, find_folder, require_folder
from spikelab.events import read_events
from spikelab.validation import require_choice

SPLITS = ("train", "test", "validation")
KINDS = ("auto", "real", "simulated", "synthetic")
FOLDERS = {"real": "nmnist", "simulated": "nmnist-simulated", "synthetic": "nmnist-synthetic"}
SUBFOLDERS = {"train": "Train", "validation": "Train", "test": "Test"}
MANIFEST = "MANIFEST.json"
VALIDATION_SHARE, VALIDATION_MOST, VALIDATION_SEED = 0.1, 5_000, 0

_LABELS = {
    "real": "real N-MNIST, {:,} recordings",
    "simulated": "simulated N-MNIST: MNIST through the DVS simulator, {:,} recordings",
    "synthetic": "synthetic stand-in: scikit-learn digits through the DVS simulator, {:,} recordings",
}


class Recording(NamedTuple):
    """One file of N-MNIST."""

    path: Path
    digit: int


class NMNIST:
    """N-MNIST in its original files, ``{Train,Test}/<digit>/<number>.bin``, one recording of 0.3 s in each.

    The recordings are in the order of their numbers, which is MNIST's order, so that any first N hold all ten digits.

    Three kinds, which differ only in where the files come from:

    - ``"real"``: the recorded set, in the folder ``nmnist``;
    - ``"simulated"``: all of MNIST through the DVS simulator, in ``nmnist-simulated``, which
      ``spikelab data make nmnist-simulated`` makes;
    - ``"synthetic"``: the stand-in, scikit-learn's 1,797 digits through the same simulator, made once in the cache
      folder when it is first asked for (some seconds).

    The validation split is taken from the train files, and ``"train"`` leaves it out. It holds a tenth of the train
    files, and never more than 5,000: of the real and the synthetic set a choice with a fixed seed (100 of 1,000 real
    recordings), of the simulated set the last files (the last 5,000 of 60,000).

    Args:
        split: ``"train"``, ``"test"`` or ``"validation"``.
        root: folder that holds the kind's folder; if not given, ``$SPIKELAB_DATA`` and the cache folder.
        kind: one of the three, or ``"auto"``: real where it is found, else synthetic.

    Attributes:
        files: the paths, in order.
        labels: the digits ``[N]``, int64.
        kind: ``"real"``, ``"simulated"`` or ``"synthetic"``.
        label: a phrase that says what the data is; print it with every result and figure.
        size: (34, 34), the sensor's height and width.

    Raises:
        ValueError: for an unknown split or kind.
        DataError: if the files are not there, or are not N-MNIST's.

    Explained in chapter 04. Source: Orchard, Jayawant, Cohen, Thakor, "Converting static image datasets to spiking
    neuromorphic datasets using saccades", Frontiers in Neuroscience, 2015.
    """

    size = (34, 34)

    def __init__(self, split: str = "train", *, root: str | os.PathLike | None = None, kind: str = "auto") -> None:
        self.split = require_choice("split", split, SPLITS)
        require_choice("kind", kind, KINDS)
        if kind == "auto":
            kind = "real" if find_folder(FOLDERS["real"], root) is not None else "synthetic"
        self.kind = kind
        self.folder = _folder(kind, root)
        found = recordings(self.folder / SUBFOLDERS[split])
        if split != "test":
            kept = _validation(len(found), kind)
            found = [found[i] for i in np.flatnonzero(kept if split == "validation" else ~kept)]
        self.files = [recording.path for recording in found]
        self.labels = torch.tensor([recording.digit for recording in found], dtype=torch.int64)
        self.label = _LABELS[kind].format(len(found))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Return the events of one recording, sorted in time, and its digit.

        Raises:
            IndexError: if there is no such recording.
            ValueError: if the file is damaged; the message names it.
        """
        index = int(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"recording {index} of {len(self)} ({self.split} split of {self.folder})")
        return read_events(self.files[index], size=self.size), int(self.labels[index])

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"NMNIST({self.split!r}, kind={self.kind!r}): {self.label}"

    @property
    def hash(self) -> str:
        """Hash of the split's files and digits, as :func:`spikelab.datasets.data_hash` gives it; remembered on disk."""
        return hash_of_files(self.files, self.folder)


def hash_of_files(files: list[Path], root: Path) -> str:
    """Return ``data_hash(files, root=root)``, from a note in the cache folder if no file has changed since.

    A file counts as unchanged if its size and its time of change are: reading 60,000 files takes long, asking for
    their sizes does not.
    """
    digest = hashlib.sha256()
    for file in files:
        about = os.stat(file)
        digest.update(f"{file}\0{about.st_size}\0{about.st_mtime_ns}\n".encode())
    note = cache_folder() / "hashes" / f"{digest.hexdigest()[:32]}.json"
    if note.is_file():
        try:
            return str(read_json(note)["hash"])
        except (DataError, KeyError, TypeError):
            note.unlink(missing_ok=True)
    found = data_hash(files, root=root)
    with contextlib.suppress(DataError):  # a cache folder that cannot be written costs time only
        write_json(note, {"hash": found, "files": len(files), "root": str(root)})
    return found


def _folder(kind: str, root: str | os.PathLike | None) -> Path:
    name = FOLDERS[kind]
    if kind == "synthetic":
        found = find_folder(name, root)
        if found is not None and (found / MANIFEST).is_file():
            return found
        from spikelab.datasets.simulated import make_synthetic

        return make_synthetic()
    folder = require_folder(name, f"spikelab data {'fetch' if kind == 'real' else 'make'} {name}", root)
    if kind == "simulated" and not (folder / MANIFEST).is_file():
        raise DataError(f"{folder} is not finished (no {MANIFEST}): run spikelab data make {name} again, it goes on")
    return folder


def recordings(folder: Path) -> list[Recording]:
    """Return the recordings below ``Train`` or ``Test``, in the order of their numbers.

    Raises:
        DataError: if there are none, or the folder holds something else.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}: N-MNIST has Train and Test, and in each a folder for every digit 0 to 9")
    found = []
    for place in os.scandir(folder):
        if place.name.startswith(".") or not place.is_dir():
            continue
        if place.name not in "0123456789" or len(place.name) != 1:
            raise DataError(f"{place.path} is no digit's folder: {folder} may hold folders 0 to 9 only; move it away")
        for file in os.scandir(place.path):
            if file.name.endswith(".bin") and not file.name.startswith("."):
                number = file.name.removesuffix(".bin")
                if not number.isdecimal():
                    raise DataError(f"{file.path}: N-MNIST's files are called NUMBER.bin; rename it or move it away")
                found.append((int(number), int(place.name), Path(file.path)))
    if not found:
        raise DataError(f"no .bin file in the digits' folders of {folder}: fetch or make the data set again")
    return [Recording(path, digit) for _, digit, path in sorted(found)]


def _validation(num_train: int, kind: str) -> np.ndarray:
    """Return which of the train files are kept for validation, ``[num_train]`` of bool."""
    count = min(int(num_train * VALIDATION_SHARE), VALIDATION_MOST)
    kept = np.zeros(num_train, dtype=bool)
    if kind == "simulated":
        kept[num_train - count :] = True
    else:
        generator = torch.Generator().manual_seed(VALIDATION_SEED)
        kept[torch.randperm(num_train, generator=generator)[:count].numpy()] = True
    return kept
