"""Scores of boxes: intervals against their formulas and coverage, the constant box against its optimality."""

import math

import pytest
import torch
from scipy.stats import binomtest

from spikelab.detection import constant_boxes, iou, order_corners
from spikelab.detection.metrics import (
    by_quartile,
    iou_histogram,
    mean_iou,
    paired_gain,
    skill,
    success,
)


def uniform(n, seed):
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generated_boxes(n, seed):
    """Boxes with a skewed spread of sizes around a place left of the middle."""
    g = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, 5, generator=g, dtype=torch.float64)
    centre = torch.stack((0.5 + 0.12 * noise[:, 0], 0.38 + 0.1 * noise[:, 1]), 1)
    size = (0.38 * (0.45 * noise[:, 2]).exp())[:, None] * (0.12 * noise[:, 3:]).exp()
    return torch.cat((centre - size / 2, centre + size / 2), 1).clamp(0, 1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_interval_of_the_mean_has_the_width_of_the_normal_one(seed):
    ious = uniform(700, seed)
    found = mean_iou(ious, num=4000, seed=seed)
    reach = 1.96 * ious.std(correction=0).item() / math.sqrt(700)
    assert found.value == pytest.approx(ious.mean().item())
    assert found.n == 700
    # The 2.5 % quantile of 4,000 draws is itself known to about 3 % of the reach.
    assert found.low == pytest.approx(found.value - reach, abs=0.12 * reach)
    assert found.high == pytest.approx(found.value + reach, abs=0.12 * reach)


def test_interval_of_the_mean_holds_the_truth_in_95_of_100_experiments():
    held = 0
    for seed in range(300):
        found = mean_iou(uniform(60, 1000 + seed), num=400, seed=seed)
        held += found.low <= 0.5 <= found.high
    assert binomtest(held, 300, 0.94).pvalue > 1e-3  # a bootstrap of 60 is about 1 % too narrow


def test_same_seed_same_interval_other_seed_other_interval():
    ious = uniform(100, 0).float()
    assert mean_iou(ious) == mean_iou(ious)
    assert mean_iou(ious)[1:3] != mean_iou(ious, seed=1)[1:3]
    state = torch.get_rng_state()
    mean_iou(ious)
    assert torch.equal(torch.get_rng_state(), state)


def test_pictures_drawn_in_portions_are_drawn_alike(monkeypatch):
    ious = uniform(100, 0)
    whole = mean_iou(ious, num=50)
    monkeypatch.setattr("spikelab.detection.metrics.RESAMPLE_AT_ONCE", 700)
    assert mean_iou(ious, num=50) == whole


def test_one_picture_has_an_interval_without_width():
    assert mean_iou(torch.tensor([0.25])) == (0.25, 0.25, 0.25, 1)


@pytest.mark.parametrize("seed", [0, 1])
def test_pairing_removes_what_both_share(seed):
    hard = uniform(400, seed) * 0.8
    gain = 0.1 + 0.02 * (uniform(400, seed + 10) - 0.5)
    found = paired_gain(hard + gain, hard)
    error = gain.std(correction=0).item() / math.sqrt(400)
    assert found.value == pytest.approx(gain.mean().item())
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.12)
    separate = mean_iou(hard + gain)
    assert separate.high - separate.low > 10 * (found.high - found.low)
    assert paired_gain(hard, hard + gain).value == pytest.approx(-found.value)


def test_success_is_strictly_above_the_threshold():
    ious = torch.tensor([0.2, 0.5, 0.500001, 0.75, 0.9])
    half, three_quarters = success(ious, 0.5), success(ious, 0.75)
    assert (half.value, three_quarters.value, half.n) == (0.6, 0.2, 5)
    expected = binomtest(3, 5).proportion_ci(0.95, method="wilson")
    assert half[1:3] == pytest.approx((expected.low, expected.high))


def test_histogram_puts_every_picture_in_the_bin_it_begins():
    assert iou_histogram(torch.tensor([0.0, 0.1, 0.25, 0.5, 0.74, 1.0]), bins=4).tolist() == [2, 1, 2, 1]
    ends = torch.arange(100, dtype=torch.float64) / 100
    assert iou_histogram(ends, bins=100).tolist() == [1] * 100  # .29 × 100 is 28.999…
    assert iou_histogram(uniform(1000, 0)).sum() == 1000
    assert iou_histogram(torch.tensor([0.5]), bins=1).tolist() == [1]


def test_quarters_run_from_small_to_large_and_share_the_pictures():
    values = torch.tensor([9.0, 1, 8, 2, 7, 3, 6, 4, 5])
    ious = values / 10
    found = by_quartile(values, ious)
    assert [quarter.n for quarter in found] == [3, 2, 2, 2]
    assert [quarter.value for quarter in found] == pytest.approx([0.2, 0.45, 0.65, 0.85])
    same = by_quartile(torch.ones(8), torch.arange(8) / 10)
    assert [quarter.value for quarter in same] == pytest.approx([0.05, 0.25, 0.45, 0.65])


def test_quarters_of_a_gain_are_paired():
    values, base = uniform(80, 0), uniform(80, 1) * 0.5
    found = by_quartile(values, base + 0.3 * values, base)
    for quarter, chosen in zip(found, values.argsort().tensor_split(4), strict=True):
        assert quarter.value == pytest.approx(0.3 * values[chosen].mean().item())
        assert quarter.high - quarter.low < 0.06


@pytest.mark.parametrize("seed", range(5))
def test_best_constant_beats_mean_and_median_and_no_neighbour_beats_it(seed):
    boxes = generated_boxes(400, seed)
    found = constant_boxes(boxes)
    scores = {name: iou(box, boxes).mean().item() for name, box in found.items()}
    assert scores["best"] > max(scores["mean"], scores["median"]) + 0.004
    moves = torch.cat((torch.eye(4), -torch.eye(4))).double()
    for step in (0.2, 0.05, 0.01, 0.002):
        assert iou((found["best"] + step * moves)[:, None], boxes).mean(1).max().item() <= scores["best"]


def test_best_constant_equals_a_search_of_every_box_on_a_grid():
    boxes = generated_boxes(150, 9)
    grid = torch.arange(0, 1.01, 0.05, dtype=torch.float64)
    every = torch.cartesian_prod(grid, grid, grid, grid)
    every = every[(every[:, 0] < every[:, 2]) & (every[:, 1] < every[:, 3])]
    exhaustive = torch.cat([iou(part[:, None], boxes).mean(1) for part in every.split(5000)]).max().item()
    found = iou(constant_boxes(boxes)["best"], boxes).mean().item()
    assert exhaustive - 1e-9 <= found <= exhaustive + 0.01


def test_mean_and_median_are_those_of_each_coordinate():
    boxes = torch.tensor([[0.0, 0, 1, 1], [0.1, 0.2, 0.5, 0.6], [0.3, 0.3, 0.6, 0.9], [0.4, 0.1, 0.5, 0.8]])
    found = constant_boxes(boxes)
    assert found["mean"].tolist() == pytest.approx([0.2, 0.15, 0.65, 0.825])
    assert found["median"].tolist() == pytest.approx([0.2, 0.15, 0.55, 0.85])
    assert all(box.dtype == torch.float64 for box in found.values())


def test_constants_of_one_box_are_that_box():
    one = torch.tensor([[0.2, 0.3, 0.6, 0.5]])
    for name, box in constant_boxes(one).items():
        assert iou(box, one[0].double()).item() > 0.999, name


def test_constants_survive_boxes_without_area():
    points = order_corners(uniform(40, 0).reshape(10, 4))
    points[:5, 2:] = points[:5, :2]
    assert all(bool(box.isfinite().all()) for box in constant_boxes(points).values())


@pytest.mark.parametrize(("miou", "baseline", "expected"), [(0.7, 0.67, 1 / 11), (1, 0.4, 1), (0.4, 0.4, 0)])
def test_skill_is_the_share_of_the_way_to_perfect(miou, baseline, expected):
    assert skill(miou, baseline) == pytest.approx(expected)


def test_skill_below_the_baseline_is_negative():
    assert skill(0.632, 0.675) == pytest.approx(-0.1323, abs=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_iou(torch.tensor([])), "ious must hold one IoU per picture"),
        (lambda: mean_iou(torch.tensor([0.5, math.nan])), "ious must be finite, but 1 of its 2 values"),
        (lambda: mean_iou(torch.tensor([63.2])), r"ious must lie in \[0, 1\], got values from 63.2"),
        (lambda: mean_iou(torch.ones(2, 2)), r"at least one, got shape \(2, 2\)"),
        (lambda: mean_iou(torch.ones(2), num=0), "num must be at least 1"),
        (lambda: paired_gain(torch.ones(3), torch.ones(2)), "base_ious must be of the same 3 pictures as ious, got 2"),
        (lambda: success(torch.ones(3), 50), r"threshold must lie in \[0, 1\], got 50"),
        (lambda: iou_histogram(torch.ones(3), bins=0), "bins must be at least 1"),
        (lambda: by_quartile(torch.ones(3), torch.ones(4)), r"values must hold one number per picture \[4\]"),
        (lambda: by_quartile(torch.ones(3), torch.ones(3)), "at least four pictures for four quarters, got 3"),
        (lambda: constant_boxes(torch.zeros(0, 4)), r"train_boxes must have shape \[N, 4\] with at least one box"),
        (lambda: constant_boxes(torch.full((2, 4), math.inf)), "train_boxes must be finite"),
        (lambda: skill(63.2, 0.5), r"miou must lie in \[0, 1\], got 63.2 \(a share"),
        (lambda: skill(0.5, 1.0), "baseline must be below 1"),
    ],
)
def test_impossible_scores_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
