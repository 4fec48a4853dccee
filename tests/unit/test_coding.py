"""Codes: the statistics of every encoder, the round trip of every pair, and the peers."""

import math

import numpy as np
import pytest
import torch
from snntorch import spikegen

from spikelab import coding
from spikelab.neurons import coefficient_of_variation, fano_factor, integrate_and_fire, interspike_intervals

GREY = torch.arange(256, dtype=torch.float64) / 255


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rms(error: torch.Tensor) -> float:
    return error.square().mean().sqrt().item()


# --- Poisson ---


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_poisson_is_bit_equal_to_snntorch_under_one_seed(seed, dtype):
    x = torch.rand(7, 3, 5, generator=seeded(seed + 10), dtype=dtype)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        theirs = spikegen.rate(x, num_steps=11)
    ours = coding.poisson(x, 11, generator=seeded(seed))
    assert torch.equal(ours, theirs)
    assert ours.dtype == dtype


@pytest.mark.parametrize(("rate_hz", "dt_ms"), [(50, 1.0), (200, 1.0), (800, 1.0), (200, 0.5), (20, 10.0)])
def test_poisson_mean_fano_factor_and_interval_cv_are_those_of_bernoulli_steps(rate_hz, dt_ms):
    trains, steps, p = 2000, 3000, rate_hz * dt_ms / 1000
    spikes = coding.poisson(torch.ones(trains), steps, max_rate_hz=rate_hz, dt_ms=dt_ms, generator=seeded(3))
    # Four standard errors: of a mean of n bits, of a variance of 2000 counts.
    assert spikes.mean().item() == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / (trains * steps)))
    assert fano_factor(spikes.sum(0)) == pytest.approx(1 - p, rel=4 * math.sqrt(2 / trains))
    # The last interval of each train is cut off, which shortens the pooled ones by about 1/(pT): up to 2 %.
    assert coefficient_of_variation(interspike_intervals(spikes)) == pytest.approx(math.sqrt(1 - p), rel=0.02)


def test_poisson_pixels_and_steps_are_independent():
    spikes = coding.poisson(torch.full((40,), 0.4, dtype=torch.float64), 4000, generator=seeded(5))
    between_pixels = torch.corrcoef(spikes.T) - torch.eye(40)
    between_steps = [torch.corrcoef(torch.stack([s[:-1], s[1:]]))[0, 1].abs().item() for s in spikes.T]
    assert between_pixels.abs().max() < 0.08  # five standard errors of 1/sqrt(4000)
    assert max(between_steps) < 0.08


def test_poisson_never_fires_at_zero_and_always_at_the_top_rate():
    spikes = coding.poisson(torch.tensor([0.0, 1.0]), 500, generator=seeded(0))
    assert spikes.sum(0).tolist() == [0, 500]


def test_poisson_repeats_with_the_seed_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    x = torch.rand(20, generator=seeded(1))
    first, second = (coding.poisson(x, 50, generator=seeded(8)) for _ in range(2))
    other = coding.poisson(x, 50, generator=seeded(9))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(("steps", "error"), [(4, 0.204), (16, 0.102), (64, 0.051)])
def test_poisson_round_trip_has_the_binomial_error(steps, error):
    spikes = coding.poisson(GREY.expand(400, -1), steps, generator=seeded(2))
    theory = (GREY * (1 - GREY)).mean().div(steps).sqrt().item()
    assert theory == pytest.approx(error, abs=5e-4)
    assert rms(coding.rate_decode(spikes) - GREY) == pytest.approx(theory, rel=0.02)


def test_rate_decode_undoes_rate_and_step():
    x = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    spikes = coding.poisson(x, 40_000, max_rate_hz=300, dt_ms=2.0, generator=seeded(4))
    estimate = coding.rate_decode(spikes, max_rate_hz=300, dt_ms=2.0)
    assert torch.allclose(estimate, x, atol=0.02)  # standard error below .004 in each


def test_charge_of_counts_and_last_membrane_is_the_whole_input():
    steps = 7
    out = integrate_and_fire(GREY.expand(steps, -1))
    charge = out.spikes[:-1].sum(0) + coding.last_membrane(out.membrane)
    assert torch.allclose(charge / steps, GREY, atol=1e-12)
    assert rms(coding.rate_decode(out.spikes) - GREY) > 0.05


# --- latency ---


def test_linear_latency_equals_snntorch():
    worked = torch.tensor([0.02, 0.5, 1.0])
    assert coding.first_spike(coding.latency(worked, 5, linear=True)).tolist() == [4, 2, 0]
    x = torch.rand(50, 4, generator=seeded(0))
    for steps in (5, 16, 100):
        theirs = spikegen.latency(x, num_steps=steps, normalize=True, linear=True, clip=True)
        assert torch.equal(coding.latency(x, steps, linear=True), theirs)


def test_rc_latency_has_the_times_of_snntorch_rounded_down():
    x = torch.rand(400, generator=seeded(1), dtype=torch.float64).clamp(min=0.06)
    times, _ = spikegen.latency_code(x, num_steps=60, tau=8.0, threshold=0.05)
    ours = coding.first_spike(coding.latency(x, 60, tau=8.0, threshold=0.05))
    assert torch.equal(ours, times.floor().long().clamp(max=60))


@pytest.mark.parametrize("x", [0.15, 0.3, 0.8])
def test_rc_latency_is_when_a_simulated_membrane_crosses(x):
    tau, theta, dt = 20.0, 0.1, 0.001
    u, crossed = 0.0, 0
    while u <= theta:
        u += (x - u) * dt / tau
        crossed += 1
    expected = math.floor(crossed * dt)
    spikes = coding.latency(torch.tensor([x]), 60, tau=tau, threshold=theta)
    assert coding.first_spike(spikes).item() == expected


def test_rc_latency_worked_numbers():
    spikes = coding.latency(torch.tensor([1.0, 0.5, 0.2]), 20, tau=5.0, threshold=0.1)
    assert coding.first_spike(spikes).tolist() == [0, 1, 3]


@pytest.mark.parametrize("linear", [False, True])
def test_latency_sends_one_spike_at_most_brighter_first_and_none_in_the_dark(linear):
    spikes = coding.latency(GREY, 64, tau=10.0, threshold=0.1, linear=linear)
    counts, steps = coding.spike_count(spikes), coding.first_spike(spikes)
    assert counts[GREY <= 0.1].sum() == 0
    assert counts.max() == 1
    assert (steps.diff() <= 0).all()
    # One spike or none: no count varies between trials, so there is no Fano factor to speak of and no interval at all.
    assert interspike_intervals(spikes).numel() == 0
    again = coding.latency(GREY, 64, tau=10.0, threshold=0.1, linear=linear)
    assert torch.equal(spikes, again)


@pytest.mark.parametrize("linear", [False, True])
def test_latency_is_silent_exactly_at_threshold(linear):
    x = torch.tensor([0.25, 0.25 + 1e-6])
    spikes = coding.latency(x, 2000, tau=100.0, threshold=0.25, linear=linear)
    assert spikes.sum(0).tolist() == [0, 1]


def test_linear_latency_round_trip_errs_by_half_a_step():
    for steps in (4, 16, 64):
        spikes = coding.latency(GREY, steps, linear=True, threshold=1e-3)
        error = coding.latency_decode(spikes, linear=True, threshold=1e-3) - GREY
        assert error.abs().max() <= 0.5 / (steps - 1) + 1e-9
    assert rms(error) == pytest.approx(0.0046, abs=1e-4)


def test_rc_latency_round_trip_stays_in_the_interval_that_the_step_allows():
    tau, theta, steps = 30.0, 0.1, 150
    x = GREY[26:]  # above 1.02 θ, where the latency fits into the steps
    spikes = coding.latency(x, steps, tau=tau, threshold=theta)
    step = coding.first_spike(spikes).double()
    estimate = coding.latency_decode(spikes, tau=tau, threshold=theta)
    low = theta / (1 - torch.exp(-(step + 1) / tau))
    high = (theta / (1 - torch.exp(-step / tau))).clamp(max=1)
    assert ((low <= estimate) & (estimate <= high)).all()
    assert ((low <= x) & (x <= high)).all()
    assert coding.latency_decode(torch.zeros(5, 3)).tolist() == [0, 0, 0]


# --- phase ---


@pytest.mark.parametrize("scale", [255, 256])
def test_phase_is_numpy_unpackbits_most_significant_bit_first(scale):
    pixels = np.arange(256, dtype=np.uint8)
    bits = np.unpackbits(pixels[:, None], axis=1).T
    spikes = coding.phase(torch.arange(256) / scale)
    assert np.array_equal(spikes.numpy(), bits)


def test_phase_round_trip_is_exact_for_an_8_bit_image():
    pixels = torch.randint(256, (2, 1, 9, 9), generator=seeded(0))
    for steps in (8, 24):
        decoded = coding.phase_decode(coding.phase(pixels / 256, steps))
        assert torch.equal((256 * decoded).long(), pixels)


@pytest.mark.parametrize(("digits", "error"), [(4, 0.0361), (8, 0.00226), (16, 8.82e-6)])
def test_phase_error_halves_with_every_step(digits, error):
    decoded = coding.phase_decode(coding.phase(GREY, digits, period=digits), period=digits)
    assert rms(decoded - GREY) == pytest.approx(error, rel=0.01)
    assert ((GREY - decoded) <= 2.0**-digits + 1e-12).all()
    assert (decoded <= GREY).all()


def test_phase_statistics_half_the_digits_are_spikes_and_cycles_repeat():
    x = torch.arange(256, dtype=torch.float64) / 256
    spikes = coding.phase(x, 64)
    assert spikes.mean().item() == pytest.approx(0.5)
    assert torch.equal(spikes[:8], spikes[56:])
    # A clocked code: counts are the same in every cycle, so their Fano factor across cycles is 0; a single spike per
    # cycle comes at equal intervals, CV 0.
    per_cycle = spikes.view(8, 8, 256).sum(1)
    assert max(fano_factor(per_cycle[:, i]) for i in range(1, 256)) == 0
    assert coefficient_of_variation(interspike_intervals(spikes[:, 64])) == 0


def test_phase_leading_digits_alone_round_down():
    x = torch.tensor([0.7, 0.2], dtype=torch.float64)
    assert coding.phase_decode(coding.phase(x, 2, period=8), period=8).tolist() == [0.5, 0.0]


# --- delta ---

STEPS = torch.arange(1000, dtype=torch.float64)
SINE = torch.sin(2 * math.pi * 2 * STEPS / 1000)


@pytest.mark.parametrize(("threshold", "events"), [(0.11, 71), (0.07, 111), (0.23, 31)])
def test_delta_of_two_sine_periods_sends_eight_floor_one_over_theta_minus_one_events(threshold, events):
    sent = coding.delta(SINE, threshold)
    assert events == 8 * math.floor(1 / threshold) - 1
    assert sent.abs().sum() == events
    assert (coding.delta_decode(sent, threshold) - SINE).abs().max() <= threshold
    assert spikegen.delta(SINE, threshold=threshold, off_spike=True).abs().sum() == 0  # neighbour differences


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_delta_follows_random_walks_within_theta(seed):
    walk = (0.2 * torch.rand(500, 6, generator=seeded(seed), dtype=torch.float64) - 0.1).cumsum(0)
    decoded = coding.delta_decode(coding.delta(walk, 0.1), 0.1)
    assert (decoded - walk).abs().max() <= 0.1 + 1e-9


def test_delta_statistics_a_ramp_is_sent_as_a_clock_and_a_constant_not_at_all():
    ramp = 0.0137 * torch.arange(1, 2001, dtype=torch.float64)
    events = coding.delta(ramp, 0.1)
    assert set(events.tolist()) == {0.0, 1.0}
    assert events.mean().item() == pytest.approx(0.137, abs=1e-3)
    assert coefficient_of_variation(interspike_intervals(events)) < 0.07
    assert fano_factor(events.view(20, 100).sum(1)) < 0.05
    assert coding.delta(torch.full((50, 2), 0.05), 0.1).abs().sum() == 0
    assert coding.delta(-ramp, 0.1).tolist() == (-events).tolist()


def test_delta_does_not_accumulate_rounding_errors():
    events = coding.delta(torch.arange(1, 3001, dtype=torch.float64) * 0.1, 0.1)
    assert coding.delta_decode(events, 0.1)[-1].item() == pytest.approx(300, abs=0.2)
    assert len(coding.delta(torch.zeros(0, 3), 0.1)) == 0


# --- direct, by name ---


def test_direct_repeats_the_image_without_a_copy():
    x = torch.rand(2, 3, 4, generator=seeded(0))
    out = coding.direct(x, 6)
    assert out.shape == (6, 2, 3, 4)
    assert all(torch.equal(step, x) for step in out)
    assert out.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


@pytest.mark.parametrize("name", coding.CODINGS)
def test_encode_by_name_is_the_function_of_that_name(name):
    x = torch.rand(12, 3, generator=seeded(6))
    options = {
        "poisson": {"max_rate_hz": 400.0, "generator": seeded(1)},
        "latency": {"linear": True},
        "phase": {"period": 4},
        "delta": {"threshold": 0.2},
        "direct": {},
    }[name]
    by_name = coding.encode(x, name, 12, **options)
    if name == "poisson":
        options["generator"] = seeded(1)
    positional = () if name == "delta" else (12,)
    assert torch.equal(by_name, getattr(coding, name)(x, *positional, **options))


# --- decoders of outputs ---


def test_counts_and_first_spikes_of_a_small_train():
    spikes = torch.tensor([[0, 1, 0], [1, 0, 0], [1, 1, 0]]).float()
    assert coding.spike_count(spikes).tolist() == [2, 2, 0]
    assert coding.first_spike(spikes).tolist() == [1, 0, 3]  # silence is later than any step


@pytest.mark.parametrize("seed", [0, 1])
def test_current_mean_is_equation_6_of_paper_2_with_the_bias_of_equation_2(seed):
    g = seeded(seed)
    spikes = (torch.rand(6, 4, 9, generator=g, dtype=torch.float64) < 0.3).double()
    weight = torch.randn(5, 9, generator=g, dtype=torch.float64)
    bias = torch.randn(5, generator=g, dtype=torch.float64)
    out = coding.current_mean(spikes, weight, bias)
    for b in range(4):
        for m in range(5):
            current = sum(sum(spikes[t, b, i] * weight[m, i] for i in range(9)) + bias[m] for t in range(6))
            assert out[b, m].item() == pytest.approx(current.item() / 6, abs=1e-12)
    assert torch.allclose(coding.current_mean(spikes.repeat(2, 1, 1), weight, bias), out)
    assert torch.equal(coding.current_mean(torch.zeros_like(spikes), weight, bias), bias.expand(4, 5))
    assert torch.allclose(coding.current_mean(spikes, weight), out - bias)


def test_current_mean_tells_apart_what_a_count_of_six_steps_cannot():
    drive = torch.linspace(0, 1, 400, dtype=torch.float64)
    counts = coding.spike_count(integrate_and_fire(drive.expand(6, -1)).spikes)
    assert counts.unique().numel() == 6  # 0 to 5: with > the top count of T needs a drive above 1
    hidden = (torch.rand(6, 400, 200, generator=seeded(0)) < 0.3).float()
    read = coding.current_mean(hidden, torch.randn(1, 200, generator=seeded(1)))
    assert read.unique().numel() > 390


# --- bad input ---

X = torch.tensor([0.2, 0.8])
S = torch.zeros(4, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: coding.poisson(X + 0.5, 5, generator=seeded(0)), r"x must lie in \[0, 1\].*1\.3.*255"),
        (lambda: coding.poisson(X * math.nan, 5, generator=seeded(0)), "x must be finite.*2 of its 2"),
        (lambda: coding.poisson([0.2], 5, generator=seeded(0)), "x must be a torch.Tensor.*list"),
        (lambda: coding.poisson(X.long(), 5, generator=seeded(0)), "floating-point.*int64"),
        (lambda: coding.poisson(X, 0, generator=seeded(0)), "num_steps must be at least 1, got 0"),
        (lambda: coding.poisson(X, 2.5, generator=seeded(0)), "num_steps must be a whole number.*2.5"),
        (lambda: coding.poisson(X, 5, max_rate_hz=-1, generator=seeded(0)), "max_rate_hz must be positive"),
        (lambda: coding.poisson(X, 5, dt_ms=2, generator=seeded(0)), "max_rate_hz must be at most 500 Hz.*1000"),
        (lambda: coding.poisson(X, 5, generator=None), "generator must be a torch.Generator.*None"),
        (lambda: coding.latency(X, 5, tau=0), "tau must be positive"),
        (lambda: coding.latency(X, 5, threshold=0), "threshold must lie strictly between 0 and 1, got 0"),
        (lambda: coding.latency(X, 5, threshold=1.5), r"threshold must lie in \[0, 1\], got 1.5"),
        (lambda: coding.latency(X, 1, linear=True), "num_steps must be at least 2, got 1"),
        (lambda: coding.latency(-X, 5), r"x must lie in \[0, 1\]"),
        (lambda: coding.phase(X, 12), "num_steps must be at most period=8 or a multiple of it, got 12"),
        (lambda: coding.phase(X, 8, period=0), "period must be at least 1, got 0"),
        (lambda: coding.phase(X, 8, period=25), "period must be at most 24.*25"),
        (lambda: coding.delta(torch.tensor(0.3), 0.1), "signal must have at least 1 axes"),
        (lambda: coding.delta(X, -0.1), "threshold must be positive, got -0.1"),
        (lambda: coding.delta(X / 0, 0.1), "signal must be finite"),
        (lambda: coding.direct(X, -1), "num_steps must be at least 1, got -1"),
        (lambda: coding.direct(X / 0, 3), "x must be finite"),
        (lambda: coding.encode(X, "morse", 5), "coding must be one of 'poisson'.*'direct', got 'morse'"),
        (lambda: coding.encode(X, "latency", 5, gain=2), "'latency' takes tau, threshold, linear; got gain=2"),
        (lambda: coding.encode(X, "direct", 5, gain=2), "'direct' takes no options; got gain=2"),
        (lambda: coding.encode(X, "poisson", 5), "'poisson' needs generator"),
        (lambda: coding.encode(X, "delta", 5, threshold=0.1), "num_steps must be the length of the signal, 2"),
        (lambda: coding.spike_count(S[:0]), r"spikes must hold at least one time step.*\(0, 2\)"),
        (lambda: coding.first_spike(S * math.nan), "spikes must be finite"),
        (lambda: coding.last_membrane(torch.tensor(1.0)), "membrane must have at least 1 axes"),
        (lambda: coding.rate_decode(S, max_rate_hz=0), "max_rate_hz must be positive"),
        (lambda: coding.latency_decode(S[:1], linear=True), "spikes must have at least 2 steps"),
        (lambda: coding.latency_decode(S, threshold=1), "threshold must lie strictly between 0 and 1, got 1"),
        (lambda: coding.phase_decode(torch.zeros(12, 2)), "spikes must have at most period=8 steps.*12"),
        (lambda: coding.delta_decode(S, 0), "threshold must be positive"),
        (lambda: coding.current_mean(S, torch.zeros(3, 2)), r"spikes must have three axes \[T, B, N\]"),
        (lambda: coding.current_mean(S[None], torch.zeros(3, 5)), r"weight must have shape \[M, N\] with N = 2"),
        (lambda: coding.current_mean(S[None], torch.zeros(3, 2), torch.zeros(2)), r"bias must have shape \(3,\)"),
    ],
)
def test_bad_input_is_named_with_its_value_and_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_generator_of_another_device_is_refused():
    with pytest.raises(ValueError, match="generator must be on the device of x, meta"):
        coding.encoders._require_generator(torch.zeros(2, device="meta"), seeded(0))
