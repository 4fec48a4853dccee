"""SLAYER against its published constants, a loop written from its equations, and dot products."""

import math

import pytest
import torch

from spikelab.neurons import alpha_kernel, psp
from spikelab.plasticity import (
    SlayerConv,
    SlayerDense,
    SlayerNeuron,
    SlayerPool,
    correlate,
    count_targets,
    probability_density,
    slayer_layer,
    spike_count_loss,
)


def noise(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def random_spikes(*shape, seed=0, rate=0.1):
    return (torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) < rate).double()


# --- constants of the published example ---


def test_kernels_of_the_default_neuron_are_those_of_slayers_example():
    neuron = SlayerNeuron()
    assert len(neuron.response()) == 77
    assert float(neuron.response().max()) == 1
    assert neuron.refractory()[:4].tolist() == pytest.approx([0, -20, -14.715, -8.120], abs=5e-4)


@pytest.mark.parametrize(("theta", "tau", "scale"), [(10.0, 1.0, 1.0), (1.0, 0.5, 3.0), (10.0, 0.1, 0.2)])
def test_surrogate_is_the_probability_density(theta, tau, scale):
    u = torch.linspace(-2 * theta, 4 * theta, 41, dtype=torch.float64)
    expected = [scale / (tau * theta) * math.exp(-abs(float(x) - theta) / (tau * theta)) for x in u]
    assert probability_density(theta, tau, scale).derivative(u - theta).tolist() == pytest.approx(expected, rel=1e-12)


def test_surrogate_at_threshold_by_hand():
    rho = probability_density().derivative(torch.tensor([0.0, 10.0, -10.0], dtype=torch.float64))
    assert rho.tolist() == pytest.approx([0.1, 0.1 / math.e, 0.1 / math.e])


# --- credit goes back in time ---


@pytest.mark.parametrize("seed", range(3))
def test_correlation_is_the_adjoint_of_the_response(seed):
    steps = (30, 64, 300)[seed]
    kernel = alpha_kernel(10.0, dtype=torch.float64)
    a, b = noise(steps, 2, 7, seed=seed), noise(steps, 2, 7, seed=seed + 10)
    assert float((psp(a, kernel) * b).sum()) == pytest.approx(float((a * correlate(b, kernel)).sum()), abs=1e-9)
    a.requires_grad_()
    (gradient,) = torch.autograd.grad((psp(a, kernel) * b).sum(), a)
    assert (gradient - correlate(b, kernel)).abs().max() < 1e-9


def test_an_error_credits_the_steps_before_it_and_a_convolution_those_after():
    kernel = alpha_kernel(4.0, dtype=torch.float64)
    error = torch.zeros(60, dtype=torch.float64)
    error[30] = 1
    credit, wrong = correlate(error, kernel), psp(error, kernel)
    assert int(credit.argmax()) == 26
    assert credit[30:].abs().max() == 0
    assert int(wrong.argmax()) == 34
    assert wrong[:31].abs().max() == 0


# --- a layer ---


def layer_by_hand(spikes, weight, neuron):
    """U and S of one sample step by step, from the equations and nothing else."""
    steps, inputs = spikes.shape
    alpha = lambda t, tau: t / tau * math.exp(1 - t / tau)  # noqa: E731
    membrane, out = torch.zeros(steps, len(weight)).double(), torch.zeros(steps, len(weight)).double()
    for t in range(steps):
        for m in range(len(weight)):
            u = 0.0
            for k in range(1, t + 1):
                response = alpha(k * neuron.dt_ms, neuron.tau_s_ms)
                if k < len(neuron.response()):
                    u += response * sum(float(weight[m, j] * spikes[t - k, j]) for j in range(inputs))
                if k < len(neuron.refractory()):
                    after = alpha(k * neuron.dt_ms, neuron.tau_r_ms)
                    u -= neuron.scale_ref * neuron.threshold * after * float(out[t - k, m])
            membrane[t, m], out[t, m] = u, float(u >= neuron.threshold)
    return out, membrane


@pytest.mark.parametrize("response_last", [False, True])
@pytest.mark.parametrize("neuron", [SlayerNeuron(), SlayerNeuron(2.0, 3.0, 2.0, 1.5, dt_ms=0.5)])
def test_layer_is_its_equations(neuron, response_last):
    spikes, weight = random_spikes(40, 3, seed=1, rate=0.3), neuron.threshold * noise(2, 3, seed=2).abs()
    expected_spikes, expected = layer_by_hand(spikes, weight, neuron)
    got = slayer_layer(spikes.unsqueeze(1), lambda x: x @ weight.T, neuron, response_last=response_last)
    assert torch.equal(got.spikes[:, 0], expected_spikes)
    assert 3 < expected_spikes.sum() < 70
    assert (got.membrane[:, 0] - expected).abs().max() < 1e-9


def test_gradient_of_a_layer_is_density_then_correlation():
    """dE/dW and dE/dS_in written with rho and correlate, as SLAYER prints them."""
    neuron = SlayerNeuron()
    spikes = random_spikes(120, 1, 5, seed=3, rate=0.1).requires_grad_()
    weight = (6 * noise(4, 5, seed=4)).requires_grad_()
    error = noise(120, 1, 4, seed=5)
    output = slayer_layer(spikes, lambda x: x @ weight.T, neuron)
    assert output.spikes.sum() > 10
    (output.spikes * error).sum().backward()
    delta = error * probability_density().derivative(output.membrane.detach() - neuron.threshold)
    potential = neuron.psp(spikes.detach())
    assert (weight.grad - torch.einsum("tbm,tbn->mn", delta, potential)).abs().max() < 1e-9
    back = correlate(delta @ weight.detach(), neuron.response(torch.float64))
    assert (spikes.grad - back).abs().max() < 1e-9


def test_a_neuron_fires_at_the_threshold_itself():
    spikes = torch.zeros(12, 1, 1, dtype=torch.float64)
    spikes[0] = 1
    output = slayer_layer(spikes, lambda x: 10 * x)  # epsilon peaks at exactly 1 after 10 ms
    assert output.spikes.flatten().nonzero().tolist() == [[10]]


def test_dense_layers_learn_a_spike_count():
    torch.manual_seed(0)
    net = torch.nn.ModuleList([SlayerDense(20, 15), SlayerDense(15, 3)])
    spikes = random_spikes(50, 6, 20, seed=7).float()
    target = torch.tensor([0, 1, 2, 0, 1, 2])
    true, false = count_targets(50)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    losses = []
    for _ in range(60):
        output = net[1](net[0](spikes).spikes).spikes
        loss = spike_count_loss(output, target, true=true, false=false)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert output.sum(0).argmax(1).tolist() == target.tolist()


def test_dense_and_conv_scale_pytorchs_initial_weights():
    dense, conv = SlayerDense(100, 5), SlayerConv(2, 4, 3)
    assert 0.9 < dense.synapse.weight.abs().max() <= 10 / math.sqrt(100)
    assert 15 < conv.synapse.weight.abs().max() <= 100 / math.sqrt(18)
    assert dense.synapse.bias is None
    assert conv.synapse.bias is None


def test_convolution_folds_time_into_the_batch():
    torch.manual_seed(1)
    conv = SlayerConv(2, 3, 5, padding=1, weight_scale=200.0).double()
    spikes = random_spikes(20, 2, 2, 8, 8, seed=8)
    output = conv(spikes)
    assert output.spikes.shape == (20, 2, 3, 6, 6)
    assert output.spikes.sum() > 0
    drive = torch.stack([conv.synapse(step) for step in conv.neuron.psp(spikes)])
    assert torch.equal(conv.neuron.spike(drive).spikes, output.spikes)


def test_one_spike_passes_a_pool_and_odd_edges_are_kept():
    spikes = torch.zeros(20, 1, 1, 5, 5)
    spikes[0, 0, 0, 4, 4] = 1
    output = SlayerPool(2)(spikes).spikes
    assert output.shape == (20, 1, 1, 3, 3)
    assert output.sum((0, 1, 2)).nonzero().tolist() == [[2, 2]]
    assert output[:10].sum() > 0


def test_under_autocast_only_the_synapse_runs_in_half_precision():
    torch.manual_seed(2)
    dense, spikes = SlayerDense(30, 40), random_spikes(40, 2, 30, seed=11).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = dense(spikes)
    assert output.membrane.dtype == torch.float32
    exact = dense(spikes)
    assert 0 < (output.membrane - exact.membrane)[0:12].abs().max() < 0.1
    assert (output.spikes != exact.spikes).double().mean() < 0.02


# --- loss ---


def test_loss_of_silence_is_fifteen_for_two_samples_of_ten_classes_in_300_steps():
    loss = spike_count_loss(torch.zeros(300, 2, 10), torch.tensor([3, 7]))
    assert float(loss) == pytest.approx(2 * 0.5 * (60**2 + 9 * 10**2) / 300)
    assert float(loss) == pytest.approx(15.0)


def test_loss_is_zero_at_the_wanted_counts_only():
    spikes = torch.zeros(300, 1, 3, dtype=torch.float64)
    spikes[:60, 0, 1], spikes[5:15, 0, 0], spikes[100:110, 0, 2] = 1, 1, 1
    assert float(spike_count_loss(spikes, torch.tensor([1]))) == 0
    assert float(spike_count_loss(spikes, torch.tensor([0]))) == pytest.approx(0.5 * (50**2 + 50**2) / 300)


def test_gradient_of_the_count_is_equal_at_every_step():
    spikes = random_spikes(40, 3, 4, seed=9).requires_grad_()
    spike_count_loss(spikes, torch.tensor([0, 2, 3]), true=8, false=1).backward()
    excess = spikes.detach().sum(0) - torch.tensor([[8, 1, 1, 1], [1, 1, 8, 1], [1, 1, 1, 8]])
    assert (spikes.grad - excess / 40).abs().max() < 1e-12


def test_sixty_spikes_in_thirty_steps_are_never_reached_and_rates_are():
    everything = torch.zeros(30, 1, 10)
    everything[:, 0, 4] = 1
    everything[:10, 0, [0, 1, 2, 3, 5, 6, 7, 8, 9]] = 1
    assert float(spike_count_loss(everything, torch.tensor([4]))) == pytest.approx(15.0)
    assert count_targets(30) == pytest.approx((6.0, 1.0))
    assert count_targets(300) == pytest.approx((60.0, 10.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: probability_density(0.0), "threshold must be positive"),
        (lambda: probability_density(tau_rho=-1.0), "tau_rho must be positive"),
        (lambda: probability_density(scale_rho=0.0), "scale_rho must be positive"),
        (lambda: correlate(torch.tensor(1.0), torch.ones(2)), "error must have at least 1 axes"),
        (lambda: slayer_layer(torch.ones(3), torch.nn.Identity()), "spikes must have at least 2 axes"),
        (lambda: SlayerDense(2, 2, weight_scale=0.0), "weight_scale must be positive"),
        (lambda: SlayerPool(0), "size must be at least 1"),
        (lambda: spike_count_loss(torch.zeros(3, 2), torch.zeros(2)), "spikes must have at least 3 axes"),
        (lambda: spike_count_loss(torch.zeros(0, 2, 4), torch.zeros(2).long()), "none of them 0"),
        (lambda: spike_count_loss(torch.zeros(3, 2, 4), torch.zeros(2)), "target must be a tensor of 2 whole numbers"),
        (lambda: spike_count_loss(torch.zeros(3, 2, 4), torch.zeros(3).long()), "one per sample of the batch"),
        (lambda: spike_count_loss(torch.zeros(3, 2, 4), torch.tensor([0, 4])), "must lie in 0 to 3 for 4 classes"),
        (lambda: spike_count_loss(torch.zeros(3, 1, 4), torch.tensor([0]), true=-1), "true must be zero or more"),
        (lambda: count_targets(0), "num_steps must be at least 1"),
        (lambda: count_targets(30, true_rate=2.0), r"true_rate must lie in \[0, 1\], got 2"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
