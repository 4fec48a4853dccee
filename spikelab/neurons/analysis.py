r"""What to ask of a neuron: when it fires, how fast, how regularly, and from which current on.

Under a constant drive :math:`R I` a membrane climbs from 0 as :math:`U(t) = R I (1 - e^{-t/\tau})`, so it
reaches the threshold after :math:`\tau \ln\frac{R I}{R I - \theta}`. Add the refractory period and invert:

.. math:: f = \frac{1}{t_\text{ref} + \tau \ln \frac{R I}{R I - \theta}}

if :math:`R I > \theta`, else 0.

Time is the first axis of every spike train ``[T, ...]``; step ``t`` counts as the time ``t * dt_ms``. Trains
too short to answer a question get a documented answer (an empty tensor, 0 Hz or NaN) and no error: a silent
neuron is a result.

Explained in chapters 01 (rates) and 03 (statistics).
"""

from __future__ import annotations

import math

import torch

from spikelab.neurons.integrate_and_fire import decay_from_tau, lif
from spikelab.validation import (
    require_between,
    require_non_negative,
    require_positive,
    require_tensor,
    require_unit_interval,
)


def rheobase(beta: float, threshold: float = 1.0) -> float:
    r"""Largest constant current per step that an LIF neuron ignores for ever: :math:`\theta (1 - \beta)`.

    In the course's convention ``U[t] = beta U[t-1] + I`` settles at ``I / (1 - beta)``; the neuron fires once
    that exceeds the threshold. In physical units the rheobase is the current with ``R I = theta``.

    Args:
        beta: decay per step, 0 to 1; 1 (no leak) has rheobase 0.
        threshold: firing threshold, in units of the membrane.
    Returns:
        The current, in units of the membrane per step.
    Raises:
        ValueError: if ``beta`` is outside [0, 1] or ``threshold`` not positive.

    Explained in chapter 01.
    """
    beta = require_between("beta", beta, 0.0, 1.0, "a decay per step; decay_from_tau converts a time constant")
    return require_positive("threshold", threshold) * (1.0 - beta)


def lif_rate_hz(
    drive_mv: float | torch.Tensor, tau_ms: float, threshold_mv: float, t_ref_ms: float = 0.0
) -> float | torch.Tensor:
    r"""Firing rate of an LIF neuron under a constant drive, in closed form (continuous time, reset to zero).

    .. math:: f = \frac{1000}{t_\text{ref} + \tau \ln \frac{R I}{R I - \theta}}

    Args:
        drive_mv: R I, the potential that the current would reach without a threshold, mV above rest; a number
            or a tensor of any shape.
        tau_ms: membrane time constant.
        threshold_mv: threshold, mV above rest.
        t_ref_ms: absolute refractory period.
    Returns:
        Rate in Hz: a float for a number, a float64 tensor of the same shape for a tensor. 0 at and below
        rheobase (``drive_mv <= threshold_mv``); never above ``1000 / t_ref_ms``.
    Raises:
        ValueError: if ``tau_ms`` or ``threshold_mv`` is not positive, ``t_ref_ms`` negative or the drive not
            finite.

    Explained in chapter 01.
    """
    tau = require_positive("tau_ms", tau_ms, "ms")
    theta = require_positive("threshold_mv", threshold_mv, "mV above rest")
    t_ref = require_non_negative("t_ref_ms", t_ref_ms, "ms")
    is_number = not isinstance(drive_mv, torch.Tensor)
    if is_number:
        drive_mv = torch.tensor(float(drive_mv), dtype=torch.float64)
    drive = require_tensor("drive_mv", drive_mv).double()
    fires = drive > theta
    safe = torch.where(fires, drive, 2 * theta)  # keeps the unused branch of the logarithm finite
    climb_ms = -tau * torch.log1p(-theta / safe)
    rate = torch.where(fires, 1000.0 / (t_ref + climb_ms), 0.0)
    return rate.item() if is_number else rate


def measured_fi_curve(
    drive_mv: torch.Tensor,
    *,
    tau_ms: float,
    threshold_mv: float,
    t_ref_ms: float = 0.0,
    dt_ms: float = 0.1,
    duration_ms: float = 1000.0,
) -> torch.Tensor:
    """Firing rates of simulated LIF neurons, one per constant drive: what to hold against ``lif_rate_hz``.

    The neurons reset to zero. The rate is that of the steady state, (spikes - 1) / (last - first spike), which
    does not depend on where the recording stops.

    Args:
        drive_mv: R I of each neuron ``[N]``, mV above rest.
        tau_ms: membrane time constant.
        threshold_mv: threshold, mV above rest.
        t_ref_ms: absolute refractory period, rounded to whole steps.
        dt_ms: time step of the simulation; spikes wait for the next step, so rates come out low as it grows.
        duration_ms: length of the simulation.
    Returns:
        Rates ``[N]`` in Hz, float64. A neuron with fewer than two spikes has rate 0: simulate for longer.
    Raises:
        ValueError: if ``drive_mv`` is no finite ``[N]`` tensor, a time is out of range or the duration below
            one step.

    Explained in chapter 01.
    """
    require_tensor("drive_mv", drive_mv, min_dim=1, layout="[N]")
    if drive_mv.dim() != 1:
        raise ValueError(f"drive_mv must have one axis [N], got shape {tuple(drive_mv.shape)}")
    theta = require_positive("threshold_mv", threshold_mv, "mV above rest")
    t_ref = require_non_negative("t_ref_ms", t_ref_ms, "ms")
    dt = require_positive("dt_ms", dt_ms, "ms")
    duration = require_positive("duration_ms", duration_ms, "ms")
    if duration < dt:
        raise ValueError(f"duration_ms must be at least one step of {dt:g} ms, got {duration:g}")
    beta = decay_from_tau(tau_ms, dt)
    current = (1 - beta) * drive_mv.detach().double()  # mV per step: the gain of the exact update
    spikes = lif(
        current.expand(round(duration / dt), -1),
        beta=beta,
        threshold=theta,
        reset="zero",
        refractory_steps=round(t_ref / dt),
    ).spikes
    steps = torch.arange(len(spikes), dtype=torch.float64).unsqueeze(1)
    count = spikes.sum(0)
    last = (steps * spikes).amax(0)
    first = torch.where(spikes > 0, steps, float("inf")).amin(0)
    return torch.where(count >= 2, 1000.0 * (count - 1) / ((last - first) * dt), 0.0)


def firing_rate_hz(spikes: torch.Tensor, dt_ms: float = 1.0) -> torch.Tensor:
    """Mean firing rate of each train: spikes divided by the time recorded.

    Args:
        spikes: spike trains ``[T, ...]`` of 0 and 1, T at least 1.
        dt_ms: time step.
    Returns:
        Rates ``[...]`` in Hz; a silent train has rate 0.
    Raises:
        ValueError: if ``spikes`` is no ``[T, ...]`` tensor of 0 and 1 with T at least 1, or ``dt_ms`` not
            positive.

    Explained in chapter 01.
    """
    _require_spikes(spikes)
    if len(spikes) == 0:
        raise ValueError(f"spikes must hold at least one time step [T, ...], got shape {tuple(spikes.shape)}")
    return spikes.mean(0) * (1000.0 / require_positive("dt_ms", dt_ms, "ms"))


def spike_times(spikes: torch.Tensor, dt_ms: float = 1.0) -> torch.Tensor:
    """Times of the spikes of one train.

    Args:
        spikes: one spike train ``[T]`` of 0 and 1.
        dt_ms: time step.
    Returns:
        Times ``[n]`` in ms, rising, float64; step t is at ``t * dt_ms``. Empty for a silent train.
    Raises:
        ValueError: if ``spikes`` is no ``[T]`` tensor of 0 and 1, or ``dt_ms`` not positive.

    Explained in chapter 01.
    """
    _require_spikes(spikes, one_train=True)
    return spikes.nonzero().squeeze(1).double() * require_positive("dt_ms", dt_ms, "ms")


def crossing_times(membrane: torch.Tensor, threshold: float, dt_ms: float = 1.0) -> torch.Tensor:
    """Times at which one membrane trace rises through a level, interpolated between steps.

    For models without a spike variable, such as Hodgkin-Huxley, where a crossing of 0 mV stands for a spike.

    Args:
        membrane: one trace ``[T]``.
        threshold: the level, in the unit of the trace.
        dt_ms: time step.
    Returns:
        Times ``[n]`` in ms, rising, float64, with sample t at ``t * dt_ms``. Empty if the trace never rises
        through the level.
    Raises:
        ValueError: if ``membrane`` is no finite ``[T]`` tensor, or ``dt_ms`` not positive.

    Explained in chapter 02.
    """
    require_tensor("membrane", membrane, layout="[T]")
    if membrane.dim() != 1:
        raise ValueError(f"membrane must be one trace [T], got shape {tuple(membrane.shape)}")
    dt = require_positive("dt_ms", dt_ms, "ms")
    level = require_between("threshold", threshold, -math.inf, math.inf)
    above = membrane.detach().double() - level
    before = ((above[:-1] <= 0) & (above[1:] > 0)).nonzero().squeeze(1)
    return dt * (before + above[before] / (above[before] - above[before + 1]))


def interspike_intervals(spikes: torch.Tensor, dt_ms: float = 1.0) -> torch.Tensor:
    """Intervals between neighbouring spikes, pooled over trains.

    Args:
        spikes: spike trains ``[T, ...]`` of 0 and 1.
        dt_ms: time step.
    Returns:
        Intervals ``[n]`` in ms, float64, train after train; no interval spans two trains. A train with k spikes
        gives k - 1 intervals, a silent train or one with a single spike none.
    Raises:
        ValueError: if ``spikes`` is no ``[T, ...]`` tensor of 0 and 1, or ``dt_ms`` not positive.

    Explained in chapter 01.
    """
    _require_spikes(spikes)
    train, step = spikes.reshape(len(spikes), math.prod(spikes.shape[1:])).T.nonzero(as_tuple=True)
    same_train = train[1:] == train[:-1]
    return (step[1:] - step[:-1])[same_train].double() * require_positive("dt_ms", dt_ms, "ms")


def coefficient_of_variation(intervals: torch.Tensor) -> float:
    """Irregularity of a spike train: standard deviation of its intervals over their mean.

    0 for a clock, 1 for a Poisson process in continuous time.

    Args:
        intervals: interspike intervals, any unit and shape, positive (``interspike_intervals`` gives them).
    Returns:
        The coefficient; NaN for fewer than two intervals, which have no spread.
    Raises:
        ValueError: if ``intervals`` is no finite floating-point tensor or not all positive.

    Explained in chapter 03.
    """
    require_tensor("intervals", intervals)
    if (intervals <= 0).any():
        raise ValueError(f"intervals must be positive, got {intervals.min().item():g}")
    if intervals.numel() < 2:
        return math.nan
    values = intervals.detach().double()
    return (values.std() / values.mean()).item()


def fano_factor(counts: torch.Tensor) -> float:
    """Variability of spike counts: variance over mean, across trials or windows of equal length.

    0 for a clock, 1 for a Poisson process in continuous time, 1 - p for a spike with probability p per step.

    Args:
        counts: spike counts, any shape, zero or more; ``spikes.sum(0)`` gives those of trains ``[T, ...]``.
    Returns:
        The factor; NaN for fewer than two counts, or if all are zero.
    Raises:
        ValueError: if ``counts`` is no finite floating-point tensor or holds a negative count.

    Explained in chapter 03.
    """
    require_tensor("counts", counts)
    if (counts < 0).any():
        raise ValueError(f"counts must be zero or more, got {counts.min().item():g}")
    values = counts.detach().double()
    if values.numel() < 2 or values.sum() == 0:
        return math.nan
    return (values.var() / values.mean()).item()


def _require_spikes(spikes: torch.Tensor, one_train: bool = False) -> None:
    layout = "[T]" if one_train else "[T, ...]"
    require_tensor("spikes", spikes, min_dim=1, layout=layout)
    if one_train and spikes.dim() != 1:
        raise ValueError(f"spikes must be one train [T], got shape {tuple(spikes.shape)} (take one column)")
    require_unit_interval("spikes", spikes, "a spike is 0 or 1")
    if ((spikes != 0) & (spikes != 1)).any():
        raise ValueError("spikes must hold only 0 and 1, got values in between (a membrane? see crossing_times)")
