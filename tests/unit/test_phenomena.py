"""Models of two variables, and what is asked of every model: closed forms, and neurons whose answers are known."""

import math

import numpy as np
import pytest

from spikelab.neurons import lif_rate_hz
from spikelab.neurons.phenomena import StepModel, adex, examine, fire, izhikevich

RESONATOR = izhikevich(0.1, 0.26, -65.0, 2.0, strongest=4.0)
CHATTERING = izhikevich(0.02, 0.2, -50.0, 2.0)


def leaky(tau_ms=20.0, threshold=1.0):
    """An LIF neuron in physical units, reset to zero, in steps of 0.1 ms."""

    def step(state, current, dt):
        beta = math.exp(-dt / tau_ms)
        u = beta * state[0] + (1 - beta) * current
        fired = u > threshold
        return (np.where(fired, 0.0, u),), fired

    return StepModel(step, (0.0,), 0.1, 8 * threshold)


def after(model, steps, current=0.0):
    state = tuple(np.array([value]) for value in model.rest)
    for _ in range(steps):
        state, _ = model.step(state, np.array([current]), model.dt_ms)
    return [float(value[0]) for value in state]


@pytest.mark.parametrize("model", [RESONATOR, CHATTERING, adex(4.0, 80.5, -46.0)], ids=["resonator", "chatter", "adex"])
def test_without_input_a_model_stays_at_rest(model):
    # AdEx rests where its leak is zero; the foot of its exponential is 2 mV · e^(−10.1) above that.
    assert after(model, 2000) == pytest.approx(model.rest, abs=0.01)


def test_rest_of_izhikevichs_model_solves_its_equations():
    v, u = RESONATOR.rest
    assert 0.04 * v * v + 5 * v + 140 - u == pytest.approx(0, abs=1e-9)
    assert u == pytest.approx(0.26 * v)
    assert v < -60  # the stable one of the two solutions


def test_one_step_by_hand():
    (v, u), fired = CHATTERING.step((np.array([-60.0]), np.array([-12.0])), np.array([10.0]), 0.1)
    assert v.item() == pytest.approx(-60 + 0.1 * (0.04 * 3600 - 300 + 140 + 12 + 10))
    assert u.item() == pytest.approx(-12)  # from the old potential: 0.2 · −60 is −12
    assert not fired
    (v, u), _ = CHATTERING.step((np.array([31.0]), np.array([-12.0])), np.array([0.0]), 1e-9)
    assert (v.item(), u.item()) == pytest.approx((-50.0, -10.0), abs=1e-6)
    (v, w), fired = adex(4.0, 80.5, -46.0).step((np.array([-60.0]), np.array([100.0])), np.array([500.0]), 0.1)
    assert v.item() == pytest.approx(-60 + 0.1 / 281 * (-30 * 10.6 + 60 * math.exp(-4.8) - 100 + 500))
    assert w.item() == pytest.approx(100 + 0.1 / 144 * (4 * 10.6 - 100))
    assert not fired
    (v, w), _ = adex(4.0, 80.5, -46.0).step((np.array([1.0]), np.array([100.0])), np.array([0.0]), 1e-9)
    assert (v.item(), w.item()) == pytest.approx((-46.0, 180.5), abs=1e-6)


def test_onset_and_slowest_rate_of_a_leaky_neuron_are_those_of_theory():
    found = examine(leaky())
    # In 300 ms = 15 τ the membrane gets to 1 − e^(−15) of its goal.
    assert found.onset == pytest.approx(1 / (1 - math.exp(-15)), rel=4e-4)
    assert found.slowest_hz == pytest.approx(lif_rate_hz(1.01 * found.onset, 20.0, 1.0), rel=0.02)
    assert (found.ramp_fails, found.rebounds, found.bursts) == (False, False, False)


def test_a_resonator_rebounds_and_accommodates_and_another_bursts():
    resonator, chattering = examine(RESONATOR), examine(CHATTERING)
    assert (resonator.ramp_fails, resonator.rebounds) == (True, True)
    assert not resonator.bursts
    assert chattering.bursts
    assert not chattering.rebounds


def test_adaptation_changes_with_its_constants():
    coupled, high_reset = examine(adex(80.0, 0.0, -70.6)), examine(adex(4.0, 80.5, -46.0))
    assert coupled.rebounds
    assert not coupled.bursts
    assert high_reset.bursts


class Counted(np.ndarray):
    total = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        Counted.total += 1
        plain = [x.view(np.ndarray) if isinstance(x, Counted) else x for x in inputs]
        return np.asarray(getattr(ufunc, method)(*plain, **options)).view(Counted)


@pytest.mark.parametrize(("model", "operations"), [(CHATTERING, 16), (adex(4.0, 80.5, -46.0), 19)])
def test_an_array_that_counts_its_operations_goes_all_the_way_through(model, operations):
    Counted.total = 0
    model.step(tuple(np.array(x).view(Counted) for x in model.rest), np.array(1.0).view(Counted), model.dt_ms)
    assert Counted.total == operations


def test_a_step_leaves_the_state_before_it_alone():
    before = (np.array([31.0, -60.0]), np.array([-12.0, -12.0]))
    CHATTERING.step(before, np.zeros(2), 0.1)
    assert [x.tolist() for x in before] == [[31.0, -60.0], [-12.0, -12.0]]


def test_spike_times_are_one_array_for_each_current():
    silent, loud = fire(leaky(), np.tile([0.5, 3.0], (1000, 1)))
    assert silent.size == 0
    assert np.diff(loud) == pytest.approx(20 * math.log(3 / 2), abs=0.1)
    assert loud[0] == pytest.approx(20 * math.log(3 / 2), abs=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: izhikevich(0.1, 0.3, -65.0, 2.0), "b must lie in .* no resting point"),
        (lambda: izhikevich(0.0, 0.2, -65.0, 2.0), "a must be positive"),
        (lambda: izhikevich(0.1, 0.2, -65.0, 2.0, dt_ms=0.0), "dt_ms must be positive"),
        (lambda: adex(4.0, 80.5, 5.0), "v_reset must lie in"),
        (lambda: adex(4.0, 80.5, -46.0, strongest=-1.0), "strongest must be positive"),
        (lambda: fire(leaky(), np.ones(10)), r"current must have shape \[T, N\], got \(10,\)"),
        (lambda: examine(leaky(threshold=10.0)._replace(strongest=1.0)), "strongest must fire the model"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
