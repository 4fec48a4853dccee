"""MNIST's files: the idx format, plain or gzipped."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import numpy as np

from spikelab.datasets.errors import DataError

DTYPES = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """Read one idx file, such as MNIST's ``train-images-idx3-ubyte.gz``.

    The format: two zero bytes, a byte for the type, one for the number of axes, the length of each axis as a
    big-endian 32-bit number, then the values in C order, big-endian.

    Args:
        path: the file; gzipped if its name ends in ``.gz``.

    Returns:
        The array, with the shape and type that the file names, in the machine's byte order.

    Raises:
        DataError: if the file is missing, no idx file, cut short or longer than its header says.

    Explained in chapter 04.
    """
    path = Path(path)
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"no file {path}: spikelab data fetch mnist brings MNIST's files") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked ({error}): it is cut short or damaged, fetch it again") from None
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in DTYPES or raw[3] == 0:
        raise DataError(f"{path} is no idx file: it begins with {raw[:4].hex(' ') or 'nothing'}, not 00 00 TYPE AXES")
    dtype, start = DTYPES[raw[2]], 4 + 4 * raw[3]
    if len(raw) < start:
        raise DataError(f"{path} is cut short: {len(raw)} bytes end inside the header of {start}")
    shape = tuple(int(length) for length in np.frombuffer(raw, ">u4", count=raw[3], offset=4))
    size = int(np.prod([dtype.itemsize, *shape], dtype=object))
    if len(raw) - start != size:
        raise DataError(
            f"{path} holds {len(raw) - start:,} bytes of values, but its header {shape} asks for {size:,}: "
            f"it is damaged, fetch it again"
        )
    return np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def read_mnist(folder: str | os.PathLike, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return MNIST's images ``[N, 28, 28]`` (uint8) and labels ``[N]`` (int64) of ``"train"`` or ``"test"``.

    Args:
        folder: where the four idx files are, gzipped or not.
        split: ``"train"`` or ``"test"``.

    Raises:
        DataError: if a file is missing or damaged, or images and labels do not belong together.
    """
    folder = Path(folder)
    arrays = []
    for name in MNIST_FILES[split]:
        plain = folder / name
        arrays.append(read_idx(plain if plain.is_file() else plain.with_name(f"{name}.gz")))
    images, labels = arrays
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or labels.max(initial=0) > 9:
        raise DataError(
            f"the files of MNIST's {split} split in {folder} do not belong together: images {images.shape}, labels "
            f"{labels.shape} up to {labels.max(initial=0)}; fetch them again with spikelab data fetch mnist"
        )
    return images, labels.astype(np.int64)
