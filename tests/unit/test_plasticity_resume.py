"""ReSuMe: what moves a weight, what does not, and that it learns to fire on time."""

import math

import pytest
import torch

from spikelab.neurons import decay_from_tau, lif
from spikelab.plasticity import resume, resume_step


def random_spikes(*shape, seed=0, rate=0.1):
    return (torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) < rate).double()


def at(steps, *times):
    train = torch.zeros(steps, 1, dtype=torch.float64)
    train[list(times)] = 1
    return train


def test_a_missing_spike_by_hand():
    half = 7 * math.log(2)  # after this time the trace of one spike is 0.5
    pre = torch.cat([at(2, 0), at(2)], dim=1)
    dw = resume(pre, at(2, 1), at(2), a=0.05, lr=0.1, dt_ms=half)
    assert dw.flatten().tolist() == pytest.approx([0.1 * (0.05 + 0.5), 0.1 * 0.05])


def test_a_surplus_spike_weakens_every_input_and_the_active_ones_most():
    pre = torch.cat([at(20, 8), at(20)], dim=1)
    dw = resume(pre, at(20), at(20, 10)).flatten()
    assert dw[0] < dw[1] < 0


def test_spikes_at_their_places_change_nothing_at_all():
    pre, output = random_spikes(100, 6, seed=1), random_spikes(100, 2, seed=2)
    assert torch.equal(resume(pre, output, output), torch.zeros(6, 2, dtype=torch.float64))


def test_change_is_antisymmetric_in_teacher_and_neuron():
    pre, desired, output = random_spikes(80, 5, seed=3), random_spikes(80, 2, seed=4), random_spikes(80, 2, seed=5)
    assert torch.allclose(resume(pre, desired, output), -resume(pre, output, desired), atol=1e-15)


@pytest.mark.parametrize("order", ["use-then-add", "add-then-use"])
def test_change_is_the_written_out_sum(order):
    pre, desired, output = random_spikes(60, 3, seed=6), random_spikes(60, 2, seed=7), random_spikes(60, 2, seed=8)
    expected = torch.zeros(3, 2, dtype=torch.float64)
    for t in range(60):
        last = t + 1 if order == "add-then-use" else t
        trace = sum((math.exp(-(t - s) / 9.0) * pre[s] for s in range(last)), torch.zeros(3, dtype=torch.float64))
        expected += 0.3 * torch.outer(0.1 + trace, desired[t] - output[t])
    assert (resume(pre, desired, output, a=0.1, lr=0.3, tau_ms=9.0, order=order) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("order", ["use-then-add", "add-then-use"])
def test_steps_add_up_to_the_sequence(order):
    trains = [random_spikes(50, 4, n, seed=n) for n in (5, 2, 2)]
    trains[2] = random_spikes(50, 4, 2, seed=9)
    trace, total = None, 0
    for pre, desired, output in zip(*trains, strict=True):
        dw, trace = resume_step(pre, desired, output, trace, order=order)
        total = total + dw
    assert total.shape == (4, 5, 2)
    assert (total - resume(*trains, order=order)).abs().max() < 1e-12


def train(seed, order, weight_scale=1.0, epochs=100):
    """Targets 40, 90, 150 ms for one neuron with 200 inputs of 10 Hz; output times after training."""
    generator = torch.Generator().manual_seed(seed)
    pre = (torch.rand(200, 200, generator=generator, dtype=torch.float64) < 0.01).double()
    weight = weight_scale * (0.1 + 0.1 * torch.rand(200, 1, generator=generator, dtype=torch.float64))
    desired = at(200, 40, 90, 150)
    for _ in range(epochs):
        output = lif(pre @ weight, beta=decay_from_tau(7.0), reset="zero").spikes
        if torch.equal(output, desired):
            break
        weight = weight + resume(pre, desired, output, order=order)
    return output.flatten().nonzero().flatten().tolist()


def test_it_learns_to_fire_on_time():
    assert [train(seed, "add-then-use") for seed in range(3)] == [[40, 90, 150]] * 3


def test_without_the_present_inputs_it_learns_to_fire_one_step_early():
    """In ``lif`` an input acts within its own step, so a trace that lags by a step credits the wrong inputs."""
    assert train(0, "use-then-add") == [39, 89, 149]


def test_a_silent_neuron_with_negative_weights_comes_back_to_life():
    assert train(0, "add-then-use", weight_scale=-1.0, epochs=1) == []
    assert train(0, "add-then-use", weight_scale=-1.0) == [40, 90, 150]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: resume(at(5), at(5), at(4)), "desired and output must have one shape"),
        (lambda: resume(at(5), at(4), at(4)), "agree in all axes but the last"),
        (lambda: resume(torch.ones(5), at(5), at(5)), "pre must have at least 2 axes"),
        (lambda: resume(at(5), at(5), at(5), a=-0.1), "a must be zero or more"),
        (lambda: resume(at(5), at(5), at(5), lr=-0.1), "lr must be zero or more"),
        (lambda: resume(at(5), at(5), at(5), tau_ms=0.0), "tau_ms must be positive"),
        (lambda: resume_step(at(5)[0], at(5)[0], at(5)[0], order="none"), "order must be one of"),
        (lambda: resume_step(at(5)[0], at(5)[0], at(5)[0], torch.zeros(3)), r"trace must have shape \(1,\)"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
