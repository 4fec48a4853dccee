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

What is counted is therefore a lower bound, and a comparison of two networks is one of their synapses. For the first two
there is an estimate, ``memory_traffic``; other prices are in ``PriceTable``; what a published energy would be on a
neuromorphic chip is recomputed by ``chip_energy_j``.

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
from spikelab.validation import require_between, require_count, require_non_negative, require_positive

MAC_PJ = 4.6
"""A multiplication and an addition of 32-bit floating-point numbers in 45 nm, 3.7 + 0.9 pJ."""
AC_PJ = 0.9
"""An addition of 32-bit floating-point numbers in 45 nm, in pJ."""
SRAM_WORD_PJ = 5.0
"""Reading or writing 32 bits on the chip, in pJ: half of the 64 bits from a cache of 8 KB (Horowitz, ISSCC 2014)."""
DRAM_WORD_PJ = 650.0
"""Reading or writing 32 bits of external memory, in pJ: half of the least for 64 bits, 1.3 to 2.6 nJ (the same)."""
TRUENORTH_GSOPS_PER_WATT = 400.0
"""What TrueNorth reached at best, in 10⁹ synaptic operations per second and watt, as it is quoted from Merolla et al.,
Science 2014."""
LARGEST_SUM = 15
"""Whole numbers up to this size are spikes or sums of spikes."""


class PriceTable(NamedTuple):
    """Energy of an operation, in pJ. Another machine is another record: ``FLOAT32_45NM._replace(ac=0.5)``.

    Attributes:
        name: technology and precision.
        mac: a multiplication and an addition.
        ac: an addition alone.
        word: reading or writing the 32 bits of a weight or a membrane.
        source: where the numbers are from.

    Explained in chapter 13.
    """

    name: str
    mac: float
    ac: float
    word: float
    source: str

    def energy_pj(self, macs: float = 0.0, acs: float = 0.0, words: float = 0.0) -> float:
        """Energy in pJ of so many operations; a million pJ is a µJ, and 10¹² pJ is a joule."""
        counts = {"macs": macs, "acs": acs, "words": words}
        macs, acs, words = (require_non_negative(name, count) for name, count in counts.items())
        return self.mac * macs + self.ac * acs + self.word * words


FLOAT32_45NM = PriceTable(
    "45 nm, float32", MAC_PJ, AC_PJ, SRAM_WORD_PJ, "Horowitz, ISSCC 2014: multiply 3.7, add 0.9, half of 8 KB cache 10"
)
INT8_45NM = PriceTable(
    "45 nm, int8", 0.3, 0.1, SRAM_WORD_PJ / 4, "Horowitz, ISSCC 2014: 8-bit multiply 0.2, 32-bit add 0.1; 8 of 64 bits"
)
"""Weights and activations of 8 bits, sums of 32; words are weights. A membrane of 32 bits still costs four of them."""


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


def dense_macs(model: nn.Module, *inputs: torch.Tensor) -> int:
    r"""Multiplications of all convolutions and linear maps for these inputs, from shapes alone.

    The usual formula, padding included and whatever the numbers are: :math:`H_{out} W_{out} C_{out} C_{in} k^2 / g`.
    It needs no numbers, so that a network too large to run can be counted on the device ``"meta"``.

    Args:
        model: run once, in evaluation mode, without gradients, and left in the mode it was in.
        inputs: what it is called with; for MACs of one picture, one picture.

    Explained in chapters 12 and 13.
    """
    counts, hooks = [], []

    def count(module: nn.Conv2d | nn.Linear, _: Any, output: torch.Tensor) -> None:
        counts.append(output.numel() * module.weight[0].numel())

    modes = [(module, module.training) for module in model.modules()]
    try:
        hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        model.eval()
        with torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    return sum(counts)


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


def synaptic_operations(spikes: torch.Tensor, layer: nn.Conv2d | nn.Linear) -> float:
    r"""Additions that spikes cause in the layer they arrive at (SynOps), :math:`\sum S \cdot \mathrm{fan\text{-}out}`.

    Each spike is paid for the neurons that it really reaches, fewer at the border of a map, and by its value: the sum 3
    of a residual addition is three spikes. The shortcut rate · MAC · T counts the zeros of the padding too, which never
    fire.

    Args:
        spikes: input of the layer, ``[T, B, C, H, W]`` or ``[..., N]``, whole numbers; a sign costs nothing.
        layer: the layer that they arrive at.
    Returns:
        Number of additions, summed over steps and samples.
    Raises:
        ValueError: if the inputs are no spikes: then they must be multiplied.

    Explained in chapter 13.
    """
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        raise ValueError(f"layer must be a Conv2d or a Linear, got {type(layer).__name__}")
    values = spikes.detach().float()
    if not _are_spikes(values):
        raise ValueError(f"spikes must be whole numbers of at most {LARGEST_SUM}; other inputs are multiplied")
    return _Count("", layer, 1)._additions(values.abs())


def break_even_rate(num_steps: int, mac: float = MAC_PJ, ac: float = AC_PJ, zeros: float = 0.0) -> float:
    r"""Spikes per neuron and step at which a spiking network pays as much as its twin without spikes.

    A layer of M synapses costs :math:`(1 - s) M e_{MAC}` there and :math:`r T M e_{AC}` here, so

    .. math:: r^* = \frac{(1 - s)\, e_{MAC}}{T\, e_{AC}}

    by arithmetic alone. Above 1 even a spike from each neuron at every step is cheaper.

    Args:
        num_steps: T.
        mac: price of the twin's operation; a twin in int8 is ``INT8_45NM.mac``.
        ac: price of the spiking network's.
        zeros: s, the share of the twin's activations that are zero and that its machine skips.
    Returns:
        r*.
    Raises:
        ValueError: if a price is not positive, or ``zeros`` is no share.

    Explained in chapter 13.
    """
    require_count("num_steps", num_steps)
    mac, ac = require_positive("mac", mac, "pJ"), require_positive("ac", ac, "pJ")
    return (1 - require_between("zeros", zeros, 0, 1, "a share of the activations")) * mac / (num_steps * ac)


class MemoryTraffic(NamedTuple):
    """Words that go between memory and arithmetic for one sample, by an assumed reuse.

    Attributes:
        weights: weights that are read.
        membranes: membranes that are read and written.
    """

    weights: float
    membranes: float

    @property
    def words(self) -> float:
        """All of them."""
        return self.weights + self.membranes


def memory_traffic(
    operations: Operations, *, neurons: int = 0, num_steps: int = 1, mac_reuse: float = 16.0, ac_reuse: float = 1.0
) -> MemoryTraffic:
    """Estimate what ``count_operations`` leaves out: weights fetched, and membranes read and written.

    A dense layer knows beforehand which weights it needs, and uses a fetched one for several places; the 16 times here
    are an assumption, as is that spikes, which come when they come, use theirs once. Activations and spikes themselves
    are not counted. Multiplied by ``SRAM_WORD_PJ`` or ``DRAM_WORD_PJ`` (130 times that) it is an energy.

    Args:
        operations: as counted.
        neurons: number of membranes; 0 for a network without spikes.
        num_steps: T; a membrane is read and written once in each.
        mac_reuse: multiplications by one fetched weight.
        ac_reuse: additions of one fetched weight.
    Returns:
        Words of 32 bits, for one sample.
    Raises:
        ValueError: if a reuse is not positive or a number is negative.

    Explained in chapter 13. Source of the words' price: Horowitz, ISSCC 2014; of the reuse: assumed.
    """
    require_count("neurons", neurons, minimum=0), require_count("num_steps", num_steps)
    by_macs = operations.macs / require_positive("mac_reuse", mac_reuse)
    by_acs = operations.acs / require_positive("ac_reuse", ac_reuse)
    return MemoryTraffic(by_macs + by_acs, 2.0 * neurons * num_steps)


def chip_energy_j(operations_per_step: float, num_steps: int, gops_per_watt: float = TRUENORTH_GSOPS_PER_WATT) -> float:
    r"""Energy of synaptic operations on a chip of known efficiency, :math:`E = N T / \eta`, in joules.

    Operations per second and watt are operations per joule: time has cancelled. An estimate for a network that was
    never mapped to the chip, at the best efficiency that it reached.

    Args:
        operations_per_step: N.
        num_steps: T.
        gops_per_watt: η in 10⁹ operations per second and watt; paper 2 says 300 and calculates with 400.
    Returns:
        Energy in J.
    Raises:
        ValueError: if a number is negative or the efficiency not positive.

    Explained in chapter 13. Source: Merolla et al., Science 2014 (TrueNorth).
    """
    operations = require_non_negative("operations_per_step", operations_per_step)
    efficiency = require_positive("gops_per_watt", gops_per_watt, "10⁹ operations per second and watt")
    return operations * require_count("num_steps", num_steps) / (efficiency * 1e9)


def paper_2_energy(operations: float, num_steps: int, gflops_per_watt: float = 400.0, step_s: float = 1e-3) -> float:
    r"""The number that table 1 of paper 2 calls energy, :math:`N / \eta \cdot T \cdot 1\,\mathrm{ms}`, to check it by.

    The paper prints no formula; this one gives both of its rows, 6.38e-6 and 4.29e-4, with 400 GFLOPS/W, while its
    text says 300 (8.5e-6 and 5.7e-4). Their ratio, 67, is the same. In unit it is J·s, unless N were operations per
    second; with N operations in each step, as the paper counts them, the energy is that of ``chip_energy_j``, a
    thousand times as much.

    Args:
        operations: N, the column FLOPs of the table.
        num_steps: T.
        gflops_per_watt: η in 10⁹ operations per second and watt.
        step_s: duration of a step in s; 1 ms in the paper, TrueNorth's clock.
    Returns:
        The number in the table.
    Raises:
        ValueError: as ``chip_energy_j``, and if the duration is not positive.

    Explained in chapter 13. Source: paper 2, table 1 and section 3.4.
    """
    return chip_energy_j(operations, num_steps, gflops_per_watt) * require_positive("step_s", step_s, "s")


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
