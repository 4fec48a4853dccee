"""Rates and statistics of spike trains, against closed forms and trains built by hand."""

import math

import pytest
import torch

from spikelab.neurons import (
    coefficient_of_variation,
    crossing_times,
    fano_factor,
    firing_rate_hz,
    interspike_intervals,
    lif,
    lif_rate_hz,
    measured_fi_curve,
    rheobase,
    spike_times,
)

DRIVES = torch.tensor([15.1, 16.0, 20.0, 30.0, 60.0], dtype=torch.float64)


def train(*steps: int, length: int = 20) -> torch.Tensor:
    spikes = torch.zeros(length, dtype=torch.float64)
    spikes[list(steps)] = 1.0
    return spikes


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.951229424500714])
@pytest.mark.parametrize("threshold", [0.4, 1.0, 3.1])
def test_neuron_fires_just_above_rheobase_and_not_just_below(beta, threshold):
    edge = rheobase(beta, threshold)
    currents = edge * torch.tensor([0.999, 1.001], dtype=torch.float64)
    below, above = lif(currents.expand(2000, 2), beta=beta, threshold=threshold).spikes.sum(0)
    assert below == 0
    assert above > 0


def test_rheobase_of_a_neuron_without_leak_is_zero():
    assert rheobase(1.0) == 0.0


@pytest.mark.parametrize(
    ("drive", "rate"), [(15.1, 9.7708), (16, 17.4059), (20, 33.6407), (30, 63.0400), (60, 128.9717)]
)
def test_rate_equals_the_closed_form_worked_out_by_hand(drive, rate):
    # t_ref + tau ln(RI / (RI - theta)) with tau 20, theta 15 mV, t_ref 2 ms, to the digits printed.
    assert lif_rate_hz(drive, 20, 15, 2) == pytest.approx(rate, abs=5e-5)


def test_rate_is_zero_at_rheobase_and_below_and_capped_by_the_refractory_period():
    assert lif_rate_hz(15.0, 20, 15, 2) == 0.0
    assert lif_rate_hz(-40.0, 20, 15, 2) == 0.0
    assert lif_rate_hz(1e9, 20, 15, 2) == pytest.approx(500, rel=1e-6)


def test_rate_of_many_drives_equals_rate_of_each_and_rises():
    rates = lif_rate_hz(DRIVES, 20, 15, 2)
    assert rates.dtype == torch.float64
    assert rates.tolist() == [lif_rate_hz(float(drive), 20, 15, 2) for drive in DRIVES]
    assert (rates.diff() > 0).all()


def test_rate_has_a_finite_gradient_below_and_above_rheobase():
    drive = torch.tensor([10.0, 20.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(lif_rate_hz(drive, 20, 15, 2).sum(), drive)
    step = 1e-4
    expected = (lif_rate_hz(20 + step, 20, 15, 2) - lif_rate_hz(20 - step, 20, 15, 2)) / (2 * step)
    assert slope[0] == 0
    assert slope[1].item() == pytest.approx(expected, rel=1e-6)


def test_measured_rates_converge_to_the_closed_form_from_below():
    theory = lif_rate_hz(DRIVES, 20, 15, 2)
    error = {
        dt: measured_fi_curve(DRIVES, tau_ms=20, threshold_mv=15, t_ref_ms=2, dt_ms=dt) / theory - 1
        for dt in (0.05, 0.2, 1.0)
    }
    assert all((e <= 0).all() for e in error.values())  # a spike can only wait for the next step
    for dt, e in error.items():
        # It waits less than a step, so the interval is at most dt too long.
        assert (e.abs() <= dt * theory / 1000).all()
    assert error[0.05].abs().max() < error[1.0].abs().max() / 4
    assert error[1.0][-1] == pytest.approx(-0.031, abs=0.0005)


def test_measured_curve_is_silent_below_rheobase():
    rates = measured_fi_curve(torch.tensor([0.0, 14.9]), tau_ms=20, threshold_mv=15)
    assert rates.tolist() == [0.0, 0.0]


def test_firing_rate_counts_spikes_per_second_of_each_train():
    spikes = torch.stack([train(3), train(3, 9, 15), train()], dim=1)
    assert firing_rate_hz(spikes).tolist() == pytest.approx([50.0, 150.0, 0.0])
    assert firing_rate_hz(spikes, dt_ms=0.5).tolist() == pytest.approx([100.0, 300.0, 0.0])


def test_spike_times_are_step_times_dt():
    assert spike_times(train(0, 4, 9), dt_ms=0.5).tolist() == [0.0, 2.0, 4.5]
    assert spike_times(train()).tolist() == []


def test_crossing_times_are_interpolated_and_count_upward_crossings_only():
    t = torch.arange(0, 20, 0.1, dtype=torch.float64)
    wave = torch.sin(2 * math.pi * (t - 1.234) / 5)
    found = crossing_times(wave, threshold=0.0, dt_ms=0.1)
    assert found.tolist() == pytest.approx([1.234, 6.234, 11.234, 16.234], abs=5e-5)  # the wave is not straight
    assert crossing_times(wave, threshold=2.0, dt_ms=0.1).tolist() == []
    assert crossing_times(wave[:1], threshold=0.0).tolist() == []


def test_intervals_are_pooled_over_trains_without_spanning_two():
    spikes = torch.stack([train(2, 5, 11), train(), train(7), train(1, 19)], dim=1)
    assert interspike_intervals(spikes, dt_ms=2.0).tolist() == [6.0, 12.0, 36.0]
    assert interspike_intervals(spikes.reshape(20, 2, 2)).tolist() == [3.0, 6.0, 18.0]


@pytest.mark.parametrize("spikes", [train(), train(4), torch.zeros(0), torch.zeros(0, 3), torch.zeros(20, 0)])
def test_trains_without_two_spikes_have_no_interval(spikes):
    assert interspike_intervals(spikes).shape == (0,)


def test_intervals_are_the_differences_of_the_spike_times():
    spikes = (torch.rand(500, generator=torch.Generator().manual_seed(0)) < 0.2).double()
    assert torch.equal(interspike_intervals(spikes, 0.5), spike_times(spikes, 0.5).diff())


def test_clock_has_no_variation():
    clock = torch.zeros(1000, 8)
    clock[::10] = 1.0
    assert coefficient_of_variation(interspike_intervals(clock)) == pytest.approx(0.0, abs=1e-12)
    assert fano_factor(clock.sum(0)) == 0.0


def test_bernoulli_trains_have_the_variation_of_theory():
    p = 0.2
    draws = torch.rand(1000, 2000, generator=torch.Generator().manual_seed(1))
    spikes = (draws < p).double()
    # Intervals are geometric: CV = sqrt(1 - p); counts are binomial: Fano = 1 - p. 400,000 intervals, 2,000 counts.
    assert coefficient_of_variation(interspike_intervals(spikes)) == pytest.approx(math.sqrt(1 - p), abs=0.01)
    assert fano_factor(spikes.sum(0)) == pytest.approx(1 - p, abs=0.08)


def test_statistics_worked_out_by_hand():
    # Intervals 3 and 6: mean 4.5, standard deviation 3/sqrt 2. Counts 1, 3, 5: mean 3, variance 4.
    assert coefficient_of_variation(torch.tensor([3.0, 6.0])) == pytest.approx(3 / math.sqrt(2) / 4.5)
    assert fano_factor(torch.tensor([1.0, 3.0, 5.0])) == pytest.approx(4 / 3)


@pytest.mark.parametrize("values", [torch.zeros(0), torch.ones(1)])
def test_spread_of_fewer_than_two_values_is_nan(values):
    assert math.isnan(coefficient_of_variation(values))
    assert math.isnan(fano_factor(values))


def test_fano_factor_of_silence_is_nan():
    assert math.isnan(fano_factor(torch.zeros(10)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rheobase(1.2), r"beta must lie in \[0, 1\], got 1.2"),
        (lambda: rheobase(0.9, 0.0), "threshold must be positive, got 0"),
        (lambda: lif_rate_hz(20, -20, 15), "tau_ms must be positive .*ms.*, got -20"),
        (lambda: lif_rate_hz(20, 20, 0), "threshold_mv must be positive"),
        (lambda: lif_rate_hz(20, 20, 15, -1), "t_ref_ms must be zero or more .*, got -1"),
        (lambda: lif_rate_hz(math.nan, 20, 15), "drive_mv must be finite"),
        (lambda: measured_fi_curve(20.0, tau_ms=20, threshold_mv=15), "drive_mv must be a torch.Tensor"),
        (
            lambda: measured_fi_curve(torch.ones(2, 2), tau_ms=20, threshold_mv=15),
            r"drive_mv must have one axis \[N\], got shape \(2, 2\)",
        ),
        (lambda: measured_fi_curve(DRIVES, tau_ms=0, threshold_mv=15), "tau_ms must be positive"),
        (
            lambda: measured_fi_curve(DRIVES, tau_ms=20, threshold_mv=15, dt_ms=1, duration_ms=0.5),
            "duration_ms must be at least one step of 1 ms, got 0.5",
        ),
        (lambda: firing_rate_hz(torch.zeros(0, 3)), r"spikes must hold at least one time step"),
        (lambda: firing_rate_hz(torch.ones(3), dt_ms=0), "dt_ms must be positive"),
        (lambda: firing_rate_hz(torch.tensor([0.0, 2.0])), r"spikes must lie in \[0, 1\], got values from 0 to 2"),
        (lambda: firing_rate_hz(torch.tensor([0.0, 0.5])), "spikes must hold only 0 and 1"),
        (lambda: firing_rate_hz(torch.tensor([0.0, math.nan])), "spikes must be finite"),
        (lambda: spike_times(torch.zeros(5, 2)), r"spikes must be one train \[T\], got shape \(5, 2\)"),
        (lambda: spike_times(torch.tensor([0, 1])), "spikes must hold floating-point numbers"),
        (lambda: crossing_times(torch.zeros(5, 2), 0.0), r"membrane must be one trace \[T\]"),
        (lambda: crossing_times(torch.zeros(5), math.nan), "threshold must be finite"),
        (lambda: interspike_intervals(torch.zeros(())), r"spikes must have at least 1 axes \[T, ...\]"),
        (lambda: coefficient_of_variation(torch.tensor([1.0, 0.0])), "intervals must be positive, got 0"),
        (lambda: fano_factor(torch.tensor([1.0, -1.0])), "counts must be zero or more, got -1"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
