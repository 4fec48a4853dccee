"""A spiking localizer of our own, and its twin without spikes.

What it keeps of spiking networks: every synapse but the first layer's carries spikes, one bit for each neuron and step,
and neurons integrate and fire. What it takes from good detectors:

direct coding
    the picture drives the first layer as a constant current, so that its convolution is made once, not T times;
shortcuts of currents
    a block adds to the current of its input, not to its spikes: what is added stays a current, what is multiplied stays
    a spike, and gradients have a way without surrogates;
current mean readout
    the last layer does not fire. Its currents, averaged over time, are numbers of any size and sign, which corners need
    and rates of spikes are too coarse for (chapter 12);
a readout that points
    each place of the last map votes for a box relative to itself and says how sure it is; the answer is the mean of the
    votes, weighted by a softmax over places. An animal that moves moves its votes: the network need not learn every
    place anew.

A membrane starts at half of its threshold, so that few steps round the activity instead of cutting it off (chapter 11).
In the twin, a neuron is what an integrate-and-fire neuron's rate tends to over many steps: its current, clamped to
[0, 1]. Both have the same weights, so that one can start from the other's.

Explained in chapter 09.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from spikelab.models.localizer.output import LocalizerOutput
from spikelab.neurons import LIFState, lif
from spikelab.surrogate import SpikeFunction, atan
from spikelab.validation import require_between, require_choice, require_count

NEURONS = ("spiking", "relu")


class SpikingLocalizer(nn.Module):
    """One box for the one animal of a picture, in T steps of spikes.

    Args:
        channels: maps of each stage: the first convolution's, then of each stage, which halves rows and columns.
        blocks: residual blocks of each stage after the first.
        in_channels: 3 for colour, 1 for gray.
        stem: stride of the first convolution.
        num_steps: T.
        neurons: ``"spiking"``, or ``"relu"`` for the twin without spikes and without time.
        beta: decay per step of the membranes; 1 integrates and fires.
        spike_grad: surrogate gradient; ``atan()`` if not given.
        generator: source of the initial weights.
    Raises:
        ValueError: if a size or constant is out of its range.

    Explained in chapter 09.
    """

    def __init__(
        self,
        channels: Sequence[int] = (48, 64, 128, 256),
        *,
        blocks: int = 1,
        in_channels: int = 3,
        stem: int = 4,
        num_steps: int = 4,
        neurons: str = "spiking",
        beta: float = 1.0,
        spike_grad: SpikeFunction | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.num_steps = require_count("num_steps", num_steps)
        self.neurons = require_choice("neurons", neurons, NEURONS)
        self.beta = require_between("beta", beta, 0.0, 1.0, "a decay per step")
        self.spike_grad = spike_grad or atan()
        if not channels:
            raise ValueError("channels must name at least one stage, got none")
        self.blocks = require_count("blocks", blocks, minimum=0)
        require_count("stem", stem)
        before = require_count("channels", channels[0])
        kernel = 2 * stem - 1
        self.stem = _Synapses(require_count("in_channels", in_channels), before, kernel, stem)
        self.stages = nn.ModuleList()  # for each stage one convolution that halves the map, then two for each block
        for count in channels[1:]:
            self.stages.append(_Synapses(before, require_count("channels", count), 3, 2))
            self.stages.extend(_Synapses(count, count, 3, 1) for _ in range(2 * blocks))
            before = count
        self.context = _Synapses(before, before, 3, 1)
        self.readout = nn.Conv2d(before, 5, 1)
        _initialise(self, generator)

    def forward(self, images: torch.Tensor) -> LocalizerOutput:
        """Find the animal in pictures ``[B, C, H, W]``, light in [0, 1]."""
        hidden: list[torch.Tensor] = []
        drive = self.stem((images - 0.5).contiguous(memory_format=torch.channels_last))
        # The picture does not change: all steps share one current, which expand does not copy.
        drive = drive[None].expand(self.num_steps if self.neurons == "spiking" else 1, *drive.shape)
        stages = iter(self.stages)
        for down in stages:
            drive = self._through(down, self._fire(drive, hidden))
            for _ in range(self.blocks):
                inner = self._through(next(stages), self._fire(drive, hidden))
                drive = drive + self._through(next(stages), self._fire(inner, hidden))
        drive = self._through(self.context, self._fire(drive, hidden))
        votes = _at_least_float32(self._through(self.readout, self._fire(drive, hidden))).mean(0)
        return LocalizerOutput(point(votes), tuple(hidden) if self.neurons == "spiking" else ())

    def _fire(self, drive: torch.Tensor, hidden: list[torch.Tensor]) -> torch.Tensor:
        """Spikes of neurons under currents ``[T, B, ...]``, or their rate in the limit of many steps."""
        drive = _at_least_float32(drive)  # mixed precision ends here: a membrane adds up small numbers
        if self.neurons == "relu":
            return drive.clamp(0, 1)
        half = torch.full_like(drive[0], 0.5)
        start = LIFState(half, torch.zeros_like(half))
        spikes = lif(drive, beta=self.beta, spike_grad=self.spike_grad, state=start).spikes
        hidden.append(spikes)
        return spikes

    @staticmethod
    def _through(layer: nn.Module, spikes: torch.Tensor) -> torch.Tensor:
        folded = spikes.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return layer(folded).unflatten(0, spikes.shape[:2])


class _Synapses(nn.Module):
    """Convolution and batch normalisation over time, batch and places; together one set of synapses."""

    def __init__(self, before: int, after: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return self.norm(self.convolution(signal))


def point(votes: torch.Tensor) -> torch.Tensor:
    """Return the boxes ``[B, 4]`` that maps of votes ``[B, 5, h, w]`` point to.

    Channel 0 says how sure a place is, channels 1 to 4 where the left, top, right and bottom edges lie, as seen from
    the middle of the place, in shares of the picture.
    """
    rows, columns = votes.shape[-2:]
    x = (torch.arange(columns, device=votes.device) + 0.5) / columns
    y = (torch.arange(rows, device=votes.device) + 0.5) / rows
    places = torch.stack([x.expand(rows, columns), y[:, None].expand(rows, columns)])
    corners = votes[:, 1:] + places.repeat(2, 1, 1)
    weight = votes[:, :1].flatten(2).softmax(-1)
    return (corners.flatten(2) * weight).sum(-1)


def _at_least_float32(signal: torch.Tensor) -> torch.Tensor:
    return signal.to(torch.promote_types(signal.dtype, torch.float32))


@torch.no_grad()
def _initialise(model: SpikingLocalizer, generator: torch.Generator | None) -> None:
    """Weights of variance 2 / fan-in; the readout begins with small votes for a box around each place."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.normal_(0.0, (2 / fan_in) ** 0.5, generator=generator)
    model.readout.weight.mul_(0.1)
    model.readout.bias.copy_(torch.tensor([0.0, -0.25, -0.25, 0.25, 0.25]))
