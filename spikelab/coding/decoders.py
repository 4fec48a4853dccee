"""Decoders: spike trains, membranes and currents become numbers again. Explained in chapter 03."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from spikelab.coding.encoders import require_open_unit, require_period
from spikelab.validation import require_positive, require_shape, require_tensor


def spike_count(spikes: torch.Tensor) -> torch.Tensor:
    """Spikes of each neuron over the whole sequence.

    Args:
        spikes: ``[T, B, ...]``.
    Returns:
        Counts ``[B, ...]``, dtype of ``spikes``. A count of T steps knows T + 1 values.
    Raises:
        ValueError: if ``spikes`` has no time axis or no step.

    Explained in chapter 03.
    """
    return _train("spikes", spikes).sum(0)


def first_spike(spikes: torch.Tensor) -> torch.Tensor:
    """Step of the first spike of each neuron; T, later than any step, for a neuron that stays silent.

    Args:
        spikes: ``[T, B, ...]``.
    Returns:
        Steps ``[B, ...]``, int64, 0 to T.
    Raises:
        ValueError: if ``spikes`` has no time axis or no step.

    Explained in chapter 03; chapter 07 decides by it.
    """
    fired = _train("spikes", spikes) != 0
    return torch.where(fired.any(0), fired.int().argmax(0), len(spikes))


def last_membrane(membrane: torch.Tensor) -> torch.Tensor:
    """Potential after the last step: a real number where a count is an integer.

    For an integrate-and-fire neuron with reset by subtraction it holds what the count leaves out: the sum
    of the input is θ times the spikes before the last step plus this. Of a neuron that never fires it is
    the (leaky) sum itself.

    Args:
        membrane: ``[T, B, ...]``, as ``lif`` returns it (before the reset of the last spike).
    Returns:
        Potentials ``[B, ...]``.
    Raises:
        ValueError: if ``membrane`` has no time axis or no step.

    Explained in chapter 03.
    """
    return _train("membrane", membrane)[-1]


def current_mean(spikes: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    r"""Mean over time of the current into the output neurons, which need not spike at all.

    .. math:: y = \frac{1}{T} \sum_{t=1}^{T} \left( W S_t + b \right) = W \bar{S} + b

    The layer is linear, so the mean of the spikes is taken first: one matrix product instead of T.

    Args:
        spikes: spikes of the layer before the output ``[T, B, N]``.
        weight: W ``[M, N]``.
        bias: b ``[M]``; none if None.
    Returns:
        Real-valued outputs ``[B, M]``.
    Raises:
        ValueError: if ``spikes`` is not ``[T, B, N]`` with T at least 1, or the shapes do not fit.

    Explained in chapter 03; the heads of chapter 12 use it. Source: paper 2, eq. 6 (its inner index is i,
    its outer one t), with the bias of eq. 2.
    """
    _train("spikes", spikes)
    if spikes.dim() != 3:
        raise ValueError(f"spikes must have three axes [T, B, N], got shape {tuple(spikes.shape)}")
    require_tensor("weight", weight)
    if weight.dim() != 2 or weight.shape[1] != spikes.shape[2]:
        raise ValueError(
            f"weight must have shape [M, N] with N = {spikes.shape[2]} as in spikes, got {tuple(weight.shape)}"
        )
    if bias is not None:
        require_shape("bias", require_tensor("bias", bias), weight.shape[:1], "one per row of weight")
    return F.linear(spikes.mean(0), weight, bias)


def rate_decode(spikes: torch.Tensor, *, max_rate_hz: float = 1000.0, dt_ms: float = 1.0) -> torch.Tensor:
    r"""Estimate the intensities behind a rate code: count over the count of an element of intensity 1.

    For ``poisson`` the standard error is :math:`\sqrt{p(1-p)/T}` of the probability p per step, so half the
    error costs four times the steps.

    Args:
        spikes: ``[T, B, ...]``.
        max_rate_hz: rate that stands for 1, in Hz.
        dt_ms: duration of a step in ms.
    Returns:
        Intensities ``[B, ...]``; an estimate, so it may exceed 1.
    Raises:
        ValueError: if ``spikes`` has no time axis or no step, or a constant is not positive.

    Explained in chapter 03.
    """
    per_step = require_positive("max_rate_hz", max_rate_hz, "Hz") * require_positive("dt_ms", dt_ms, "ms") / 1000
    return spike_count(spikes) / (len(spikes) * per_step)


def latency_decode(
    spikes: torch.Tensor, *, tau: float = 5.0, threshold: float = 0.01, linear: bool = False
) -> torch.Tensor:
    r"""Estimate the intensities behind a latency code from the first spike; silence is read as 0.

    RC: a spike in step k says that the threshold was crossed between k and k + 1; the estimate is the
    intensity that crosses at k + ½, :math:`x = \theta / (1 - e^{-(k + 1/2)/\tau})`, at most 1. Linear:
    :math:`1 - k / (T - 1)`.

    Args:
        spikes: ``[T, B, ...]``; T at least 2 if linear.
        tau, threshold, linear: as in ``latency``.
    Returns:
        Intensities ``[B, ...]`` in [0, 1], dtype of ``spikes``.
    Raises:
        ValueError: if ``spikes`` has too few steps, ``tau`` is not positive or ``threshold`` out of range.

    Explained in chapter 03.
    """
    step = first_spike(spikes)
    tau, theta = require_positive("tau", tau, "steps"), require_open_unit("threshold", threshold)
    if linear:
        if len(spikes) < 2:
            raise ValueError(f"spikes must have at least 2 steps for a linear latency code, got {len(spikes)}")
        value = 1 - step.to(spikes.dtype) / (len(spikes) - 1)
    else:
        value = (-theta / torch.expm1(-(step.to(spikes.dtype) + 0.5) / tau)).clamp(max=1)
    return torch.where(step < len(spikes), value, torch.zeros_like(value))


def phase_decode(spikes: torch.Tensor, period: int = 8) -> torch.Tensor:
    r"""Read a phase code: step k of a cycle is worth :math:`2^{-(k+1)}`; the mean over cycles.

    Exact for multiples of :math:`2^{-P}`; other intensities come back rounded down, by less than
    :math:`2^{-P}`.

    Args:
        spikes: ``[T, B, ...]``, T at most ``period`` or a multiple of it.
        period: P, digits per cycle.
    Returns:
        Intensities ``[B, ...]``, 0 to :math:`1 - 2^{-P}`, dtype of ``spikes``.
    Raises:
        ValueError: if T or ``period`` is out of range.

    Explained in chapter 03.
    """
    cycle = require_period(period)
    steps = len(_train("spikes", spikes))
    if steps > cycle and steps % cycle:
        raise ValueError(f"spikes must have at most period={cycle} steps or a multiple of it, got {steps}")
    k = torch.arange(steps, device=spikes.device) % cycle
    worth = (2.0 ** -(k + 1).to(spikes.dtype)).view(-1, *[1] * (spikes.dim() - 1))
    return (worth * spikes).sum(0) / max(steps // cycle, 1)


def delta_decode(events: torch.Tensor, threshold: float) -> torch.Tensor:
    """Rebuild a signal from its changes: θ times the running sum of the events.

    If the signal moves by less than θ per step, the result stays within θ of it, once it has caught up with
    where the signal started.

    Args:
        events: 1, −1 or 0, ``[T, ...]``.
        threshold: θ of the encoder.
    Returns:
        The reconstruction ``[T, ...]``.
    Raises:
        ValueError: if ``events`` has no time axis or no step, or ``threshold`` is not positive.

    Explained in chapter 03.
    """
    return require_positive("threshold", threshold) * _train("events", events).cumsum(0)


def _train(name: str, value: torch.Tensor) -> torch.Tensor:
    require_tensor(name, value, min_dim=1, layout="[T, ...]")
    if len(value) == 0:
        raise ValueError(f"{name} must hold at least one time step [T, ...], got shape {tuple(value.shape)}")
    return value
