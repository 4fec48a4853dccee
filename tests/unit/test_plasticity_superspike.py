"""Van Rossum's distance against closed forms; SuperSpike against autograd through ``lif``, and where they part."""

import math

import pytest
import torch

from spikelab.neurons import lif
from spikelab.plasticity import (
    double_exponential,
    eligibility_step,
    superspike,
    superspike_error,
    superspike_loss,
    van_rossum,
)
from spikelab.surrogate import fast_sigmoid

BETA = math.exp(-1 / 10)


def random_spikes(*shape, seed=0, rate=0.1):
    return (torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) < rate).double()


def noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def at(steps, *times):
    train = torch.zeros(steps, dtype=torch.float64)
    train[list(times)] = 1
    return train


def cosine(a, b):
    return float(torch.cosine_similarity(a.flatten(), b.flatten(), dim=0))


# --- distance ---


@pytest.mark.parametrize("shift_ms", [2.0, 10.0, 40.0])
def test_distance_of_a_shifted_spike_is_its_closed_form(shift_ms):
    dt = 0.1
    a, b = at(4000, 100), at(4000, 100 + round(shift_ms / dt))
    assert float(van_rossum(a, b, 10.0, dt)) == pytest.approx(1 - math.exp(-shift_ms / 10), abs=0.02)


def test_one_spike_against_none_is_one_half_at_any_resolution():
    assert float(van_rossum(at(4000, 100), at(4000), 10.0, 0.1)) == pytest.approx(0.5, abs=0.01)
    assert float(van_rossum(at(40000, 100), at(40000), 10.0, 0.01)) == pytest.approx(0.5, abs=0.001)


def test_distance_is_symmetric_per_train_and_zero_for_equals():
    a, b = random_spikes(80, 3, 2, seed=1), random_spikes(80, 3, 2, seed=2)
    assert van_rossum(a, b, 5.0).shape == (3, 2)
    assert torch.equal(van_rossum(a, b, 5.0), van_rossum(b, a, 5.0))
    assert van_rossum(a, a, 5.0).abs().max() == 0
    assert torch.allclose(van_rossum(a, b, 5.0)[1, 0], van_rossum(a[:, 1, 0], b[:, 1, 0], 5.0))


def test_smoothing_is_causal_sums_to_one_and_is_a_difference_of_exponentials():
    response = double_exponential(at(400, 20))
    assert response[:21].abs().max() == 0
    assert float(response.sum()) == pytest.approx(1, abs=1e-9)
    k = torch.arange(380, dtype=torch.float64)
    shape = torch.exp(-k / 10) - torch.exp(-k / 5)
    assert torch.allclose(response[20:], shape / shape.sum(), atol=1e-12)


# --- three factors ---


def run(seed=0, inputs=12, outputs=3):
    pre = random_spikes(80, 2, inputs, seed=seed, rate=0.15)
    weight = (0.1 + 0.3 * noise(inputs, outputs, seed=seed + 1)).requires_grad_()
    output = lif(pre @ weight, beta=BETA, spike_grad=fast_sigmoid())
    assert 10 < output.spikes.sum() < 250
    return pre, weight, output, random_spikes(80, 2, outputs, seed=seed + 2, rate=0.15)


@pytest.mark.parametrize("seed", range(3))
def test_in_one_layer_it_is_the_negative_gradient_of_its_loss(seed):
    """Backpropagation through time gives the same numbers; the rule needs no pass backwards."""
    pre, weight, output, target = run(seed)
    superspike_loss(output.spikes, target).backward()
    dw = superspike(pre, output.membrane.detach(), superspike_error(output.spikes.detach(), target), beta=BETA)
    assert weight.grad.norm() > 1e-3
    assert (dw.sum(0) + weight.grad).abs().max() < 1e-12


def test_eligibilities_step_by_step_add_up_to_the_same_change():
    pre, _, output, target = run(5)
    membrane, error = output.membrane.detach(), superspike_error(output.spikes.detach(), target)
    options = {"beta": BETA, "spike_grad": fast_sigmoid(10.0), "tau_rise_ms": 3.0, "tau_decay_ms": 8.0}
    state, total = None, 0
    for x, u, e in zip(pre, membrane, error, strict=True):
        eligibility, state = eligibility_step(x, u, state, **options)
        total = total + e.unsqueeze(-2) * eligibility
    assert total.shape == (2, 12, 3)
    assert (total - superspike(pre, membrane, error, **options)).abs().max() < 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_van_rossums_own_gradient_is_a_neighbour_but_not_the_same(seed):
    pre, weight, output, target = run(seed)
    van_rossum(output.spikes, target, 10.0).sum().backward()
    dw = superspike(pre, output.membrane.detach(), superspike_error(output.spikes.detach(), target), beta=BETA)
    assert 0.9 < cosine(-weight.grad, dw.sum(0)) < 0.9995


@pytest.mark.parametrize("seed", range(3))
def test_a_hidden_layer_gets_the_direction_through_symmetric_feedback_not_the_gradient(seed):
    pre = random_spikes(80, 2, 20, seed=seed, rate=0.2)
    first = (0.1 + 0.3 * noise(20, 15, seed=seed + 20)).requires_grad_()
    second, other = 0.1 + 0.3 * noise(15, 3, seed=seed + 30), noise(15, 3, seed=seed + 50)
    hidden = lif(pre @ first, beta=BETA, spike_grad=fast_sigmoid())
    output = lif(hidden.spikes @ second, beta=BETA, spike_grad=fast_sigmoid())
    target = random_spikes(80, 2, 3, seed=seed + 40, rate=0.15)
    superspike_loss(output.spikes, target).backward()
    error = superspike_error(output.spikes.detach(), target)
    symmetric, random = (superspike(pre, hidden.membrane.detach(), error @ w.T, beta=BETA) for w in (second, other))
    assert 0.8 < cosine(-first.grad, symmetric.sum(0)) < 0.999
    assert abs(cosine(-first.grad, random.sum(0))) < cosine(-first.grad, symmetric.sum(0)) - 0.2
    assert symmetric.sum(0).norm() > 1.3 * first.grad.norm()  # phi' of the upper layer, below 1, is missing


def test_it_learns_a_spike_train():
    pre = random_spikes(150, 1, 100, seed=8, rate=0.05)
    target = at(150, 40, 80, 120).reshape(-1, 1, 1)
    weight = 0.05 + 0.05 * noise(100, 1, seed=9)
    distances = []
    for _ in range(120):
        output = lif(pre @ weight, beta=BETA)
        distances.append(float(van_rossum(output.spikes, target, 10.0)))
        weight = weight + 0.5 * superspike(pre, output.membrane, superspike_error(output.spikes, target), beta=BETA)[0]
    assert distances[0] > 1
    assert min(distances[-20:]) < 0.25 * distances[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: van_rossum(torch.ones(3), torch.ones(4), 10.0), r"b must have shape \(3,\) \(as a\)"),
        (lambda: van_rossum(torch.ones(3), torch.ones(3), 0.0), "tau_ms must be positive"),
        (lambda: van_rossum(torch.ones(3), torch.ones(3), 10.0, -1.0), "dt_ms must be positive"),
        (lambda: double_exponential(torch.ones(3), tau_rise_ms=10.0), "tau_rise_ms must be below tau_decay_ms = 10"),
        (lambda: superspike_error(torch.ones(3, 1), torch.ones(3, 2)), "target must have shape"),
        (lambda: superspike(torch.ones(3, 2), torch.ones(3, 1), torch.ones(3, 2), beta=0.9), "error must have shape"),
        (lambda: superspike(torch.ones(3, 2, 2), torch.ones(3, 1), torch.ones(3, 1), beta=0.9), "agree in all axes"),
        (lambda: superspike(torch.ones(3, 2), torch.ones(3, 1), torch.ones(3, 1), beta=1.2), "beta must lie in"),
        (lambda: eligibility_step(torch.ones(2), torch.ones(1), beta=0.9, threshold=0.0), "threshold must be positive"),
        (lambda: eligibility_step(torch.ones(3, 2), torch.ones(4, 1), beta=0.9), "agree in all axes but the last"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
