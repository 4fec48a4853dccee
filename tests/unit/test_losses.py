"""Losses of spiking classifiers: closed numbers, what carries a gradient, silence and ties."""

import math

import pytest
import torch

from spikelab import losses


def trains(*rows):
    """One sample; a row of spike steps for each class, ten steps."""
    spikes = torch.zeros(10, 1, len(rows), dtype=torch.float64)
    for index, steps in enumerate(rows):
        spikes[list(steps), 0, index] = 1
    return spikes


def test_count_cross_entropy_is_the_softmax_of_the_counts():
    spikes = trains([0, 1, 2], [5], [])
    weights = [math.exp(3), math.e, 1.0]
    expected = -math.log(weights[1] / sum(weights))
    assert losses.count_cross_entropy(spikes, torch.tensor([1])).item() == pytest.approx(expected)
    half = [math.exp(1.5), math.exp(0.5), 1.0]
    loss = losses.count_cross_entropy(spikes, torch.tensor([1]), scale=0.5)
    assert loss.item() == pytest.approx(-math.log(half[1] / sum(half)))


def test_a_count_does_not_care_when():
    spikes = trains([0, 1, 2], [5], []).requires_grad_()
    losses.count_cross_entropy(spikes, torch.tensor([1])).backward()
    assert torch.equal(spikes.grad, spikes.grad[:1].expand_as(spikes))


def test_latency_rewards_the_earlier_spike_and_equals_the_count_without_decay():
    early, late = trains([1], [8]), trains([8], [1])
    target = torch.tensor([0])
    assert losses.latency_cross_entropy(early, target) < losses.latency_cross_entropy(late, target)
    assert losses.latency_cross_entropy(early, target, decay=1.0) == losses.count_cross_entropy(early, target)
    worth = [0.5**1, 0.5**8]
    expected = math.log(sum(math.exp(w) for w in worth)) - worth[0]
    assert losses.latency_cross_entropy(early, target, decay=0.5).item() == pytest.approx(expected)


def test_membrane_loss_reaches_only_the_highest_step():
    membrane = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    losses.membrane_cross_entropy(membrane, torch.tensor([0, 2])).backward()
    assert ((membrane.grad != 0).sum(0) == 1).all()


def test_rate_penalty_of_the_worked_example():
    spikes = torch.zeros(20, 1, 3, dtype=torch.float64)
    spikes[:10, 0, 1] = 1  # rates 0, .5, .1
    spikes[:2, 0, 2] = 1
    assert losses.rate_penalty(spikes, 0.05, 0.2).item() == pytest.approx((0.05**2 + 0.3**2) / 3)
    assert losses.rate_penalty(spikes[..., 2:], 0.05, 0.2) == 0
    spikes.requires_grad_()
    losses.rate_penalty(spikes, 0.05, 0.2).backward()
    assert (spikes.grad[..., 0] < 0).all(), "a silent neuron is pushed up"
    assert (spikes.grad[..., 1] > 0).all()


def test_decisions_by_count_by_first_spike_and_by_membrane_differ():
    spikes = trains([7, 8, 9], [4], [6])
    membrane = torch.zeros_like(spikes)
    membrane[3, 0, 2] = 0.9
    answers = {by: losses.decide(spikes, membrane, by).item() for by in losses.DECISIONS}
    assert answers == {"count": 0, "first": 1, "membrane": 2}


@pytest.mark.parametrize("by", ["count", "first"])
def test_silence_and_ties_are_settled_by_the_membrane(by):
    membrane = torch.zeros(10, 1, 3)
    membrane[2, 0, 2] = 0.5
    assert losses.decide(torch.zeros(10, 1, 3), membrane, by).item() == 2
    tie = trains([], [4], [4]).float()
    assert losses.decide(tie, membrane, by).item() == 2
    membrane[2, 0, 0] = 3.0  # the highest membrane of all did not fire
    assert losses.decide(tie, membrane, by).item() == 2


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (torch.tensor([3]), "classes 0 to 2, got 3 to 3"),
        (torch.tensor([-1]), "classes 0 to 2"),
        (torch.tensor([0, 1]), r"integer \[1\], got \(2,\)"),
        (torch.tensor([0.0]), "integer"),
    ],
)
def test_targets_that_do_not_fit_are_refused(target, message):
    for loss in (losses.count_cross_entropy, losses.membrane_cross_entropy, losses.latency_cross_entropy):
        with pytest.raises(ValueError, match=message):
            loss(trains([0], [1], [2]), target)


def test_constants_out_of_range_are_refused():
    spikes, target = trains([0], [1]), torch.tensor([0])
    with pytest.raises(ValueError, match="scale must"):
        losses.count_cross_entropy(spikes, target, scale=0)
    for decay in (0.0, 1.5):
        with pytest.raises(ValueError, match="decay must"):
            losses.latency_cross_entropy(spikes, target, decay=decay)
    with pytest.raises(ValueError, match="high must"):
        losses.rate_penalty(spikes, 0.3, 0.2)
    with pytest.raises(ValueError, match="by must"):
        losses.decide(spikes, spikes, "vote")
    with pytest.raises(ValueError, match="shape of spikes"):
        losses.decide(spikes, spikes[1:])
    with pytest.raises(ValueError, match=r"\[T, B, C\]"):
        losses.count_cross_entropy(spikes.unsqueeze(-1), target)
