"""What the loop needs to know of a task, and the tasks of the course, one module each.

A task is any object with the attributes of ``Task``; the loop knows nothing else of data, networks or losses, so that
a classifier of recordings, a localizer of pets and a detector train with the same code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


class Task(ABC):
    """What the loop asks of a task; what it may ask and need not get has an answer here.

    A network learns through time: it takes a whole input and returns an output with the attributes ``spikes``
    ``[T, B, ...]`` and ``hidden``, a sequence of hidden layers' spike trains, for the statistics of spikes; without
    them there are none.

    Or it learns online, and says so with ``online = True``: ``rest(batch)`` gives its state, ``step(frame, state)`` the
    readouts of each layer, each of which depends on the weights of its layer alone, and the next state; after
    ``burn_in`` steps every step is learned from. Its input is an iterable of frames ``[B, ...]``, and calling it on one
    gives an output as above.
    """

    name: str
    metric: str  # what decides: a key of ``metrics`` and of the progress line; higher is better
    running: str = ""  # what ``score`` is called where it is not that metric

    @abstractmethod
    def build(self, config: Configuration) -> nn.Module:
        """Return a network with fresh weights drawn from ``config.seed``."""

    def prepare(self, config: Configuration, model: nn.Module, data: Data, device: torch.device) -> None:
        """Change fresh weights by what the training samples say; nothing is changed of a run that is resumed."""
        return

    @abstractmethod
    def data(self, config: Configuration, splits: Sequence[str] = ("train", "validation", "test")) -> Data:
        """Read some of the splits; the others stay None."""

    def draw(self, config: Configuration, count: int, generator: torch.Generator) -> torch.Tensor | None:
        """Return the random numbers of ``count`` training samples ``[count, ...]``, such as their augmentation."""
        return None

    @abstractmethod
    def batch(
        self,
        config: Configuration,
        split: Any,
        indices: torch.Tensor,
        draws: torch.Tensor | None,
        device: torch.device,
    ) -> tuple[Any, Any]:
        """Return the network's input and the targets of some samples; without draws, as they are evaluated."""

    @abstractmethod
    def loss(self, config: Configuration, output: Any, targets: Any) -> torch.Tensor:
        """Return the mean loss of a batch's samples."""

    def answer(self, readouts: Sequence[torch.Tensor]) -> Any:
        """Return the readouts of one step of a network that learns online as an output for ``loss`` and ``evidence``.

        The loss of that output must be a sum over layers.
        """
        raise TypeError(f"task {self.name!r} has no network that learns online")

    @abstractmethod
    def evidence(self, config: Configuration, output: Any, targets: Any) -> dict[str, torch.Tensor]:
        """Return what the metrics need, a row for each sample of a batch; ``"score"`` ``[B]`` is the running metric."""

    def score(self, config: Configuration, output: Any, targets: Any) -> torch.Tensor:
        """Return the running metric of a batch that is learned from ``[B]``, where evidence would cost too much."""
        return self.evidence(config, output, targets)["score"]

    @abstractmethod
    def metrics(self, evidence: Mapping[str, torch.Tensor], split: Any) -> dict[str, Any]:
        """Return the metrics of a split from the evidence of all its samples, as results keep them.

        ``{"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 100, "interval": "Wilson 95 %"}, ...}``; what has
        no interval leaves low and high None. Among them may be ``"confusion"``, a matrix, and ``"details"``, whatever
        else is worth keeping.
        """

    def quick_metrics(self, evidence: Mapping[str, torch.Tensor], split: Any) -> dict[str, Any]:
        """Return the metrics that choose an epoch, where all of them would cost too much after each."""
        return self.metrics(evidence, split)

    def baseline(self, data: Data) -> dict[str, Any] | None:
        """Return what an answer without looking scores on the test split: ``{"name": ..., "value": ...}``."""
        return None

    def cost(self, config: Configuration, model: nn.Module, split: Any, device: torch.device) -> dict[str, Any]:
        """Return what an answer costs the network: operations of a sample, for the result."""
        return {}

    def pictures(self, config: Configuration, split: Any, evidence: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """Return pictures of the answers, a matplotlib Figure for each name of a PNG file."""
        return {}
