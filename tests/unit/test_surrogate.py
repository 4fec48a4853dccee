"""Surrogate gradients: each is the derivative of its own smooth forward, and equals snnTorch's where that has one."""

import pytest
import snntorch
import torch
from snntorch import surrogate as peer

from spikelab import surrogate

ALL = [
    surrogate.fast_sigmoid(),
    surrogate.fast_sigmoid(slope=4.0),
    surrogate.atan(),
    surrogate.atan(alpha=5.0),
    surrogate.sigmoid(),
    surrogate.sigmoid(slope=3.0),
    surrogate.boxcar(),
    surrogate.boxcar(width=0.3),
    surrogate.exponential(),
    surrogate.exponential(tau=0.1, scale=0.25),
]
each = pytest.mark.parametrize("spike_grad", ALL, ids=repr)


def grid() -> torch.Tensor:
    """Points between -2 and 2 that avoid 0 and the corners of the box, where a derivative is one-sided."""
    return torch.linspace(-2, 2, 801, dtype=torch.float64) + 0.0013


@each
def test_derivative_equals_finite_differences_of_the_smooth_forward(spike_grad):
    u, step = grid(), 1e-6
    slope = (spike_grad.smooth(u + step) - spike_grad.smooth(u - step)) / (2 * step)
    # A central difference in float64 errs by step² φ'''/6 and by rounding, 1e-16 / step.
    assert torch.allclose(spike_grad.derivative(u), slope, rtol=1e-6, atol=1e-8)


@each
def test_derivative_equals_autograd_of_the_smooth_forward(spike_grad):
    u = grid().requires_grad_()
    (slope,) = torch.autograd.grad(spike_grad.smooth(u).sum(), u)
    assert torch.allclose(spike_grad.derivative(u), slope, rtol=1e-12, atol=1e-14)


@each
def test_forward_is_a_step_that_is_silent_at_the_threshold(spike_grad):
    u = torch.tensor([-1.0, -1e-7, 0.0, 1e-7, 1.0])
    assert spike_grad(u).tolist() == [0, 0, 0, 1, 1]
    assert spike_grad(u.double()).dtype == torch.float64


@each
def test_backward_multiplies_by_the_derivative(spike_grad):
    u = grid().requires_grad_()
    weight = torch.linspace(-1, 3, len(u), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((weight * spike_grad(u)).sum(), u)
    assert torch.equal(gradient, weight * spike_grad.derivative(u.detach()))


@each
def test_derivative_is_even_peaks_at_the_threshold_and_never_negative(spike_grad):
    u = torch.linspace(0, 3, 301, dtype=torch.float64)
    right, left = spike_grad.derivative(u), spike_grad.derivative(-u)
    assert torch.allclose(right, left, rtol=1e-12)
    assert right.argmax() == 0
    assert (right >= 0).all()
    assert (right.diff() <= 0).all()


@pytest.mark.parametrize(
    ("spike_grad", "area"),
    [
        (surrogate.atan(alpha=2.0), 1.0),
        (surrogate.sigmoid(slope=25.0), 1.0),
        (surrogate.boxcar(width=0.4), 1.0),
        (surrogate.exponential(tau=0.5, scale=0.25), 0.5),
        (surrogate.fast_sigmoid(slope=25.0), 2 / 25),
    ],
    ids=repr,
)
def test_smooth_forward_rises_by_the_area_under_the_derivative(spike_grad, area):
    ends = torch.tensor([-1e9, 1e9], dtype=torch.float64)
    assert spike_grad.smooth(ends).diff().item() == pytest.approx(area, rel=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (surrogate.fast_sigmoid(25.0), peer.fast_sigmoid(25)),
        (surrogate.fast_sigmoid(7.0), peer.fast_sigmoid(7)),
        (surrogate.atan(2.0), peer.atan(2.0)),
        (surrogate.atan(5.0), peer.atan(5.0)),
        (surrogate.sigmoid(25.0), peer.sigmoid(25)),
        (surrogate.sigmoid(3.0), peer.sigmoid(3)),
    ],
)
def test_gradient_equals_snntorch(ours, theirs):
    u = torch.linspace(-2, 2, 401, dtype=torch.float64)
    # Same formula in another order of operations.
    assert torch.allclose(surrogate.derivative_of(ours, u), surrogate.derivative_of(theirs, u), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("spike_grad", "values"),
    [
        (surrogate.fast_sigmoid(25.0), [0.00148, 0.00549, 1.0]),
        (surrogate.atan(2.0), [0.0920, 0.2884, 1.0]),
        (surrogate.boxcar(1.0), [0.0, 0.0, 1.0]),
        (surrogate.exponential(1.0, 1.0), [0.36788, 0.60653, 1.0]),
        (surrogate.sigmoid(4.0), [0.07065, 0.41997, 1.0]),
    ],
    ids=repr,
)
def test_derivative_at_one_a_half_and_zero(spike_grad, values):
    u = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
    assert spike_grad.derivative(u).tolist() == pytest.approx(values, abs=5e-5)
    assert spike_grad.derivative(-u).tolist() == pytest.approx(values, abs=5e-5)


@each
def test_works_as_spike_grad_of_snntorch_leaky(spike_grad):
    neuron = snntorch.Leaky(beta=0.9, spike_grad=spike_grad, reset_mechanism="none")
    current = torch.full((3, 4), 0.45, requires_grad=True)
    membrane = torch.zeros(3, 4)
    for _ in range(3):
        spikes, membrane = neuron(current, membrane)
    assert spikes.tolist() == [[1.0] * 4] * 3  # 0.45 (1 + 0.9 + 0.81) = 1.2195
    (gradient,) = torch.autograd.grad(spikes.sum(), current)
    expected = spike_grad.derivative(membrane.detach() - 1) * (1 + 0.9 + 0.81)
    assert torch.allclose(gradient, expected, rtol=1e-5)


def test_derivative_of_a_foreign_spike_function_leaves_its_argument_alone():
    u = torch.tensor([-0.5, 0.5], requires_grad=True)
    slope = surrogate.derivative_of(peer.atan(2.0), u)
    assert not slope.requires_grad
    assert u.grad is None
    with torch.no_grad():
        assert torch.equal(surrogate.derivative_of(peer.atan(2.0), u), slope)


def test_name_tells_the_parameters():
    assert repr(surrogate.exponential(tau=0.1, scale=0.25)) == "exponential(tau=0.1, scale=0.25)"


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (surrogate.fast_sigmoid, "slope"),
        (surrogate.atan, "alpha"),
        (surrogate.sigmoid, "slope"),
        (surrogate.boxcar, "width"),
        (surrogate.exponential, "tau"),
        (surrogate.exponential, "scale"),
    ],
)
@pytest.mark.parametrize("value", [0.0, -2.0, float("nan"), float("inf"), "steep"])
def test_parameters_must_be_positive_numbers(make, argument, value):
    with pytest.raises(ValueError, match=rf"{argument} must be (positive|finite|a number), got"):
        make(**{argument: value})
