"""The spike response model against closed forms, numpy's convolution, a written-out sum, and ``lif``."""

import math

import numpy as np
import pytest
import torch

from spikelab.neurons import alpha_kernel, lif, lif_kernels, psp, refractory_kernel, srm
from spikelab.neurons.spike_response import _exponential_form
from spikelab.surrogate import exponential, fast_sigmoid


def noise(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- kernels ---


def test_slayer_kernel_of_ten_ms_has_77_taps_and_peaks_at_one_after_tau():
    kernel = alpha_kernel(10.0, dtype=torch.float64)
    assert len(kernel) == 77
    assert kernel[0] == 0
    assert int(kernel.argmax()) == 10
    assert float(kernel[10]) == 1.0
    assert float(kernel[-1]) >= 0.01
    assert 77 / 10 * math.exp(1 - 7.7) < 0.01  # the first tap that was left out


@pytest.mark.parametrize(("tau", "dt"), [(10.0, 1.0), (5.0, 0.5), (3.0, 0.7), (1.0, 1.0)])
def test_alpha_kernel_is_its_formula_tap_by_tap(tau, dt):
    kernel = alpha_kernel(tau, dt, dtype=torch.float64)
    t = np.arange(len(kernel)) * dt
    assert kernel.numpy() == pytest.approx(t / tau * np.exp(1 - t / tau), abs=1e-12)


def test_a_lower_cutoff_keeps_more():
    assert len(alpha_kernel(10.0, cutoff=0.5)) < len(alpha_kernel(10.0)) < len(alpha_kernel(10.0, cutoff=1e-4))


def test_refractory_kernel_of_slayers_example():
    kernel = refractory_kernel(1.0, 10.0, dtype=torch.float64)
    assert kernel[:4].tolist() == pytest.approx([0, -20, -14.715, -8.120], abs=5e-4)
    assert str(float(kernel[0])) == "0.0"  # not -0.0, which would print so
    assert float(kernel.min()) == -20
    assert abs(float(kernel[-1])) >= 0.01
    assert 20 * len(kernel) * math.exp(1 - len(kernel)) < 0.01  # the cut is in units of the membrane


def test_lif_kernels_by_hand():
    epsilon, eta = lif_kernels(0.5, 1.0, 4)
    assert epsilon.tolist() == [1, 0.5, 0.25, 0.125]
    assert eta.tolist() == [0, -1, -0.5, -0.25]


def test_lif_kernels_at_the_ends_of_beta():
    assert lif_kernels(1.0, 2.0, 3)[1].tolist() == [0, -2, -2]  # nothing is forgotten
    assert lif_kernels(0.0, 2.0, 3)[1].tolist() == [0, -2, 0]  # everything is
    assert lif_kernels(0.3, 2.0, 1)[1].tolist() == [0]


def test_kernels_follow_the_requested_dtype():
    assert alpha_kernel(10.0).dtype == torch.get_default_dtype()
    assert alpha_kernel(10.0, dtype=torch.float64).dtype == torch.float64
    assert {k.dtype for k in lif_kernels(0.9, 1.0, 5, dtype=torch.float64)} == {torch.float64}


# --- psp ---


@pytest.mark.parametrize("steps", [1, 3, 50, 64, 65, 200])
def test_psp_is_numpys_causal_convolution(steps):
    kernel, spikes = noise(8, seed=1), noise(steps, 2, 3, seed=2)
    got = psp(spikes, kernel)
    assert got.shape == spikes.shape
    for b in range(2):
        for n in range(3):
            expected = np.convolve(spikes[:, b, n].numpy(), kernel.numpy())[:steps]
            assert got[:, b, n].numpy() == pytest.approx(expected, abs=1e-12)


def test_psp_of_one_spike_is_the_kernel():
    kernel = alpha_kernel(4.0, dtype=torch.float64)
    spikes = torch.zeros(60, dtype=torch.float64)
    spikes[7] = 1
    response = psp(spikes, kernel)
    assert torch.equal(response[7 : 7 + len(kernel)], kernel)
    assert response[:7].abs().max() == 0


@pytest.mark.parametrize("seed", range(3))
def test_psp_backward_is_its_adjoint_the_correlation(seed):
    """Dot-product test: <psp(x), y> = <x, correlate(y)>, and autograd gives that correlation."""
    steps = (40, 64, 150)[seed]
    kernel, x, y = noise(9, seed=seed), noise(steps, 5, seed=seed + 10), noise(steps, 5, seed=seed + 20)
    correlation = psp(y.flip(0), kernel).flip(0)
    assert float((psp(x, kernel) * y).sum()) == pytest.approx(float((x * correlation).sum()), rel=1e-12)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad((psp(x, kernel) * y).sum(), x)
    assert torch.allclose(gradient, correlation, atol=1e-12)


def test_psp_of_nothing_is_nothing():
    assert psp(torch.zeros(0, 3), torch.ones(2)).shape == (0, 3)


# --- srm ---


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.8, 0.9, 1.0])
@pytest.mark.parametrize("threshold", [0.6, 1.0, 2.0])
def test_lif_as_spike_response_model_equals_lif(beta, threshold):
    current = threshold * (noise(60, 4, 3, seed=int(100 * beta), scale=0.5) + 0.3)
    epsilon, eta = lif_kernels(beta, threshold, 60, dtype=torch.float64)
    spikes, membrane = srm(psp(current, epsilon), refractory_kernel=eta, threshold=threshold)
    expected = lif(current, beta=beta, threshold=threshold)
    assert torch.equal(spikes, expected.spikes)
    assert spikes.sum() > 20
    assert (membrane - expected.membrane).abs().max() < 1e-9


def test_gradients_of_lif_as_spike_response_model_equal_those_of_lif():
    current = noise(40, 3, seed=5, scale=0.5) + 0.2
    weight_s, weight_u = noise(40, 3, seed=6), noise(40, 3, seed=7)
    epsilon, eta = lif_kernels(0.8, 1.0, 40, dtype=torch.float64)
    gradients = []
    for run in (
        lambda i: srm(psp(i, epsilon), refractory_kernel=eta, spike_grad=fast_sigmoid(5.0)),
        lambda i: lif(i, beta=0.8, spike_grad=fast_sigmoid(5.0))[:2],
    ):
        i = current.clone().requires_grad_()
        spikes, membrane = run(i)
        (spikes * weight_s + membrane * weight_u).sum().backward()
        gradients.append(i.grad)
    assert (gradients[0] - gradients[1]).abs().max() < 1e-9


def test_membrane_is_drive_plus_the_after_effect_of_every_earlier_spike():
    eta = refractory_kernel(2.0, 1.0, dtype=torch.float64)
    drive = noise(50, seed=3) + 0.8
    spikes, membrane = srm(drive, refractory_kernel=eta)
    assert 5 < spikes.sum() < 45
    for t in range(50):
        written_out = float(drive[t]) + sum(
            float(eta[k]) * float(spikes[t - k]) for k in range(1, len(eta)) if t - k >= 0
        )
        assert float(membrane[t]) == pytest.approx(written_out, abs=1e-12)


@pytest.mark.parametrize(
    "eta",
    [
        refractory_kernel(1.0, 2.0, dtype=torch.float64),
        refractory_kernel(4.0, 2.0, dt_ms=0.7, dtype=torch.float64),
        refractory_kernel(9.0, 2.0, scale=0.5, dtype=torch.float64),
        lif_kernels(0.9, 2.0, 30, dtype=torch.float64)[1],
        lif_kernels(1.0, 0.2, 12, dtype=torch.float64)[1],
        lif_kernels(0.5, 2.0, 2, dtype=torch.float64)[1],
        torch.tensor([0.0, -3.0, 0.5, -0.25], dtype=torch.float64),  # no exponential: summed spike by spike
        torch.zeros(1, dtype=torch.float64),
        torch.zeros(5, dtype=torch.float64),
    ],
    ids=["alpha", "alpha-fine", "alpha-slow", "lif", "counter", "one-step", "any", "none", "zero"],
)
@pytest.mark.parametrize("steps", [1, 25, 200])
def test_after_effects_equal_the_sum_over_earlier_spikes_whatever_the_kernel(eta, steps):
    drive = 2 * noise(steps, 6, seed=len(eta)) + 2
    spikes, membrane = srm(drive, refractory_kernel=eta, threshold=2.0, comparison=">=")
    summed = drive.clone()
    for k in range(1, min(len(eta), steps)):
        summed[k:] += eta[k] * spikes[:-k]
    assert (membrane - summed).abs().max() < 1e-9
    assert torch.equal(spikes, (membrane >= 2).to(spikes.dtype))
    assert steps == 1 or spikes.mean() > 0.02


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("tau", "dt"), [(1.0, 1.0), (5.0, 1.0), (10.0, 1.0), (3.0, 0.7), (0.3, 1.0)])
def test_the_kernels_of_the_course_take_the_fast_path(tau, dt, dtype):
    first, decay, is_alpha = _exponential_form(refractory_kernel(tau, 10.0, dt, dtype=dtype))
    assert is_alpha
    assert decay == pytest.approx(math.exp(-dt / tau), rel=1e-5)
    assert first == pytest.approx(-20 * dt / tau * math.exp(1 - dt / tau), rel=1e-6)
    assert _exponential_form(lif_kernels(0.9, 1.0, 50, dtype=dtype)[1]) == pytest.approx((-1.0, 0.9, False), rel=1e-6)
    assert _exponential_form(torch.tensor([0.0, -1.0, -0.9, -0.5], dtype=dtype)) is None


def test_slayers_kernel_keeps_a_neuron_silent_right_after_its_spike():
    drive = torch.full((12,), 12.0, dtype=torch.float64)
    spikes, _ = srm(drive, refractory_kernel=refractory_kernel(1.0, 10.0), threshold=10.0)
    # nu = 0, -20, -14.7, -8.1, -4.0, -1.8: 12 - 1.8 is the first to exceed 10 again
    assert spikes[:6].tolist() == [1, 0, 0, 0, 0, 1]


def test_at_the_threshold_only_the_weak_comparison_fires():
    drive, eta = torch.tensor([1.0, 1.0, 2.0]), torch.zeros(1)
    assert srm(drive, refractory_kernel=eta).spikes.tolist() == [0, 0, 1]
    assert srm(drive, refractory_kernel=eta, comparison=">=").spikes.tolist() == [1, 1, 1]


def test_the_weak_comparison_keeps_the_surrogate_gradient():
    drive = torch.tensor([0.9, 1.0, 1.2], dtype=torch.float64, requires_grad=True)
    surrogate = exponential(0.5)
    srm(drive, refractory_kernel=torch.zeros(1), spike_grad=surrogate, comparison=">=").spikes.sum().backward()
    assert torch.allclose(drive.grad, surrogate.derivative(drive.detach() - 1))


def test_the_refractory_path_carries_no_gradient():
    drive = torch.tensor([2.0, 0.5], dtype=torch.float64, requires_grad=True)
    eta = torch.tensor([0.0, -1.0], dtype=torch.float64)
    _, membrane = srm(drive, refractory_kernel=eta)
    assert membrane.tolist() == [2.0, -0.5]
    (gradient,) = torch.autograd.grad(membrane[1], drive)
    assert gradient.tolist() == [0.0, 1.0]


def test_a_snntorch_surrogate_works():
    from snntorch import surrogate

    drive = torch.tensor([0.5, 1.5], requires_grad=True)
    spikes, _ = srm(drive, refractory_kernel=torch.zeros(1), spike_grad=surrogate.atan(alpha=2.0))
    spikes.sum().backward()
    assert spikes.tolist() == [0, 1]
    assert (drive.grad > 0).all()


# --- bad input ---

KERNEL = torch.tensor([0.0, -1.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: alpha_kernel(0.0), "tau_ms must be positive"),
        (lambda: alpha_kernel(-1.0), "tau_ms must be positive"),
        (lambda: alpha_kernel(10.0, 0.0), "dt_ms must be positive"),
        (lambda: alpha_kernel(10.0, cutoff=1.0), "cutoff must be below the kernel's peak, 1, got 1"),
        (lambda: alpha_kernel(10.0, cutoff=0.0), "cutoff must be positive"),
        (lambda: refractory_kernel(1.0, 0.0), "threshold must be positive"),
        (lambda: refractory_kernel(1.0, 1.0, scale=-2.0), "scale must be positive"),
        (lambda: refractory_kernel(1.0, 0.001), r"cutoff must be below the kernel's depth"),
        (lambda: lif_kernels(1.2, 1.0, 4), r"beta must lie in \[0, 1\], got 1.2"),
        (lambda: lif_kernels(0.9, -1.0, 4), "threshold must be positive"),
        (lambda: lif_kernels(0.9, 1.0, 0), "length must be at least 1"),
        (lambda: psp([1.0], KERNEL), "spikes must be a torch.Tensor"),
        (lambda: psp(torch.tensor(1.0), KERNEL), "spikes must have at least 1 axes"),
        (lambda: psp(torch.ones(3), torch.ones(2, 2)), r"kernel must have shape \[K\]"),
        (lambda: psp(torch.ones(3), torch.ones(0)), r"kernel must have shape \[K\]"),
        (lambda: psp(torch.tensor([math.nan]), KERNEL), "spikes must be finite"),
        (lambda: srm(torch.ones(3), refractory_kernel=torch.tensor([-1.0])), "must start with 0 .*got -1"),
        (lambda: srm(torch.ones(3), refractory_kernel=KERNEL, threshold=0.0), "threshold must be positive"),
        (lambda: srm(torch.ones(3), refractory_kernel=KERNEL, comparison="="), "comparison must be one of '>', '>='"),
        (lambda: srm(torch.tensor([math.inf]), refractory_kernel=KERNEL), "drive must be finite"),
        (lambda: srm(torch.ones(3).long(), refractory_kernel=KERNEL), "drive must hold floating-point numbers"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
