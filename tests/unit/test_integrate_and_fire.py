"""Passive membrane, IF and LIF: against closed forms, traces worked out by hand, snnTorch and the readable loop."""

import math

import pytest
import snntorch
import torch

from spikelab import surrogate
from spikelab.neurons import (
    LIF,
    LIFState,
    decay_from_tau,
    integrate_and_fire,
    lif,
    lif_rate_hz,
    lif_reference,
    lif_step,
    passive_membrane,
)

RESETS = ["subtract", "zero", "none"]
SHAPES = [(40,), (40, 3), (25, 4, 7), (12, 2, 3, 5, 5)]
every_reset = pytest.mark.parametrize("reset", RESETS)


def noisy_current(seed: int, shape, dtype=torch.float64, scale: float = 0.4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.15 + scale * torch.randn(shape, generator=generator, dtype=dtype)


def snntorch_leaky(current, beta, threshold, reset, spike_grad):
    """The peer: one call per step, state carried by hand."""
    neuron = snntorch.Leaky(
        beta=beta, threshold=threshold, reset_mechanism=reset, spike_grad=spike_grad, reset_delay=True
    )
    membrane = torch.zeros_like(current[0])
    spikes, potentials = [], []
    for drive in current:
        fired, membrane = neuron(drive, membrane)
        spikes.append(fired)
        potentials.append(membrane)
    return torch.stack(spikes), torch.stack(potentials)


# Passive membrane ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau_ms", [1.0, 20.0, 32.8])
def test_decay_after_one_time_constant_is_one_over_e(tau_ms):
    assert decay_from_tau(tau_ms, dt_ms=tau_ms) == pytest.approx(1 / math.e, abs=1e-15)


def test_two_half_steps_decay_as_much_as_one():
    assert decay_from_tau(20, 0.5) ** 2 == pytest.approx(decay_from_tau(20, 1.0), abs=1e-15)
    assert decay_from_tau(20, 1.0) == pytest.approx(0.951229424500714, abs=1e-15)
    assert decay_from_tau(math.inf) == 1.0


def test_membrane_decays_to_one_over_e_after_one_time_constant():
    silence = torch.zeros(20, dtype=torch.float64)
    assert passive_membrane(silence, tau_ms=20, u0_mv=1.0)[-1].item() == pytest.approx(1 / math.e, abs=1e-14)


@pytest.mark.parametrize("dt_ms", [0.1, 1.0, 5.0, 10.0, 20.0, 50.0])
def test_exact_step_has_no_error_at_any_dt(dt_ms):
    steps = round(200 / dt_ms)
    u = passive_membrane(torch.full((steps,), 2.0, dtype=torch.float64), tau_ms=20, resistance_mohm=10, dt_ms=dt_ms)
    t = dt_ms * torch.arange(1, steps + 1, dtype=torch.float64)
    assert torch.allclose(u, 20 * (1 - torch.exp(-t / 20)), rtol=0, atol=1e-12)


def test_euler_error_grows_with_dt_as_measured():
    def largest_error(dt_ms):
        current = torch.full((round(200 / dt_ms),), 2.0, dtype=torch.float64)
        exact, euler = (
            passive_membrane(current, tau_ms=20, resistance_mohm=10, dt_ms=dt_ms, method=method)
            for method in ("exact", "euler")
        )
        return (exact - euler).abs().max().item()

    errors = [largest_error(dt) for dt in (0.1, 1, 5, 10, 20)]
    # A 20 mV step: 0.018, 0.19, 1.03, 2.36, 7.36 mV.
    assert errors == pytest.approx([0.0184, 0.1887, 1.031, 2.358, 7.358], rel=5e-3)


def test_euler_diverges_beyond_two_time_constants():
    u = passive_membrane(
        torch.full((4,), 2.0, dtype=torch.float64), tau_ms=20, resistance_mohm=10, dt_ms=50, method="euler"
    )
    assert u[-1].item() == pytest.approx(20 * (1 - (-1.5) ** 4))  # -81.25 mV for a 20 mV drive


def test_each_column_of_a_current_has_its_own_membrane():
    current = noisy_current(0, (30, 2, 3))
    together = passive_membrane(current, tau_ms=7)
    alone = passive_membrane(current[:, 1, 2], tau_ms=7)
    assert together.shape == (30, 2, 3)
    assert torch.equal(together[:, 1, 2], alone)
    assert passive_membrane(current[:0], tau_ms=7).shape == (0, 2, 3)


# Traces worked out by hand -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [lif, lif_reference], ids=["fused", "reference"])
@pytest.mark.parametrize(
    ("reset", "expected"),
    [
        ("subtract", [0.5, 0.9, 1.22, 0.476, 0.8808, 1.20464, 0.463712, 0.8709696]),
        ("zero", [0.5, 0.9, 1.22, 0.5, 0.9, 1.22, 0.5, 0.9]),
        ("none", [0.5, 0.9, 1.22, 1.476, 1.6808, 1.84464, 1.975712, 2.0805696]),
    ],
)
def test_golden_trace(run, reset, expected):
    out = run(torch.full((8,), 0.5, dtype=torch.float64), beta=0.8, reset=reset)
    assert out.membrane.tolist() == pytest.approx(expected, abs=1e-12)
    assert out.spikes.tolist() == [float(u > 1) for u in expected]


def test_subtraction_undershoots_because_the_potential_leaks_first():
    out = lif(torch.tensor([1.05, 0.0], dtype=torch.float64), beta=0.9)
    assert out.membrane.tolist() == pytest.approx([1.05, 0.945 - 1.0])


def test_neuron_exactly_at_threshold_is_silent():
    # 0.5 + 0.5 is exact in binary: U = 1 after two steps, above it only after three.
    assert integrate_and_fire(torch.full((3,), 0.5)).spikes.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("drive", "subtract", "zero"),
    [(0.35, 0.349, 0.333), (0.51, 0.510, 0.500), (0.6, 0.600, 0.500), (0.9, 0.899, 0.500)],
)
def test_without_leak_subtraction_is_linear_and_reset_to_zero_a_staircase(drive, subtract, zero):
    current = torch.full((1000,), drive, dtype=torch.float64)
    # Sums that end exactly at the threshold round either way: one spike in 1,000.
    assert integrate_and_fire(current).spikes.mean().item() == pytest.approx(subtract, abs=0.0011)
    assert integrate_and_fire(current, reset="zero").spikes.mean().item() == pytest.approx(zero, abs=0.0011)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("threshold", [0.7, 1.0, 2.5])
def test_charge_is_conserved_without_leak_under_subtraction(seed, threshold):
    current = noisy_current(seed, (500, 6))
    out = integrate_and_fire(current, threshold=threshold)
    assert out.spikes.sum() > 0
    # The last step's spike has not been paid for yet: its reset arrives one step later.
    paid = threshold * out.spikes[:-1].sum(0)
    assert torch.allclose(current.sum(0), paid + out.membrane[-1], rtol=0, atol=1e-10)


def test_integrate_and_fire_is_lif_without_leak():
    current = noisy_current(0, (50, 4))
    ours = integrate_and_fire(current, threshold=0.8, reset="zero", refractory_steps=2)
    same = lif(current, beta=1.0, threshold=0.8, reset="zero", refractory_steps=2)
    assert torch.equal(ours.spikes, same.spikes)
    assert torch.equal(ours.membrane, same.membrane)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("run", [lif, lif_reference], ids=["fused", "reference"])
def test_refractory_neuron_ignores_input_and_stays_silent_for_n_steps(run, n):
    # Every input exceeds the threshold, so the neuron fires whenever it may: every n + 1 steps.
    out = run(torch.full((12,), 1.5, dtype=torch.float64), beta=0.5, reset="zero", refractory_steps=n)
    assert out.spikes.tolist() == [float(t % (n + 1) == 0) for t in range(12)]
    assert out.membrane.tolist() == [1.5 if t % (n + 1) == 0 else 0.0 for t in range(12)]


def test_refractory_membrane_keeps_its_leak_and_takes_one_reset():
    out = lif(torch.full((4,), 1.5, dtype=torch.float64), beta=0.5, refractory_steps=2)
    # 0.75 - 1, then half of it, then the input counts again.
    assert out.membrane.tolist() == pytest.approx([1.5, -0.25, -0.125, 1.4375])
    assert out.spikes.tolist() == [1, 0, 0, 1]


def test_refractory_neuron_above_threshold_does_not_fire_until_awake():
    out = lif(torch.tensor([3.0, 0.0, 0.0, 0.0], dtype=torch.float64), beta=1.0, refractory_steps=2)
    assert out.membrane.tolist() == [3.0, 2.0, 2.0, 2.0]  # one spike, one reset, although U stays above threshold
    assert out.spikes.tolist() == [1, 0, 0, 1]


def test_simulated_rate_equals_the_closed_form_with_refractoriness():
    tau, theta, t_ref, dt = 20.0, 15.0, 2.0, 0.01
    drive = torch.tensor([16.0, 20.0, 60.0], dtype=torch.float64)
    beta = decay_from_tau(tau, dt)
    current = ((1 - beta) * drive).expand(30_000, 3)
    spikes = lif(current, beta=beta, threshold=theta, reset="zero", refractory_steps=round(t_ref / dt)).spikes
    for column, expected in zip(spikes.T, lif_rate_hz(drive, tau, theta, t_ref), strict=True):
        times = column.nonzero().squeeze()
        measured = 1000 * (len(times) - 1) / ((times[-1] - times[0]).item() * dt)
        assert measured == pytest.approx(expected.item(), rel=1e-3)


# Against snnTorch ----------------------------------------------------------------------------------------------------


@every_reset
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
@pytest.mark.parametrize(("beta", "threshold"), [(0.0, 1.0), (0.5, 0.7), (0.9, 1.0), (1.0, 1.3)])
def test_sequence_equals_snntorch_leaky(reset, seed, shape, beta, threshold):
    ours_in = noisy_current(seed, shape, torch.float32).requires_grad_()
    theirs_in = ours_in.detach().clone().requires_grad_()
    out = lif(ours_in, beta=beta, threshold=threshold, reset=reset)
    spikes, membrane = snntorch_leaky(theirs_in, beta, threshold, reset, snntorch.surrogate.atan())
    assert torch.equal(out.spikes, spikes)  # bit-equal: same order of operations
    assert torch.equal(out.membrane, membrane)
    assert 0 < spikes.mean() < 1
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed + 100))
    ((out.spikes * weight).sum() + (out.membrane * weight.flip(0)).sum()).backward()
    ((spikes * weight).sum() + (membrane * weight.flip(0)).sum()).backward()
    error = (ours_in.grad - theirs_in.grad).norm() / theirs_in.grad.norm()
    assert error < 1e-6


@every_reset
@pytest.mark.parametrize("spike_grad", [surrogate.atan(), surrogate.fast_sigmoid(), snntorch.surrogate.sigmoid()])
def test_learnable_decay_per_neuron_has_snntorch_gradient(reset, spike_grad):
    shape = (30, 4, 6)
    current = noisy_current(5, shape, torch.float32)
    beta = torch.linspace(0.1, 0.95, 6)
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(6))

    ours = beta.clone().requires_grad_()
    out = lif(current, beta=ours, reset=reset, spike_grad=spike_grad)
    (out.spikes * weight).sum().backward()

    neuron = snntorch.Leaky(
        beta=beta.clone(), learn_beta=True, reset_mechanism=reset, spike_grad=spike_grad, reset_delay=True
    )
    membrane, total = torch.zeros(shape[1:]), 0.0
    for drive, w in zip(current, weight, strict=True):
        spikes, membrane = neuron(drive, membrane)
        total = total + (spikes * w).sum()
    total.backward()
    assert (ours.grad - neuron.beta.grad).norm() / neuron.beta.grad.norm() < 1e-6


# Against the readable loop -------------------------------------------------------------------------------------------


@every_reset
@pytest.mark.parametrize("refractory_steps", [0, 1, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("decay", ["number", "per-neuron"])
def test_fused_sequence_equals_the_reference_loop(reset, refractory_steps, shape, decay):
    generator = torch.Generator().manual_seed(7)
    start = torch.randn(shape[1:], generator=generator, dtype=torch.float64)
    asleep = torch.randint(0, refractory_steps + 1, shape[1:], generator=generator, dtype=torch.int32)
    beta = torch.rand(shape[1:], generator=generator, dtype=torch.float64) if decay == "per-neuron" else 0.85
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    results = []
    for run in (lif, lif_reference):
        current = noisy_current(3, shape).requires_grad_()
        membrane = start.clone().requires_grad_()
        b = torch.as_tensor(beta, dtype=torch.float64).clone().requires_grad_()
        out = run(
            current, beta=b, threshold=0.8, reset=reset, refractory_steps=refractory_steps,
            state=LIFState(membrane, asleep),
        )  # fmt: skip
        loss = (out.spikes * weight).sum() + (out.membrane * weight.flip(0)).sum() + out.state.membrane.sum()
        results.append((out, torch.autograd.grad(loss, (current, membrane, b))))
    (fused, fused_grads), (loop, loop_grads) = results
    assert torch.equal(fused.spikes, loop.spikes)
    assert torch.equal(fused.membrane, loop.membrane)
    assert torch.equal(fused.state.membrane, loop.state.membrane)
    assert torch.equal(fused.state.refractory, loop.state.refractory)
    for ours, theirs in zip(fused_grads, loop_grads, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12)  # sums in another order


@every_reset
@pytest.mark.parametrize("refractory_steps", [0, 2])
@pytest.mark.parametrize("run", [lif, lif_reference], ids=["fused", "reference"])
def test_two_chunks_equal_one_call_in_values_and_gradients(reset, refractory_steps, run):
    options = {"beta": 0.9, "threshold": 0.6, "reset": reset, "refractory_steps": refractory_steps}
    current = noisy_current(2, (60, 5))
    whole_in, chunked_in = current.clone().requires_grad_(), current.clone().requires_grad_()
    whole = run(whole_in, **options)
    first = run(chunked_in[:23], **options)
    second = run(chunked_in[23:], **options, state=first.state)
    spikes = torch.cat([first.spikes, second.spikes])
    assert torch.equal(spikes, whole.spikes)
    assert torch.equal(torch.cat([first.membrane, second.membrane]), whole.membrane)
    assert torch.equal(second.state.refractory, whole.state.refractory)
    weight = torch.randn(spikes.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    (spikes * weight).sum().backward()
    (whole.spikes * weight).sum().backward()
    assert torch.allclose(chunked_in.grad, whole_in.grad, rtol=1e-10, atol=1e-12)


@every_reset
def test_steps_one_by_one_equal_the_sequence(reset):
    current = noisy_current(8, (20, 3))
    state = LIFState.rest(current[0])
    whole = lif(current, beta=0.8, reset=reset, refractory_steps=1)
    for drive, spikes, membrane in zip(current, whole.spikes, whole.membrane, strict=True):
        fired, state = lif_step(drive, state, beta=0.8, reset=reset, refractory_steps=1)
        assert torch.equal(fired, spikes)
        assert torch.equal(state.membrane, membrane)


def test_arguments_are_not_changed_in_place():
    current = noisy_current(1, (10, 2))
    state = LIFState(torch.ones(2, dtype=torch.float64), torch.tensor([1, 0], dtype=torch.int32))
    copies = [x.clone() for x in (current, *state)]
    lif(current, beta=0.9, refractory_steps=1, state=state)
    assert all(torch.equal(x, copy) for x, copy in zip((current, *state), copies, strict=True))


# Gradients -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smooth", [surrogate.atan(), surrogate.sigmoid(4.0), surrogate.exponential(0.5)], ids=repr)
def test_gradient_equals_finite_differences_of_the_smooth_neuron(smooth):
    """Without reset the surrogate gradient is the true gradient of a neuron whose spikes are smooth(U - theta)."""
    current = noisy_current(9, (12, 3)).requires_grad_()
    beta = torch.tensor([0.3, 0.8, 0.95], dtype=torch.float64, requires_grad=True)
    weight = torch.randn(12, 3, generator=torch.Generator().manual_seed(10), dtype=torch.float64)

    def smooth_loss(current, beta):
        u, total = torch.zeros(3, dtype=torch.float64), 0.0
        for drive, w in zip(current, weight, strict=True):
            u = beta * u + drive
            total = total + (w * smooth.smooth(u - 1)).sum()
        return total

    spikes = lif(current, beta=beta, reset="none", spike_grad=smooth).spikes
    grads = torch.autograd.grad((spikes * weight).sum(), (current, beta))
    step = 1e-6
    for argument, gradient in zip((current, beta), grads, strict=True):
        for index in range(argument.numel()):
            nudge = torch.zeros_like(argument).view(-1)
            nudge[index] = step
            nudge = nudge.view_as(argument)
            pair = [
                smooth_loss(*(x.detach() + sign * nudge if x is argument else x.detach() for x in (current, beta)))
                for sign in (1, -1)
            ]
            numeric = (pair[0] - pair[1]) / (2 * step)
            # Central differences in float64: about step² and 1e-16 / step.
            assert gradient.view(-1)[index].item() == pytest.approx(numeric.item(), rel=1e-6, abs=1e-8)


@every_reset
def test_membrane_gradient_passes_gradcheck_while_no_neuron_fires(reset):
    current = 0.05 * torch.rand(8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    beta = torch.full((3,), 0.7, dtype=torch.float64, requires_grad=True)
    start = torch.full((3,), 0.2, dtype=torch.float64, requires_grad=True)

    def membrane(current, beta, start):
        state = LIFState(start, torch.zeros(3, dtype=torch.int32))
        return lif(current, beta=beta, reset=reset, state=state).membrane

    assert torch.autograd.gradcheck(membrane, (current.requires_grad_(), beta, start))


def test_reset_carries_no_gradient():
    # U = [2, 2 beta + I - 1]; if the reset passed gradient, dU[1]/dI[0] would differ from beta.
    current = torch.tensor([2.0, 0.0], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(lif(current, beta=0.5).membrane[1], current)
    assert gradient.tolist() == [0.5, 1.0]
    (gradient,) = torch.autograd.grad(lif(current, beta=0.5, reset="zero").membrane[1], current)
    assert gradient.tolist() == [0.0, 1.0]


# Layer ---------------------------------------------------------------------------------------------------------------


def test_layer_holds_no_state_and_equals_the_function():
    layer = LIF(0.9, threshold=0.7, reset="zero", refractory_steps=1)
    current = noisy_current(0, (30, 4), torch.float32)
    first, second = layer(current), layer(current)
    expected = lif(current, beta=0.9, threshold=0.7, reset="zero", refractory_steps=1)
    assert torch.equal(first.spikes, second.spikes)
    assert torch.equal(first.membrane, expected.membrane)
    assert list(layer.parameters()) == []
    continued = layer(current, state=first.state)
    assert torch.equal(continued.membrane, lif(current, beta=0.9, threshold=0.7, reset="zero", refractory_steps=1,
                                               state=expected.state).membrane)  # fmt: skip


def test_layer_learns_its_decay_from_data():
    current = noisy_current(3, (50, 16), torch.float32)
    target = lif(current, beta=0.8, reset="none").membrane
    layer = LIF(torch.full((16,), 0.5), learn_beta=True, reset="none")
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        ((layer(current).membrane - target) ** 2).mean().backward()
        optimiser.step()
    assert (layer.beta - 0.8).abs().max() < 0.01


def test_layer_clamps_a_decay_that_training_pushed_out_of_range():
    layer = LIF(0.9, learn_beta=True)
    with torch.no_grad():
        layer.beta.fill_(1.3)
    current = noisy_current(0, (10, 2), torch.float32)
    assert torch.equal(layer(current).membrane, integrate_and_fire(current).membrane)


def test_only_the_membrane_is_kept_for_the_backward_pass():
    current = noisy_current(3, (4, 50)).requires_grad_()
    start = LIFState(torch.full((50,), 0.25, dtype=torch.float64), torch.zeros(50, dtype=torch.float64))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        out = lif(current, beta=0.9, state=start)
    memories = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in kept}
    assert sum(memories.values()) == 8 * (current.numel() + 1)  # and beta
    out.spikes.sum().backward()
    assert current.grad.abs().sum() > 0


def test_layer_says_what_it_is_and_is_saved_with_its_decay():
    layer = LIF(torch.tensor([0.5, 0.9]))
    assert "tensor (2,)" in repr(layer)
    assert "beta=0.9, threshold=1, reset='subtract'" in repr(LIF(0.9))
    assert layer.state_dict()["beta"].tolist() == pytest.approx([0.5, 0.9])


# Bad input -----------------------------------------------------------------------------------------------------------

GOOD = torch.zeros(4, 2)
WITH_NAN = torch.tensor([[0.0, 0.0], [0.0, math.nan], [0.0, 0.0], [0.0, 0.0]])


@pytest.mark.parametrize("run", [lif, lif_reference], ids=["fused", "reference"])
@pytest.mark.parametrize(
    ("current", "options", "message"),
    [
        (GOOD, {"beta": 1.2}, r"beta must lie in \[0, 1\], got 1.2 \(a decay per step; .* decay_from_tau\)"),
        (GOOD, {"beta": -0.1}, r"beta must lie in \[0, 1\], got -0.1"),
        (GOOD, {"beta": math.nan}, "beta must be finite, got nan"),
        (GOOD, {"beta": torch.tensor([0.5, 1.5])}, r"beta must lie in \[0, 1\], got values from 0.5 to 1.5"),
        (GOOD, {"beta": torch.full((3,), 0.5)}, r"beta must broadcast to one step of current \(2,\), got shape \(3,\)"),
        (GOOD, {"beta": torch.full((4, 1, 2), 0.5)}, r"beta must broadcast to one step of current \(2,\)"),
        (GOOD, {"beta": 0.9, "threshold": 0.0}, "threshold must be positive, got 0"),
        (GOOD, {"beta": 0.9, "reset": "soft"}, "reset must be one of 'subtract', 'zero', 'none', got 'soft'"),
        (GOOD, {"beta": 0.9, "refractory_steps": -1}, "refractory_steps must be at least 0, got -1"),
        (GOOD, {"beta": 0.9, "refractory_steps": 1.5}, "refractory_steps must be a whole number"),
        (WITH_NAN, {"beta": 0.9}, "current must be finite, but 1 of its 8 values are NaN or infinite"),
        (WITH_NAN, {"beta": 0.0, "reset": "zero"}, "current must be finite, but 1 of its 8 values"),
        (WITH_NAN, {"beta": 0.9, "refractory_steps": 3}, "current must be finite, but 1 of its 8 values"),
        (WITH_NAN.nan_to_num(-math.inf), {"beta": 0.9}, None),
        (torch.full((4, 2), -math.inf), {"beta": 0.5, "reset": "zero"}, "current must be finite, but 8 of its 8"),
        (
            torch.zeros(4, 2, dtype=torch.int64),
            {"beta": 0.9},
            "current must hold floating-point numbers, got torch.int64",
        ),
        ([0.1, 0.2], {"beta": 0.9}, "current must be a torch.Tensor.*, got list"),
        (torch.zeros(0, 2), {"beta": 0.9}, r"current must hold at least one time step .*, got shape \(0, 2\)"),
        (torch.tensor(0.5), {"beta": 0.9}, r"current must hold at least one time step .*, got shape \(\)"),
        (GOOD, {"beta": 0.9, "state": LIFState.rest(torch.zeros(3))}, r"state.membrane must have shape \(2,\)"),
    ],
)
def test_bad_arguments_of_a_sequence_are_named(run, current, options, message):
    if message is None:  # NaN replaced by a large negative number, which is no error
        run(current.clamp(min=-1e6), **options)
        return
    with pytest.raises(ValueError, match=message):
        run(current, **options)


@pytest.mark.parametrize("position", range(5))
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@every_reset
def test_a_single_bad_input_is_found_wherever_it_stands(position, beta, bad, reset):
    current = torch.full((5, 3), 0.6)
    current[position, 1] = bad
    with pytest.raises(ValueError, match="current must be finite, but 1 of its 15 values"):
        lif(current, beta=beta, reset=reset, refractory_steps=1)


def test_overflow_is_not_blamed_on_the_input():
    with pytest.raises(ValueError, match="overflowed"):
        lif(torch.full((4, 1), 2e38), beta=1.0, reset="none")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decay_from_tau(-20.0), r"tau_ms must be positive \(in ms\), got -20"),
        (lambda: decay_from_tau(20.0, dt_ms=0.0), r"dt_ms must be positive \(in ms\), got 0"),
        (lambda: decay_from_tau(math.nan), "tau_ms must be finite, got nan"),
        (lambda: passive_membrane(GOOD, tau_ms=-1), "tau_ms must be positive"),
        (lambda: passive_membrane(GOOD, tau_ms=20, resistance_mohm=0), "resistance_mohm must be positive"),
        (lambda: passive_membrane(GOOD, tau_ms=20, method="rk4"), "method must be one of 'exact', 'euler', got 'rk4'"),
        (lambda: passive_membrane(GOOD, tau_ms=20, u0_mv=math.nan), "u0_mv must be finite, got nan"),
        (lambda: passive_membrane(WITH_NAN, tau_ms=20), "current must be finite"),
        (lambda: passive_membrane(torch.tensor(1.0), tau_ms=20), r"current must have at least 1 axes"),
        (lambda: lif_step(WITH_NAN, LIFState.rest(WITH_NAN), beta=0.9), "current must be finite"),
        (lambda: lif_step(GOOD, LIFState.rest(GOOD[0]), beta=0.9), r"state.membrane must have shape \(4, 2\)"),
        (lambda: lif_step(GOOD, LIFState.rest(GOOD), beta=0.9, reset="hard"), "reset must be one of"),
        (lambda: LIF(1.2), r"beta must lie in \[0, 1\], got 1.2"),
        (lambda: LIF(0.9, reset="hard"), "reset must be one of"),
        (lambda: integrate_and_fire(GOOD, threshold=-1), "threshold must be positive, got -1"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
