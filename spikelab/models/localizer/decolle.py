r"""Paper 1's localizer: an encoder and a decoder of spiking convolutions, each layer taught by its own readout.

==========  =========  ======  ==============  =================================================
layer       channels   kernel  then            adds to its spikes
==========  =========  ======  ==============  =================================================
encoder 1   1 → 32     5       max-pool 2
encoder 2   32 → 64    3       max-pool 2
encoder 3   64 → 128   3
decoder 1   128 → 64   3       nearest × 2     spikes of encoder 2, enlarged × 2
decoder 2   64 → 32    3       nearest × 2     spikes of encoder 1, enlarged × 2
decoder 3   32 → 16    3
==========  =========  ======  ==============  =================================================

U is pooled before it fires. The sums of spikes are 0, 1 or 2; readouts see the layer's own U, not the sums. Six
readouts of 4 numbers look at σ(U), after pooling or enlarging; the answer is the last one's at the last step. What the
paper does not give (channels, kernels, sums) is its authors' later code; where the two differ or one is silent,
``VARIANTS`` says what each does.

An enlarged map repeats each value four times, and so do its traces and its readout's view. Everything about it is
therefore computed once per value: sums and traces before enlarging, a convolution of an enlarged map as one transposed
convolution, and a readout of it with the four weights of a value added up. The numbers are the same, to rounding.

Explained in chapter 09. Source: paper 1; Barchid, code of 2021 (SNN-PyTorch).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from spikelab.models.localizer.output import LocalizerOutput
from spikelab.neurons import lif
from spikelab.plasticity.decolle import (
    INITIAL,
    DecolleConstants,
    DecolleLayer,
    DecolleStep,
    FixedReadout,
    Traces,
    initialise_decolle,
    watch,
)
from spikelab.surrogate import SpikeFunction, atan
from spikelab.validation import require_between, require_choice, require_count, require_positive

CHANNELS = (32, 64, 128, 64, 32, 16)
KERNELS = (5, 3, 3, 3, 3, 3)


class Variant(NamedTuple):
    """What one source says of the network and its training; None where it says nothing."""

    constants: DecolleConstants
    """Decays for steps of 1 ms."""
    num_steps: int | None
    burn_in: int | None
    max_rate_hz: float | None
    """Rate of a white pixel's Poisson spikes."""
    lr: float | None
    """For published traces; ``equivalent_lr`` converts it."""


VARIANTS = {
    # "the same values as DECOLLE"; T, burn-in and rate are not given
    "paper": Variant(DecolleConstants(beta=0.92), None, None, None, 1e-9),
    # its authors' scripts: one chance of a spike per pixel and millisecond; lr is an argument, .1 if not given
    "authors": Variant(DecolleConstants(beta=0.85), 1000, 50, 1000.0, None),
}


class UpsampledConv2d(nn.Conv2d):
    """Nearest enlargement × 2, then a convolution with kernel 3 and padding 1.

    Args:
        in_channels, out_channels: as of ``nn.Conv2d``.
        bias: whether there is one.
    """

    scale = 2

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """``[B, C, H, W]`` -> ``[B, out_channels, 2H, 2W]``."""
        kind = maps.device.type
        mixed = torch.is_autocast_enabled(kind)
        if mixed or kind != "cpu":  # there, gradients of plain convolutions are the faster ones
            maps = maps.to(torch.get_autocast_dtype(kind)) if mixed else maps
            return super().forward(F.interpolate(maps, scale_factor=2))
        # Each value reaches 4 × 4 pixels: the kernel, turned about for the transposed convolution, slid over the
        # value's 2 × 2 copies. 16 products per value instead of 36.
        kernel = F.pad(self.weight.flip(2, 3).transpose(0, 1), (1, 1, 1, 1))
        kernel = kernel[..., :-1, :] + kernel[..., 1:, :]
        kernel = kernel[..., :-1] + kernel[..., 1:]
        return F.conv_transpose2d(maps, kernel, self.bias, stride=2, padding=1)


class EnlargedReadout(FixedReadout):
    """A ``FixedReadout`` of a map enlarged × 2, computed from the map itself.

    Args:
        n_out: numbers read.
        shape: channels, rows and columns of the map before it is enlarged.
        seed, amplitude: of the weights, drawn for the enlarged map.
    """

    def __init__(self, n_out: int, shape: tuple[int, int, int], *, seed: int, amplitude: float) -> None:
        channels, rows, columns = shape
        super().__init__(n_out, 4 * channels * rows * columns, seed=seed, amplitude=amplitude)
        copies = self.weight.view(n_out, rows, 2, columns, 2, channels)
        self.weight = copies.sum((2, 4)).flatten(1)


class DecolleLocalizer(nn.Module):
    """Paper 1's network: six layers that learn online, each from its own readout of the box.

    An online network: ``rest`` gives the state before the first step, ``step`` takes one. To save memory traffic a step
    overwrites the state it is given.

    Args:
        channels: maps of the six layers; the fourth and fifth as the second and first, for the sums.
        size: rows and columns of a picture, multiples of 4.
        in_channels: 1 for gray, 3 for colour.
        variant: ``"paper"`` or ``"authors"``: whose decays, see ``VARIANTS``.
        constants: decays per step and form of the traces instead.
        step_ms: duration of a step, if the decays are per 1 ms.
        amplitude: of the readouts; DECOLLE's is .5, and 2 in its later code. A convolutional readout's largest value is
            about .23 · amplitude · √channels, whatever the size of the map.
        init: ``"default"`` or ``"published"``; ``"lsuv"`` leaves the default for ``initialise_decolle``, which needs
            frames.
        readout_seed: readout k of the six is drawn from ``readout_seed + k``.
        burn_in: steps before learning; the authors' 50 if not given.
        generator: source of the initial weights.
    Raises:
        ValueError: if a size, number or name is out of its range.

    Explained in chapter 09. Source: paper 1, section IV; Barchid, code of 2021.
    """

    online = True

    def __init__(
        self,
        channels: Sequence[int] = CHANNELS,
        size: tuple[int, int] = (176, 240),
        in_channels: int = 1,
        *,
        variant: str = "paper",
        constants: DecolleConstants | None = None,
        step_ms: float = 1.0,
        amplitude: float = 0.5,
        init: str = "default",
        readout_seed: int = 0,
        burn_in: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.size = _checked_body(channels, size, in_channels)
        self.variant = require_choice("variant", variant, VARIANTS)
        self.constants = (VARIANTS[variant].constants if constants is None else constants.checked()).at(step_ms)
        self.burn_in = VARIANTS["authors"].burn_in if burn_in is None else require_count("burn_in", burn_in, 0)
        require_choice("init", init, INITIAL)
        require_count("readout_seed", readout_seed, 0)
        synapses = _synapses(in_channels, self.channels)
        pools = (nn.MaxPool2d(2), nn.MaxPool2d(2), None, None, None, None)
        self.layers = nn.ModuleList(
            DecolleLayer(synapse, constants=self.constants, after=pool)
            for synapse, pool in zip(synapses, pools, strict=True)
        )
        self.input_shapes, maps = _shapes(in_channels, self.channels, self.size)
        self.readouts = nn.ModuleList()
        for k, shape in enumerate(maps):
            given = {"seed": readout_seed + k, "amplitude": amplitude}
            enlarged = k in (3, 4)
            self.readouts.append(
                EnlargedReadout(4, shape, **given) if enlarged else FixedReadout(4, _size(shape), **given)
            )
        initialise_decolle(self, "default" if init == "lsuv" else init, generator=generator)

    @property
    def fixed_weights(self) -> int:
        """How many random numbers the readouts are made of."""
        return sum(readout.drawn for readout in self.readouts)

    def rest(self, batch_size: int) -> tuple[Traces, ...]:
        """State before the first step."""
        return tuple(layer.rest(batch_size, shape) for layer, shape in zip(self.layers, self.input_shapes, strict=True))

    def step(self, frame: torch.Tensor, state: tuple[Traces, ...]) -> tuple[list[torch.Tensor], tuple[Traces, ...]]:
        """Take one step.

        Args:
            frame: spikes ``[B, C, H, W]``.
            state: from ``rest`` or the step before; overwritten.
        Returns:
            The boxes of the six readouts, ``[B, 4]`` each, and the state.
        Raises:
            ValueError: if the frame has another shape.
        """
        out = self.advance(frame, state)
        return out.readouts, out.state

    def advance(self, frame: torch.Tensor, state: tuple[Traces, ...]) -> DecolleStep:
        """As ``step``, with each layer's membranes and spikes; the fourth's and fifth's before they are enlarged."""
        if frame.dim() != 4 or tuple(frame.shape[1:]) != self.input_shapes[0]:
            channels, rows, columns = self.input_shapes[0]
            raise ValueError(f"frame must be [B, {channels}, {rows}, {columns}], got {tuple(frame.shape)}")
        readouts, membranes, trains, traces = [], [], [], []
        spikes = frame
        for index, (layer, readout, before) in enumerate(zip(self.layers, self.readouts, state, strict=True)):
            out = layer.step(_with_sums(index, spikes, trains), before, in_place=True)
            readouts.append(readout(torch.sigmoid(out.membrane)))
            membranes.append(out.membrane)
            trains.append(out.spikes)
            traces.append(out.traces)
            spikes = out.spikes
        return DecolleStep(readouts, membranes, trains, tuple(traces))

    def forward(self, frames: Iterable[torch.Tensor]) -> LocalizerOutput:
        """Look at frames ``[B, C, H, W]``, one per step, without learning."""
        seen = watch(self, frames)
        return LocalizerOutput(
            seen.readouts[-1], readouts=seen.readouts, mean_readouts=seen.mean_readouts, rates=seen.rates
        )


class SurrogateLocalizer(nn.Module):
    """The same body with leaky integrate-and-fire neurons, one readout, and backpropagation through time.

    Currents are pooled and normalised over time and batch before they drive the neurons; the readout is linear in the
    mean spikes of the last layer.

    Args:
        channels, size, in_channels: as of ``DecolleLocalizer``.
        beta: decay per step of the membranes.
        threshold: θ.
        spike_grad: surrogate gradient; ``atan()`` if not given.
        generator: source of the initial weights.
    Raises:
        ValueError: if a size or constant is out of its range.

    Explained in chapter 09.
    """

    def __init__(
        self,
        channels: Sequence[int] = CHANNELS,
        size: tuple[int, int] = (176, 240),
        in_channels: int = 1,
        *,
        beta: float = 0.9,
        threshold: float = 1.0,
        spike_grad: SpikeFunction | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.size = _checked_body(channels, size, in_channels)
        self.beta = require_between("beta", beta, 0.0, 1.0, "a decay per step")
        self.threshold = require_positive("threshold", threshold)
        self.spike_grad = spike_grad or atan()
        self.synapses = nn.ModuleList(_synapses(in_channels, self.channels, bias=False))
        self.norms = nn.ModuleList(nn.BatchNorm2d(count) for count in self.channels)
        self.input_shape = (in_channels, *self.size)
        self.readout = nn.Linear(self.channels[-1] * self.size[0] * self.size[1], 4)
        with torch.no_grad():
            for layer in (*self.synapses, self.readout):
                bound = layer.weight[0].numel() ** -0.5
                layer.weight.uniform_(-bound, bound, generator=generator)
            self.readout.bias.copy_(torch.tensor([0.25, 0.25, 0.75, 0.75]))  # a box in the middle

    def forward(self, frames: torch.Tensor | Iterable[torch.Tensor]) -> LocalizerOutput:
        """Look at frames ``[T, B, C, H, W]``, or an iterable of ``[B, C, H, W]``."""
        frames = frames if isinstance(frames, torch.Tensor) else torch.stack(list(frames))
        if frames.dim() != 5 or tuple(frames.shape[2:]) != self.input_shape or not len(frames):
            channels, rows, columns = self.input_shape
            raise ValueError(f"frames must be [T, B, {channels}, {rows}, {columns}], got {tuple(frames.shape)}")
        time = frames.shape[:2]
        trains: list[torch.Tensor] = []  # time and batch in one axis, channels last: convolutions are faster so
        spikes = frames.flatten(0, 1).to(self.readout.weight.dtype).contiguous(memory_format=torch.channels_last)
        for index, (synapse, norm) in enumerate(zip(self.synapses, self.norms, strict=True)):
            drive = synapse(_with_sums(index, spikes, trains))
            drive = norm(F.max_pool2d(drive, 2) if index < 2 else drive)
            drive = _exact(drive).permute(0, 2, 3, 1).unflatten(0, time)
            fired = lif(drive, beta=self.beta, threshold=self.threshold, spike_grad=self.spike_grad).spikes
            spikes = fired.flatten(0, 1).permute(0, 3, 1, 2)
            trains.append(spikes)
        with torch.autocast(frames.device.type, enabled=False):  # corners need more than three digits
            boxes = self.readout(trains[-1].unflatten(0, time).mean(0).flatten(1))
        return LocalizerOutput(boxes, tuple(train.unflatten(0, time) for train in trains))


def _exact(drive: torch.Tensor) -> torch.Tensor:
    """Mixed precision ends at the neuron: a membrane adds up small numbers."""
    return drive.float() if drive.dtype in (torch.bfloat16, torch.float16) else drive


def _synapses(in_channels: int, channels: Sequence[int], bias: bool = True) -> list[nn.Conv2d]:
    """The six convolutions, channels last in memory; the last two enlarge their input."""
    synapses: list[nn.Conv2d] = []
    before = in_channels
    for index, (count, kernel) in enumerate(zip(channels, KERNELS, strict=True)):
        if index < 4:
            synapses.append(nn.Conv2d(before, count, kernel, padding=kernel // 2, bias=bias))
        else:
            synapses.append(UpsampledConv2d(before, count, bias=bias))
        before = count
    return [synapse.to(memory_format=torch.channels_last) for synapse in synapses]


def _with_sums(index: int, spikes: torch.Tensor, trains: Sequence[torch.Tensor]) -> torch.Tensor:
    """Input of a layer: to the fifth's and sixth's are added the spikes of the second and the first."""
    return spikes if index < 4 else spikes + trains[5 - index]


def _shapes(
    in_channels: int, channels: Sequence[int], size: tuple[int, int]
) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """Shapes of what the six layers take and of their spikes, nothing enlarged."""
    rows, columns = size
    half, quarter = (rows // 2, columns // 2), (rows // 4, columns // 4)
    taken = [size, half, quarter, quarter, quarter, half]
    given = [half, quarter, quarter, quarter, half, size]
    inputs = [(count, *sides) for count, sides in zip((in_channels, *channels[:-1]), taken, strict=True)]
    return inputs, [(count, *sides) for count, sides in zip(channels, given, strict=True)]


def _checked_body(
    channels: Sequence[int], size: Sequence[int], in_channels: int
) -> tuple[tuple[int, ...], tuple[int, int]]:
    require_count("in_channels", in_channels)
    counts = tuple(require_count("channels", count) for count in channels)
    if len(counts) != 6 or counts[3] != counts[1] or counts[4] != counts[0]:
        raise ValueError(
            "channels must be six numbers, the fourth as the second and the fifth as the first, "
            f"so that their spikes can be added, got {counts}"
        )
    sides = tuple(require_count("size", side, 4) for side in size)
    if len(sides) != 2 or sides[0] % 4 or sides[1] % 4:
        raise ValueError(f"size must be rows and columns, both multiples of 4 (pooled and enlarged twice), got {sides}")
    return counts, sides


def _size(shape: tuple[int, int, int]) -> int:
    return shape[0] * shape[1] * shape[2]
