r"""What a neuron model can do: Izhikevich's and the AdEx model, and four questions for any model.

Between the LIF neuron and Hodgkin and Huxley's axon stand models of two variables, one fast (the potential) and one
slow (a recovery or an adaptation). A few constants decide whether they accommodate, rebound or burst.

A model here is a function of one step, in numpy's arithmetic alone: an array that counts its operations can go through
it, too, and then the code that simulates a model also states its price.

Explained in chapter 02. Sources: Izhikevich 2003 and 2004; Brette and Gerstner 2005.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from spikelab.validation import require_between, require_positive

State = tuple[np.ndarray, ...]
Step = Callable[[State, np.ndarray, float], tuple[State, np.ndarray]]


class StepModel(NamedTuple):
    """A neuron model that takes one step per call.

    Attributes:
        step: ``step(state, current, dt_ms)`` returns the state after the step and which neurons fired in it.
        rest: value of each state variable without input.
        dt_ms: duration of a step in ms.
        strongest: a constant current, in the model's own unit, that surely makes it fire within 300 ms.
    """

    step: Step
    rest: tuple[float, ...]
    dt_ms: float
    strongest: float


class Phenomena(NamedTuple):
    """What ``examine`` finds.

    Attributes:
        onset: weakest step of 300 ms that fires the model, in its own unit of current.
        ramp_fails: a ramp to 1.3 times the onset within 400 ms stays without a spike, where a step fires.
        rebounds: it fires once −6 times the onset, held for 200 ms, is let go.
        slowest_hz: slowest steady rate from 1.01 to 4 times the onset; 0 if it finds no steady rhythm.
        bursts: the longest interval of a lasting response is over three times the shortest.
    """

    onset: float
    ramp_fails: bool
    rebounds: bool
    slowest_hz: float
    bursts: bool


def izhikevich(a: float, b: float, c: float, d: float, *, dt_ms: float = 0.1, strongest: float = 40.0) -> StepModel:
    r"""Izhikevich's model: a parabola, a recovery variable, a reset.

    .. math:: \dot v = 0.04 v^2 + 5 v + 140 - u + I, \qquad \dot u = a\,(b v - u)

    with a spike at v = 30 mV, after which v is set to c and u raised by d. Forward Euler.

    Args:
        a: pace of the recovery in 1/ms.
        b: its sensitivity to the potential; at most 0.2668, above which the model has no rest.
        c: potential in mV after a spike.
        d: rise of the recovery at a spike.
        dt_ms: duration of a step in ms.
        strongest: see ``StepModel``.
    Returns:
        The model, with state (v, u).
    Raises:
        ValueError: if ``b`` leaves the model without rest, or ``a``, ``dt_ms`` or ``strongest`` is not positive.

    Explained in chapter 02. Source: Izhikevich 2003.
    """
    require_positive("a", a, "1/ms")
    require_between("b", b, -10.0, 5 - 22.4**0.5, "above that the model has no resting point")

    def step(state: State, current: np.ndarray, dt: float) -> tuple[State, np.ndarray]:
        v, u = (value.copy() for value in state)
        fired = v >= 30
        v[fired] = c
        u[fired] = u[fired] + d
        v, u = v + dt * (0.04 * v * v + 5 * v + 140 - u + current), u + dt * a * (b * v - u)
        return (v, u), v >= 30

    v = (b - 5 - np.sqrt((5 - b) ** 2 - 22.4)) / 0.08
    return _checked(StepModel(step, (float(v), float(b * v)), dt_ms, strongest))


def adex(a: float, b: float, v_reset: float, *, dt_ms: float = 0.1, strongest: float = 4000.0) -> StepModel:
    r"""The adaptive exponential integrate-and-fire neuron (AdEx).

    .. math:: C \dot V = -g (V - E) + g \Delta\, e^{(V - V_T)/\Delta} - w + I, \qquad \tau_w \dot w = a (V - E) - w

    with a spike at 0 mV, after which V is set to ``v_reset`` and w raised by b. C = 281 pF, g = 30 nS, E = −70.6 mV,
    :math:`V_T` = −50.4 mV, Δ = 2 mV and :math:`\tau_w` = 144 ms; currents are in pA. Forward Euler.

    Args:
        a: coupling of the adaptation to the potential in nS.
        b: rise of the adaptation at a spike in pA.
        v_reset: potential in mV after a spike, below 0.
        dt_ms: duration of a step in ms.
        strongest: see ``StepModel``.
    Returns:
        The model, with state (V, w).
    Raises:
        ValueError: if ``v_reset`` is not below 0 mV, or ``dt_ms`` or ``strongest`` is not positive.

    Explained in chapter 02. Source: Brette and Gerstner 2005.
    """
    require_between("v_reset", v_reset, -200.0, -1.0, "in mV, below the spike at 0 mV")

    def step(state: State, current: np.ndarray, dt: float) -> tuple[State, np.ndarray]:
        v, w = (value.copy() for value in state)
        fired = v >= 0
        v[fired] = v_reset
        w[fired] = w[fired] + b
        rise = -30 * (v + 70.6) + 60 * np.exp((v + 50.4) / 2) - w + current
        v, w = v + dt / 281 * rise, w + dt / 144 * (a * (v + 70.6) - w)
        return (v, w), v >= 0

    return _checked(StepModel(step, (-70.6, 0.0), dt_ms, strongest))


def fire(model: StepModel, current: np.ndarray) -> list[np.ndarray]:
    """Let a model run from rest, once for each column of currents.

    Args:
        model: the neuron.
        current: ``[T, N]`` in the model's own unit.
    Returns:
        Spike times in ms, one array for each of the N columns; a spike in step t is at ``t * dt_ms``.
    Raises:
        ValueError: if ``current`` has not two axes.

    Explained in chapter 02.
    """
    if np.ndim(current) != 2:
        raise ValueError(f"current must have shape [T, N], got {np.shape(current)}")
    state = tuple(np.full(current.shape[1], value) for value in model.rest)
    fired = np.zeros(current.shape, dtype=bool)
    with np.errstate(over="ignore"):  # an upstroke that a step of dt carries far beyond the spike
        for t, now in enumerate(current):
            state, fired[t] = model.step(state, now, model.dt_ms)
    return [np.flatnonzero(column) * model.dt_ms for column in fired.T]


def examine(model: StepModel) -> Phenomena:
    """Ask a model what it can do, in units of its own onset current.

    Args:
        model: the neuron.
    Returns:
        Its onset and what it does with a ramp, a release and a range of constant currents.
    Raises:
        ValueError: if even ``strongest`` does not fire it.

    Explained in chapter 02.
    """
    onset, dt = _onset(model), model.dt_ms
    t = dt * np.arange(round(500 / dt))
    probes = [np.minimum(t / 400, 1) * 1.3 * onset, np.full_like(t, 1.3 * onset), np.where(t < 200, -6 * onset, 0.0)]
    ramp, jump, release = fire(model, np.stack(probes, axis=1))
    levels = onset * (1 + np.geomspace(0.01, 3, 61))
    trains = fire(model, np.tile(levels, (round(800 / dt), 1)))
    gaps = [np.diff(train[train > 300]) for train in trains if (train > 600).sum() > 1]
    return Phenomena(
        onset=float(onset),
        ramp_fails=len(jump) > 0 and len(ramp) == 0,
        rebounds=bool((release > 200).any()),
        slowest_hz=min((1000 / float(gap.max()) for gap in gaps), default=0.0),
        bursts=any(bool(gap.max() > 3 * gap.min()) for gap in gaps),
    )


def _onset(model: StepModel) -> float:
    """Weakest step of 300 ms that fires the model, to one in 32,768 of ``strongest``."""
    low, high = 0.0, model.strongest
    steps = round(300 / model.dt_ms)
    for _ in range(3):
        grid = np.linspace(low, high, 33)
        fires = [len(train) > 0 for train in fire(model, np.tile(grid, (steps, 1)))]
        if not any(fires):
            raise ValueError(f"strongest must fire the model within 300 ms, but {model.strongest:g} does not")
        first = max(fires.index(True), 1)
        low, high = grid[first - 1], grid[first]
    return float(high)


def _checked(model: StepModel) -> StepModel:
    require_positive("dt_ms", model.dt_ms, "ms")
    require_positive("strongest", model.strongest)
    return model
