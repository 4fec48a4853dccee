r"""The Hodgkin-Huxley model of the squid giant axon.

A membrane with three conductances, two of which open and close with the voltage,

.. math::

    C \frac{dV}{dt} &= I - g_{Na} m^3 h (V - E_{Na}) - g_K n^4 (V - E_K) - g_L (V - E_L) \\
    \frac{dx}{dt} &= \alpha_x(V) (1 - x) - \beta_x(V)\, x, \qquad x \in \{m, h, n\}

in ms, mV, µA/cm², mS/cm² and µF/cm², with V the inside potential (rest near −65 mV). The equations hold no
threshold and no refractory period: both emerge.

Given V, each gate is a *linear* equation that relaxes to :math:`x_\infty = \alpha/(\alpha+\beta)` with time constant
:math:`1/(\alpha+\beta)`, and given the gates so is V. Exponential Euler solves each of them exactly over a step: first
the gates with the old V, then V with the new gates. That makes it stable for any dt, and second order in the spike
times because gates and V leap over each other; it does not make it exact: halve dt until spike times stop moving.

Explained in chapter 02. Source: Hodgkin and Huxley 1952, in the modern sign convention.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from spikelab.validation import require_choice, require_positive, require_shape, require_tensor

METHODS = ("exponential_euler", "rk4")
REST_MV = -65.0
_SERIES_BELOW = 1e-3  # where x / (1 - exp(-x)) becomes 1 + x/2 + x²/12; the next term, x⁴/720, is 1e-15 there


class HHParameters(NamedTuple):
    """Constants of the membrane; the defaults are the squid axon's at 6.3 °C.

    A conductance may also be a tensor that broadcasts with the current ``[...]``: several membranes at once.

    Attributes:
        capacitance: C in µF/cm².
        g_na: largest sodium conductance in mS/cm².
        g_k: largest potassium conductance in mS/cm².
        g_leak: leak conductance in mS/cm².
        e_na: reversal potential of sodium in mV.
        e_k: reversal potential of potassium in mV.
        e_leak: reversal potential of the leak in mV.
    """

    capacitance: float = 1.0
    g_na: float | torch.Tensor = 120.0
    g_k: float | torch.Tensor = 36.0
    g_leak: float | torch.Tensor = 0.3
    e_na: float = 50.0
    e_k: float = -77.0
    e_leak: float = -54.387


SQUID_AXON = HHParameters()


class HHState(NamedTuple):
    """Potential in mV and the open fractions of the three gates, each ``[...]``."""

    v_mv: torch.Tensor
    m: torch.Tensor
    h: torch.Tensor
    n: torch.Tensor


class HHTrace(NamedTuple):
    """What ``simulate`` returns: the state after each step.

    Attributes:
        v_mv: membrane potential ``[T, ...]`` in mV; ``v_mv[t]`` is the potential at time ``(t + 1) * dt_ms``.
        m: activation of sodium ``[T, ...]``, 0 to 1.
        h: inactivation of sodium ``[T, ...]``, 0 (shut) to 1 (available).
        n: activation of potassium ``[T, ...]``, 0 to 1.
        state: state after the last step, to be passed to the next call.
    """

    v_mv: torch.Tensor
    m: torch.Tensor
    h: torch.Tensor
    n: torch.Tensor
    state: HHState


def alpha_m(v_mv: torch.Tensor) -> torch.Tensor:
    r"""Opening rate of m per ms: :math:`0.1 (V+40) / (1 - e^{-(V+40)/10})`, with its limit 1 at −40 mV."""
    return _alpha_m(require_tensor("v_mv", v_mv))


def beta_m(v_mv: torch.Tensor) -> torch.Tensor:
    r"""Closing rate of m per ms: :math:`4 e^{-(V+65)/18}`."""
    return _beta_m(require_tensor("v_mv", v_mv))


def alpha_h(v_mv: torch.Tensor) -> torch.Tensor:
    r"""Opening rate of h per ms: :math:`0.07 e^{-(V+65)/20}`."""
    return _alpha_h(require_tensor("v_mv", v_mv))


def beta_h(v_mv: torch.Tensor) -> torch.Tensor:
    r"""Closing rate of h per ms: :math:`1 / (1 + e^{-(V+35)/10})`."""
    return _beta_h(require_tensor("v_mv", v_mv))


def alpha_n(v_mv: torch.Tensor) -> torch.Tensor:
    r"""Opening rate of n per ms: :math:`0.01 (V+55) / (1 - e^{-(V+55)/10})`, with its limit 0.1 at −55 mV."""
    return _alpha_n(require_tensor("v_mv", v_mv))


def beta_n(v_mv: torch.Tensor) -> torch.Tensor:
    r"""Closing rate of n per ms: :math:`0.125 e^{-(V+65)/80}`."""
    return _beta_n(require_tensor("v_mv", v_mv))


def gate_steady_state(v_mv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Open fractions ``(m, h, n)`` that the gates settle at when V is held at ``v_mv``; same shape as ``v_mv``."""
    v = require_tensor("v_mv", v_mv)
    return tuple(opening / (opening + closing) for opening, closing in _rates(v))


def gate_time_constants(v_mv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Time constants ``(τ_m, τ_h, τ_n)`` in ms with which the gates get there; same shape as ``v_mv``."""
    v = require_tensor("v_mv", v_mv)
    return tuple(1 / (opening + closing) for opening, closing in _rates(v))


def resting_state(v_mv: torch.Tensor | float = REST_MV) -> HHState:
    """State of a membrane that has been held at ``v_mv`` for long: its gates are at their steady state.

    Args:
        v_mv: potential in mV, a number or a tensor ``[...]`` (one value per membrane). At the default, −65 mV, the
            squid axon's ionic currents cancel to 0.004 µA/cm², so without input it stays there.
    Returns:
        State with ``v_mv``'s shape; a number gives float64 scalars.
    Raises:
        ValueError: if ``v_mv`` is not finite.

    Explained in chapter 02.
    """
    if not isinstance(v_mv, torch.Tensor):
        v_mv = torch.tensor(v_mv, dtype=torch.float64)
    return HHState(v_mv, *gate_steady_state(v_mv))


def ionic_current(
    v_mv: torch.Tensor,
    m: torch.Tensor,
    h: torch.Tensor,
    n: torch.Tensor,
    parameters: HHParameters = SQUID_AXON,
) -> torch.Tensor:
    r"""Current that the channels carry out of the cell: sodium, potassium and leak together.

    .. math:: I_{ion} = g_{Na} m^3 h (V - E_{Na}) + g_K n^4 (V - E_K) + g_L (V - E_L)

    Args:
        v_mv: membrane potential ``[...]`` in mV.
        m: activation of sodium ``[...]``.
        h: inactivation of sodium, same shape.
        n: activation of potassium, same shape.
        parameters: constants of the membrane.
    Returns:
        Current density ``[...]`` in µA/cm², outward positive; the membrane obeys C dV/dt = I − this.
    Raises:
        ValueError: if an argument is not finite, shapes differ or a constant is not physical.

    Explained in chapter 02.
    """
    state = _checked_state(HHState(v_mv, m, h, n), v_mv)
    return _ionic_current(state, _checked_parameters(parameters))


def hh_step(
    current_ua_cm2: torch.Tensor,
    state: HHState,
    *,
    dt_ms: float = 0.01,
    method: str = "exponential_euler",
    parameters: HHParameters = SQUID_AXON,
) -> HHState:
    """Advance Hodgkin-Huxley membranes by one step of constant current.

    Args:
        current_ua_cm2: injected current density ``[...]`` in µA/cm², inward positive.
        state: state after the previous step, of the same shape; ``resting_state`` makes the first.
        dt_ms: duration of the step in ms; 0.05 and less keeps a spike time within about 0.03 ms.
        method: ``"exponential_euler"`` (stable for any dt) or ``"rk4"`` (fourth order, diverges from dt ≈ 0.1 ms on).
        parameters: constants of the membrane.
    Returns:
        State after the step.
    Raises:
        ValueError: if the input is not finite, shapes differ, ``dt_ms`` is not positive, ``method`` is unknown or a
            constant is not physical.

    Explained in chapter 02.
    """
    require_tensor("current_ua_cm2", current_ua_cm2)
    require_choice("method", method, METHODS)
    dt = require_positive("dt_ms", dt_ms, "ms")
    state = _checked_state(state, current_ua_cm2)
    return _STEP[method](current_ua_cm2, state, dt, _checked_parameters(parameters))


def simulate(
    current_ua_cm2: torch.Tensor,
    *,
    dt_ms: float = 0.01,
    method: str = "exponential_euler",
    parameters: HHParameters = SQUID_AXON,
    state: HHState | None = None,
) -> HHTrace:
    """Integrate Hodgkin-Huxley membranes over a whole current trace.

    Args:
        current_ua_cm2: injected current density ``[T, ...]`` in µA/cm², inward positive, constant over each step.
        dt_ms: duration of a step in ms.
        method: ``"exponential_euler"`` (gates first, then V with the new gates; stable for any dt) or ``"rk4"``.
        parameters: constants of the membrane.
        state: state before the first step; by default every membrane rests at −65 mV.
    Returns:
        Potential and gates after each step, and the last state. Differentiable in the current and in the conductances.
    Raises:
        ValueError: if the current has no time axis or is not finite, ``dt_ms`` is not positive, ``method`` is unknown,
            a constant is not physical, or the potential diverges (only ``"rk4"`` with too large a step).

    Explained in chapter 02. Source: Hodgkin and Huxley 1952.
    """
    require_tensor("current_ua_cm2", current_ua_cm2, min_dim=1, layout="[T, ...] in µA/cm²")
    require_choice("method", method, METHODS)
    dt = require_positive("dt_ms", dt_ms, "ms")
    if len(current_ua_cm2) == 0:
        shape = tuple(current_ua_cm2.shape)
        raise ValueError(f"current_ua_cm2 must have at least one time step, got shape {shape}")
    if state is None:
        state = resting_state(torch.full_like(current_ua_cm2[0], REST_MV))
    state = _checked_state(state, current_ua_cm2[0])
    parameters = _checked_parameters(parameters)
    step = _STEP[method]
    states = []
    for current in current_ua_cm2:
        state = step(current, state, dt, parameters)
        states.append(state)
    if not torch.isfinite(state.v_mv).all():
        raise ValueError(f"dt_ms must be smaller for method {method!r}: at {dt:g} ms the potential diverged")
    return HHTrace(*(torch.stack(variable) for variable in zip(*states, strict=True)), state)


# --- the equations, without checks (they run once per step) ---


def _linoid(x: torch.Tensor) -> torch.Tensor:
    """x / (1 − e^(−x)) with its limit at 0; the unused branch stays finite, or its gradient would be NaN."""
    near_zero = x.abs() < _SERIES_BELOW
    safe = torch.where(near_zero, 1.0, x)
    return torch.where(near_zero, 1 + x / 2 + x * x / 12, -safe / torch.expm1(-safe))


def _alpha_m(v: torch.Tensor) -> torch.Tensor:
    return _linoid((v + 40) / 10)


def _beta_m(v: torch.Tensor) -> torch.Tensor:
    return 4 * torch.exp(-(v + 65) / 18)


def _alpha_h(v: torch.Tensor) -> torch.Tensor:
    return 0.07 * torch.exp(-(v + 65) / 20)


def _beta_h(v: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid((v + 35) / 10)


def _alpha_n(v: torch.Tensor) -> torch.Tensor:
    return 0.1 * _linoid((v + 55) / 10)


def _beta_n(v: torch.Tensor) -> torch.Tensor:
    return 0.125 * torch.exp(-(v + 65) / 80)


def _rates(v: torch.Tensor) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
    return (_alpha_m(v), _beta_m(v)), (_alpha_h(v), _beta_h(v)), (_alpha_n(v), _beta_n(v))


def _conductances(state: HHState, p: HHParameters) -> tuple[torch.Tensor, torch.Tensor]:
    _, m, h, n = state
    return p.g_na * (m * m * m * h), p.g_k * (n * n).square()


def _ionic_current(state: HHState, p: HHParameters) -> torch.Tensor:
    g_na, g_k = _conductances(state, p)
    v = state.v_mv
    return g_na * (v - p.e_na) + g_k * (v - p.e_k) + p.g_leak * (v - p.e_leak)


def _relax(x: torch.Tensor, goal: torch.Tensor, steps_per_tau: torch.Tensor) -> torch.Tensor:
    """Exact solution of τ dx/dt = goal − x after dt = steps_per_tau · τ."""
    return goal + (x - goal) * torch.exp(-steps_per_tau)


def _exponential_euler(current: torch.Tensor, state: HHState, dt: float, p: HHParameters) -> HHState:
    v, *gates = state
    opened = []
    for x, (opening, closing) in zip(gates, _rates(v), strict=True):
        total = opening + closing
        opened.append(_relax(x, opening / total, total * dt))
    state = HHState(v, *opened)
    g_na, g_k = _conductances(state, p)
    total = g_na + g_k + p.g_leak
    goal = (current + g_na * p.e_na + g_k * p.e_k + p.g_leak * p.e_leak) / total
    return state._replace(v_mv=_relax(v, goal, total * (dt / p.capacitance)))


def _slope(current: torch.Tensor, state: HHState, p: HHParameters) -> HHState:
    dv = (current - _ionic_current(state, p)) / p.capacitance
    v, *gates = state
    moves = (opening * (1 - x) - closing * x for x, (opening, closing) in zip(gates, _rates(v), strict=True))
    return HHState(dv, *moves)


def _moved(state: HHState, slope: HHState, dt: float) -> HHState:
    return HHState(*(x + dt * dx for x, dx in zip(state, slope, strict=True)))


def _rk4(current: torch.Tensor, state: HHState, dt: float, p: HHParameters) -> HHState:
    k1 = _slope(current, state, p)
    k2 = _slope(current, _moved(state, k1, dt / 2), p)
    k3 = _slope(current, _moved(state, k2, dt / 2), p)
    k4 = _slope(current, _moved(state, k3, dt), p)
    mean = HHState(*((a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4, strict=True)))
    return _moved(state, mean, dt)


_STEP = {"exponential_euler": _exponential_euler, "rk4": _rk4}


# --- checks ---


def _checked_state(state: HHState, like: torch.Tensor) -> HHState:
    if len(state) != 4:
        raise ValueError(f"state must hold v_mv, m, h and n, got {len(state)} values")
    for name, value in zip(HHState._fields, state, strict=True):
        require_tensor(name, value)
        require_shape(name, value, like.shape, "one value per membrane")
        if name != "v_mv" and (value.numel() and (value.min() < 0 or value.max() > 1)):
            low, high = float(value.min()), float(value.max())
            raise ValueError(f"{name} is an open fraction and must lie in [0, 1], got values from {low:g} to {high:g}")
    return HHState(*state)


def _checked_parameters(parameters: HHParameters) -> HHParameters:
    for name, value in zip(HHParameters._fields, parameters, strict=True):
        lowest, highest = _extent(name, value)
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            raise ValueError(f"{name} must be finite, got {lowest:g}")
        if name in ("capacitance", "g_leak") and lowest <= 0:
            raise ValueError(f"{name} must be positive, got {lowest:g}")
        if name in ("g_na", "g_k") and lowest < 0:
            raise ValueError(f"{name} must be zero or more (in mS/cm²), got {lowest:g}")
    return parameters


def _extent(name: str, value: float | torch.Tensor) -> tuple[float, float]:
    if isinstance(value, torch.Tensor):
        value = require_tensor(name, value).detach()
        return float(value.min()), float(value.max())
    try:
        return float(value), float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number or a tensor, got {value!r}") from None
