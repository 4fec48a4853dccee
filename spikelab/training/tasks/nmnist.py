"""N-MNIST: which digit did the sensor see?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from spikelab import losses
from spikelab.statistics import confusion_matrix, wilson_interval
from spikelab.training.config import Configuration, ConfigurationError
from spikelab.training.tasks import Data, Task
from spikelab.validation import require_choice

CLASSES = 10
LOSSES = {  # name: the decision that goes with it, and its constants
    "count": ("count", ("scale",)),
    "membrane": ("membrane", ()),
    "latency": ("first", ("decay",)),
    "spike-count": ("count", ("true", "false")),
}


@dataclass(frozen=True)
class FrameSet:
    """Recordings as frames.

    Attributes:
        frames: ``[N, T, 2, H, W]`` uint8.
        labels: ``[N]`` int64.
    """

    frames: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


class NMNISTTask(Task):
    """Classify N-MNIST's recordings from T binary frames; the metric is the accuracy."""

    name = "nmnist"
    metric = "accuracy"

    def build(self, config: Configuration) -> nn.Module:
        from spikelab.models.pretrained import CLASSIFIERS, build

        require_choice("model", config.model, CLASSIFIERS)
        return build(config.as_dict())

    def data(self, config: Configuration, splits: Sequence[str] = ("train", "validation", "test")) -> Data:
        from spikelab.datasets import NMNIST, load_frames

        found, hashes, label = {}, [], ""
        for split in splits:
            recordings = NMNIST(split, kind=config.data)
            chosen = None
            if split == "train" and 0 < config.train_limit < len(recordings):
                generator = torch.Generator().manual_seed(config.seed)
                chosen = torch.randperm(len(recordings), generator=generator)[: config.train_limit].tolist()
            found[split] = FrameSet(*load_frames(recordings, config.num_steps, config.window_us, indices=chosen))
            hashes.append(recordings.hash)
            label = recordings.label.rpartition(", ")[0]  # without the number of recordings of the split
        return Data(
            *(found.get(split) for split in ("train", "validation", "test")),
            name=self.name,
            label=label,
            hash=hashlib.sha256("".join(hashes).encode()).hexdigest()[:16],
        )

    def draw(self, config: Configuration, count: int, generator: torch.Generator) -> torch.Tensor | None:
        if not config.shift:
            return None
        return torch.randint(-config.shift, config.shift + 1, (count, 2), generator=generator)

    def batch(
        self,
        config: Configuration,
        split: FrameSet,
        indices: torch.Tensor,
        draws: torch.Tensor | None,
        device: torch.device,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        frames = split.frames[indices]
        if draws is not None:
            frames = shift_frames(frames, draws)
        # Time first and to float in one pass; uint8 until here, which is a quarter of the memory.
        frames = frames.to(device).movedim(1, 0).to(torch.float32, memory_format=torch.contiguous_format)
        return frames, split.labels[indices].to(device)

    def loss(self, config: Configuration, output: Any, targets: torch.Tensor) -> torch.Tensor:
        options = config.loss_options
        unknown = set(options) - set(_known(config.loss)[1])
        if unknown:
            raise ConfigurationError(
                f"loss {config.loss!r} has no option {sorted(unknown)[0]!r}; "
                f"it has {', '.join(LOSSES[config.loss][1]) or 'none'}"
            )
        if config.loss == "membrane":
            return losses.membrane_cross_entropy(output.membrane, targets)
        if config.loss == "latency":
            return losses.latency_cross_entropy(output.spikes, targets, **options)
        if config.loss == "count":
            return losses.count_cross_entropy(output.spikes, targets, **options)
        from spikelab.plasticity import count_targets, spike_count_loss

        true, false = count_targets(config.num_steps)
        counts = {"true": true, "false": false, **options}
        return spike_count_loss(output.spikes, targets, **counts) / len(targets)

    def evidence(self, config: Configuration, output: Any, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        predicted = losses.decide(output.spikes, output.membrane, config.decision or _known(config.loss)[0])
        return {"predicted": predicted, "target": targets, "score": (predicted == targets).float()}

    def metrics(self, evidence: Mapping[str, torch.Tensor], split: FrameSet) -> dict[str, Any]:
        predicted, target = evidence["predicted"], evidence["target"]
        right, n = int((predicted == target).sum()), len(target)
        low, high = wilson_interval(right, n)
        accuracy = {"value": right / n, "low": low, "high": high, "n": n, "interval": "Wilson 95 %"}
        return {"accuracy": accuracy, "confusion": confusion_matrix(target, predicted, CLASSES).tolist()}

    def baseline(self, data: Data) -> dict[str, Any] | None:
        if data.test is None:
            return None
        labels = (data.train or data.test).labels
        digit = int(labels.bincount(minlength=CLASSES).argmax())
        value = float((data.test.labels == digit).double().mean())
        return {"name": f"always the most frequent digit, {digit}", "value": value}


def shift_frames(frames: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Move each recording's frames by whole pixels; what leaves the frame is lost, what enters is empty.

    Args:
        frames: ``[B, T, C, H, W]``.
        shifts: rows down and columns right ``[B, 2]``, each smaller than H and W.
    Returns:
        Frames of the same shape and dtype.
    """
    rows, columns = frames.shape[-2:]
    out = torch.zeros_like(frames)
    for sample, (down, right) in enumerate(shifts.tolist()):
        out[sample, ..., max(down, 0) : rows + min(down, 0), max(right, 0) : columns + min(right, 0)] = frames[
            sample, ..., max(-down, 0) : rows + min(-down, 0), max(-right, 0) : columns + min(-right, 0)
        ]
    return out


def _known(loss: str) -> tuple[str, tuple[str, ...]]:
    if loss not in LOSSES:
        raise ConfigurationError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
    return LOSSES[loss]
