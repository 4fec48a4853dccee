r"""The spike response model: a neuron as a sum of after-effects.

.. math:: U_t = \sum_{k \ge 0} \varepsilon_k I_{t-k} + \sum_{k \ge 1} \eta_k S_{t-k}, \qquad S_t = [U_t > \theta]

ε is what one unit of input leaves on the membrane k steps later, η what the neuron's own spike does to itself. With
:math:`\varepsilon_k = \beta^k` and :math:`\eta_k = -\theta \beta^{k-1}` the sum is ``lif`` with reset by subtraction,
the recursion unrolled; any other pair of kernels is another neuron. SLAYER's are alpha functions. Paper 3 writes the
second kernel ν in its equation and η in its text: one and the same.

Explained in chapter 02. Source: paper 3, eq. 3; kernels of Shrestha and Orchard 2018.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable

from spikelab.surrogate import SpikeFunction, atan, derivative_of
from spikelab.validation import (
    require_between,
    require_choice,
    require_count,
    require_positive,
    require_tensor,
)

COMPARISONS = (">", ">=")
PSP_BLOCK = 64  # steps per matrix product: below, the products are too small; above, half of them multiply zeros


class SRMOutput(NamedTuple):
    """Spike trains ``[T, ...]`` (0 or 1) and the membrane ``[T, ...]``, after-effects of earlier spikes included."""

    spikes: torch.Tensor
    membrane: torch.Tensor


def alpha_kernel(
    tau_ms: float, dt_ms: float = 1.0, cutoff: float = 0.01, *, dtype: torch.dtype | None = None
) -> torch.Tensor:
    r"""Response of the membrane to one input spike: :math:`\varepsilon(t) = \frac{t}{\tau} e^{1 - t/\tau}`.

    It starts at 0, peaks at 1 after τ, and is kept up to its last value of at least ``cutoff``.

    Args:
        tau_ms: time to the peak in ms.
        dt_ms: duration of a step in ms.
        cutoff: smallest value worth keeping after the peak, below 1; SLAYER's is 0.01 (77 steps of 1 ms for τ = 10 ms).
        dtype: of the result; torch's default if not given.
    Returns:
        Kernel ``[K]``; element k is the response k steps after the spike.
    Raises:
        ValueError: if a constant is not positive or ``cutoff`` is not below 1.

    Explained in chapter 02. Source: Shrestha and Orchard 2018 (SLAYER).
    """
    tau, dt = require_positive("tau_ms", tau_ms, "ms"), require_positive("dt_ms", dt_ms, "ms")
    if not require_positive("cutoff", cutoff) < 1:
        raise ValueError(f"cutoff must be below the kernel's peak, 1, got {cutoff:g}")
    return _alpha(tau, dt, 1.0, cutoff, dtype)


def refractory_kernel(
    tau_ms: float,
    threshold: float,
    dt_ms: float = 1.0,
    scale: float = 2.0,
    cutoff: float = 0.01,
    *,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    r"""What a spike does to its own neuron: :math:`\nu(t) = -c\,\theta\,\frac{t}{\tau} e^{1 - t/\tau}`.

    It starts at 0 (a spike cannot cancel itself), reaches −cθ after τ, and is kept up to its last value of at least
    ``cutoff`` in size. As in SLAYER's code the cut is in units of the membrane, not of the kernel's peak.

    Args:
        tau_ms: time to the deepest point in ms.
        threshold: θ, in the membrane's units.
        dt_ms: duration of a step in ms.
        scale: c, the depth in thresholds; SLAYER's is 2.
        cutoff: smallest size worth keeping after the deepest point, in the membrane's units.
        dtype: of the result; torch's default if not given.
    Returns:
        Kernel ``[K]``, zero or negative; for τ = 1 ms, θ = 10: 0, −20, −14.7, −8.1, ...
    Raises:
        ValueError: if a constant is not positive or ``cutoff`` is not below cθ.

    Explained in chapter 02. Source: Shrestha and Orchard 2018 (SLAYER).
    """
    tau, dt = require_positive("tau_ms", tau_ms, "ms"), require_positive("dt_ms", dt_ms, "ms")
    depth = require_positive("scale", scale) * require_positive("threshold", threshold)
    if not require_positive("cutoff", cutoff) < depth:
        raise ValueError(f"cutoff must be below the kernel's depth scale * threshold = {depth:g}, got {cutoff:g}")
    return _alpha(tau, dt, -depth, cutoff, dtype)


def lif_kernels(
    beta: float, threshold: float, length: int, *, dtype: torch.dtype | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Kernels that turn the spike response model into ``lif`` with reset by subtraction.

    .. math:: \varepsilon_k = \beta^k, \qquad \eta_0 = 0, \quad \eta_{k \ge 1} = -\theta \beta^{k-1}

    Args:
        beta: decay per step, 0 to 1.
        threshold: θ, in the membrane's units.
        length: L, number of steps to keep; as many as the sequence is long for an exact result.
        dtype: of the result; torch's default if not given.
    Returns:
        ``(epsilon, eta)``, both ``[L]``.
    Raises:
        ValueError: if ``beta`` lies outside [0, 1], ``threshold`` is not positive or ``length`` is below 1.

    Explained in chapter 02.
    """
    beta = require_between("beta", beta, 0.0, 1.0, "a decay per step; to convert a time constant use decay_from_tau")
    theta = require_positive("threshold", threshold)
    length = require_count("length", length)
    epsilon = torch.tensor(beta, dtype=torch.float64) ** torch.arange(length)
    eta = torch.cat([torch.zeros(1, dtype=torch.float64), -theta * epsilon[:-1]])
    return _cast(epsilon, dtype), _cast(eta, dtype)


def psp(spikes: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    r"""Postsynaptic potential: spike trains convolved with a response kernel, causally.

    .. math:: p_t = \sum_{k=0}^{K-1} \varepsilon_k s_{t-k}

    Its backward pass is the correlation with the same kernel: an error at step t is shared among the spikes before it.

    Args:
        spikes: spike trains, or any signal, ``[T, ...]``.
        kernel: response ``[K]``; element k acts k steps later.
    Returns:
        Potential ``[T, ...]``; nothing before the first step is assumed.
    Raises:
        ValueError: if ``spikes`` has no time axis, ``kernel`` is not one-dimensional, or either is not finite.

    Explained in chapter 02. Source: paper 3, eq. 3.
    """
    require_tensor("spikes", spikes, min_dim=1, layout="[T, ...]")
    kernel = _checked_kernel("kernel", kernel).to(spikes)
    if spikes.numel() == 0:
        return spikes.clone()
    steps = len(spikes)
    kernel = kernel[:steps]
    signal = spikes.reshape(steps, -1)
    reach = min(steps, PSP_BLOCK + len(kernel) - 1)
    matrix = _toeplitz(kernel, reach)
    blocks = []
    for start in range(0, steps, PSP_BLOCK):
        stop, first = min(start + PSP_BLOCK, steps), max(0, start - len(kernel) + 1)
        blocks.append(matrix[start - first : stop - first, : stop - first] @ signal[first:stop])
    return torch.cat(blocks).reshape(spikes.shape) if len(blocks) > 1 else blocks[0].reshape(spikes.shape)


def srm(
    drive: torch.Tensor,
    *,
    refractory_kernel: torch.Tensor,
    threshold: float = 1.0,
    spike_grad: SpikeFunction | None = None,
    comparison: str = ">",
) -> SRMOutput:
    r"""Run spike response neurons over a sequence.

    .. math:: U_t = d_t + \sum_{k \ge 1} \eta_k S_{t-k}, \qquad S_t = [U_t > \theta]

    The after-effects of a neuron's own spikes carry no gradient, as in SLAYER and as the reset in ``lif``.

    Args:
        drive: summed input responses d ``[T, ...]``, usually weights times ``psp``.
        refractory_kernel: η ``[K]``; its first element must be 0.
        threshold: θ, in the drive's units.
        spike_grad: surrogate gradient of the spike; ``atan()`` by default.
        comparison: ``">"`` fires above θ, as everywhere in the course; ``">="`` at θ already, as SLAYER's code does.
    Returns:
        Spikes and membrane, both ``[T, ...]``.
    Raises:
        ValueError: if ``drive`` has no time axis or is not finite, the kernel is not one-dimensional or does not start
            at 0, ``threshold`` is not positive or ``comparison`` is unknown.

    Explained in chapter 02. Source: paper 3, eq. 3; Gerstner and Kistler 2002.
    """
    require_tensor("drive", drive, min_dim=1, layout="[T, ...]")
    eta = _checked_kernel("refractory_kernel", refractory_kernel).detach().to(drive.dtype)
    if eta[0] != 0:
        first = float(eta[0])
        raise ValueError(f"refractory_kernel must start with 0 (a spike cannot act on its own cause), got {first:g}")
    theta = require_positive("threshold", threshold)
    require_choice("comparison", comparison, COMPARISONS)
    surrogate = atan() if spike_grad is None else spike_grad
    steps = len(drive)
    spikes, membrane = _SRMSequence.apply(
        drive.reshape(steps, -1) if drive.numel() else drive, eta, theta, surrogate, comparison
    )
    return SRMOutput(spikes.reshape(drive.shape), membrane.reshape(drive.shape))


class _SRMSequence(torch.autograd.Function):
    """spikes, membrane = f(drive [T, N], eta [K]): what autograd keeps is one tensor, the membrane."""

    @staticmethod
    def forward(ctx, drive, eta, theta, surrogate, comparison):
        spikes, membrane = torch.empty_like(drive), drive.clone()
        fires = torch.ge if comparison == ">=" else torch.gt
        form = _exponential_form(eta)
        if form is None:
            _add_after_effects_by_sum(membrane, spikes, eta.to(drive.device), theta, fires)
        else:
            _add_after_effects_by_recursion(membrane, spikes, len(eta), *form, theta, fires)
        ctx.save_for_backward(membrane)
        ctx.settings = theta, surrogate
        ctx.set_materialize_grads(False)
        return spikes, membrane

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_spikes, grad_membrane):
        (membrane,) = ctx.saved_tensors
        theta, surrogate = ctx.settings
        if grad_spikes is None:
            return grad_membrane, None, None, None, None
        grad = torch.empty_like(membrane)
        for g, u, out in zip(grad_spikes, membrane, grad, strict=True):  # step by step stays in the cache
            torch.mul(derivative_of(surrogate, u - theta), g, out=out)
        if grad_membrane is not None:
            grad.add_(grad_membrane)
        return grad, None, None, None, None


def _add_after_effects_by_sum(membrane, spikes, eta, theta, fires) -> None:
    """Any kernel: each spike adds its after-effect to the steps to come."""
    steps = len(membrane)
    column = eta.unsqueeze(1)
    for t in range(steps):
        fires(membrane[t], theta, out=spikes[t])
        reach = min(len(eta), steps - t)
        if reach > 1 and spikes[t].any():
            membrane[t + 1 : t + reach].addcmul_(column[1:reach], spikes[t])


def _add_after_effects_by_recursion(membrane, spikes, length, first, decay, is_alpha, theta, fires) -> None:
    r"""Kernels :math:`\eta_k = \eta_1 a^{k-1}`, or k times that: one or two state variables instead of a sum over K.

    .. math:: A_t = a A_{t-1} + \eta_1 S_{t-1}, \qquad E_t = a E_{t-1} + A_t

    A is the after-effect in the first case and E in the second. A spike K steps ago leaves the sum: its share is
    taken off again, so that the result is that of the cut kernel, up to rounding.
    """
    trace = torch.zeros_like(membrane[0]) if len(membrane) else None
    effect = torch.zeros_like(trace) if is_alpha else trace
    share = first * decay ** (length - 1)
    for t in range(len(membrane)):
        if t:
            trace.mul_(decay).add_(spikes[t - 1], alpha=first)
            if t >= length:
                trace.sub_(spikes[t - length], alpha=share)
            if is_alpha:
                effect.mul_(decay).add_(trace)
                if t >= length:
                    effect.sub_(spikes[t - length], alpha=share * (length - 1))
            membrane[t].add_(effect)
        fires(membrane[t], theta, out=spikes[t])


def _exponential_form(eta: torch.Tensor) -> tuple[float, float, bool] | None:
    """``(eta_1, decay, is_alpha)`` of a kernel that decays exponentially or as an alpha function, else None."""
    if len(eta) < 2:
        return 0.0, 0.0, False
    values = eta[1:].to("cpu", torch.float64)
    k = torch.arange(1, len(eta), dtype=torch.float64)
    tolerance = 8 * torch.finfo(eta.dtype).eps * float(values.abs().max())
    for is_alpha in (False, True):
        falling = values / k if is_alpha else values
        first = float(falling[0])
        if first == 0 or float(falling[-1]) / first < 0:
            continue
        decay = (float(falling[-1]) / first) ** (1 / max(1, len(falling) - 1))
        rebuilt = first * decay ** (k - 1) * (k if is_alpha else 1)
        if (rebuilt - values).abs().max() <= tolerance:
            return first, decay if len(falling) > 1 else 0.0, is_alpha
    return None


def _toeplitz(kernel: torch.Tensor, size: int) -> torch.Tensor:
    """Lower triangular ``[size, size]`` matrix with element k of the kernel on its k-th lower diagonal."""
    step = torch.arange(size, device=kernel.device)
    lag = (step.unsqueeze(1) - step).clamp(min=-1, max=len(kernel))
    return torch.cat([kernel, kernel.new_zeros(2)])[lag]  # lag -1 and K meet the two zeros


def _alpha(tau: float, dt: float, height: float, cutoff: float, dtype: torch.dtype | None) -> torch.Tensor:
    values = []
    while True:
        t = len(values) * dt
        value = height * t / tau * math.exp(1 - t / tau) + 0.0  # -0.0 becomes 0.0
        if t > tau and abs(value) < cutoff:
            return _cast(torch.tensor(values, dtype=torch.float64), dtype)
        values.append(value)


def _cast(kernel: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    return kernel.to(dtype or torch.get_default_dtype())


def _checked_kernel(name: str, kernel: torch.Tensor) -> torch.Tensor:
    require_tensor(name, kernel, min_dim=1, layout="[K]")
    if kernel.dim() != 1 or len(kernel) == 0:
        raise ValueError(f"{name} must have shape [K] with K of at least 1, got {tuple(kernel.shape)}")
    return kernel
