"""What the loop needs to know of a task, and the tasks of the course, one module each.

A task is any object with the attributes of ``Task``; the loop knows nothing else of data, networks or losses, so that
a classifier of recordings, a localizer of pets and a detector train with the same code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from spikelab.training.config import Configuration


@dataclass(frozen=True)
class Data:
    """The data of a run.

    Attributes:
        train: training samples, in whatever form the task's ``batch`` takes; has a length.
        validation: samples that choose the best epoch, or None.
        test: samples that are looked at once, or None.
        name: which set, such as ``"nmnist"``.
        label: one line that says what it is, also that it is a stand-in.
        hash: hash of the files.
    """

    train: Any
    validation: Any
    test: Any
    name: str
    label: str
    hash: str

    @property
    def sizes(self) -> dict[str, int]:
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: 0 if split is None else len(split) for name, split in splits.items()}


class Task(Protocol):
    """What the loop asks of a task.

    An output of the network needs an attribute ``spikes`` ``[T, B, ...]`` and ``hidden``, a sequence of hidden layers'
    spike trains, for the statistics of spikes; without them there are none.
    """

    name: str
    metric: str  # what decides: a key of ``metrics`` and of the progress line; higher is better

    def build(self, config: Configuration) -> nn.Module:
        """Return a network with fresh weights drawn from ``config.seed``."""

    def data(self, config: Configuration) -> Data:
        """Read the data."""

    def draw(self, config: Configuration, count: int, generator: torch.Generator) -> torch.Tensor | None:
        """Return the random numbers that augment ``count`` training samples ``[count, ...]``, or None."""

    def batch(
        self, split: Any, indices: torch.Tensor, draws: torch.Tensor | None, device: torch.device
    ) -> tuple[torch.Tensor, Any]:
        """Return the network's input, time first ``[T, B, ...]``, and the targets of some samples."""

    def loss(self, config: Configuration, output: Any, targets: Any) -> torch.Tensor:
        """Return the mean loss of a batch's samples."""

    def evidence(self, config: Configuration, output: Any, targets: Any) -> dict[str, torch.Tensor]:
        """Return what the metrics need, a row for each sample of a batch; ``"score"`` ``[B]`` is the running metric."""

    def metrics(self, evidence: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """Return the metrics of a split from the evidence of all its samples, as results keep them.

        ``{"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 100, "interval": "Wilson 95 %"}, ...}``; what has
        no interval leaves low and high None. ``"confusion"``, a matrix, may be among them.
        """

    def baseline(self, data: Data) -> dict[str, Any] | None:
        """Return what an answer without looking scores on the test split: ``{"name": ..., "value": ...}``."""
