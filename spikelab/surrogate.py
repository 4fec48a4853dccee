r"""Spike functions: a step forward, a smooth slope backward.

A spike is :math:`S = [u > 0]` with :math:`u = U - \theta`. Its true derivative is zero everywhere but at the threshold,
where it does not exist, so training replaces it in the backward pass by the derivative of a smooth function
(chapter 06). Every surrogate here is a callable that takes ``u`` and returns spikes; it also works as ``spike_grad=``
in snnTorch, and ``smooth`` and ``derivative`` expose the two curves for plotting and for tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from spikelab.validation import require_positive

SpikeFunction = Callable[[torch.Tensor], torch.Tensor]

# The derivatives work in place on a temporary of their own: in the backward pass of a long sequence, allocating a
# tensor for every operation costs more than the arithmetic.


class _Step(torch.autograd.Function):
    """Heaviside step whose backward multiplies by the derivative of a surrogate."""

    @staticmethod
    def forward(ctx, u: torch.Tensor, derivative: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        ctx.save_for_backward(u)
        ctx.derivative = derivative
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx, grad_spikes: torch.Tensor):
        (u,) = ctx.saved_tensors
        return grad_spikes * ctx.derivative(u), None


@dataclass(frozen=True)
class Surrogate:
    """A spike function with a surrogate gradient.

    Calling it with ``u = U - threshold`` (any shape) returns spikes, 0 or 1, of the same shape and dtype.

    Attributes:
        name: how the course calls it, with its parameters.
        smooth: the smooth function whose derivative replaces the step's.
        derivative: that derivative, the surrogate gradient.

    Explained in chapter 06.
    """

    name: str
    smooth: Callable[[torch.Tensor], torch.Tensor]
    derivative: Callable[[torch.Tensor], torch.Tensor]

    def __call__(self, u: torch.Tensor) -> torch.Tensor:
        return _Step.apply(u, self.derivative)

    def __repr__(self) -> str:
        return self.name


def fast_sigmoid(slope: float = 25.0) -> Surrogate:
    r"""Surrogate of SuperSpike: :math:`\varphi'(u) = 1 / (1 + k|u|)^2`.

    Smooth forward: :math:`u / (1 + k|u|)`. The peak is 1 whatever the slope; a steeper slope narrows it. "SuperSpike"
    in other libraries is this same function with another default slope.

    Args:
        slope: k, per unit of membrane; snnTorch's default is 25.
    Raises:
        ValueError: if ``slope`` is not positive.
    """
    k = require_positive("slope", slope)
    return Surrogate(
        name=f"fast_sigmoid(slope={k:g})",
        smooth=lambda u: u / (1 + k * u.abs()),
        derivative=lambda u: u.abs().mul_(k).add_(1).square_().reciprocal_(),
    )


def atan(alpha: float = 2.0) -> Surrogate:
    r"""Arctangent surrogate: :math:`\varphi'(u) = \frac{\alpha}{2\,(1 + (\frac{\pi}{2}\alpha u)^2)}`.

    Smooth forward: :math:`\frac{1}{\pi}\arctan(\frac{\pi}{2}\alpha u) + \frac{1}{2}`. Source: paper 2, eq. 4 and 5.

    Args:
        alpha: steepness; the peak is alpha / 2.
    Raises:
        ValueError: if ``alpha`` is not positive.
    """
    a = require_positive("alpha", alpha)

    def derivative(u: torch.Tensor) -> torch.Tensor:
        # 1 / (2/α + 2/α (π/2 α u)²): two passes through memory, and training spends much of its time here.
        return torch.addcmul(u.new_tensor(2 / a), u, u, value=2 / a * (math.pi / 2 * a) ** 2).reciprocal_()

    return Surrogate(
        name=f"atan(alpha={a:g})",
        smooth=lambda u: torch.atan(math.pi / 2 * a * u) / math.pi + 0.5,
        derivative=derivative,
    )


def sigmoid(slope: float = 25.0) -> Surrogate:
    r"""Logistic surrogate: :math:`\varphi'(u) = k\,\sigma(ku)\,(1 - \sigma(ku))`.

    Smooth forward: :math:`\sigma(ku)`.

    Args:
        slope: k, per unit of membrane; the peak is k / 4.
    Raises:
        ValueError: if ``slope`` is not positive.
    """
    k = require_positive("slope", slope)

    def derivative(u: torch.Tensor) -> torch.Tensor:
        s = torch.sigmoid(k * u)
        return k * s * (1 - s)

    return Surrogate(name=f"sigmoid(slope={k:g})", smooth=lambda u: torch.sigmoid(k * u), derivative=derivative)


def boxcar(width: float = 1.0) -> Surrogate:
    r"""Rectangular surrogate: :math:`\varphi'(u) = 1/w` for :math:`|u| < w/2`, else 0.

    Smooth forward: a ramp from 0 to 1 over the width. Outside the box nothing learns, which is how neurons die
    (chapters 05 and 06). Published DECOLLE uses width 1.

    Args:
        width: w, in units of membrane.
    Raises:
        ValueError: if ``width`` is not positive.
    """
    w = require_positive("width", width)
    return Surrogate(
        name=f"boxcar(width={w:g})",
        smooth=lambda u: (u / w + 0.5).clamp(0, 1),
        derivative=lambda u: (u.abs() < w / 2).to(u.dtype) / w,
    )


def exponential(tau: float = 1.0, scale: float = 1.0) -> Surrogate:
    r"""SLAYER's surrogate: :math:`\varphi'(u) = \frac{c}{\tau} e^{-|u|/\tau}`.

    Smooth forward: the distribution function of a two-sided exponential, times 2c. SLAYER reads it as the probability
    density of a change of spiking state; its ``tauRho * theta`` is ``tau`` here and its ``scaleRho`` is ``scale``.

    Args:
        tau: width, in units of membrane.
        scale: c, half the area under the derivative.
    Raises:
        ValueError: if ``tau`` or ``scale`` is not positive.
    """
    t, c = require_positive("tau", tau), require_positive("scale", scale)
    return Surrogate(
        name=f"exponential(tau={t:g}, scale={c:g})",
        smooth=lambda u: c * torch.where(u < 0, torch.exp(-u.abs() / t), 2 - torch.exp(-u.abs() / t)),
        derivative=lambda u: c / t * torch.exp(-u.abs() / t),
    )


def derivative_of(spike_grad: SpikeFunction, u: torch.Tensor) -> torch.Tensor:
    """Surrogate gradient of any spike function at ``u``, snnTorch's included.

    Args:
        spike_grad: a :class:`Surrogate`, or any callable whose autograd gradient is a surrogate.
        u: ``U - threshold``, any shape.
    Returns:
        The derivative, same shape as ``u``.
    """
    if isinstance(spike_grad, Surrogate):
        return spike_grad.derivative(u)
    with torch.enable_grad():
        point = u.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(spike_grad(point).sum(), point)
    return gradient
