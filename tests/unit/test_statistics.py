"""Intervals and confusion matrices against numbers worked out elsewhere."""

import pytest
import torch
from scipy.stats import binomtest

from spikelab.statistics import confusion_matrix, wilson_interval


def test_93_of_100_lies_between_86_and_97_percent():
    low, high = wilson_interval(93, 100)
    assert (round(low, 4), round(high, 4)) == (0.8625, 0.9657)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 7), (5, 10), (93, 100), (9850, 10_000), (10, 10)])
@pytest.mark.parametrize("confidence", [0.68, 0.95, 0.99])
def test_interval_equals_scipys(successes, n, confidence):
    expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    found = wilson_interval(successes, n, confidence=confidence)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= found.low <= successes / n <= found.high <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"successes": 11, "n": 10}, "successes must be at most n = 10, got 11"),
        ({"successes": -1, "n": 10}, "successes must be at least 0"),
        ({"successes": 0, "n": 0}, "n must be at least 1"),
        ({"successes": 5.5, "n": 10}, "successes must be a whole number"),
        ({"successes": 5, "n": 10, "confidence": 95}, "confidence must lie between 0 and 1, got 95"),
    ],
)
def test_impossible_counts_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        wilson_interval(**arguments)


def test_rows_are_true_classes_and_columns_predicted_ones():
    matrix = confusion_matrix(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 2, 1, 1]), 3)
    assert matrix.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("target", "predicted", "message"),
    [
        ([0, 1], [0], "must both have shape"),
        ([0, 3], [0, 1], "target must lie in 0 to 2"),
        ([0], [-1], "predicted must"),
    ],
)
def test_classes_that_do_not_exist_are_refused(target, predicted, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(torch.tensor(target), torch.tensor(predicted), 3)
