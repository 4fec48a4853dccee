"""What deep spiking networks keep for the backward pass: little.

A layer of synapses and neurons makes three large tensors: what its convolution gives, the membrane, the spikes.
Autograd would keep them all, of every step, the spikes as numbers of 32 bits. Here the backward pass is written out:

- spikes are whole numbers, and ``SpikeConv2d`` keeps them in a byte each;
- membranes are not kept: ``normalised_lif`` computes them again, to the bit, from what the convolution gave. That costs
  a few passes through memory, which computing the convolution again does not come close to.

What is left is 5 bytes for each neuron and step instead of 12. Gradients are those of the plain layers.

Explained in chapter 12. Source of the idea to recompute: gradient checkpointing, arXiv:1604.06174.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import nn

from spikelab.neurons.fused import run_steps, run_steps_back
from spikelab.surrogate import SpikeFunction

MOST_SPIKES = 255
"""The largest sum of spikes that a byte holds."""


class NeuronConstants(NamedTuple):
    """What all neurons of a layer have in common; see ``spikelab.neurons.lif``.

    Attributes:
        beta: decay per step.
        threshold: above it a neuron fires.
        reset: ``"subtract"``, ``"zero"`` or ``"none"``.
        initial_charge: potential before the first step.
        spike_grad: surrogate gradient.
    """

    beta: float
    threshold: float
    reset: str
    initial_charge: float
    spike_grad: SpikeFunction


class SpikeConv2d(nn.Conv2d):
    """A convolution whose inputs are spikes or sums of spikes, whole numbers from 0 to 255.

    Arguments, weights and results are those of ``nn.Conv2d``; what it keeps of its inputs for the backward pass is a
    byte each. Inputs of another kind would be learned from wrongly, without an error: looking at each costs too much.
    """

    def _conv_forward(self, signal: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        if not torch.is_grad_enabled():
            return super()._conv_forward(signal, weight, bias)
        return _SpikeConvolution.apply(signal, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class _SpikeConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, spikes, weight, bias, *shape):
        ctx.save_for_backward(spikes.to(torch.uint8), weight)
        ctx.shape, ctx.biased, ctx.dtype = shape, bias is not None, spikes.dtype
        return nn.functional.conv2d(spikes, weight, bias, *shape)  # in the precision that autocast asks for

    @staticmethod
    def backward(ctx, grad):
        kept, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.shape
        factors = weight.to(grad.dtype)

        def gradients(inputs: torch.Tensor, *wanted: bool) -> tuple[torch.Tensor | None, ...]:
            # Not transposed, without the extra rows that go with that.
            how = (stride, padding, dilation, False, [0] * len(stride), groups)
            sizes = weight.shape[:1] if ctx.biased else None
            return torch.ops.aten.convolution_backward(grad, inputs, factors, sizes, *how, list(wanted))

        to_input, to_weight, to_bias = ctx.needs_input_grad[:3]
        # One after the other: spikes as numbers need not be there while the gradient that goes on is made.
        _, grad_weight, grad_bias = gradients(kept.to(grad.dtype), False, to_weight, to_bias)
        grad_input = None
        if to_input:  # asks for the inputs' shape alone, and for how they lie in memory
            grad_input = gradients(torch.empty_like(kept, dtype=grad.dtype), True, False, False)[0]
        grads = zip((grad_input, grad_weight, grad_bias), (ctx.dtype, weight.dtype, weight.dtype), strict=True)
        return (*(None if grad is None else grad.to(dtype) for grad, dtype in grads), None, None, None, None)


def normalised_lif(
    maps: torch.Tensor, norm: nn.BatchNorm2d, num_steps: int, constants: NeuronConstants, *, constant: bool = False
) -> torch.Tensor:
    """Normalise the maps of a convolution and run leaky integrate-and-fire neurons over them, as one operation.

    The same as ``lif(norm(maps))`` with time folded into the batch, in fewer passes through memory; for the backward
    pass it keeps the maps alone.

    Args:
        maps: what a convolution gave ``[T·B, C, H, W]``, all samples of step 0 first.
        norm: batch normalisation; in training its statistics are those of the maps, and its running ones move on.
        num_steps: T.
        constants: of the neurons.
        constant: maps are ``[B, C, H, W]``, the same at every step.
    Returns:
        Spikes ``[T·B, C, H, W]``, in single precision if the maps have less.
    Raises:
        ValueError: if a membrane is not finite.

    Explained in chapter 12.
    """
    if norm.training:
        norm.num_batches_tracked.add_(1)
    spikes = _NormalisedLIF.apply(
        maps.contiguous(memory_format=torch.channels_last),
        norm.weight,
        norm.bias,
        norm.running_mean,
        norm.running_var,
        norm.training,
        norm.momentum,
        norm.eps,
        num_steps,
        constants,
        constant,
    )
    return spikes.flatten(0, 1).movedim(-1, 1)


class _NormalisedLIF(torch.autograd.Function):
    """Spikes ``[T, B, H, W, C]``: channels last, as they lie in memory."""

    @staticmethod
    def forward(
        ctx, maps, weight, bias, running_mean, running_var, training, momentum, eps, num_steps, constants, constant
    ):
        if training:
            mean, variance = torch.ops.aten.batch_norm_update_stats(maps, running_mean, running_var, momentum)
        else:
            mean, variance = running_mean.clone(), running_var.clone()
        layer = _Layer(maps, weight, bias, mean, (variance + eps).rsqrt(), num_steps, constants, constant)
        spikes = layer.empty()
        membrane = layer.empty(2)
        layer.run(itertools.cycle(membrane), spikes)
        last = membrane[(num_steps - 1) % 2]  # NaN and infinity never leave a membrane, and never fire either
        if not torch.isfinite(last.sum()) and not torch.isfinite(last).all():
            raise ValueError(
                "membranes hold numbers that are not finite: the maps do, or normalisation's statistics; look at the "
                "input and at the weights, and lower the learning rate"
            )
        ctx.save_for_backward(maps, weight, bias, mean, variance)
        ctx.settings = training, eps, num_steps, constants, constant
        return spikes

    @staticmethod
    def backward(ctx, grad_spikes):
        maps, weight, bias, mean, variance = ctx.saved_tensors
        training, eps, num_steps, constants, constant = ctx.settings
        spread = (variance + eps).rsqrt()
        layer = _Layer(maps, weight, bias, mean, spread, num_steps, constants, constant)
        membrane = layer.empty()
        spikes = layer.empty() if constants.reset == "zero" else itertools.repeat(layer.empty(1)[0])
        layer.run(membrane, spikes)
        run_steps_back(  # potentials give way to their gradients
            membrane,
            membrane,
            grad_spikes,
            None,
            beta=layer.beta,
            threshold=constants.threshold,
            reset=constants.reset,
            spike_grad=constants.spike_grad,
            spikes=spikes if constants.reset == "zero" else None,
        )
        grad = membrane.sum(0) if constant else membrane.flatten(0, 1)
        # In the membranes' precision, where maps have less.
        wide = maps.to(grad.dtype)
        statistics = (None, None, mean, spread) if training else (mean, variance, None, None)
        grads = torch.ops.aten.native_batch_norm_backward(
            grad.movedim(-1, 1), wide, weight, *statistics, training, eps, list(ctx.needs_input_grad[:3])
        )
        grads = (
            None if grad is None else grad.to(to.dtype) for grad, to in zip(grads, (maps, weight, bias), strict=True)
        )
        return (*grads, *[None] * 8)


class _Layer(NamedTuple):
    """Normalisation and neurons, at work on maps ``[T·B, C, H, W]`` or ``[B, C, H, W]``."""

    maps: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    mean: torch.Tensor
    spread: torch.Tensor
    num_steps: int
    constants: NeuronConstants
    constant: bool

    @property
    def beta(self) -> float | None:
        return None if self.constants.beta == 1 else self.constants.beta

    def empty(self, num_steps: int | None = None) -> torch.Tensor:
        """Room for as many steps of the layer."""
        count, channels, rows, columns = self.maps.shape
        shape = (count if self.constant else count // self.num_steps, rows, columns, channels)
        dtype = torch.promote_types(self.maps.dtype, torch.float32)
        return self.maps.new_empty(num_steps or self.num_steps, *shape, dtype=dtype)

    def run(self, membrane: Iterable[torch.Tensor], spikes: Iterable[torch.Tensor]) -> None:
        """Write potentials and spikes of each step ``[B, H, W, C]`` into what is given."""
        scale = self.weight * self.spread
        shift = self.bias - self.mean * scale
        steps = self.maps.movedim(1, -1).unflatten(0, (1 if self.constant else self.num_steps, -1))
        currents = (torch.addcmul(shift, step.to(shift.dtype), scale) for step in steps)
        start = torch.full_like(self.empty(1)[0], self.constants.initial_charge)
        run_steps(
            itertools.repeat(next(currents)) if self.constant else currents,
            itertools.islice(membrane, self.num_steps),
            spikes,
            before=start,
            fired=None,
            beta=self.beta,
            threshold=self.constants.threshold,
            reset=self.constants.reset,
        )
