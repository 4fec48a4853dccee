"""SpikeProp: crossings against closed forms, gradients against finite differences, and XOR solved."""

import math

import pytest
import torch

from spikelab.plasticity import (
    SpikePropLayer,
    SpikePropNet,
    epsilon,
    epsilon_slope,
    first_crossing,
    spike_time_gradient,
    spike_time_loss,
    spike_times,
    train_spike_times,
)

INF = math.inf
XOR_INPUTS = torch.tensor([[0.0, 0, 0], [0, 6, 0], [6, 0, 0], [6, 6, 0]], dtype=torch.float64)  # the third: a reference
XOR_TARGETS = torch.tensor([[16.0], [10], [10], [16]], dtype=torch.float64)
DELAYS = torch.arange(1.0, 17.0, dtype=torch.float64)


def uniform(*shape, low=0.0, high=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(*shape, dtype=torch.float64, generator=generator)


# --- response and crossing ---


def test_response_peaks_at_one_after_tau_and_its_slope_is_its_derivative():
    t = torch.linspace(-5, 40, 91, dtype=torch.float64).requires_grad_()
    response = epsilon(t, 7.0)
    assert float(epsilon(torch.tensor(7.0), 7.0)) == 1
    assert response[t <= 0].abs().max() == 0
    (derivative,) = torch.autograd.grad(response.sum(), t)
    inside = t != 0  # the kink
    assert (derivative - epsilon_slope(t.detach(), 7.0))[inside].abs().max() < 1e-12
    assert float(epsilon_slope(torch.tensor(7.0), 7.0)) == 0


def test_an_input_that_never_spikes_has_no_response():
    assert float(epsilon(torch.tensor(-INF), 7.0)) == 0


def test_crossing_of_a_ramp_lies_between_the_samples():
    assert float(first_crossing(0.1 * torch.arange(50, dtype=torch.float64), 1.25)) == pytest.approx(12.5)
    assert float(first_crossing(0.1 * torch.arange(50, dtype=torch.float64), 1.25, 0.1)) == pytest.approx(1.25)


def test_a_silent_neuron_never_fires_instead_of_first():
    u = torch.stack([torch.linspace(0, 2, 21), torch.zeros(21)], dim=1)
    assert first_crossing(u, 1.05).tolist() == pytest.approx([10.5, INF])


def test_only_the_first_of_two_crossings_counts():
    u = torch.tensor([0.0, 2, 0, 0, 4, 0], dtype=torch.float64)
    assert float(first_crossing(u, 1.0)) == 0.5


def test_a_potential_above_threshold_from_the_start_crosses_at_zero():
    assert float(first_crossing(torch.tensor([2.0, 3.0]), 1.0)) == 0
    assert float(first_crossing(torch.zeros(0), 1.0)) == INF


@pytest.mark.parametrize("tau", [5.0, 9.0])
def test_crossing_of_a_sampled_response_is_within_a_twentieth_of_a_step(tau):
    t = torch.arange(0, 30, 0.1, dtype=torch.float64)
    crossing = float(first_crossing(epsilon(t, tau), 0.6, 0.1))
    assert float(epsilon(torch.tensor(crossing, dtype=torch.float64), tau)) == pytest.approx(0.6, abs=1e-3)
    exact = next(x * 1e-5 for x in range(10**6) if x * 1e-5 / tau * math.exp(1 - x * 1e-5 / tau) > 0.6)
    assert crossing == pytest.approx(exact, abs=0.005)


def test_spike_time_of_one_input_solves_the_equation_to_rounding():
    t = spike_times(torch.tensor([[2.0]]), torch.full((1, 1, 1), 1.5, dtype=torch.float64), torch.tensor([3.0]))
    assert float(t) > 5
    assert 1.5 * float(epsilon(t - 5, 7.0)) == pytest.approx(1, abs=1e-12)


def test_times_do_not_depend_on_the_grid():
    t_in, weight = uniform(6, 3, high=8, seed=1), uniform(3, 16, 4, low=0.02, high=0.1, seed=2)
    coarse, fine = (spike_times(t_in, weight, DELAYS, dt_ms=dt) for dt in (0.5, 0.05))
    assert torch.isfinite(coarse).all()
    assert (coarse - fine).abs().max() < 1e-9


def test_silent_inputs_and_silent_neurons_are_infinitely_late():
    weight = torch.full((2, 16, 1), 0.1, dtype=torch.float64)
    times = spike_times(torch.tensor([[0.0, 0.0], [0.0, INF], [INF, INF]]), weight, DELAYS)
    assert times[0] < times[1] < INF
    assert times[2] == INF
    late = spike_times(torch.tensor([[0.0, 0.0]]), weight, DELAYS, t_max_ms=4.0)
    assert late.tolist() == [[INF]]


# --- gradient of a spike time ---


@pytest.mark.parametrize("seed", range(3))
def test_gradient_of_one_neuron_equals_finite_differences(seed):
    weight, t_in = uniform(6, low=0.1, high=0.5, seed=seed), uniform(6, high=12, seed=seed + 10)

    def time(w):
        return float(spike_times(t_in.unsqueeze(0), w.reshape(6, 1, 1), torch.zeros(1)))

    gradient = spike_time_gradient(time(weight), weight, t_in, 7.0)
    assert math.isfinite(time(weight))
    for i in range(6):
        step = torch.zeros(6, dtype=torch.float64)
        step[i] = 1e-5
        measured = (time(weight + step) - time(weight - step)) / 2e-5
        assert float(gradient[i]) == pytest.approx(measured, rel=1e-5, abs=1e-7)
    assert (gradient <= 0).all()


def test_inputs_after_the_spike_cannot_move_it():
    gradient = spike_time_gradient(3.0, torch.tensor([1.0, 1.0]), torch.tensor([0.0, 4.0]), 7.0)
    assert gradient[0] < 0
    assert gradient[1] == 0


def test_the_flatter_the_crossing_the_larger_the_gradient():
    sizes = []
    for weight in (2.0, 1.1, 1.001, 1.00001):
        w = torch.tensor([weight], dtype=torch.float64)
        t = spike_times(torch.zeros(1, 1), w.reshape(1, 1, 1), torch.zeros(1))
        sizes.append(-float(spike_time_gradient(t, w, torch.zeros(1).double(), 7.0)))
    assert sizes == sorted(sizes)
    assert sizes[-1] > 100 * sizes[0]
    assert -float(spike_time_gradient(t, w, torch.zeros(1).double(), 7.0, slope_floor=0.05)) == pytest.approx(
        20, rel=0.01
    )


def test_silence_has_no_gradient():
    assert spike_time_gradient(INF, torch.ones(2), torch.zeros(2), 7.0).tolist() == [0, 0]
    weight = torch.full((1, 1, 1), 0.5, dtype=torch.float64, requires_grad=True)
    times = spike_times(torch.zeros(1, 1), weight, torch.zeros(1))
    spike_time_loss(times, torch.full((1, 1), 5.0)).backward()
    assert times.item() == INF
    assert weight.grad.item() == 0


def test_gradients_of_a_layer_pass_gradcheck():
    t_in = uniform(3, 4, high=6, seed=3).requires_grad_()
    weight = (uniform(4, 5, 2, low=-0.05, high=0.25, seed=4)).requires_grad_()
    delays = torch.tensor([1.0, 2.5, 4.0, 6.0, 9.0])
    assert torch.isfinite(spike_times(t_in, weight, delays)).all()
    assert torch.autograd.gradcheck(lambda t, w: spike_times(t, w, delays, slope_floor=1e-6), (t_in, weight), atol=1e-6)


def test_gradients_through_a_hidden_layer_pass_gradcheck():
    w1, w2 = uniform(3, 16, 4, low=0.03, high=0.1, seed=5), uniform(4, 16, 1, low=0.03, high=0.1, seed=6)

    def loss(a, b):
        hidden = spike_times(XOR_INPUTS, a, DELAYS, slope_floor=1e-6)
        return spike_time_loss(spike_times(hidden, b, DELAYS, slope_floor=1e-6), XOR_TARGETS)

    assert torch.autograd.gradcheck(loss, (w1.requires_grad_(), w2.requires_grad_()), rtol=1e-4, atol=1e-5)


def test_the_floor_limits_what_a_grazing_spike_passes_on():
    weight = torch.full((1, 1, 1), 1.0001, dtype=torch.float64, requires_grad=True)
    gradients = []
    for floor in (1e-9, 0.05):
        (gradient,) = torch.autograd.grad(
            spike_times(torch.zeros(1, 1), weight, torch.zeros(1), slope_floor=floor), weight
        )
        gradients.append(-float(gradient))
    assert gradients[1] == pytest.approx(20, rel=0.05)
    assert gradients[0] > 10 * gradients[1]


# --- nets ---


def xor(seed, **options):
    return SpikePropNet((3, 5, 1), generator=torch.Generator().manual_seed(seed), **options)


def test_xor_is_solved():
    net = xor(1)
    history = train_spike_times(net, XOR_INPUTS, XOR_TARGETS, epochs=100)
    assert history.solved is not None
    times = net(XOR_INPUTS)[-1]
    assert (times - XOR_TARGETS).square().sum() < 1
    assert history.errors[0] > 20
    assert (net.layers[1].weight[:4] >= 0).all()
    assert (net.layers[1].weight[4:] <= 0).all()


@pytest.mark.slow
def test_xor_is_solved_from_most_initial_weights():
    """Measured: 55 of 60 seeds within 250 epochs; here six seeds and 130 epochs."""
    solved = [train_spike_times(xor(seed), XOR_INPUTS, XOR_TARGETS, epochs=130).solved for seed in range(6)]
    assert sum(epoch is not None for epoch in solved) >= 4


def test_small_weights_are_dead_and_stay_dead_without_waking():
    net = xor(0, initial=(0.005, 0.01))
    before = [layer.weight.clone() for layer in net.layers]
    history = train_spike_times(net, XOR_INPUTS, XOR_TARGETS, epochs=5, wake=0.0)
    assert history.misses == [4] * 5
    assert all(torch.equal(a, layer.weight) for a, layer in zip(before, net.layers, strict=True))


def test_waking_brings_the_first_spike():
    history = train_spike_times(xor(0, initial=(0.005, 0.01)), XOR_INPUTS, XOR_TARGETS, epochs=10)
    assert history.misses[0] == 4
    assert history.misses[-1] == 0


def test_waking_adds_per_missing_spike_and_respects_signs():
    layer = SpikePropLayer(2, 2, delays_ms=(1.0,), signs=(1, -1), initial=(0.01, 0.01))
    layer.wake(torch.tensor([0, 3]), 0.005)
    assert layer.weight[0, 0].tolist() == pytest.approx([0.01, 0.025])
    assert layer.weight[1, 0].tolist() == pytest.approx([-0.01, 0.0])


def test_initial_weights_follow_the_generator_and_the_signs():
    a, b = (SpikePropLayer(3, 2, signs=(1, 0, -1), generator=torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(a.weight, b.weight)
    assert (a.weight[:2] > 0.05).all()
    assert (a.weight[2] < -0.05).all()
    assert a.weight.abs().max() < 0.1
    assert xor(0).state_dict().keys() == xor(1).state_dict().keys()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: epsilon(torch.ones(2), 0.0), "tau_ms must be positive"),
        (lambda: first_crossing(torch.tensor(1.0), 1.0), "u must have at least 1 axes"),
        (lambda: first_crossing(torch.ones(3), math.nan), "threshold must be finite"),
        (lambda: first_crossing(torch.ones(3), 1.0, 0.0), "dt_ms must be positive"),
        (lambda: spike_time_gradient(1.0, torch.ones(2), torch.ones(3), 7.0), r"t_in_ms must have shape \(2,\)"),
        (lambda: spike_time_gradient(30.0, torch.ones(1), torch.zeros(1), 7.0), "must be a crossing from below"),
        (
            lambda: spike_times(torch.ones(1, 2), torch.ones(3, 1, 1), torch.ones(1)),
            r"t_in_ms must have shape \[B, 3\]",
        ),
        (
            lambda: spike_times(torch.ones(1, 3), torch.ones(3, 2, 1), torch.ones(1)),
            r"delays_ms must have shape \(2,\)",
        ),
        (lambda: spike_times(torch.full((1, 1), math.nan), torch.ones(1, 1, 1), torch.ones(1)), "holds NaN"),
        (
            lambda: spike_times(torch.ones(1, 1), torch.ones(1, 1, 1), torch.ones(1), slope_floor=0.0),
            "slope_floor must be positive",
        ),
        (lambda: SpikePropLayer(2, 1, signs=(1,)), "signs must hold -1, 0 or 1 for each of 2 inputs"),
        (lambda: SpikePropLayer(2, 1, signs=(1, 2)), "signs must hold"),
        (lambda: SpikePropLayer(2, 1, delays_ms=(-1.0,)), "delays_ms must be zero or more"),
        (lambda: SpikePropLayer(2, 1, initial=(0.2, 0.1)), "initial must be a range"),
        (lambda: SpikePropNet((3,)), "sizes must name two layers or more"),
        (lambda: SpikePropNet((3, 2, 1), inhibitory=3), "inhibitory = 3"),
        (lambda: spike_time_loss(torch.ones(2, 1), torch.ones(2)), "target_ms must have shape"),
        (lambda: train_spike_times(xor(0), XOR_INPUTS, XOR_TARGETS, lr=0.0), "lr must be positive"),
        (lambda: train_spike_times(xor(0), XOR_INPUTS, XOR_TARGETS, wake=-1.0), "wake must be zero or more"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
