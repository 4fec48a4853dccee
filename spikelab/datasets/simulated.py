"""Data sets in N-MNIST's files that nobody recorded: MNIST, or scikit-learn's digits, through the DVS simulator.

Each recording has a random generator of its own, seeded from (seed, split, number of the image). So any part of a set,
made in any order by any number of processes, is the same as in the whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spikelab import __version__
from spikelab.datasets.errors import DataError, require_package
from spikelab.datasets.files import (
    data_hash,
    disk_errors,
    locked,
    read_json,
    require_room,
    whole_folder,
    write_atomic,
    write_json,
)
from spikelab.datasets.idx import MNIST_FILES, read_mnist
from spikelab.datasets.nmnist import FOLDERS, MANIFEST, SUBFOLDERS, recordings
from spikelab.datasets.places import cache_folder, require_folder
from spikelab.events import NMNIST_DVS, encode_aer, saccades, simulate_dvs
from spikelab.validation import require_choice, require_count

SETTINGS = "settings.json"  # written first: with what the files beside it are being made
FORMAT = 1  # another number makes the sets anew
BLOCK = 128  # images per job
BYTES_PER_RECORDING = 30_000  # about 4,200 events of 5 bytes, and what a file system adds
SYNTHETIC_TEST = 400  # of the 1,797 digits
DIGIT_PX, IMAGE_PX = 20, 28  # MNIST's digits fill 20 px of 28
INK, CONTRAST = 0.35, 2.5  # light below INK is paper; the contrast gives strokes as sharp as a pen's


def make_simulated(
    mnist: str | os.PathLike | None = None,
    target: str | os.PathLike | None = None,
    *,
    splits: Sequence[str] = ("train", "test"),
    seed: int = 0,
    limit: int | None = None,
    workers: int = 2,
    report: Callable[[int, int], None] | None = None,
) -> Path:
    """Write MNIST through the DVS simulator, ``target/{Train,Test}/<digit>/NNNNN.bin``, and a ``MANIFEST.json`` last.

    Image number i of MNIST (from 0) becomes file i + 1, as in N-MNIST. What is there already is kept: an interrupted
    run goes on, and no file is ever half-written.

    Args:
        mnist: folder with MNIST's idx files; if not given, ``mnist`` in the data folder.
        target: folder to write; if not given, ``nmnist-simulated`` in the cache folder.
        splits: which of ``"train"`` and ``"test"``.
        seed: another seed gives another simulated set.
        limit: only the first so many images of each split.
        workers: processes; 1 works in this one.
        report: called with (recordings there, recordings in all) after each block of images.

    Returns:
        ``target``.

    Raises:
        ValueError: for a wrong argument.
        DataError: if MNIST is not there or damaged, the disk is too full, or the target was begun with another seed,
            sensor or simulator.

    Explained in chapter 04.
    """
    for split in splits:
        require_choice("splits", split, tuple(MNIST_FILES))
    require_count("workers", workers)
    if limit is not None:
        require_count("limit", limit)
    source = Path(mnist) if mnist is not None else require_folder("mnist", "spikelab data fetch mnist")
    target = Path(target) if target is not None else cache_folder() / FOLDERS["simulated"]
    images = {split: tuple(array[:limit] for array in read_mnist(source, split)) for split in splits}
    with locked(target):
        settings = _settings("MNIST", seed)
        _begin(target, settings)
        manifest = _manifest(target, settings)
        wanted = {SUBFOLDERS[split]: len(labels) for split, (_, labels) in images.items()}
        if manifest and all(manifest["splits"].get(name, {}).get("recordings", 0) >= n for name, n in wanted.items()):
            return target
        (target / MANIFEST).unlink(missing_ok=True)
        jobs = [job for split in splits for job in _jobs(target, split, *images[split], seed)]
        _run(jobs, target, workers, sum(wanted.values()), report)
        _finish(target, settings)
    return target


def make_synthetic(target: str | os.PathLike | None = None, *, seed: int = 0) -> Path:
    """Write the stand-in for N-MNIST: scikit-learn's digits through the DVS simulator, 1,397 to train on, 400 to test.

    The 8 x 8 pixels become 20 x 20 by bilinear interpolation and more contrast, in the middle of 28 x 28, as in MNIST.
    Several processes may ask at once: one makes the set, the others wait. A set made with other settings is made anew.

    Args:
        target: folder to write; if not given, ``nmnist-synthetic`` in the cache folder.
        seed: for the split and for the simulator.

    Returns:
        ``target``.

    Raises:
        ImportError: if scikit-learn is not installed.
        DataError: if the folder cannot be written.

    Explained in chapter 04.
    """
    target = Path(target) if target is not None else cache_folder() / FOLDERS["synthetic"]
    settings = _settings("scikit-learn digits", seed)
    if _manifest(target, settings):
        return target
    with disk_errors(target.parent), locked(target):
        if _manifest(target, settings):
            return target
        require_room(target.parent, 1797 * BYTES_PER_RECORDING, "the synthetic stand-in for N-MNIST")
        with whole_folder(target) as part:
            for split, images, labels in small_digits(seed):
                for job in _jobs(part, split, images, labels, seed):
                    _simulate_block(*job)
            _finish(part, settings)
    return target


def simulate(images: np.ndarray, numbers: Sequence[int], split: str, seed: int = 0) -> list[np.ndarray]:
    """Return the recordings that the simulated sets hold, without writing them.

    Args:
        images: ``[B, H, W]``, uint8.
        numbers: the images' numbers in their split, from 0.
        split: ``"train"`` or ``"test"``.
        seed: the set's seed.

    Returns:
        B recordings, sorted in time.
    """
    light = torch.from_numpy(np.asarray(images)).float() / 255
    return simulate_dvs(light, sensor=NMNIST_DVS, generator=[_generator(seed, split, number) for number in numbers])


def _generator(seed: int, split: str, number: int) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{split}/{number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)


def small_digits(seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Give (split, images ``[N, 28, 28]`` uint8, labels ``[N]``) of scikit-learn's digits for train and test."""
    require_package("sklearn")
    from sklearn.datasets import load_digits

    small, labels = load_digits(return_X_y=True)
    light = torch.from_numpy(small).float().view(-1, 1, 8, 8) / 16
    light = torch.nn.functional.interpolate(light, size=(DIGIT_PX, DIGIT_PX), mode="bilinear", align_corners=False)
    light = (CONTRAST * (light - INK)).clamp(0, 1)
    margin = (IMAGE_PX - DIGIT_PX) // 2
    light = torch.nn.functional.pad(light[:, 0], (margin,) * 4)
    images = (light * 255).round().to(torch.uint8).numpy()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).numpy()
    for split, chosen in (("train", order[SYNTHETIC_TEST:]), ("test", order[:SYNTHETIC_TEST])):
        yield split, images[chosen], labels[chosen]


def _settings(source: str, seed: int) -> dict[str, Any]:
    path = torch.cat([saccades().position_px, saccades().time_us.unsqueeze(1)], dim=1)
    motion = hashlib.sha256(np.rint(path.numpy() * 1000).astype("<i8").tobytes()).hexdigest()[:16]
    settings = {"format": FORMAT, "source": source, "seed": seed, "sensor": NMNIST_DVS._asdict(), "motion": motion}
    return json.loads(json.dumps(settings))  # as it will be read back


def _begin(target: Path, settings: dict[str, Any]) -> None:
    """Note with what the files are made, or refuse a folder that was begun with something else."""
    probe = np.zeros((1, IMAGE_PX, IMAGE_PX), dtype=np.uint8)
    probe[0, 8:20, 12:16] = 255
    made = hashlib.sha256(encode_aer(simulate(probe, [0], "train", settings["seed"])[0])).hexdigest()[:16]
    settings = settings | {"probe": made}  # what the simulator makes of one image: it tells a changed simulator
    if (target / SETTINGS).is_file():
        begun = read_json(target / SETTINGS)
        differ = [name for name in settings if begun.get(name) != settings[name]]
        if differ:
            found = "; ".join(f"{name}: {begun.get(name)} there, {settings[name]} now" for name in differ)
            raise DataError(f"{target} was begun with other settings ({found}). Remove the folder, or name another one")
    else:
        if target.is_dir() and any(not entry.name.startswith(".") for entry in target.iterdir()):
            raise DataError(f"{target} holds other files (no {SETTINGS}): name a new or empty folder")
        write_json(target / SETTINGS, settings)


def _manifest(target: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return the manifest of a finished set with these settings, or ``None``."""
    path = target / MANIFEST
    if not path.is_file():
        return None
    manifest = read_json(path)
    fits = isinstance(manifest, dict) and all(manifest.get(name) == value for name, value in settings.items())
    return manifest if fits else None


def _jobs(target: Path, split: str, images: np.ndarray, labels: np.ndarray, seed: int) -> list[tuple]:
    """Return what is still to do, in blocks: the arguments of :func:`_simulate_block`."""
    there = set()
    for digit in range(10):
        folder = target / SUBFOLDERS[split] / str(digit)
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for entry in os.scandir(folder):
            if entry.name.startswith("."):  # what a killed process left
                os.unlink(entry)
            there.add((digit, entry.name))
    left = [i for i, digit in enumerate(labels) if (int(digit), f"{i + 1:05}.bin") not in there]
    blocks = [left[start : start + BLOCK] for start in range(0, len(left), BLOCK)]
    return [(target, split, images[block], labels[block], block, seed) for block in blocks]


def _simulate_block(
    target: Path, split: str, images: np.ndarray, labels: np.ndarray, numbers: list[int], seed: int
) -> int:
    """Write the recordings of some images, and return how many."""
    for events, digit, number in zip(simulate(images, numbers, split, seed), labels, numbers, strict=True):
        write_atomic(target / SUBFOLDERS[split] / str(digit) / f"{number + 1:05}.bin", encode_aer(events))
    return len(numbers)


def _run(jobs: list[tuple], target: Path, workers: int, total: int, report: Callable[[int, int], None] | None) -> None:
    left = sum(len(job[4]) for job in jobs)
    require_room(target, left * BYTES_PER_RECORDING, f"{target.name} ({left:,} recordings to make)")
    done = total - left
    if report:
        report(done, total)
    for count in _blocks_done(jobs, workers):
        done += count
        if report:
            report(done, total)


def _blocks_done(jobs: list[tuple], workers: int) -> Iterator[int]:
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield _simulate_block(*job)
        return
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    )
    try:
        queue, running = list(reversed(jobs)), set()
        while queue or running:
            while queue and len(running) < 2 * workers:
                running.add(pool.submit(_simulate_block, *queue.pop()))
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for job in finished:
                yield job.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _finish(target: Path, settings: dict[str, Any]) -> None:
    splits = {}
    for name in dict.fromkeys(SUBFOLDERS.values()):
        if (target / name).is_dir():
            files = [recording.path for recording in recordings(target / name)]
            events = sum(file.stat().st_size for file in files) // 5
            splits[name] = {"recordings": len(files), "events": events, "hash": data_hash(files, root=target)}
    write_json(target / MANIFEST, settings | {"spikelab": __version__, "splits": splits})
