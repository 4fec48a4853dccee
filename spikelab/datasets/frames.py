"""A data set's recordings as frames: made once, packed on disk, read back in batches or all at once."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from spikelab.datasets.errors import DataError
from spikelab.datasets.kept import kept_array, with_bar
from spikelab.datasets.nmnist import hash_of_files
from spikelab.datasets.places import cache_folder
from spikelab.events.representations import time_steps
from spikelab.validation import require_choice, require_count, require_positive

MODES = ("binary", "count")
FORMAT = 1  # of the files in the cache; another number makes them anew


class EventFiles(Protocol):
    """What frames are made from: :class:`spikelab.datasets.NMNIST`, or anything with these."""

    files: list[Path]
    labels: torch.Tensor
    folder: Path
    size: tuple[int, int]

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]: ...


class Frames:
    """Frames of N recordings, on disk, read when asked for.

    Attributes:
        labels: ``[N]``, int64.
        shape: (N, T, 2, H, W).

    Get some with ``frames.batch(indices)`` (uint8), all with ``frames.batch()``.
    """

    def __init__(self, packed: np.ndarray, labels: torch.Tensor, shape: tuple[int, ...], mode: str) -> None:
        self._packed, self.labels, self.shape, self.mode = packed, labels, tuple(shape), mode

    def __len__(self) -> int:
        return self.shape[0]

    def batch(self, indices: Sequence[int] | torch.Tensor | np.ndarray | slice | None = None) -> torch.Tensor:
        """Return the frames of some recordings.

        Args:
            indices: which, in any order; all if not given.

        Returns:
            Frames ``[B, T, 2, H, W]``, uint8. ``batch.movedim(1, 0).float()`` is what a network takes.
        """
        chosen = slice(None) if indices is None else indices
        if not isinstance(chosen, slice):
            chosen = np.asarray(chosen, dtype=np.int64)
        packed = self._packed[chosen]
        out = np.empty((len(packed), *self.shape[1:]), dtype=np.uint8)
        for start in range(0, len(packed), 1024):  # bounded memory beside the result
            part = packed[start : start + 1024]
            if self.mode == "binary":
                part = np.unpackbits(part, axis=-1, count=int(np.prod(self.shape[2:])))
            out[start : start + 1024] = part.reshape(-1, *self.shape[1:])
        return torch.from_numpy(out)


def load_frames(
    dataset: EventFiles,
    num_steps: int,
    window_us: float,
    *,
    mode: str = "binary",
    indices: Iterable[int] | None = None,
    cache: bool = True,
    progress: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all recordings of a data set as frames, from the cache if they have been made before.

    Each recording is what ``spikelab.events.frames(events, num_steps, window_us, size=..., mode=mode)`` gives, with
    the batch first: 60,000 recordings of N-MNIST in 10 steps are 1.4 GB here and 170 MB on disk. For more steps than
    memory allows take :func:`open_frames`.

    Args:
        dataset: an :class:`spikelab.datasets.NMNIST`.
        num_steps: number of steps T.
        window_us: width of one step in µs; an event at t falls into step floor(t / window_us), later ones are left out.
        mode: ``"binary"`` (was there an event?) or ``"count"`` (how many).
        indices: which recordings, in this order; all if not given.
        cache: keep the frames in the cache folder, and look there first.
        progress: show a bar while they are made, on a terminal.

    Returns:
        ``(frames, labels)``: ``[N, T, 2, H, W]`` of uint8, channel 0 = OFF and 1 = ON, and ``[N]`` of int64.

    Raises:
        ValueError: if an argument is out of range, a file is damaged, or a count exceeds 255.

    Explained in chapter 04.
    """
    found = open_frames(dataset, num_steps, window_us, mode=mode, indices=indices, cache=cache, progress=progress)
    return found.batch(), found.labels


def open_frames(
    dataset: EventFiles,
    num_steps: int,
    window_us: float,
    *,
    mode: str = "binary",
    indices: Iterable[int] | None = None,
    cache: bool = True,
    progress: bool = True,
) -> Frames:
    """Make the frames on disk as :func:`load_frames` does, but read them only batch by batch.

    Args:
        dataset, num_steps, window_us, mode, indices, cache, progress: as for :func:`load_frames`.

    Returns:
        The :class:`Frames`; ``frames.batch(indices)`` gives ``[B, T, 2, H, W]`` of uint8.
    """
    require_count("num_steps", num_steps)
    window_us = require_positive("window_us", window_us, "µs")
    require_choice("mode", mode, MODES)
    chosen = _chosen(dataset, indices)
    labels = dataset.labels[chosen]
    shape = (len(chosen), num_steps, 2, *dataset.size)
    row = (int(np.prod(shape[2:])) + 7) // 8 if mode == "binary" else int(np.prod(shape[2:]))

    def fill(packed: np.ndarray) -> None:
        _fill(packed, dataset, chosen, shape, window_us, mode, progress)

    about = {
        "format": FORMAT,
        "data": hash_of_files([dataset.files[i] for i in chosen], dataset.folder) if cache else "",
        "shape": list(shape),
        "window_us": window_us,
        "mode": mode,
    }
    what = f"the cache of {len(chosen):,} recordings"
    return Frames(
        kept_array("frames", about, (len(chosen), num_steps, row), fill, what=what, cache=cache), labels, shape, mode
    )


def clear_frames() -> int:
    """Remove all frames from the cache folder and return how many bytes that freed."""
    folder = cache_folder() / "frames"
    freed = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    shutil.rmtree(folder, ignore_errors=True)
    return freed


def _chosen(dataset: EventFiles, indices: Iterable[int] | None) -> list[int]:
    if indices is None:
        return list(range(len(dataset.files)))
    chosen = [int(index) for index in indices]
    wrong = [index for index in chosen if not 0 <= index < len(dataset.files)]
    if wrong:
        raise ValueError(f"indices must lie in 0..{len(dataset.files) - 1}, got {wrong[0]}")
    return chosen


def _fill(
    packed: np.ndarray,
    dataset: EventFiles,
    chosen: list[int],
    shape: tuple[int, ...],
    window_us: float,
    mode: str,
    progress: bool,
) -> None:
    for place, index in enumerate(with_bar(chosen, progress, desc="frames", unit="recording")):
        events, _ = dataset[index]
        cells = _cells(events, shape[1], window_us, dataset.size)
        if mode == "binary":
            dense = np.zeros(int(np.prod(shape[1:])), dtype=np.uint8)
            dense[cells] = 1
            packed[place] = np.packbits(dense.reshape(shape[1], -1), axis=-1)
        else:
            dense = np.bincount(cells, minlength=int(np.prod(shape[1:])))
            if dense.max(initial=0) > 255:
                raise DataError(
                    f"{dataset.files[index]}: {dense.max()} events in one cell do not fit into uint8 (255 at most): "
                    f"take more and shorter steps than {window_us:g} µs, or mode='binary'"
                )
            packed[place] = dense.reshape(shape[1], -1)


def _cells(events: np.ndarray, num_steps: int, window_us: float, size: tuple[int, int]) -> np.ndarray:
    """Return each event's place in the flattened frames ``[T, 2, H, W]``, without those after the last step."""
    step = time_steps(events["t"], window_us)
    inside = step < num_steps
    if not inside.all():
        events, step = events[inside], step[inside]
    height, width = size
    return ((step * 2 + events["p"]) * height + events["y"]) * width + events["x"]
