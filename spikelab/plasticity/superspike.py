r"""SuperSpike: gradient descent on a distance between spike trains, as a rule with three factors.

How far apart two spike trains are, van Rossum measures after smoothing both with an exponential:

.. math:: D^2 = \frac{dt}{\tau} \sum_t d_t^2, \qquad d_t = e^{-dt/\tau} d_{t-1} + a_t - b_t

SuperSpike smooths with a double exponential α instead and descends on :math:`\frac12 \sum_t (\alpha * (S^d - S))_t^2`:

.. math:: \Delta w_{ji} \propto \sum_t \underbrace{(\alpha * (S^d_i - S_i))_t}_\text{error}\;
          \Bigl(\alpha * \bigl[\,\underbrace{\varphi'(U_i - \theta)}_\text{output}\,
          \underbrace{(\varepsilon * S_j)}_\text{input}\bigr]\Bigr)_t

Output and input together are the eligibility of a synapse, which it can keep by itself while time runs; the error comes
from outside. As a surrogate SuperSpike is nothing of its own: φ' is that of ``fast_sigmoid``.

How it compares with backpropagation through time on the same loss:

- One layer of ``lif`` neurons (ε is :math:`\beta^k`, the reset carries no gradient): the same, to rounding.
- With another smoothing in the loss, van Rossum's single exponential for instance: nearly the same direction, and
  another length.
- Hidden layers: their error is the output error sent back through weights, at the same step. BPTT also multiplies it
  by the upper layer's φ' and spreads it over the upper membranes' past. With the transposed forward weights the
  direction hardly suffers in small nets; with fixed random ones little of it is left at the start.
- Weights that change at every step instead of after the sequence: a different path.

Explained in chapter 06. Source: Zenke and Ganguli 2018; van Rossum 2001.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from spikelab.plasticity.stdp import spike_trace
from spikelab.surrogate import SpikeFunction, derivative_of, fast_sigmoid
from spikelab.validation import require_between, require_positive, require_shape, require_tensor


def van_rossum(a: torch.Tensor, b: torch.Tensor, tau_ms: float, dt_ms: float = 1.0) -> torch.Tensor:
    r"""Squared distance of spike trains after exponential smoothing.

    .. math:: D^2 = \frac{dt}{\tau} \sum_t d_t^2, \qquad d_t = e^{-dt/\tau} d_{t-1} + a_t - b_t

    One spike against none is ½; the same spike shifted by δ is :math:`1 - e^{-|\delta|/\tau}`; in between lies what τ
    says. The exponential's tail beyond the last step is cut off.

    Args:
        a: spike trains ``[T, ...]``.
        b: spike trains of the same shape.
        tau_ms: how far apart two spikes may be to count as similar, in ms.
        dt_ms: duration of a step in ms; at fine steps the value does not depend on it.
    Returns:
        Squared distance per train ``[...]``, differentiable.
    Raises:
        ValueError: if shapes differ, a train is not finite or a constant is not positive.

    Explained in chapter 06. Source: van Rossum 2001.
    """
    require_tensor("a", a, min_dim=1, layout="[T, ...]")
    require_tensor("b", b, min_dim=1, layout="[T, ...]")
    require_shape("b", b, a.shape, "as a")
    difference = spike_trace(a - b, tau_ms, dt_ms=dt_ms, order="add-then-use")
    return dt_ms / tau_ms * difference.square().sum(0)


def double_exponential(
    signal: torch.Tensor, *, tau_rise_ms: float = 5.0, tau_decay_ms: float = 10.0, dt_ms: float = 1.0
) -> torch.Tensor:
    r"""Causal smoothing with :math:`\alpha_k \propto e^{-k\,dt/\tau_d} - e^{-k\,dt/\tau_r}`, normalised to sum 1.

    Args:
        signal: ``[T, ...]``.
        tau_rise_ms: τ_r in ms.
        tau_decay_ms: τ_d in ms, above ``tau_rise_ms``.
        dt_ms: duration of a step in ms.
    Returns:
        Smoothed signal ``[T, ...]``; a spike acts from the step after it on.
    Raises:
        ValueError: if ``signal`` has no time axis or is not finite, or a constant is out of range.

    Explained in chapter 06. Source: Zenke and Ganguli 2018.
    """
    require_tensor("signal", signal, min_dim=1, layout="[T, ...]")
    _, _, scale = _double_decay(tau_rise_ms, tau_decay_ms, dt_ms)
    slow = spike_trace(signal, tau_decay_ms, dt_ms=dt_ms, order="add-then-use")
    fast = spike_trace(signal, tau_rise_ms, dt_ms=dt_ms, order="add-then-use")
    return scale * (slow - fast)


def superspike_error(
    output: torch.Tensor,
    target: torch.Tensor,
    *,
    tau_rise_ms: float = 5.0,
    tau_decay_ms: float = 10.0,
    dt_ms: float = 1.0,
) -> torch.Tensor:
    """Third factor of an output layer: the smoothed difference of wanted and actual spikes.

    Args:
        output: the neurons' spikes ``[T, ..., O]``.
        target: wanted spikes, same shape.
        tau_rise_ms, tau_decay_ms, dt_ms: see ``double_exponential``.
    Returns:
        Error ``[T, ..., O]``, positive where spikes are missing. A hidden layer gets ``error @ feedback``.
    Raises:
        ValueError: if shapes differ, a train is not finite or a constant is out of range.

    Explained in chapter 06. Source: Zenke and Ganguli 2018.
    """
    require_tensor("output", output, min_dim=1, layout="[T, ...]")
    require_tensor("target", target, min_dim=1, layout="[T, ...]")
    require_shape("target", target, output.shape, "as output")
    return double_exponential(target - output, tau_rise_ms=tau_rise_ms, tau_decay_ms=tau_decay_ms, dt_ms=dt_ms)


def superspike_loss(
    output: torch.Tensor,
    target: torch.Tensor,
    *,
    tau_rise_ms: float = 5.0,
    tau_decay_ms: float = 10.0,
    dt_ms: float = 1.0,
) -> torch.Tensor:
    r"""What SuperSpike descends on: :math:`\frac12 \sum (\alpha * (S^d - S))^2` over steps, samples and neurons.

    Args:
        output, target, tau_rise_ms, tau_decay_ms, dt_ms: see ``superspike_error``.
    Returns:
        The loss, a scalar.
    Raises:
        ValueError: as ``superspike_error``.

    Explained in chapter 06. Source: Zenke and Ganguli 2018.
    """
    error = superspike_error(output, target, tau_rise_ms=tau_rise_ms, tau_decay_ms=tau_decay_ms, dt_ms=dt_ms)
    return 0.5 * error.square().sum()


class EligibilityState(NamedTuple):
    """What the synapses remember: the input potential ``[..., I]`` and two traces ``[..., I, O]``."""

    potential: torch.Tensor
    slow: torch.Tensor
    fast: torch.Tensor


def eligibility_step(
    pre: torch.Tensor,
    membrane: torch.Tensor,
    state: EligibilityState | None = None,
    *,
    beta: float,
    threshold: float = 1.0,
    spike_grad: SpikeFunction | None = None,
    tau_rise_ms: float = 5.0,
    tau_decay_ms: float = 10.0,
    dt_ms: float = 1.0,
) -> tuple[torch.Tensor, EligibilityState]:
    """One step of every synapse's eligibility while a simulation runs: the first two of the three factors.

    The change of weight of this step is ``lr * error.unsqueeze(-2) * eligibility``.

    Args:
        pre: input spikes of this step ``[..., I]``.
        membrane: potential of this step, reset included, as ``lif`` returns it ``[..., O]``.
        state: after the previous step; ``None`` before the first.
        beta: decay per step of the membrane.
        threshold: θ.
        spike_grad: gives φ'; ``fast_sigmoid()`` if not given.
        tau_rise_ms, tau_decay_ms, dt_ms: see ``double_exponential``.
    Returns:
        ``(eligibility [..., I, O], state)``.
    Raises:
        ValueError: if leading axes differ or a constant is out of range.

    Explained in chapter 06. Source: Zenke and Ganguli 2018.
    """
    beta, theta, surrogate = _checked_neuron(beta, threshold, spike_grad)
    rise, decay, scale = _double_decay(tau_rise_ms, tau_decay_ms, dt_ms)
    _check_shapes(pre, membrane, "[..., I]", "[..., O]")
    if state is None:
        start = torch.zeros_like(pre.unsqueeze(-1) * membrane.unsqueeze(-2))
        state = EligibilityState(torch.zeros_like(pre), start, start)
    potential = beta * state.potential + pre
    local = potential.unsqueeze(-1) * derivative_of(surrogate, membrane - theta).unsqueeze(-2)
    state = EligibilityState(potential, decay * state.slow + local, rise * state.fast + local)
    return scale * (state.slow - state.fast), state


def superspike(
    pre: torch.Tensor,
    membrane: torch.Tensor,
    error: torch.Tensor,
    *,
    beta: float,
    threshold: float = 1.0,
    spike_grad: SpikeFunction | None = None,
    tau_rise_ms: float = 5.0,
    tau_decay_ms: float = 10.0,
    dt_ms: float = 1.0,
) -> torch.Tensor:
    """Change of all weights over whole spike trains: the sum over steps of error times eligibility.

    The smoothing of the eligibility is moved to the error, where it runs backwards in time and costs one trace per
    neuron instead of one per synapse; ``eligibility_step`` gives the same sum step by step.

    Args:
        pre: input spikes ``[T, ..., I]``.
        membrane: potential, reset included, as ``lif`` returns it ``[T, ..., O]``.
        error: third factor ``[T, ..., O]``: ``superspike_error`` for outputs, that times feedback weights for others.
        beta, threshold, spike_grad, tau_rise_ms, tau_decay_ms, dt_ms: see ``eligibility_step``.
    Returns:
        Change of weight ``[..., I, O]``, to be multiplied by a learning rate and added.
    Raises:
        ValueError: if shapes do not fit, an input is not finite or a constant is out of range.

    Explained in chapter 06. Source: Zenke and Ganguli 2018.
    """
    require_tensor("pre", pre, min_dim=2, layout="[T, ..., I]")
    require_tensor("membrane", membrane, min_dim=2, layout="[T, ..., O]")
    require_tensor("error", error, min_dim=2, layout="[T, ..., O]")
    require_shape("error", error, membrane.shape, "as membrane")
    beta, theta, surrogate = _checked_neuron(beta, threshold, spike_grad)
    _check_shapes(pre, membrane, "[T, ..., I]", "[T, ..., O]")
    potential, potentials = torch.zeros_like(pre[0]) if len(pre) else None, []
    for step in pre:
        potential = beta * potential + step
        potentials.append(potential)
    smoothing = {"tau_rise_ms": tau_rise_ms, "tau_decay_ms": tau_decay_ms, "dt_ms": dt_ms}
    credit = double_exponential(error.flip(0), **smoothing).flip(0) * derivative_of(surrogate, membrane - theta)
    return torch.einsum("t...i,t...o->...io", torch.stack(potentials) if potentials else pre, credit)


def _double_decay(tau_rise_ms: float, tau_decay_ms: float, dt_ms: float) -> tuple[float, float, float]:
    """Decay per step of both exponentials, and the factor that makes their difference sum to 1."""
    dt = require_positive("dt_ms", dt_ms, "ms")
    tau_rise = require_positive("tau_rise_ms", tau_rise_ms, "ms")
    tau_decay = require_positive("tau_decay_ms", tau_decay_ms, "ms")
    if not tau_rise < tau_decay:
        raise ValueError(f"tau_rise_ms must be below tau_decay_ms = {tau_decay:g}, got {tau_rise:g}")
    rise, decay = math.exp(-dt / tau_rise), math.exp(-dt / tau_decay)
    return rise, decay, 1 / (1 / (1 - decay) - 1 / (1 - rise))


def _checked_neuron(beta: float, threshold: float, spike_grad: SpikeFunction | None):
    beta = require_between("beta", beta, 0.0, 1.0, "a decay per step; to convert a time constant use decay_from_tau")
    return beta, require_positive("threshold", threshold), fast_sigmoid() if spike_grad is None else spike_grad


def _check_shapes(pre: torch.Tensor, membrane: torch.Tensor, pre_layout: str, membrane_layout: str) -> None:
    if pre.dim() < 1 or pre.shape[:-1] != membrane.shape[:-1]:
        raise ValueError(
            f"pre {pre_layout} and membrane {membrane_layout} must agree in all axes but the last, "
            f"got {tuple(pre.shape)} and {tuple(membrane.shape)}"
        )
