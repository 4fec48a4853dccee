r"""SLAYER: spike response neurons trained by sending errors back to the spikes that came before.

.. math:: U_t = \sum_j W_j (\varepsilon * S_j)_t + (\nu * S)_t, \qquad S_t = [U_t \ge \theta]

Backwards, two things stand for the derivative that a spike does not have:

- in value, the probability density of a change of spiking state,
  :math:`\rho(U) = \frac{c_\rho}{\tau_\rho \theta} e^{-|U - \theta| / (\tau_\rho \theta)}`;
- in time, the correlation with ε: an error at step t is shared among the inputs of the steps *before* it,
  :math:`(\varepsilon \star e)_t = \sum_k \varepsilon_k e_{t+k}`. That is the adjoint of the convolution ``psp``.

The refractory path ν carries no gradient, as in the authors' code.

Conventions. Spikes are 0 or 1. The authors' are 1/Ts high and their sums over time are multiplied by Ts, the duration
of a step; the two factors cancel in U. Here ``dt_ms`` therefore enters only where the kernels are sampled, and the loss
is theirs with Ts = 1. Weights are in the units of the threshold, 10 by default.

Explained in chapter 07. Source: Shrestha and Orchard 2018 (SLAYER); paper 3, eq. 3 and 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from spikelab.neurons.spike_response import SRMOutput, alpha_kernel, psp, refractory_kernel, srm
from spikelab.surrogate import Surrogate, exponential
from spikelab.validation import require_between, require_count, require_non_negative, require_positive, require_tensor


def probability_density(threshold: float = 10.0, tau_rho: float = 1.0, scale_rho: float = 1.0) -> Surrogate:
    r"""SLAYER's stand-in for the derivative of a spike.

    .. math:: \rho(U) = \frac{c_\rho}{\tau_\rho \theta} e^{-|U - \theta| / (\tau_\rho \theta)}

    Read as the density of the membrane values at which a small push would add or remove a spike. Its width grows with
    ``tau_rho``, its area is ``2 * scale_rho`` whatever the width.

    Args:
        threshold: θ, in the membrane's units.
        tau_rho: width, in thresholds.
        scale_rho: factor on the gradient.
    Returns:
        A spike function of ``U - threshold``, to be used as ``spike_grad``.
    Raises:
        ValueError: if an argument is not positive.

    Explained in chapter 07. Source: Shrestha and Orchard 2018.
    """
    width = require_positive("tau_rho", tau_rho) * require_positive("threshold", threshold)
    return exponential(tau=width, scale=require_positive("scale_rho", scale_rho))


class SlayerNeuron(NamedTuple):
    """The constants of a layer; the defaults are those of SLAYER's N-MNIST example.

    Explained in chapter 07.
    """

    threshold: float = 10.0
    tau_s_ms: float = 10.0
    """Time to the peak of ε."""
    tau_r_ms: float = 1.0
    """Time to the deepest point of ν."""
    scale_ref: float = 2.0
    """Depth of ν in thresholds."""
    tau_rho: float = 1.0
    """Width of the surrogate in thresholds."""
    scale_rho: float = 1.0
    """Factor on the surrogate."""
    dt_ms: float = 1.0
    """Duration of a step."""

    def response(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        """ε ``[K]``: what an input spike does to the membrane; it peaks at 1."""
        return alpha_kernel(self.tau_s_ms, self.dt_ms, dtype=dtype)

    def refractory(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        """ν ``[K]``: what a spike does to its own neuron."""
        return refractory_kernel(self.tau_r_ms, self.threshold, self.dt_ms, self.scale_ref, dtype=dtype)

    def psp(self, spikes: torch.Tensor) -> torch.Tensor:
        """Postsynaptic potential ε * S of spikes ``[T, ...]``; at least float32, under autocast too."""
        with torch.autocast(spikes.device.type, enabled=False):
            spikes = _at_least_float32(spikes)
            return psp(spikes, self.response(spikes.dtype))

    def spike(self, drive: torch.Tensor) -> SRMOutput:
        """Spikes and membrane ``[T, ...]`` of neurons driven by weighted potentials ``[T, ...]``; at least float32."""
        drive = _at_least_float32(drive)
        return srm(
            drive,
            refractory_kernel=self.refractory(drive.dtype),
            threshold=self.threshold,
            spike_grad=probability_density(self.threshold, self.tau_rho, self.scale_rho),
            comparison=">=",
        )


def correlate(error: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    r"""Correlation with a response kernel: what a potential's error says about the spikes before it.

    .. math:: c_t = \sum_{k=0}^{K-1} \varepsilon_k e_{t+k}

    It is the adjoint of ``psp``, :math:`\langle \varepsilon * a, b \rangle = \langle a, \varepsilon \star b \rangle`,
    and hence exactly what the backward pass of ``psp`` computes.

    Args:
        error: error at the membrane ``[T, ...]``.
        kernel: response ε ``[K]``.
    Returns:
        Error at the input ``[T, ...]``; credit moves to earlier steps.
    Raises:
        ValueError: as ``psp``.

    Explained in chapter 07. Source: Shrestha and Orchard 2018.
    """
    require_tensor("error", error, min_dim=1, layout="[T, ...]")
    return psp(error.flip(0), kernel).flip(0)


def slayer_layer(
    spikes: torch.Tensor,
    synapse: Callable[[torch.Tensor], torch.Tensor],
    neuron: SlayerNeuron | None = None,
    *,
    response_last: bool = False,
) -> SRMOutput:
    """One layer of SLAYER: response of the membrane, weights, spikes.

    Args:
        spikes: input spikes ``[T, B, ...]``.
        synapse: maps ``[T * B, ...]`` to ``[T * B, ...]``: a linear layer, a convolution, a pool or a sequence of them.
        neuron: constants; ``SlayerNeuron()`` if not given.
        response_last: convolve with ε after the weights instead of before. For linear synapses without bias the two
            are equal up to rounding; choose it where the synapse has fewer outputs than inputs, or can make use of
            inputs that are mostly zero.
    Returns:
        Spikes and membrane ``[T, B, ...]``.
    Raises:
        ValueError: if ``spikes`` has no time and batch axis or is not finite.

    Explained in chapter 07. Source: Shrestha and Orchard 2018.
    """
    require_tensor("spikes", spikes, min_dim=2, layout="[T, B, ...]")
    neuron = SlayerNeuron() if neuron is None else neuron
    signal = spikes if response_last else neuron.psp(spikes)
    drive = synapse(signal.flatten(0, 1)).unflatten(0, spikes.shape[:2])
    return neuron.spike(neuron.psp(drive) if response_last else drive)


class SlayerDense(nn.Module):
    """Fully connected layer: spikes ``[T, B, in_features]`` to ``SRMOutput`` of ``[T, B, out_features]``.

    Args:
        in_features: N.
        out_features: M; where M < N the response is convolved after the weights, which is the same and less work.
        neuron: constants.
        weight_scale: factor on PyTorch's initial weights, which are small against a threshold of 10; SLAYER's is 10.
    Raises:
        ValueError: if ``weight_scale`` is not positive.

    Explained in chapter 07.
    """

    def __init__(
        self, in_features: int, out_features: int, neuron: SlayerNeuron | None = None, *, weight_scale: float = 10.0
    ):
        super().__init__()
        self.neuron = SlayerNeuron() if neuron is None else neuron
        self.synapse = nn.Linear(in_features, out_features, bias=False)
        self.response_last = out_features < in_features
        _scale(self.synapse, weight_scale)

    def forward(self, spikes: torch.Tensor) -> SRMOutput:
        return slayer_layer(spikes, self.synapse, self.neuron, response_last=self.response_last)


class SlayerConv(nn.Module):
    """Convolutional layer: spikes ``[T, B, C, H, W]`` to ``SRMOutput``.

    Args:
        in_channels, out_channels, kernel_size, stride, padding: as ``nn.Conv2d``.
        neuron: constants.
        weight_scale: factor on PyTorch's initial weights; SLAYER's is 100.
    Raises:
        ValueError: if ``weight_scale`` is not positive.

    Explained in chapter 07.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        neuron: SlayerNeuron | None = None,
        *,
        stride: int = 1,
        padding: int = 0,
        weight_scale: float = 100.0,
    ):
        super().__init__()
        self.neuron = SlayerNeuron() if neuron is None else neuron
        self.synapse = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.response_last = out_channels < in_channels * stride**2
        _scale(self.synapse, weight_scale)

    def forward(self, spikes: torch.Tensor) -> SRMOutput:
        return slayer_layer(spikes, self.synapse, self.neuron, response_last=self.response_last)


class SlayerPool(nn.Module):
    """Sum pool with the fixed weight 1.1 θ, so that a single input spike drives the output over the threshold.

    Spikes ``[T, B, C, H, W]`` to ``SRMOutput``; an odd edge is padded with silence, as in SLAYER's code.

    Args:
        size: edge of the pooled square.
        neuron: constants.
    Raises:
        ValueError: if ``size`` is below 1.

    Explained in chapter 07.
    """

    def __init__(self, size: int, neuron: SlayerNeuron | None = None):
        super().__init__()
        self.neuron = SlayerNeuron() if neuron is None else neuron
        self.size = require_count("size", size)

    def forward(self, spikes: torch.Tensor) -> SRMOutput:
        return slayer_layer(spikes, self._pool, self.neuron, response_last=True)

    def _pool(self, maps: torch.Tensor) -> torch.Tensor:
        height, width = maps.shape[-2:]
        padded = nn.functional.pad(maps, (0, -width % self.size, 0, -height % self.size))
        mean = nn.functional.avg_pool2d(padded, self.size)
        return 1.1 * self.neuron.threshold * self.size**2 * mean


def spike_count_loss(
    spikes: torch.Tensor, target: torch.Tensor, *, true: float = 60.0, false: float = 10.0
) -> torch.Tensor:
    r"""SLAYER's loss on spike counts: the true neuron should fire ``true`` times, every other one ``false`` times.

    .. math:: E = \frac{T}{2} \sum_{b, c} \left(\frac{n_{bc} - \hat n_{bc}}{T}\right)^2

    Its gradient with respect to a spike is :math:`(n - \hat n) / T`, the same at every step: a count does not care
    when. The sum over the batch is not divided by its size.

    The targets are paper 3's, meant for T = 300 steps. Nothing stops you from asking for more spikes than there are
    steps: with 60 spikes in 30 steps the true neuron pays at least ½ · 30 = 15 per sample, for ever. ``count_targets``
    turns rates into counts that fit.

    Args:
        spikes: output spikes ``[T, B, C]``.
        target: class indices ``[B]``.
        true: spikes wanted from the neuron of the target class.
        false: spikes wanted from the others; above 0 so that silence is not the cheapest answer.
    Returns:
        The loss, a scalar.
    Raises:
        ValueError: if shapes do not fit, a class index lies outside 0 to C - 1 or a count is negative.

    Explained in chapter 07. Source: Shrestha and Orchard 2018 (``numSpikes``); paper 3.
    """
    require_tensor("spikes", spikes, min_dim=3, layout="[T, B, C]")
    if spikes.dim() != 3 or 0 in spikes.shape:
        raise ValueError(f"spikes must have shape [T, B, C], none of them 0, got {tuple(spikes.shape)}")
    steps, batch, classes = spikes.shape
    if not isinstance(target, torch.Tensor) or target.is_floating_point() or tuple(target.shape) != (batch,):
        got = f"{target.dtype} {tuple(target.shape)}" if isinstance(target, torch.Tensor) else type(target).__name__
        raise ValueError(f"target must be a tensor of {batch} whole numbers, one per sample of the batch, got {got}")
    if target.min() < 0 or target.max() >= classes:
        low, high = int(target.min()), int(target.max())
        raise ValueError(f"target must lie in 0 to {classes - 1} for {classes} classes, got {low} to {high}")
    wanted = spikes.new_full((batch, classes), require_non_negative("false", false))
    wanted.scatter_(1, target.long().unsqueeze(1), require_non_negative("true", true))
    excess = (spikes.sum(0) - wanted) / steps
    return 0.5 * excess.square().sum() * steps


def count_targets(num_steps: int, true_rate: float = 60 / 300, false_rate: float = 10 / 300) -> tuple[float, float]:
    """Spike counts that mean the same at any length: rates per step times the number of steps.

    Args:
        num_steps: T.
        true_rate: spikes per step of the true neuron; paper 3's 60 in 300 ms.
        false_rate: spikes per step of every other neuron; paper 3's 10 in 300 ms.
    Returns:
        ``(true, false)`` for ``spike_count_loss``; not rounded, so T = 30 gives 6 and 1.
    Raises:
        ValueError: if ``num_steps`` is below 1 or a rate lies outside [0, 1].

    Explained in chapter 07.
    """
    steps = require_count("num_steps", num_steps)
    note = "spikes per step, at most one"
    return (
        steps * require_between("true_rate", true_rate, 0.0, 1.0, note),
        steps * require_between("false_rate", false_rate, 0.0, 1.0, note),
    )


def _scale(synapse: nn.Module, weight_scale: float) -> None:
    with torch.no_grad():
        synapse.weight.mul_(require_positive("weight_scale", weight_scale))


def _at_least_float32(values: torch.Tensor) -> torch.Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
