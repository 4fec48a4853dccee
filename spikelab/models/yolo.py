r"""SNN-YOLOv3: a detector whose neurons integrate and fire, at three sizes, with its twins without spikes.

The body is Darknet: a first convolution, then five stages, each a 3×3 convolution that halves the map and residual
blocks of a 1×1 and a 3×3 convolution. Three heads look at the last three stages, with 32, 16 and 8 pixels to a cell;
the coarse ones hand their maps on to the finer ones, and the coarsest has a spatial pyramid (SPP: the map beside its
maxima over 5, 9 and 13 cells). At size ``"full"`` this is Darknet-53 with SPP as SNN-YOLOv3 has it: 76 convolutions,
62.68 million parameters for 20 classes, 32.89 GMAC for a picture of 416×416.

Time is folded into the batch: what a layer sees is ``[T·B, C, H, W]``, all samples of step 0 first. Convolution,
normalisation, pooling and enlarging know nothing of time; only neurons unfold it. The picture is shown at every step,
so that the first convolution has the same answer T times and is computed once.

Where the paper says little, options say more
---------------------------------------------
``decode``
    How a head's currents :math:`I_t` become the numbers that a box is made of: ``"current_mean"``, their mean (the
    paper's equation 6); ``"current_sum"``, their sum (its public code); ``"rate"``, a last layer of neurons fires and
    its rates count; ``"last_membrane"``, a leaky neuron without threshold adds them up; ``"last_current"``.
``reset``
    ``"subtract"`` (the paper's equation 1) or ``"zero"`` (its public code).
``shortcut``
    ``"spikes"``: a block adds to the spikes of its input, so that what the next layer sees are whole numbers (paper and
    code); ``"currents"``: it adds to the current of its input, and every synapse sees single spikes (as MS-ResNet).
``norm``
    ``"bn"`` (its public code) or ``"tdbn"``: normalised currents have the standard deviation θ, and θ/√2 in a branch
    that is added to another. Both take their statistics over steps, samples and places.
``initial_charge``
    What membranes begin with; half of the threshold makes few steps round instead of cutting off (chapter 11).

Explained in chapter 12. Source: paper 2 and its public code; YOLOv3, arXiv:1804.02767; tdBN: Zheng et al., AAAI 2021.
"""

from __future__ import annotations

import collections
import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint as recompute_later

from spikelab.detection.anchors import VOC_ANCHORS, AnchorSet, HeadLayout, head_layout
from spikelab.models.lean import MOST_SPIKES, NeuronConstants, SpikeConv2d, normalised_lif
from spikelab.neurons import LIFState, lif
from spikelab.surrogate import SpikeFunction, atan
from spikelab.validation import require_between, require_choice, require_count, require_positive

NEURONS = ("spiking", "clamped", "relu", "leaky_relu")
DECODERS = ("current_mean", "current_sum", "rate", "last_membrane", "last_current")
SHORTCUTS = ("spikes", "currents")
NORMS = ("bn", "tdbn")
RESETS = ("subtract", "zero")
STRIDES = (32, 16, 8)
CHANNELS = (32, 64, 128, 256, 512, 1024)
"""Of the first convolution and of the five stages, at width 1."""
POOLS = (13, 9, 5)
THRESHOLD = 1.0
OBJECT_BIAS = -4.5
"""What an untrained head says of every place: σ(-4.5) = .011, there is hardly ever something (public code)."""


class YoloSize(NamedTuple):
    """How large a network is.

    Attributes:
        width: channels, as a multiple of Darknet-53's.
        blocks: residual blocks of each of the five stages.
        pairs: pairs of a 3×3 and a 1×1 convolution with which each head begins.
    """

    width: float
    blocks: tuple[int, int, int, int, int]
    pairs: int


YOLO_SIZES = {
    "tiny": YoloSize(0.25, (0, 1, 1, 1, 1), 0),
    "small": YoloSize(0.5, (1, 1, 2, 2, 1), 1),
    "full": YoloSize(1.0, (1, 2, 8, 8, 4), 2),
}


class YoloOutput(NamedTuple):
    """What a network says of B pictures.

    Attributes:
        heads: raw outputs ``[B, A (5 + C), h, w]`` of the heads, the coarsest first, for ``detection.detect`` and
            ``detection.yolo_loss``.
        hidden: spike trains ``[T, B, ...]`` of the layers of neurons, from the picture's side on; empty for a twin, and
            in training with ``keep_spikes=False``.
        rates: mean spikes per neuron and step of the same layers.
    """

    heads: tuple[torch.Tensor, ...]
    hidden: tuple[torch.Tensor, ...] = ()
    rates: tuple[torch.Tensor, ...] = ()


class SpikingYolo(nn.Module):
    """A spiking YOLOv3, or its twin without spikes.

    Args:
        size: ``"tiny"``, ``"small"``, ``"full"`` or a ``YoloSize``.
        num_classes: C.
        in_channels: 3 for colour, 1 for gray.
        num_steps: T; can be changed later, as ``model.num_steps = 6``.
        neurons: ``"spiking"``; or one of the twins, which know no time: ``"clamped"``, what the rate of an
            integrate-and-fire neuron tends to over many steps, a current cut off at 0 and 1; ``"relu"`` and
            ``"leaky_relu"`` (slope .1), for conversion. All have the same weights, by name and shape.
        decode, reset, shortcut, norm, initial_charge: see the top of this module.
        rate_range: numbers that the rates 0 and 1 of ``decode="rate"`` stand for; if not given, 0 and 1 themselves.
        beta: decay per step of the membranes; 1 integrates and fires.
        readout_beta: decay per step of ``decode="last_membrane"``.
        spike_grad: surrogate gradient; ``atan()`` if not given.
        anchors: nine widths and heights, and the picture that they are for.
        picture: side of the pictures in pixels, or height and width; multiples of 32. Anchors are scaled to it.
        checkpoint: keep only what goes from stage to stage for the backward pass and compute the rest again: about
            a third more time, and less memory where stages have many blocks (``"tiny"`` has too few).
        keep_spikes: whether the output shows spike trains also in training, for a price on firing rates, say; it costs
            memory. In evaluation they are always shown. Can be changed later.
        generator: source of the initial weights.
    Raises:
        ValueError: if a size or constant is out of its range.

    Explained in chapter 12. Source: paper 2, figure 1 and equations 1 to 6.
    """

    def __init__(
        self,
        size: str | YoloSize | Sequence[Any] = "tiny",
        *,
        num_classes: int = 20,
        in_channels: int = 3,
        num_steps: int = 4,
        neurons: str = "spiking",
        decode: str = "current_mean",
        rate_range: tuple[float, float] | None = None,
        reset: str = "subtract",
        shortcut: str = "spikes",
        norm: str = "bn",
        initial_charge: float = 0.0,
        beta: float = 1.0,
        readout_beta: float = 0.9,
        spike_grad: SpikeFunction | None = None,
        anchors: AnchorSet = VOC_ANCHORS,
        picture: int | Sequence[int] = 416,
        checkpoint: bool = False,
        keep_spikes: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        width, blocks, pairs = _size(size)
        require_choice("neurons", neurons, NEURONS)
        require_choice("decode", decode, DECODERS)
        require_choice("reset", reset, RESETS)
        require_choice("shortcut", shortcut, SHORTCUTS)
        require_choice("norm", norm, NORMS)
        if neurons != "spiking" and decode not in ("current_mean", "rate"):
            raise ValueError(f"decode must be 'current_mean' or 'rate' for a twin, which knows no time, got {decode!r}")
        if rate_range is not None and (len(rate_range) != 2 or not rate_range[0] < rate_range[1]):
            raise ValueError(f"rate_range must be two rising numbers, got {rate_range!r}")
        self.neurons, self.decode, self.checkpoint = neurons, decode, checkpoint
        self.rate_range = (0.0, 1.0) if rate_range is None else tuple(map(float, rate_range))
        self.readout_beta = require_between("readout_beta", readout_beta, 0.0, 1.0, "a decay per step")
        require_count("num_classes", num_classes)
        with torch.device("cpu"):  # numbers, also where the network is made without memory, on "meta"
            self.layout: HeadLayout = head_layout(anchors.at(picture), num_classes, STRIDES)
        self.layout.grids(picture)
        require_between("beta", beta, 0.0, 1.0, "a decay per step")
        require_between("initial_charge", initial_charge, 0.0, THRESHOLD, "at most the threshold")
        constants = NeuronConstants(beta, THRESHOLD, reset, initial_charge, spike_grad or atan())
        make = _Maker(neurons, constants, shortcut, norm)
        channels = [max(8, round(count * width / 8) * 8) for count in CHANNELS]
        self.stem = make.stem(require_count("in_channels", in_channels), channels[0])
        self.stages = nn.ModuleList(
            _Stage(make, before, after, count)
            for before, after, count in zip(channels, channels[1:], blocks, strict=False)
        )
        self.heads = nn.ModuleList()
        handed_on = 0
        for place, outputs in enumerate(self.layout.channels):
            inner = channels[-1 - place] // 2
            self.heads.append(_Head(make, channels[-1 - place], handed_on, inner, pairs, outputs, pyramid=place == 0))
            handed_on = inner // 2
        self.output_neuron = make.neuron() if decode == "rate" else None
        self.num_steps, self.keep_spikes = num_steps, keep_spikes
        _initialise(self, generator)

    @property
    def num_steps(self) -> int:
        """T."""
        return self._num_steps

    @num_steps.setter
    def num_steps(self, value: int) -> None:
        self._num_steps = require_count("num_steps", value) if self.neurons == "spiking" else 1
        for module in self.modules():
            if isinstance(module, _Spiking):
                module.num_steps = self._num_steps

    @property
    def keep_spikes(self) -> bool:
        """Whether spike trains are shown also in training."""
        return self._keep_spikes

    @keep_spikes.setter
    def keep_spikes(self, value: bool) -> None:
        self._keep_spikes = bool(value)
        for module in self.modules():
            if isinstance(module, _Spiking):
                module.keep_spikes = self._keep_spikes

    def forward(self, images: torch.Tensor) -> YoloOutput:
        """Look at pictures ``[B, C, H, W]``, light in [0, 1], sides multiples of 32.

        Raises:
            ValueError: if the sides are no multiples of 32.
        """
        rows, columns = images.shape[-2:]
        if rows % STRIDES[0] or columns % STRIDES[0]:
            raise ValueError(
                f"images must have sides that are multiples of {STRIDES[0]}, got {rows} x {columns}: letterbox them "
                "(datasets.load_scenes)"
            )
        hidden: list[torch.Tensor] = []
        heads = self._see(centred(images), hidden)
        rates = tuple(spikes.detach().mean() for spikes in hidden)
        trains = tuple(spikes.unflatten(0, (self.num_steps, -1)) for spikes in hidden if spikes.dim())
        return YoloOutput(heads, trains, rates)

    def plain(self) -> nn.Module:
        """Return a twin as ``models.conversion`` takes it: a tensor in, the tuple of its heads out, same weights.

        The tensor is ``centred(images)``: arithmetic on the picture is no layer that could be converted.

        Raises:
            ValueError: for a network with spikes.
        """
        if self.neurons == "spiking":
            raise ValueError("only a twin without spikes can be converted: neurons must be 'relu' or 'leaky_relu'")
        return _Plain(self)

    def _see(self, images: torch.Tensor, hidden: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        last = self.stem(images, hidden)  # shown T times, computed once
        maps: collections.deque[torch.Tensor] = collections.deque(maxlen=len(self.heads))  # large ones go at once
        for stage in self.stages:
            last = self._run(stage, hidden, last)
            maps.append(last)
        answers, handed_on = [], None
        for place, head in enumerate(self.heads):
            inputs = (maps[-1 - place],) if handed_on is None else (maps[-1 - place], handed_on)
            handed_on, current = self._run(head, hidden, *inputs)
            answers.append(self._decode(current))
        return tuple(answers)

    def _run(self, part: nn.Module, hidden: list[torch.Tensor], *inputs: torch.Tensor) -> Any:
        if not (self.checkpoint and self.training and torch.is_grad_enabled()):
            return part(*inputs, hidden)

        def apart(*inputs: torch.Tensor) -> tuple[Any, list[torch.Tensor]]:
            spikes: list[torch.Tensor] = []
            return part(*inputs, spikes), spikes

        result, spikes = recompute_later(
            apart, *inputs, use_reentrant=False, context_fn=lambda: (contextlib.nullcontext(), _statistics_rest(part))
        )
        hidden.extend(spikes)
        return result

    def _decode(self, current: torch.Tensor) -> torch.Tensor:
        """Turn a head's currents ``[T·B, ...]`` into its output ``[B, ...]``."""
        if self.output_neuron is not None:
            low, high = self.rate_range
            current = low + (high - low) * self.output_neuron(current, None)
        if self.neurons != "spiking":
            return current
        current = current.to(torch.promote_types(current.dtype, torch.float32)).unflatten(0, (self.num_steps, -1))
        if self.decode == "current_sum":
            return current.sum(0)
        if self.decode == "last_current":
            return current[-1]
        if self.decode == "last_membrane":
            decays = self.readout_beta ** torch.arange(len(current) - 1, -1, -1, device=current.device)
            return (current * decays.view(-1, 1, 1, 1, 1)).sum(0)
        return current.mean(0)


def centred(images: torch.Tensor) -> torch.Tensor:
    """Return pictures ``[B, C, H, W]`` as the first convolution sees them: gray is 0, and so is the border."""
    return (images - 0.5).contiguous(memory_format=torch.channels_last)


class _Spiking(nn.Module):
    """Integrate-and-fire neurons.

    Args:
        constants: of the neurons.
        constant: their current is the same at every step, and is given once.
    """

    def __init__(self, constants: NeuronConstants, *, constant: bool = False) -> None:
        super().__init__()
        self.constants, self.constant = constants, constant
        self.num_steps, self.keep_spikes = 1, True

    def forward(
        self, maps: torch.Tensor, hidden: list[torch.Tensor] | None, norm: nn.Module | None = None
    ) -> torch.Tensor:
        # Joint normalisation of several processes has its own backward pass.
        if type(norm) is nn.BatchNorm2d and norm.momentum is not None:
            spikes = normalised_lif(maps, norm, self.num_steps, self.constants, constant=self.constant)
        else:
            spikes = self._fire(maps if norm is None else norm(maps))
        if hidden is not None:
            hidden.append(spikes if self.keep_spikes or not self.training else spikes.detach().mean())
        return spikes

    def _fire(self, current: torch.Tensor) -> torch.Tensor:
        # Mixed precision ends here: a membrane adds up small numbers. Channels go last, as they lie in memory.
        drive = current.to(torch.promote_types(current.dtype, torch.float32)).movedim(1, -1)
        if self.constant:
            drive = drive.expand(self.num_steps, *drive.shape)
        else:
            drive = drive.unflatten(0, (self.num_steps, -1))
        beta, threshold, reset, charge, spike_grad = self.constants
        start = LIFState(torch.full_like(drive[0], charge), torch.zeros_like(drive[0]))
        out = lif(drive, beta=beta, threshold=threshold, reset=reset, spike_grad=spike_grad, state=start)
        return out.spikes.flatten(0, 1).movedim(-1, 1)


class _Silent(nn.Module):
    """An activation in the place of neurons."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    def forward(
        self, maps: torch.Tensor, hidden: list[torch.Tensor] | None, norm: nn.Module | None = None
    ) -> torch.Tensor:
        return self.function(maps if norm is None else norm(maps))


class _Maker(NamedTuple):
    """What all units of a network have in common."""

    neurons: str
    constants: NeuronConstants
    shortcut: str
    norm: str

    def neuron(self, *, constant: bool = False) -> nn.Module:
        if self.neurons == "spiking":
            return _Spiking(self.constants, constant=constant)
        kinds = {"clamped": nn.Hardtanh(0.0, THRESHOLD), "relu": nn.ReLU(), "leaky_relu": nn.LeakyReLU(0.1)}
        return _Silent(kinds[self.neurons])

    def convolution(self, before: int, after: int, kernel: int, stride: int = 1, **options: bool) -> nn.Conv2d:
        """Synapses, of neurons that fire or do not."""
        kind = SpikeConv2d if self.neurons == "spiking" else nn.Conv2d
        return kind(before, after, kernel, stride, kernel // 2, **options)

    def unit(self, before: int, after: int, kernel: int, stride: int = 1, *, added: bool = False) -> _Unit:
        """Synapses and neurons; ``added``: its currents or spikes are added to others'."""
        scale = THRESHOLD / math.sqrt(2) if added and self.norm == "tdbn" else THRESHOLD
        return _Unit(self.convolution(before, after, kernel, stride, bias=False), self.neuron(), scale)

    def stem(self, before: int, after: int) -> _Unit:
        """The first unit, which sees a picture instead of spikes."""
        return _Unit(nn.Conv2d(before, after, 3, 1, 1, bias=False), self.neuron(constant=True), THRESHOLD)


class _Unit(nn.Module):
    """Convolution and normalisation, which make a current, and the neurons that it drives."""

    def __init__(self, convolution: nn.Conv2d, neuron: nn.Module, scale: float) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = nn.BatchNorm2d(convolution.out_channels)
        nn.init.constant_(self.norm.weight, scale)
        self.neuron = neuron

    def current(self, signal: torch.Tensor) -> torch.Tensor:
        return self.norm(self.convolution(signal))

    def forward(self, signal: torch.Tensor, hidden: list[torch.Tensor]) -> torch.Tensor:
        return self.neuron(self.convolution(signal), hidden, self.norm)


class _Residual(nn.Module):
    """Two units and a way round them, which carries spikes or currents."""

    def __init__(self, make: _Maker, channels: int) -> None:
        super().__init__()
        self.first = make.unit(channels, channels // 2, 1)
        self.second = make.unit(channels // 2, channels, 3, added=True)
        self.currents = make.shortcut == "currents"

    def forward(self, signal: torch.Tensor, hidden: list[torch.Tensor]) -> torch.Tensor:
        if not self.currents:
            return signal + self.second(self.first(signal, hidden), hidden)
        # The second unit's neurons stand before the block instead of behind it: same numbers of all, other order.
        spikes = self.second.neuron(signal, hidden)
        return signal + self.second.current(self.first(spikes, hidden))


class _Stage(nn.Module):
    """A convolution that halves the map, and residual blocks; spikes in, spikes out."""

    def __init__(self, make: _Maker, before: int, after: int, blocks: int) -> None:
        super().__init__()
        self.down = make.unit(before, after, 3, 2)
        self.blocks = nn.ModuleList(_Residual(make, after) for _ in range(blocks))
        self.currents = make.shortcut == "currents"

    def forward(self, signal: torch.Tensor, hidden: list[torch.Tensor]) -> torch.Tensor:
        signal = self.down.current(signal) if self.currents else self.down(signal, hidden)
        for block in self.blocks:
            signal = block(signal, hidden)
        return self.down.neuron(signal, hidden) if self.currents else signal


class _Head(nn.Module):
    """One scale: what it sees of its stage and was handed from the coarser head; hands on, and answers by currents."""

    def __init__(
        self, make: _Maker, before: int, handed: int, inner: int, pairs: int, outputs: int, *, pyramid: bool
    ) -> None:
        super().__init__()
        self.lateral = make.unit(2 * handed, handed, 1) if handed else None
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        early = (pairs + 1) // 2 if pyramid else pairs
        self.before = _neck(make, before + handed, inner, early)
        self.pools = nn.ModuleList(nn.MaxPool2d(side, 1, side // 2) for side in POOLS) if pyramid else None
        self.after = _neck(make, 4 * inner, inner, pairs - early) if pyramid else None
        self.answer = make.unit(inner, 2 * inner, 3)
        self.output = make.convolution(2 * inner, outputs, 1)

    def forward(self, signal: torch.Tensor, *rest: Any) -> tuple[torch.Tensor, torch.Tensor]:
        *handed, hidden = rest
        if handed:
            signal = torch.cat((self.enlarge(self.lateral(handed[0], hidden)), signal), 1)
        for unit in self.before:
            signal = unit(signal, hidden)
        if self.pools is not None:
            signal = torch.cat((*(pool(signal) for pool in self.pools), signal), 1)
            for unit in self.after:
                signal = unit(signal, hidden)
        return signal, self.output(self.answer(signal, hidden))


class _Plain(nn.Module):
    def __init__(self, model: SpikingYolo) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.model._see(images, [])


def _neck(make: _Maker, before: int, inner: int, pairs: int) -> nn.ModuleList:
    units = [make.unit(before, inner, 1)]
    for _ in range(pairs):
        units += [make.unit(inner, 2 * inner, 3), make.unit(2 * inner, inner, 1)]
    return nn.ModuleList(units)


def _size(size: str | YoloSize | Sequence[Any]) -> YoloSize:
    if isinstance(size, str):
        return YOLO_SIZES[require_choice("size", size, YOLO_SIZES)]
    try:
        width, blocks, pairs = size
        blocks = tuple(blocks)
    except TypeError as error:
        raise ValueError(f"size must be a name or (width, blocks, pairs), got {size!r}") from error
    if len(blocks) != len(CHANNELS) - 1:
        raise ValueError(f"size must have blocks for {len(CHANNELS) - 1} stages, got {blocks!r}")
    for count in blocks:
        if require_count("blocks", count, minimum=0) >= MOST_SPIKES:  # a stage's spikes add up, one per block and one
            raise ValueError(f"size must have less than {MOST_SPIKES} blocks to a stage, got {blocks!r}")
    return YoloSize(require_positive("width", width), blocks, require_count("pairs", pairs, minimum=0))


@contextlib.contextmanager
def _statistics_rest(part: nn.Module) -> Iterator[None]:
    """Keep running statistics as they are: a batch that is computed a second time must not count twice."""
    norms = [module for module in part.modules() if isinstance(module, nn.BatchNorm2d)]
    kept = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, kept, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(batches)


@torch.no_grad()
def _initialise(model: SpikingYolo, generator: torch.Generator | None) -> None:
    """Weights of variance 2 / fan-in; heads begin by saying that there is hardly ever something."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.normal_(0.0, (2 / module.weight[0].numel()) ** 0.5, generator=generator)
    classes = model.layout.num_classes
    of_class = math.log(0.6 / (classes - 0.99))  # of the public code
    wanted = torch.tensor([0.0, 0.0, 0.0, 0.0, OBJECT_BIAS, *[of_class] * classes])
    if model.decode == "rate":
        low, high = model.rate_range
        wanted = ((wanted - low) / (high - low)).clamp(0, 1)
    for head in model.heads:
        head.output.weight.mul_(0.1)
        head.output.bias.copy_(wanted.repeat(len(head.output.bias) // len(wanted)))
