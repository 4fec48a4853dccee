"""Checkpoints: a run's whole state in one file that is whole or not there.

The file is a line that says what it is, the SHA-256 of what follows, and what ``torch.save`` made of the state. Reading
verifies the sum first and unpickles nothing but tensors and plain values, so that a truncated, altered or foreign file
is an error that names it and never code that runs.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from spikelab.files import write_atomically
from spikelab.training.config import ConfigurationError, differences

_MAGIC = b"spikelab checkpoint 1\n"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and the mend."""


class CheckpointMismatch(CheckpointError, ConfigurationError):
    """A checkpoint of another run; the message shows the difference."""


def save_checkpoint(path: str | os.PathLike, state: Mapping[str, Any]) -> Path:
    """Write a run's state: tensors, numbers, texts, lists, dicts and None.

    Raises:
        WriteError: if it cannot be written; the checkpoint that was there stays.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    payload = buffer.getbuffer()
    digest = hashlib.sha256(payload).hexdigest().encode() + b"\n"

    def write(part: Path) -> None:
        with open(part, "wb") as file:
            file.write(_MAGIC)
            file.write(digest)
            file.write(payload)

    return write_atomically(path, write)


def load_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """Read a run's state, all tensors on the CPU.

    Raises:
        CheckpointError: if the file is missing, truncated, altered or no checkpoint of spikelab.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}): is this the folder of the run?") from error
    start = len(_MAGIC) + 65
    if not content.startswith(_MAGIC):
        raise CheckpointError(f"{path} is no checkpoint of spikelab: start the run anew in another folder")
    if content[len(_MAGIC) : start] != hashlib.sha256(memoryview(content)[start:]).hexdigest().encode() + b"\n":
        raise CheckpointError(
            f"{path} is damaged: its {len(content)} bytes do not match the sum that was written with them. "
            "Delete it and start the run anew"
        )
    try:
        return torch.load(io.BytesIO(memoryview(content)[start:]), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise CheckpointError(f"{path} is no checkpoint of a run: it holds more than numbers and text") from error


def require_same_run(path: str | os.PathLike, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise unless a checkpoint was made by the run that wants to go on from it.

    Args:
        path: the checkpoint, for the message.
        there: configuration, data and processes it was made with.
        here: those of this run.
    Raises:
        CheckpointMismatch: with one line for each difference.
    """
    lines = differences(there, here)
    if lines:
        raise CheckpointMismatch(
            f"{path} belongs to another run and cannot be resumed with this configuration:\n  "
            + "\n  ".join(lines)
            + "\nGive the same options as there, or another --out folder."
        )
