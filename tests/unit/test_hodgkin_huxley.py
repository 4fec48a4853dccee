"""Hodgkin-Huxley against scipy's adaptive LSODA solver, closed forms, and what the axon is known to do."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from spikelab.neurons import crossing_times
from spikelab.neurons import hodgkin_huxley as hh


def reference(current, duration_ms, g_na=120.0):
    """Spike times (upward through 0 mV) and trace of an adaptive solver, written from the equations of 1952."""

    def linoid(x):
        return 1 + x / 2 if abs(x) < 1e-9 else x / (1 - math.exp(-x))

    def slope(t, state):
        v, m, h, n = state
        ionic = g_na * m**3 * h * (v - 50) + 36 * n**4 * (v + 77) + 0.3 * (v + 54.387)
        return (
            current(t) - ionic,
            linoid((v + 40) / 10) * (1 - m) - 4 * math.exp(-(v + 65) / 18) * m,
            0.07 * math.exp(-(v + 65) / 20) * (1 - h) - h / (1 + math.exp(-(v + 35) / 10)),
            0.1 * linoid((v + 55) / 10) * (1 - n) - 0.125 * math.exp(-(v + 65) / 80) * n,
        )

    def spike(t, state):
        return state[0]

    spike.direction = 1
    rest = [float(x) for x in hh.resting_state()]
    grid = np.arange(0, duration_ms + 1e-9, 0.5)
    return solve_ivp(
        slope, (0, duration_ms), rest, method="LSODA", rtol=1e-9, atol=1e-9, events=spike, max_step=0.1, t_eval=grid
    )


def pulse(amplitude, *, start_ms=0.0, length_ms=1.0, duration_ms=30.0, dt_ms=0.02):
    """Current ``[T, N]`` with one rectangular pulse per amplitude."""
    time = torch.arange(round(duration_ms / dt_ms), dtype=torch.float64) * dt_ms
    on = (time > start_ms - dt_ms / 2) & (time < start_ms + length_ms - dt_ms / 2)
    return on[:, None] * torch.as_tensor(amplitude, dtype=torch.float64)


def constant(amplitude, duration_ms, dt_ms):
    return torch.full((round(duration_ms / dt_ms),), amplitude, dtype=torch.float64)


def spikes_of(trace, dt_ms, neuron=None):
    v = trace.v_mv if neuron is None else trace.v_mv[:, neuron]
    return crossing_times(v, 0.0, dt_ms) + dt_ms  # sample 0 is the state after the first step


@pytest.fixture(scope="module")
def steady():
    """10 µA/cm² for 50 ms, as the adaptive solver sees it."""
    return reference(lambda t: 10.0, 50.0)


# --- gates and currents ---


def test_rates_equal_the_published_formulas():
    v = torch.tensor([-90.0, -65.0, -30.0, 0.0, 40.0], dtype=torch.float64)
    expected = {
        "alpha_m": [0.1 * (x + 40) / (1 - math.exp(-(x + 40) / 10)) for x in v.tolist()],
        "beta_m": [4 * math.exp(-(x + 65) / 18) for x in v.tolist()],
        "alpha_h": [0.07 * math.exp(-(x + 65) / 20) for x in v.tolist()],
        "beta_h": [1 / (1 + math.exp(-(x + 35) / 10)) for x in v.tolist()],
        "alpha_n": [0.01 * (x + 55) / (1 - math.exp(-(x + 55) / 10)) for x in v.tolist()],
        "beta_n": [0.125 * math.exp(-(x + 65) / 80) for x in v.tolist()],
    }
    for name, values in expected.items():
        got = getattr(hh, name)(v)
        assert torch.allclose(got, torch.tensor(values, dtype=torch.float64), rtol=1e-12), name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("rate", "at", "limit", "slope"), [("alpha_m", -40.0, 1.0, 0.05), ("alpha_n", -55.0, 0.1, 0.005)]
)
def test_the_removable_singularities_have_their_limit_and_a_finite_gradient(rate, at, limit, slope, dtype):
    v = torch.tensor([at, at + 1e-7, at - 1e-3], dtype=dtype, requires_grad=True)
    value = getattr(hh, rate)(v)
    value.sum().backward()
    assert torch.allclose(value, torch.full_like(value, limit), rtol=1e-4)
    assert float(value.detach()[0]) == pytest.approx(limit, abs=1e-12 if dtype is torch.float64 else 1e-7)
    assert torch.allclose(v.grad, torch.full_like(v.grad, slope), rtol=1e-3)


def test_gates_rest_where_the_solver_and_the_textbooks_put_them():
    _, m, h, n = hh.resting_state()
    assert [float(m), float(h), float(n)] == pytest.approx([0.05293, 0.59612, 0.31768], abs=5e-6)
    assert abs(float(hh.ionic_current(*hh.resting_state()))) < 0.005


def test_gate_time_constants_at_rest_order_the_gates_fast_m_slow_h_and_n():
    tau_m, tau_h, tau_n = (float(tau) for tau in hh.gate_time_constants(torch.tensor(-65.0, dtype=torch.float64)))
    assert tau_m == pytest.approx(1 / (0.1 * 25 / (math.exp(2.5) - 1) + 4), rel=1e-9)
    assert tau_m < 0.3 < 5 < tau_n < tau_h < 9


def test_ionic_current_of_one_state_by_hand():
    state = [torch.tensor(x, dtype=torch.float64) for x in (0.0, 0.9, 0.3, 0.5)]
    by_hand = 120 * 0.9**3 * 0.3 * -50 + 36 * 0.5**4 * 77 + 0.3 * 54.387
    assert by_hand == pytest.approx(-1122.63, abs=0.01)
    assert float(hh.ionic_current(*state)) == pytest.approx(by_hand, rel=1e-12)


def test_sodium_current_vanishes_at_its_reversal_potential():
    v = torch.tensor(50.0, dtype=torch.float64)
    shut, open_ = torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    assert float(hh.ionic_current(v, open_, open_, shut) - hh.ionic_current(v, shut, open_, shut)) == 0


@pytest.mark.parametrize("dt_ms", [0.01, 1.0, 50.0])
def test_a_gate_step_is_exact_under_voltage_clamp(dt_ms):
    """V is held by an enormous capacitance, so each gate follows its closed-form exponential at any dt."""
    clamp = hh.HHParameters(capacitance=1e15)
    v = torch.tensor([-20.0], dtype=torch.float64)
    start = hh.HHState(v, *(torch.tensor([x], dtype=torch.float64) for x in (0.05, 0.6, 0.3)))
    after = hh.hh_step(torch.zeros(1, dtype=torch.float64), start, dt_ms=dt_ms, parameters=clamp)
    for x0, x, goal, tau in zip(start[1:], after[1:], hh.gate_steady_state(v), hh.gate_time_constants(v), strict=True):
        assert torch.allclose(x, goal + (x0 - goal) * torch.exp(-dt_ms / tau), atol=1e-12)


# --- whole spikes ---


def test_the_reference_itself_gives_the_recorded_spike_times(steady):
    assert steady.t_events[0][:2] == pytest.approx([1.901, 16.823], abs=5e-4)


def test_exponential_euler_spike_times_converge_with_the_square_of_dt(steady):
    """Gates first, then V with the new gates: a leap-frog, so halving dt quarters the error."""
    error = {}
    for dt in (0.1, 0.05, 0.025):
        times = spikes_of(hh.simulate(constant(10.0, 50, dt), dt_ms=dt), dt)
        error[dt] = abs(times[:3].numpy() - steady.t_events[0][:3]).max()
    assert error[0.1] < 0.18
    assert error[0.1] / error[0.05] == pytest.approx(4, rel=0.1)
    assert error[0.05] / error[0.025] == pytest.approx(4, rel=0.1)


def test_the_trace_follows_the_adaptive_solver(steady):
    dt = 0.01
    trace = hh.simulate(constant(10.0, 15, dt), dt_ms=dt)
    every = round(0.5 / dt)
    v = trace.v_mv[every - 1 :: every].numpy()
    # the steepest part climbs 400 mV/ms and the first spike is 0.0003 ms late: 0.1 mV
    assert abs(v - steady.y[0][1 : len(v) + 1]).max() < 0.15
    assert float(trace.v_mv.max()) == pytest.approx(40.27, abs=0.02)
    for gate, column in zip((trace.m, trace.h, trace.n), steady.y[1:], strict=True):
        # leap-frog: a gate belongs to the middle of the step, and m rises by up to 2 per ms: 0.005 ms · 2
        assert abs(gate[every - 1 :: every].numpy() - column[1 : len(v) + 1]).max() < 0.015


def test_rk4_is_far_more_exact_at_the_same_step(steady):
    dt = 0.025
    times = spikes_of(hh.simulate(constant(10.0, 20, dt), dt_ms=dt, method="rk4"), dt)
    assert times.numpy() == pytest.approx(steady.t_events[0][:2], abs=1e-4)


def test_rk4_says_so_when_the_step_is_too_large():
    with pytest.raises(ValueError, match=r"dt_ms must be smaller for method 'rk4'"):
        hh.simulate(constant(10.0, 20, 0.2), dt_ms=0.2, method="rk4")


@pytest.mark.parametrize("dt_ms", [0.5, 2.0])
def test_exponential_euler_stays_bounded_at_any_step(dt_ms):
    trace = hh.simulate(constant(10.0, 100, dt_ms), dt_ms=dt_ms)
    assert trace.v_mv.min() > -90
    assert trace.v_mv.max() < 60
    for gate in (trace.m, trace.h, trace.n):
        assert gate.min() >= 0
        assert gate.max() <= 1


def test_repetitive_firing_starts_with_a_jump():
    """Type II: nothing sustained at 6.0, more than 50 Hz at 6.5, 68.3 Hz at 10 µA/cm²."""
    dt = 0.04
    current = torch.tensor([2.0, 2.3, 6.0, 6.5, 10.0], dtype=torch.float64).expand(round(250 / dt), -1)
    trace = hh.simulate(current, dt_ms=dt)
    counts = [len(spikes_of(trace, dt, k)) for k in range(5)]
    assert counts[:2] == [0, 1]
    assert 1 <= counts[2] <= 6
    for neuron, rate in ((3, 55.0), (4, 68.3)):
        times = spikes_of(trace, dt, neuron)
        assert 1000 / float(times[-1] - times[-2]) == pytest.approx(rate, abs=0.5)


def test_threshold_of_a_short_pulse_lies_between_six_point_nine_and_seven():
    peak = hh.simulate(pulse([6.0, 6.9, 7.0, 20.0]), dt_ms=0.02).v_mv.max(dim=0).values
    assert (peak[:2] < -50).all()
    assert (peak[2:] > 30).all()


def test_absolute_and_relative_refractoriness():
    """Onset 8 ms after the first pulse: 40 fails, 48 fires (44 is the threshold; at rest 6.9 is enough)."""
    second = torch.tensor([40.0, 48.0], dtype=torch.float64)
    current = pulse([20.0, 20.0]) + pulse(second, start_ms=8.0)
    trace = hh.simulate(current, dt_ms=0.02)
    assert [len(spikes_of(trace, 0.02, k)) for k in range(2)] == [1, 2]


def test_rebound_after_release_from_hyperpolarisation():
    trace = hh.simulate(pulse([-2.0, -3.0], length_ms=50.0, duration_ms=80.0), dt_ms=0.02)
    assert len(spikes_of(trace, 0.02, 0)) == 0
    assert spikes_of(trace, 0.02, 1).tolist() == pytest.approx([57.1], abs=0.2)


def test_a_slow_ramp_never_fires_and_a_fast_one_does():
    dt = 0.04
    time = torch.arange(round(120 / dt), dtype=torch.float64)[:, None] * dt
    ramp = (time * torch.tensor([0.1, 0.2, 0.5], dtype=torch.float64)).clamp(max=5.0)
    trace = hh.simulate(ramp, dt_ms=dt)
    assert [len(spikes_of(trace, dt, k)) for k in range(3)] == [0, 0, 1]


def test_blocking_half_the_sodium_channels_doubles_the_threshold():
    half = hh.HHParameters(g_na=60.0)
    peak = hh.simulate(pulse([13.5, 15.0]), dt_ms=0.02, parameters=half).v_mv.max(dim=0).values
    assert peak[0] < -30 < 0 < peak[1]


# --- the interface ---


def test_a_sequence_can_be_cut_and_continued():
    current = constant(10.0, 5, 0.05)
    whole = hh.simulate(current, dt_ms=0.05)
    first = hh.simulate(current[:40], dt_ms=0.05)
    second = hh.simulate(current[40:], dt_ms=0.05, state=first.state)
    assert torch.equal(torch.cat([first.v_mv, second.v_mv]), whole.v_mv)


@pytest.mark.parametrize("method", hh.METHODS)
def test_simulate_is_hh_step_repeated(method):
    current = constant(10.0, 1, 0.05)
    state = hh.resting_state(torch.tensor(-65.0, dtype=torch.float64))
    for value in current:
        state = hh.hh_step(value, state, dt_ms=0.05, method=method)
    trace = hh.simulate(current, dt_ms=0.05, method=method)
    assert all(torch.equal(a, b) for a, b in zip(state, trace.state, strict=True))


def test_membranes_of_a_batch_do_not_disturb_each_other():
    current = torch.stack([constant(a, 3, 0.05) for a in (0.0, 7.0, 30.0)], dim=1)
    together = hh.simulate(current, dt_ms=0.05)
    for k in range(3):
        assert torch.allclose(hh.simulate(current[:, k], dt_ms=0.05).v_mv, together.v_mv[:, k], atol=1e-12)


def test_one_conductance_per_membrane():
    several = hh.HHParameters(g_na=torch.tensor([60.0, 120.0], dtype=torch.float64))
    together = hh.simulate(constant(10.0, 5, 0.05)[:, None].expand(-1, 2), dt_ms=0.05, parameters=several)
    alone = hh.simulate(constant(10.0, 5, 0.05), dt_ms=0.05, parameters=hh.HHParameters(g_na=60.0))
    assert torch.allclose(together.v_mv[:, 0], alone.v_mv, atol=1e-12)
    assert together.v_mv[:, 1].max() > together.v_mv[:, 0].max() + 10


def test_gradients_reach_current_and_conductance_and_are_right():
    def peak(current, g_na):
        return hh.simulate(current, dt_ms=0.05, parameters=hh.HHParameters(g_na=g_na)).v_mv.sum()

    current = constant(12.0, 0.5, 0.05).requires_grad_()
    g_na = torch.tensor(120.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(peak, (current, g_na), rtol=1e-4)


def test_single_precision_stays_single():
    trace = hh.simulate(torch.full((10, 2), 5.0), dt_ms=0.05)
    assert trace.v_mv.dtype == torch.float32
    assert trace.v_mv.shape == trace.state.v_mv.expand(10, 2).shape


FINE = torch.full((5,), 10.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"current_ua_cm2": [1.0, 2.0]}, "current_ua_cm2 must be a torch.Tensor"),
        ({"current_ua_cm2": torch.tensor(1.0)}, "current_ua_cm2 must have at least 1 axes"),
        ({"current_ua_cm2": torch.empty(0, 3)}, "at least one time step"),
        ({"current_ua_cm2": torch.tensor([1.0, math.nan])}, "current_ua_cm2 must be finite"),
        ({"dt_ms": 0.0}, "dt_ms must be positive .in ms., got 0"),
        ({"dt_ms": -0.1}, "dt_ms must be positive"),
        ({"method": "euler"}, "method must be one of 'exponential_euler', 'rk4', got 'euler'"),
        ({"parameters": hh.HHParameters(capacitance=0.0)}, "capacitance must be positive"),
        ({"parameters": hh.HHParameters(g_na=-1.0)}, "g_na must be zero or more"),
        ({"parameters": hh.HHParameters(e_k=math.nan)}, "e_k must be finite"),
        ({"parameters": hh.HHParameters(g_k="much")}, "g_k must be a number or a tensor"),
        ({"state": hh.resting_state(torch.zeros(3))}, "v_mv must have shape"),
        ({"state": hh.resting_state(torch.tensor(-65.0))._replace(m=torch.tensor(1.5))}, "m is an open fraction"),
        ({"state": (torch.tensor(-65.0),)}, "state must hold v_mv, m, h and n"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        hh.simulate(**{"current_ua_cm2": FINE, **arguments})


def test_rates_reject_what_is_not_a_potential():
    with pytest.raises(ValueError, match="v_mv must be finite"):
        hh.alpha_m(torch.tensor([math.nan]))
    with pytest.raises(ValueError, match=r"v_mv must be a torch\.Tensor"):
        hh.gate_steady_state(-65.0)
    with pytest.raises(ValueError, match="v_mv must be finite"):
        hh.resting_state(math.inf)
