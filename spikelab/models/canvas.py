"""A small network that finds a digit on a canvas: which one it is, and its box; made to be converted into spikes.

Six convolutions with batch normalisation and a hidden layer, with ReLU or leaky ReLU: a straight line of calls that
``spikelab.models.conversion`` can follow. ``load("canvas-relu")`` and ``load("canvas-leaky")`` of
``spikelab.models.pretrained`` come with weights, from ``python -m benchmarks.conversion``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from spikelab.validation import require_between, require_choice, require_count

SIDE = 40
STRIDES = (2, 2, 1, 2, 1, 1)
NEURONS = ("relu", "leaky_relu")
CLASSES = 10


class CanvasOutput(NamedTuple):
    """What the network says of each picture.

    Attributes:
        classes: ``[B, 10]``, the largest is the digit.
        boxes: ``[B, 4]``, corners (x0, y0, x1, y1) in shares of the canvas, of any size and order.
    """

    classes: torch.Tensor
    boxes: torch.Tensor


class CanvasNet(nn.Module):
    """Class and box of the digit on a canvas of 40 × 40 pixels.

    Args:
        channels: of the six convolutions.
        hidden: neurons of the layer that both answers are read from.
        neurons: ``"relu"`` or ``"leaky_relu"``.
        slope: α of the leaky ReLU.
        generator: source of the initial weights.
    Raises:
        ValueError: if a value is not allowed.

    Explained in chapter 11.
    """

    def __init__(
        self,
        channels: Sequence[int] = (12, 16, 24, 24, 32, 32),
        *,
        hidden: int = 64,
        neurons: str = "relu",
        slope: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        require_choice("neurons", neurons, NEURONS)
        require_between("slope", slope, 0, 1)
        require_count("hidden", hidden)
        if len(channels) != len(STRIDES):
            raise ValueError(f"channels must name {len(STRIDES)} convolutions, got {list(channels)}")
        before, side = 1, SIDE
        layers: list[nn.Module] = []
        for after, stride in zip(channels, STRIDES, strict=True):
            layers += _block(
                nn.Conv2d(before, require_count("channels", after), 3, stride, 1, bias=False), neurons, slope
            )
            before, side = after, -(-side // stride)
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.hidden = nn.Sequential(*_block(nn.Linear(before * side**2, hidden, bias=False), neurons, slope))
        self.classes = nn.Linear(hidden, CLASSES)
        self.boxes = nn.Linear(hidden, 4)
        self._draw(generator)

    def forward(self, images: torch.Tensor) -> CanvasOutput:
        """Find the digits of pictures ``[B, 1, 40, 40]`` in [0, 1]."""
        features = self.hidden(self.body(images))
        return CanvasOutput(self.classes(features), self.boxes(features))

    @torch.no_grad()
    def _draw(self, generator: torch.Generator | None) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                gain = math.sqrt(2 / module.weight[0].numel())
                module.weight.normal_(0, gain, generator=generator)
        self.boxes.weight.mul_(0.1)
        self.boxes.bias.copy_(torch.tensor([0.25, 0.25, 0.75, 0.75]))
        self.classes.bias.zero_()


def _block(layer: nn.Conv2d | nn.Linear, neurons: str, slope: float) -> list[nn.Module]:
    norm = nn.BatchNorm2d if isinstance(layer, nn.Conv2d) else nn.BatchNorm1d
    return [layer, norm(len(layer.weight)), nn.ReLU() if neurons == "relu" else nn.LeakyReLU(slope)]
