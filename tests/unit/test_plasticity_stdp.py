"""STDP by pairs, by traces and step by step: one rule, three ways; closed forms for single pairs."""

import math

import pytest
import torch

from spikelab.plasticity import (
    STDPState,
    clip_weights,
    normalise_sum,
    spike_trace,
    stdp,
    stdp_pairs,
    stdp_step,
    stdp_window,
)


def random_spikes(*shape, seed=0, rate=0.1):
    return (torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) < rate).double()


def at(steps, *times):
    train = torch.zeros(steps, dtype=torch.float64)
    train[list(times)] = 1
    return train


# --- the window ---


def test_window_by_hand():
    dw = stdp_window(torch.tensor([10.0, -10.0, 0.0], dtype=torch.float64))
    assert dw.tolist() == pytest.approx([0.0060653, -0.0063686, 0.0], abs=1e-7)
    assert float(stdp_window(10)) == pytest.approx(0.01 * math.exp(-0.5))


def test_each_side_of_the_window_has_its_own_time_constant():
    dw = stdp_window(torch.tensor([20.0, -20.0], dtype=torch.float64), tau_plus=10.0, tau_minus=40.0)
    assert dw.tolist() == pytest.approx([0.01 * math.exp(-2), -0.0105 * math.exp(-0.5)])


def test_far_pairs_count_nothing_and_overflow_nowhere():
    dt = torch.tensor([-1e6, -2000.0, 2000.0, 1e6], requires_grad=True)
    dw = stdp_window(dt)
    assert dw.abs().max() < 1e-40
    dw.sum().backward()
    assert torch.isfinite(dt.grad).all()


# --- traces ---


@pytest.mark.parametrize(("tau_plus", "tau_minus", "dt_ms"), [(20.0, 20.0, 1.0), (5.0, 40.0, 1.0), (20.0, 7.0, 0.5)])
def test_traces_equal_the_sum_over_all_pairs(tau_plus, tau_minus, dt_ms):
    pre, post = random_spikes(500, 3, seed=1), random_spikes(500, 2, seed=2)
    window = {"tau_plus": tau_plus, "tau_minus": tau_minus, "dt_ms": dt_ms}
    dw = stdp(pre, post, **window)
    pairs = torch.tensor([[stdp_pairs(pre[:, i], post[:, o], **window) for o in range(2)] for i in range(3)])
    assert pairs.abs().min() > 0.01
    assert (dw - pairs).abs().max() < 1e-9


def test_pairs_are_counted_one_by_one():
    pre, post = at(100, 10, 30), at(100, 15, 30, 60)
    expected = sum(float(stdp_window(b - a)) for a in (10, 30) for b in (15, 30, 60))
    assert float(stdp_pairs(pre, post)) == pytest.approx(expected, abs=1e-15)


def test_the_decay_is_exponential_not_its_first_order_approximation():
    assert float(stdp(at(30, 5).unsqueeze(1), at(30, 15).unsqueeze(1))) == pytest.approx(0.0060653, abs=1e-7)
    assert pytest.approx(0.005987, abs=1e-6) == 0.01 * (1 - 1 / 20) ** 10  # what 1 - 1/tau gives


@pytest.mark.parametrize("order", ["use-then-add", "add-then-use"])
def test_steps_add_up_to_the_sequence(order):
    pre, post = random_spikes(200, 4, 5, seed=3), random_spikes(200, 4, 2, seed=4)
    state, total = None, torch.zeros(4, 5, 2, dtype=torch.float64)
    for before, after in zip(pre, post, strict=True):
        dw, state = stdp_step(before, after, state, tau_plus=12.0, order=order)
        total += dw
    assert (total - stdp(pre, post, tau_plus=12.0, order=order)).abs().max() < 1e-12


def test_only_add_then_use_counts_simultaneous_spikes():
    spike = at(5, 2).unsqueeze(1)
    assert float(stdp(spike, spike)) == 0
    assert float(stdp(spike, spike, order="add-then-use")) == pytest.approx(0.01 - 0.0105)


def test_the_two_orders_differ_by_the_simultaneous_pairs_alone():
    pre, post = random_spikes(300, 1, seed=5, rate=0.2), random_spikes(300, 1, seed=6, rate=0.2)
    together = float((pre * post).sum())
    assert together > 5
    difference = float(stdp(pre, post, order="add-then-use") - stdp(pre, post))
    assert difference == pytest.approx(together * (0.01 - 0.0105), abs=1e-12)


def test_trace_of_one_spike():
    trace = spike_trace(at(6, 2), 10.0, dt_ms=5.0)
    assert trace.tolist() == pytest.approx([0, 0, 0, math.exp(-0.5), math.exp(-1), math.exp(-1.5)])
    assert spike_trace(at(6, 2), 10.0, order="add-then-use")[2] == 1


def test_a_sequence_without_steps_has_an_empty_trace():
    assert spike_trace(torch.zeros(0, 3), 10.0).shape == (0, 3)


# --- brakes ---


def test_weights_are_limited():
    assert clip_weights(torch.tensor([-0.2, 0.5, 1.4])).tolist() == [0, 0.5, 1]


def test_weights_into_a_neuron_keep_their_sum_and_their_proportions():
    weight = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    scaled = normalise_sum(weight, 2.0)
    assert scaled.tolist() == [[0.5, 0.0], [1.5, 0.0]]
    per_neuron = normalise_sum(torch.ones(4, 2), torch.tensor([1.0, 2.0]))
    assert per_neuron.sum(0).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stdp_window(1.0, a_plus=-1.0), "a_plus must be zero or more"),
        (lambda: stdp_window(1.0, tau_minus=0.0), r"tau_minus must be positive \(in ms\)"),
        (lambda: stdp_window(math.nan), "dt_ms must be finite"),
        (lambda: stdp_pairs(torch.ones(3), torch.ones(4)), r"must both have shape \[T\]"),
        (lambda: stdp_pairs(torch.ones(3), torch.ones(3), dt_ms=0), "dt_ms must be positive"),
        (lambda: stdp_step(torch.ones(3), torch.ones(2), order="add"), "order must be one of 'use-then-add'"),
        (lambda: stdp_step(torch.ones(3).long(), torch.ones(2)), "pre must be a floating-point tensor"),
        (lambda: stdp_step(torch.ones(3), [1.0]), "post must be a floating-point tensor .* got list"),
        (lambda: stdp_step(torch.ones(4, 3), torch.ones(5, 2)), "agree in all axes but the last"),
        (
            lambda: stdp_step(torch.ones(3), torch.ones(2), STDPState(torch.ones(1), torch.ones(2))),
            "state must hold traces",
        ),
        (lambda: stdp(torch.ones(3), torch.ones(3)), "pre must have at least 2 axes"),
        (lambda: spike_trace(torch.ones(3), -1.0), "tau_ms must be positive"),
        (lambda: clip_weights(torch.ones(2), 1.0, 0.0), "low must not exceed high"),
        (lambda: normalise_sum(-torch.ones(2, 1), 1.0), "weight must be zero or more"),
        (lambda: normalise_sum(torch.ones(2, 1), 0.0), "total must be positive"),
        (lambda: normalise_sum(torch.ones(2, 1), torch.zeros(1)), "total must be positive"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
