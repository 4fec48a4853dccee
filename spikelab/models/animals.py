"""Class and box of the one animal of a picture, in spikes: the capstone's starting point and our reference.

Both take a picture as a constant current, so that the first convolution is made once, carry spikes on every other
synapse, and answer with the currents of their last layer, averaged over time (current mean decoding, chapter 12). In
the twin without spikes a neuron is what an integrate-and-fire neuron's rate tends to: its current, clamped to [0, 1];
names and shapes of the weights are the same, so that one network can start from the other's.

``start``
    five convolutions of stride 2 one after the other, and one linear layer for class and box; it knows pictures of one
    size alone. A minute of training; meant to be improved.
``reference``
    the body of chapter 09's localizer, with shortcuts of currents, whose readout of places points to the box; a second
    readout says the class, from the mean over places. It takes pictures of any size.

The batch normalisation here is over time, batch and places together: what is called tdBN, for a threshold of 1.

Explained in chapter 14.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from spikelab.detection.boxes import to_corners
from spikelab.models.localizer.spiking import point
from spikelab.neurons import LIFState, lif
from spikelab.surrogate import SpikeFunction, atan
from spikelab.validation import require_between, require_choice, require_count

NEURONS = ("spiking", "clamped")
DECODERS = ("current_mean", "last_current", "rate")
RATE_RANGE = (-4.0, 4.0)
"""What a readout neuron's rate of 0 and of 1 stands for."""


class AnimalDesign(NamedTuple):
    """How an ``AnimalNet`` is built.

    Attributes:
        channels: maps of each stage.
        blocks: residual blocks of each stage after the first; None: none, and one linear readout instead of two.
        stem: stride of the first convolution.
    """

    channels: tuple[int, ...]
    blocks: int | None
    stem: int


DESIGNS = {
    "start": AnimalDesign((24, 48, 64, 96, 96), None, 2),
    "reference": AnimalDesign((32, 64, 128, 192), 1, 4),
}


class AnimalOutput(NamedTuple):
    """The answer for B pictures.

    Attributes:
        boxes: ``[B, 4]``, corners x0, y0, x1, y1 in shares of the picture's width and height, not clipped to it.
        classes: ``[B, C]``, a number for each class, the highest for the likeliest; softmax makes them probabilities.
        hidden: spike trains of the hidden layers ``[T, B, ...]``, from the input's side to the output's; empty for a
            network without spikes.
    """

    boxes: torch.Tensor
    classes: torch.Tensor
    hidden: tuple[torch.Tensor, ...] = ()


class AnimalNet(nn.Module):
    """Class and box of one animal, in T steps of spikes.

    Args:
        design: ``"start"`` or ``"reference"``.
        num_classes: C.
        channels, blocks, stem: in place of the design's, see ``AnimalDesign``; ``blocks`` for ``"reference"`` alone.
        picture: rows and columns of the pictures; ``"start"`` knows no others.
        in_channels: 3 for colour, 1 for gray.
        num_steps: T.
        neurons: ``"spiking"``, or ``"clamped"`` for the twin without spikes and without time.
        decode: how the last layer's currents become an answer. ``"current_mean"``: their mean over steps;
            ``"last_current"``: that of the last step; ``"rate"``: the last layer fires too, and its rate, one of T + 1
            values, stands for a number in ``RATE_RANGE``.
        beta: decay per step of the membranes; 1 integrates and fires.
        initial_charge: where a membrane starts, as a share of its threshold; half of it rounds what few steps can say,
            instead of cutting it off (chapter 11).
        spike_grad: surrogate gradient; ``atan()`` if not given.
        generator: source of the initial weights.
    Raises:
        ValueError: if a size, a name or a constant is out of its range.

    Explained in chapter 14.
    """

    def __init__(
        self,
        design: str = "start",
        *,
        num_classes: int = 6,
        channels: Sequence[int] | None = None,
        blocks: int | None = None,
        stem: int | None = None,
        picture: tuple[int, int] = (64, 64),
        in_channels: int = 3,
        num_steps: int = 4,
        neurons: str = "spiking",
        decode: str = "current_mean",
        beta: float = 1.0,
        initial_charge: float = 0.5,
        spike_grad: SpikeFunction | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        made = DESIGNS[require_choice("design", design, DESIGNS)]
        self.design = design
        self.num_classes = require_count("num_classes", num_classes)
        self.num_steps = require_count("num_steps", num_steps)
        self.neurons = require_choice("neurons", neurons, NEURONS)
        self.decode = require_choice("decode", decode, DECODERS)
        self.beta = require_between("beta", beta, 0.0, 1.0, "a decay per step")
        self.initial_charge = require_between("initial_charge", initial_charge, 0.0, 1.0, "a share of the threshold")
        self.spike_grad = spike_grad or atan()
        channels = made.channels if channels is None else tuple(channels)
        if not channels:
            raise ValueError("channels must name at least one stage, got none")
        for count in channels:
            require_count("channels", count)
        if design == "start" and blocks is not None:
            raise ValueError(f"blocks are for the design 'reference'; 'start' has none, got {blocks}")
        self.blocks = made.blocks if blocks is None else require_count("blocks", blocks, minimum=0)
        self.picture = tuple(require_count("picture", side) for side in picture)
        stride = made.stem if stem is None else require_count("stem", stem)
        kernel = 3 if design == "start" else 2 * stride - 1
        before = channels[0]
        self.stem = _Synapses(require_count("in_channels", in_channels), before, kernel, stride)
        self.stages = nn.ModuleList()  # for each stage one convolution that halves the map, then two for each block
        for count in channels[1:]:
            self.stages.append(_Synapses(before, count, 3, 2))
            self.stages.extend(_Synapses(count, count, 3, 1) for _ in range(2 * (self.blocks or 0)))
            before = count
        if design == "start":
            rows, columns = self._map(stride, len(channels) - 1)
            self.readout: nn.Module = nn.Linear(before * rows * columns, self.num_classes + 4)
        else:
            self.context = _Synapses(before, before, 3, 1)
            self.readout = nn.Conv2d(before, 5 + self.num_classes, 1)
        _initialise(self, generator)

    def forward(self, images: torch.Tensor) -> AnimalOutput:
        """Name and find the animal in pictures ``[B, C, H, W]``, light in [0, 1]."""
        if self.design == "start" and tuple(images.shape[-2:]) != self.picture:
            raise ValueError(
                f"images must be {self.picture[0]} x {self.picture[1]}, the picture that this network was built for, "
                f"got {images.shape[-2]} x {images.shape[-1]}"
            )
        hidden: list[torch.Tensor] = []
        drive = self.stem((images - 0.5).contiguous(memory_format=torch.channels_last))
        # The picture does not change: all steps share one current, which expand does not copy.
        drive = drive[None].expand(self.num_steps if self.neurons == "spiking" else 1, *drive.shape)
        stages = iter(self.stages)
        for down in stages:
            drive = _through(down, self._fire(drive, hidden))
            for _ in range(self.blocks or 0):
                inner = _through(next(stages), self._fire(drive, hidden))
                drive = drive + _through(next(stages), self._fire(inner, hidden))
        spikes = self._fire(drive, hidden)
        if self.design == "start":
            answer = self._decoded(_through(self.readout, spikes.flatten(2)), hidden)
            classes, places = answer.split([self.num_classes, 4], 1)
            boxes = to_corners(places.sigmoid())
        else:
            spikes = self._fire(_through(self.context, spikes), hidden)
            votes, classes = self._decoded(_through(self.readout, spikes), hidden).split([5, self.num_classes], 1)
            boxes, classes = point(votes), classes.mean((2, 3))
        return AnimalOutput(boxes, classes, tuple(hidden) if self.neurons == "spiking" else ())

    def _fire(self, drive: torch.Tensor, hidden: list[torch.Tensor]) -> torch.Tensor:
        """Spikes of neurons under currents ``[T, B, ...]``, or their rate in the limit of many steps."""
        drive = drive.float()  # mixed precision ends here: a membrane adds up small numbers
        if self.neurons == "clamped":
            return drive.clamp(0, 1)
        charge = torch.full_like(drive[0], self.initial_charge)
        start = LIFState(charge, torch.zeros_like(charge))
        spikes = lif(drive, beta=self.beta, spike_grad=self.spike_grad, state=start).spikes
        hidden.append(spikes)
        return spikes

    def _decoded(self, currents: torch.Tensor, hidden: list[torch.Tensor]) -> torch.Tensor:
        """One number ``[B, ...]`` from the last layer's currents ``[T, B, ...]``."""
        currents = currents.float()
        if self.decode == "current_mean":
            return currents.mean(0)
        if self.decode == "last_current":
            return currents[-1]
        low, high = RATE_RANGE
        # A current of 0 means rate 1/2, the middle of the range: the scale of the other decoders.
        return low + (high - low) * self._fire((currents - low) / (high - low), hidden).mean(0)

    def _map(self, stem: int, halvings: int) -> tuple[int, ...]:
        """Rows and columns of the last map."""
        sides = self.picture
        for stride in (stem, *[2] * halvings):
            sides = tuple((side - 1) // stride + 1 for side in sides)
        return sides


class _Synapses(nn.Module):
    """Convolution and batch normalisation over time, batch and places; together one set of synapses."""

    def __init__(self, before: int, after: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return self.norm(self.convolution(signal))


def _through(layer: nn.Module, spikes: torch.Tensor) -> torch.Tensor:
    folded = spikes.flatten(0, 1)
    if folded.dim() == 4:
        folded = folded.contiguous(memory_format=torch.channels_last)
    return layer(folded).unflatten(0, spikes.shape[:2])


@torch.no_grad()
def _initialise(model: AnimalNet, generator: torch.Generator | None) -> None:
    """Weights of variance 2 / fan-in; readouts begin with small numbers: no class, a box in the middle."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            module.weight.normal_(0.0, (2 / fan_in) ** 0.5, generator=generator)
    model.readout.weight.mul_(0.1)
    model.readout.bias.zero_()
    if model.design == "reference":
        model.readout.bias[1:5].copy_(torch.tensor([-0.25, -0.25, 0.25, 0.25]))
