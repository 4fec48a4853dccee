"""Classifiers of N-MNIST: the spiking multilayer perceptron and the spiking convolutional network of paper 3.

Both come in two kinds that differ only in the neuron and in what its gradient sees:

``rule="bptt"``
    leaky integrate-and-fire neurons, surrogate gradients, backpropagation through time;
``rule="slayer"``
    spike response neurons: input spikes become postsynaptic potentials, errors travel back through the same kernel by
    correlation, and the neuron's own refractoriness carries no gradient. A potential starts at 0, so that every layer
    answers one step late: a deep net needs short steps.

Linear layers do not care about time, so both kinds run them on all steps at once.

What paper 3 leaves open is settled here, and said: no padding, pooling 2 and average (which drops an odd row, so that
the flattened size is 576), batch normalisation over time and batch on the *drive* of the neurons, after the pooling
(conv, pool, normalise, fire: maps of spikes are never averaged, and the neurons run on a quarter of the pixels),
dropout of 0.2 with one mask for all steps of a sample, no biases, one threshold of 1 everywhere.

Explained in chapter 07. Source: paper 3, section III and Table I.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from spikelab.neurons import alpha_kernel, lif, psp, refractory_kernel, srm
from spikelab.plasticity import slayer
from spikelab.surrogate import SpikeFunction, atan
from spikelab.validation import require_between, require_choice, require_count, require_positive

RULES = ("bptt", "slayer")
CLASSES = 10
INPUT_SHAPE = (2, 34, 34)  # polarity, rows, columns


class ClassifierOutput(NamedTuple):
    """What a classifier returns.

    Attributes:
        spikes: output spike trains ``[T, B, 10]``.
        membrane: output membranes ``[T, B, 10]``.
        hidden: spike trains of the hidden layers ``[T, B, ...]``, from the input's side to the output's.
    """

    spikes: torch.Tensor
    membrane: torch.Tensor
    hidden: tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Neurons:
    """The neurons of a classifier and their learning rule.

    Attributes:
        rule: ``"bptt"`` or ``"slayer"``.
        beta: decay per step of the LIF neurons.
        spike_grad: surrogate of the LIF neurons; ``atan()`` if not given.
        tau_ms: time to the peak of a postsynaptic potential, SLAYER only.
        tau_refractory_ms: time to the deepest point of the refractory response, SLAYER only.
        step_ms: duration of a step, SLAYER only.
        tau_rho: width of SLAYER's surrogate in thresholds.
        scale_rho: height of SLAYER's surrogate times its width.
    """

    rule: str = "bptt"
    beta: float = 0.9
    spike_grad: SpikeFunction | None = None
    tau_ms: float = 10.0
    tau_refractory_ms: float = 10.0
    step_ms: float = 10.0
    tau_rho: float = 1.0
    scale_rho: float = 1.0

    def __post_init__(self) -> None:
        require_choice("rule", self.rule, RULES)
        require_between("beta", self.beta, 0.0, 1.0, "a decay per step")
        for name in ("tau_ms", "tau_refractory_ms", "step_ms", "tau_rho", "scale_rho"):
            require_positive(name, getattr(self, name))

    def potential(self, spikes: torch.Tensor) -> torch.Tensor:
        """What the synapses see of incoming spikes ``[T, B, ...]``."""
        if self.rule == "bptt":
            return spikes
        return psp(spikes, alpha_kernel(self.tau_ms, self.step_ms, dtype=spikes.dtype))

    def fire(self, drive: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Spikes and membrane, both like ``drive`` ``[T, B, ...]``."""
        drive = drive.float() if drive.dtype in (torch.float16, torch.bfloat16) else drive  # mixed precision ends here
        if self.rule == "bptt":
            out = lif(drive, beta=self.beta, spike_grad=self.spike_grad or atan())
            return out.spikes, out.membrane
        surrogate = slayer.probability_density(threshold=1.0, tau_rho=self.tau_rho, scale_rho=self.scale_rho)
        recovery = refractory_kernel(self.tau_refractory_ms, 1.0, self.step_ms, dtype=drive.dtype)
        return srm(drive, refractory_kernel=recovery, threshold=1.0, spike_grad=surrogate, comparison=">=")


class SMLP(nn.Module):
    """Spiking multilayer perceptron, 2312-2000-1500-1000-500-100-10 in paper 3.

    Args:
        hidden: neurons of each hidden layer.
        neurons: their kind and learning rule.
        gain: standard deviation of the initial weights times the root of the fan-in; PyTorch's own choice is 0.58.
        dropout: share of hidden neurons left out of a training sample.
        input_shape: channels, rows and columns of a frame.
        generator: source of the initial weights.
    Raises:
        ValueError: if a size or a constant is out of its range.

    Explained in chapter 07. Source: paper 3, section III.A.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (2000, 1500, 1000, 500, 100),
        *,
        neurons: Neurons = Neurons(),
        gain: float = 1.0,
        dropout: float = 0.0,
        input_shape: tuple[int, int, int] = INPUT_SHAPE,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.neurons = neurons
        self.dropout = require_between("dropout", dropout, 0.0, 1.0)
        channels, rows, columns = input_shape
        sizes = [channels * rows * columns, *(require_count("hidden", size) for size in hidden), CLASSES]
        self.layers = nn.ModuleList(nn.Linear(before, after, bias=False) for before, after in itertools.pairwise(sizes))
        initialise(self, gain, generator)

    def forward(self, frames: torch.Tensor) -> ClassifierOutput:
        """Classify frames ``[T, B, C, H, W]``."""
        spikes, membrane, trains = frames.flatten(2), frames, []
        for layer in self.layers:
            spikes = _drop(spikes, self.dropout, self.training and bool(trains))
            spikes, membrane = self.neurons.fire(_per_step(layer, self.neurons.potential(spikes)))
            trains.append(spikes)
        return ClassifierOutput(spikes, membrane, tuple(trains[:-1]))


class SCNN(nn.Module):
    """Spiking convolutional network of paper 3's Table I: 32c5-AP-BN, 16c3-AP-BN, 250, 100, 10.

    Args:
        channels: maps of each convolution.
        kernels: their widths, as many.
        padding: pixels added around each map before a convolution; 0 flattens to 576 numbers, 1 to 1,024.
        pool: width of the average pooling after each convolution.
        hidden: neurons of each fully connected hidden layer.
        neurons: their kind and learning rule.
        gain: standard deviation of the initial weights of the fully connected layers times the root of the fan-in.
        dropout: share of the fully connected hidden neurons left out of a training sample.
        input_shape: channels, rows and columns of a frame.
        generator: source of the initial weights.
    Raises:
        ValueError: if a size or a constant is out of its range, or nothing is left of a map.

    Explained in chapter 07. Source: paper 3, section III.B and Table I.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 16),
        kernels: Sequence[int] = (5, 3),
        *,
        padding: int = 0,
        pool: int = 2,
        hidden: Sequence[int] = (250, 100),
        neurons: Neurons = Neurons(),
        gain: float = 1.0,
        dropout: float = 0.2,
        input_shape: tuple[int, int, int] = INPUT_SHAPE,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if len(channels) != len(kernels):
            raise ValueError(f"channels and kernels must go in pairs, got {len(channels)} and {len(kernels)}")
        self.neurons = neurons
        self.pool = require_count("pool", pool)
        self.dropout = require_between("dropout", dropout, 0.0, 1.0)
        maps, rows, columns = input_shape
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        for count, kernel in zip(channels, kernels, strict=True):
            self.convolutions.append(nn.Conv2d(maps, count, kernel, padding=padding, bias=False))
            self.norms.append(nn.BatchNorm2d(count))
            maps = require_count("channels", count)
            rows, columns = ((size + 2 * padding - kernel + 1) // pool for size in (rows, columns))
            if rows < 1 or columns < 1:
                raise ValueError(f"kernel {kernel} and pool {pool} leave nothing of the map of layer {count}")
        self.flat_size = maps * rows * columns
        sizes = [self.flat_size, *(require_count("hidden", size) for size in hidden), CLASSES]
        self.layers = nn.ModuleList(nn.Linear(before, after, bias=False) for before, after in itertools.pairwise(sizes))
        initialise(self, gain, generator)

    def forward(self, frames: torch.Tensor) -> ClassifierOutput:
        """Classify frames ``[T, B, C, H, W]``."""
        # Convolution and pooling on the CPU are up to eight times faster with the channels last in memory.
        frames = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, frames.shape[:2])
        spikes, membrane, trains = frames, frames, []
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            drive = _per_step(
                lambda x, c=convolution, n=norm: n(F.avg_pool2d(c(x), self.pool)), self.neurons.potential(spikes)
            )
            trains.append(self.neurons.fire(drive)[0])
            spikes = trains[-1]
        spikes = spikes.flatten(2)
        for index, layer in enumerate(self.layers):
            spikes = _drop(spikes, self.dropout, self.training and index > 0)
            spikes, membrane = self.neurons.fire(_per_step(layer, self.neurons.potential(spikes)))
            trains.append(spikes)
        return ClassifierOutput(spikes, membrane, tuple(trains[:-1]))


@torch.no_grad()
def initialise(model: nn.Module, gain: float, generator: torch.Generator | None = None) -> None:
    """Draw all weights from normal distributions: linear ``gain / sqrt(fan_in)``, convolutions ``1 / sqrt(fan_in)``.

    Batch normalisation sets the scale after a convolution anyhow.

    Args:
        model: network whose linear and convolutional weights are drawn.
        gain: see above; positive.
        generator: source of randomness; torch's own if not given.
    Raises:
        ValueError: if ``gain`` is not positive.
    """
    require_positive("gain", gain)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            scale = gain if isinstance(module, nn.Linear) else 1.0
            module.weight.normal_(0.0, scale / module.weight[0].numel() ** 0.5, generator=generator)


def _per_step(layer: Callable[[torch.Tensor], torch.Tensor], signal: torch.Tensor) -> torch.Tensor:
    """Apply a layer without memory to all steps ``[T, B, ...]`` in one call."""
    return layer(signal.flatten(0, 1)).unflatten(0, signal.shape[:2])


def _drop(spikes: torch.Tensor, share: float, active: bool) -> torch.Tensor:
    """Silence a share of the neurons for a whole sample: ``[T, B, N]``, one mask for all steps."""
    if not active or share == 0:
        return spikes
    return spikes * F.dropout(torch.ones_like(spikes[0]), share)
