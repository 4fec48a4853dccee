r"""Operations of a network, counted while it works, and what they cost.

A multiplication is paid for each number that arrives at a synapse (MAC, multiply and accumulate); a spike saves it, its
weight is only added (AC, accumulate):

.. math:: \mathrm{MAC} = H_{out} W_{out} C_{out} \frac{C_{in}}{g} k^2, \qquad
          \mathrm{AC} = \sum_t \sum_i S_i[t] \cdot \mathrm{fan\text{-}out}_i

The fan-out is exact: a spike in a corner reaches fewer neurons than one in the middle. A sum of spikes, as in residual
networks, costs its value: 3 is three spikes. A convolution that enlarges its map first (by its attribute ``scale``, as
in the decoder of paper 1) is paid for the enlarged map, every copy of a spike being one.

Counted are convolutions and linear maps, including those behind a ``DecolleLayer``, which sees spikes and filters them:
a filter and a linear map may change places, so its synapse is paid by the spikes that arrive and not by the trace.
(Where a network filters outside its modules, as SLAYER's do, the layer is counted as it is computed, by MACs.)
Not counted are

memory
    fetching weights and membranes, which on most machines costs more than the arithmetic;
neurons
    leak, threshold and reset, biases, pooling, sums of currents, activation functions, the traces of DECOLLE;
batch normalisation
    which is folded into the weights before a network is used;
learning
    only the way forward.

What is counted is therefore a lower bound, and a comparison of two networks is one of their synapses.

Explained in chapters 09 and 13. Source of the two prices: Horowitz, ISSCC 2014; paper 2, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from spikelab.plasticity import DecolleLayer, FixedReadout
from spikelab.validation import require_count, require_non_negative

MAC_PJ = 4.6
"""A multiplication and an addition of 32-bit floating-point numbers in 45 nm, 3.7 + 0.9 pJ."""
AC_PJ = 0.9
"""An addition of 32-bit floating-point numbers in 45 nm, in pJ."""
LARGEST_SUM = 15
"""Whole numbers up to this size are spikes or sums of spikes."""


class LayerOperations(NamedTuple):
    """What one layer does for one sample, over all steps.

    Attributes:
        name: of the module.
        macs: multiplications by its inputs where these are no spikes, those by the zeros of the padding included, as
            the usual formula does.
        macs_nonzero: of these, the ones whose input is not zero: neither padding nor silence behind a ReLU.
        acs: additions for arriving spikes; spikes do not come from the padding.
        spikes: arriving spikes, by value; 0 where the inputs are no spikes.
        nonzero: share of the inputs that are not zero.
    """

    name: str
    macs: float
    macs_nonzero: float
    acs: float
    spikes: float
    nonzero: float


class Operations(NamedTuple):
    """What a network does for one sample, over all steps.

    Attributes:
        layers: of each layer that was called, from the input's side to the output's.
        parameters: number of trained numbers.
        uncounted: modules with weights of another kind than those that are counted.
    """

    layers: tuple[LayerOperations, ...]
    parameters: int
    uncounted: tuple[str, ...] = ()

    @property
    def macs(self) -> float:
        """Multiplications with additions, of all layers; padding included."""
        return sum(layer.macs for layer in self.layers)

    @property
    def macs_nonzero(self) -> float:
        """Multiplications by numbers that are not zero, of all layers."""
        return sum(layer.macs_nonzero for layer in self.layers)

    @property
    def acs(self) -> float:
        """Additions for spikes, of all layers."""
        return sum(layer.acs for layer in self.layers)

    def without(self, *prefixes: str) -> Operations:
        """Leave out the layers whose names begin so, for example readouts that only learning needs."""
        return self._replace(layers=tuple(layer for layer in self.layers if not layer.name.startswith(prefixes)))

    def as_dict(self) -> dict[str, Any]:
        """The same for a result file: totals, and layers by name."""
        layers = {
            layer.name: {key: value for key, value in layer._asdict().items() if key != "name"} for layer in self.layers
        }
        totals = {"macs": self.macs, "macs_nonzero": self.macs_nonzero, "acs": self.acs}
        return {**totals, "parameters": self.parameters, "uncounted": list(self.uncounted), "layers": layers}


def count_operations(model: nn.Module, *inputs: Any, samples: int | None = None) -> Operations:
    """Run a network once and count the operations of its synapses.

    Inputs of a layer are spikes if, in that call, all are whole numbers from -15 to 15: 0 and 1, sums of spikes after a
    residual addition, signed spikes; a sign costs nothing. Anything else is multiplied, at every step at which it
    differs from the step before: a picture that is shown at all steps is multiplied once, whether the layer is called
    once, at every step, or with all steps folded into the batch. A black-and-white picture is taken for spikes;
    averages of spikes are not.

    Args:
        model: run in evaluation mode, without gradients, and left in the mode it was in.
        inputs: what ``model`` is called with, spikes or pictures as in use: counts depend on them.
        samples: number of samples B in the inputs; if not given, that of the batch axis of the first one, which is the
            second of ``[T, B, N]`` and ``[T, B, C, H, W]``, of frames in a list ``[B, ...]`` and otherwise the first.
    Returns:
        Means over the samples.
    Raises:
        ValueError: if ``samples`` is not given and the first input is no tensor and no list of tensors.

    Explained in chapters 09 and 13.
    """
    samples = _samples(inputs) if samples is None else require_count("samples", samples)
    inside = {id(module.synapse) for module in model.modules() if isinstance(module, DecolleLayer)}
    counts, uncounted, hooks = [], [], []
    modes = [(module, module.training) for module in model.modules()]
    try:
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear | DecolleLayer | FixedReadout):
                if id(module) not in inside:
                    counts.append(_Count(name, module, samples))
                    hooks.append(module.register_forward_pre_hook(counts[-1], with_kwargs=True))
            elif any(weight.dim() > 1 for weight in module.parameters(recurse=False)):
                uncounted.append(name)
        model.eval()
        with torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    parameters = sum(weight.numel() for weight in model.parameters())
    layers = tuple(count.layer() for count in counts if count.inputs)
    return Operations(layers, parameters, tuple(uncounted))


def energy_pj(operations: Operations, mac: float = MAC_PJ, ac: float = AC_PJ) -> float:
    r"""Energy of the synapses' arithmetic for one sample, :math:`e_{MAC} \cdot MAC + e_{AC} \cdot AC`.

    An estimate from a table, for a machine without memory: see the top of this module for what is left out.

    Args:
        operations: as counted.
        mac: energy of a multiplication and addition in pJ.
        ac: energy of an addition in pJ.
    Returns:
        Energy in pJ; a million of them is a µJ.
    Raises:
        ValueError: if a price is negative.

    Explained in chapters 09 and 13. Source: Horowitz, ISSCC 2014 (45 nm, 32-bit floating point).
    """
    mac, ac = require_non_negative("mac", mac, "pJ"), require_non_negative("ac", ac, "pJ")
    return mac * operations.macs + ac * operations.acs


class _Count:
    """What has arrived at one layer so far; a hook that sees its inputs before it does."""

    def __init__(self, name: str, module: nn.Module, samples: int) -> None:
        self.name = name
        self.samples = samples
        self.synapse = module.synapse if isinstance(module, DecolleLayer) else module
        self.macs = self.macs_nonzero = self.acs = self.spikes = self.nonzero = 0.0
        self.inputs = 0
        self._before: torch.Tensor | None = None
        self._reach: dict[tuple[int, int], tuple[torch.Tensor, int]] = {}

    def __call__(self, module: nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
        steps = self._steps((*arguments, *named.values())[0].detach())
        steps = steps.float() if steps.dtype == torch.bool else steps
        self.inputs += steps.numel()
        self.nonzero += int(steps.count_nonzero())
        if _are_spikes(steps):
            self.spikes += float(steps.abs().sum(dtype=torch.float64))
            self.acs += self._additions(steps.abs())
            self._before = None
            return
        for step in steps:
            if self._before is not None and torch.equal(step, self._before):
                continue
            self.macs += self._multiplications(step)
            self.macs_nonzero += self._additions(step != 0)
            self._before = step
        # A view of an input may change under our eyes before the next call.
        self._before = self._before.clone()

    def layer(self) -> LayerOperations:
        totals = (self.macs, self.macs_nonzero, self.acs, self.spikes)
        return LayerOperations(self.name, *(total / self.samples for total in totals), self.nonzero / self.inputs)

    def _steps(self, signal: torch.Tensor) -> torch.Tensor:
        """Inputs as ``[steps, rows, ...]``, where steps are folded into the batch or stand before it."""
        if isinstance(self.synapse, nn.Conv2d):
            signal = signal if signal.dim() == 4 else signal[None]
        elif isinstance(self.synapse, FixedReadout):
            signal = signal.flatten(1)
        elif signal.dim() == 3 and signal.shape[1] == self.samples:
            return signal
        elif signal.dim() != 2:  # rows of one sample, such as the places of a map
            return signal.reshape(1, -1, signal.shape[-1])
        folded = len(signal) % self.samples == 0 and len(signal) > 0
        return signal.unflatten(0, (-1, self.samples)) if folded else signal[None]

    def _multiplications(self, step: torch.Tensor) -> int:
        if not isinstance(self.synapse, nn.Conv2d):
            return len(step) * self.synapse.weight.numel()
        return len(step) * self._fan_out(step.shape[-2:])[1] * self.synapse.weight.numel()

    def _additions(self, values: torch.Tensor) -> float:
        if not isinstance(self.synapse, nn.Conv2d):
            return float(values.sum(dtype=torch.float64)) * len(self.synapse.weight)
        by_place = values.sum(tuple(range(values.dim() - 2)), dtype=torch.float64).cpu()
        return float((by_place * self._fan_out(values.shape[-2:])[0]).sum())

    def _fan_out(self, size: Sequence[int]) -> tuple[torch.Tensor, int]:
        """Synapses that leave each place of a map ``[H, W]``, and the number of places of the next one."""
        size = tuple(size)
        if size not in self._reach:
            conv = self.synapse
            scale = getattr(conv, "scale", 1)
            (rows, height), (columns, width) = (_reach(conv, axis, side * scale) for axis, side in enumerate(size))
            rows, columns = (axis.unflatten(0, (-1, scale)).sum(1) for axis in (rows, columns))  # of all its copies
            self._reach[size] = torch.outer(rows, columns) * (conv.out_channels // conv.groups), height * width
        return self._reach[size]


def _reach(conv: nn.Conv2d, axis: int, side: int) -> tuple[torch.Tensor, int]:
    """How often a convolution's windows along one axis take each place ``[side]``, and how many windows there are."""
    span = conv.dilation[axis] * (conv.kernel_size[axis] - 1)
    if isinstance(conv.padding, str):
        before, after = (span // 2, span - span // 2) if conv.padding == "same" else (0, 0)
    else:
        before = after = conv.padding[axis]
    places = torch.arange(side, dtype=torch.float64)[None]
    if conv.padding_mode == "zeros":
        places = F.pad(places, (before, after), value=-1.0)
    else:
        places = F.pad(places, (before, after), mode=conv.padding_mode)
    windows = places[0].long().unfold(0, span + 1, conv.stride[axis])[:, :: conv.dilation[axis]]
    return torch.bincount(windows[windows >= 0], minlength=side).double(), len(windows)


def _are_spikes(values: torch.Tensor) -> bool:
    if not values.numel():
        return True
    low, high = values.aminmax()
    if math.isnan(low) or max(-low, high) > LARGEST_SUM:
        return False
    return not values.is_floating_point() or torch.equal(values, values.round())


def _samples(inputs: Sequence[Any]) -> int:
    first = inputs[0] if inputs else None
    if isinstance(first, list | tuple) and first and isinstance(first[0], torch.Tensor):
        return len(first[0])
    if not isinstance(first, torch.Tensor) or first.dim() < 2:
        raise ValueError(f"samples must be given: it cannot be read off the first input, {type(first).__name__}")
    return first.shape[1] if first.dim() in (3, 5) else first.shape[0]
