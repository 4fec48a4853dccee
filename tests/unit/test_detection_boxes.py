"""Boxes: overlaps against closed forms, counted pixels and pycocotools; losses that never stop being numbers."""

import itertools
import math

import numpy as np
import pytest
import torch
from pycocotools import mask as coco

from spikelab.detection import boxes as module
from spikelab.detection.boxes import (
    area,
    box_of_mask,
    centre_offset,
    ciou,
    ciou_loss,
    clip_boxes,
    diou,
    diou_loss,
    flip_boxes,
    giou,
    giou_loss,
    iou,
    iou_matrix,
    order_corners,
    to_centre,
    to_corners,
    to_pixels,
)

OVERLAPS = [iou, giou, diou, ciou]
EXTREMES = [0.0, 0.3, 1.0, -1e-30, 1e18, 3e38]


def random_boxes(n, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return order_corners(torch.rand(n, 4, generator=generator, dtype=dtype))


def extreme_pairs(dtype):
    """Every box with corners among the extremes beside every other: points, lines, reversed, giant and tiny ones."""
    every = torch.tensor(list(itertools.product(EXTREMES, repeat=4)), dtype=dtype)
    chosen = every[torch.randperm(len(every), generator=torch.Generator().manual_seed(0))[:120]]
    chosen = torch.cat((chosen, torch.zeros(1, 4, dtype=dtype), torch.tensor([[0.2, 0.2, 0.6, 0.7]], dtype=dtype)))
    pairs = torch.cartesian_prod(torch.arange(len(chosen)), torch.arange(len(chosen)))
    return chosen[pairs[:, 0]], chosen[pairs[:, 1]]


def pixels_of(box, size=24):
    """The whole pixels of a box whose last row and column belong to it."""
    x0, y0, x1, y1 = box
    grid = np.zeros((size, size), dtype=bool)
    grid[y0 : y1 + 1, x0 : x1 + 1] = True
    return grid


def test_both_conventions_on_two_boxes_worked_by_hand():
    a, b = torch.tensor([0.0, 0, 9, 9]), torch.tensor([5.0, 0, 14, 9])
    assert iou(a, b).item() == pytest.approx(36 / 126)  # 4 of 9 + 9 - 4 columns
    assert iou(a, b, inclusive=True).item() == pytest.approx(50 / 150)  # 5 of 10 + 10 - 5
    assert (area(a).item(), area(a, inclusive=True).item()) == (81, 100)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_inclusive_overlap_counts_pixels(seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = (order_corners(torch.randint(0, 24, (60, 4), generator=generator)) for _ in range(2))
    found = iou(a, b, inclusive=True)
    for one, other, value in zip(a.tolist(), b.tolist(), found.tolist(), strict=True):
        p, q = pixels_of(one), pixels_of(other)
        assert value == pytest.approx((p & q).sum() / (p | q).sum(), abs=1e-12)
    assert area(a, inclusive=True).tolist() == [pixels_of(one).sum() for one in a.tolist()]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_half_open_overlap_counts_finer_and_finer_dots(seed):
    """Area of intersection and union by counting dots of a fine grid, the definition itself."""
    a, b = random_boxes(40, seed), random_boxes(40, seed + 100)
    dots = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    y, x = torch.meshgrid(dots, dots, indexing="ij")
    for one, other, value in zip(a, b, iou(a, b), strict=True):
        p, q = (((x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])) for box in (one, other))
        assert value.item() == pytest.approx(((p & q).sum() / (p | q).sum()).item(), abs=0.02)


@pytest.mark.parametrize("seed", [0, 1])
def test_matrix_equals_pycocotools(seed):
    a, b = random_boxes(50, seed) * 300, random_boxes(30, seed + 7) * 300
    xywh = [torch.cat((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1).numpy() for boxes in (a, b)]
    expected = coco.iou(*xywh, np.zeros(len(b), dtype=np.uint8))
    assert iou_matrix(a, b).numpy() == pytest.approx(expected, abs=1e-12)
    assert torch.equal(iou_matrix(a, b)[3], iou(a[3], b))


def test_overlap_is_the_plain_formula_to_the_last_bit():
    """The unit in which sides are multiplied is a power of two, so it rounds nothing."""
    a, b = random_boxes(2000, 0, torch.float32), random_boxes(2000, 1, torch.float32)
    sides = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    common = sides.prod(1)
    assert torch.equal(iou(a, b), common / (area(a) + area(b) - common))


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_overlap_does_not_depend_on_unit_place_or_order(overlap):
    a, b = random_boxes(200, 3), random_boxes(200, 4)
    plain = overlap(a, b)
    assert torch.allclose(overlap(a * 1e6, b * 1e6), plain)
    assert torch.allclose(overlap(a + 5, b + 5), plain)
    assert torch.allclose(overlap(b, a), plain)
    assert torch.allclose(overlap(flip_boxes(a), flip_boxes(b)), plain)
    assert torch.allclose(overlap(a, a), torch.ones(1, dtype=torch.float64))


def test_whole_numbers_and_half_precision_are_as_good_as_their_double():
    a, b = torch.tensor([[0, 0, 5000, 5000]]), torch.tensor([[0, 0, 4999, 5000]])
    assert iou(a, b).item() == 4999 / 5000
    half = torch.tensor([[0.0, 0.0, 300.0, 300.0]], dtype=torch.float16)  # area 90,000: no float16
    assert iou(half, half).item() == 1
    assert giou_loss(half, half).item() == 0


def test_generalised_overlap_of_boxes_worked_by_hand():
    unit = torch.tensor([0.0, 0, 1, 1])
    assert giou(unit, torch.tensor([2.0, 0, 3, 1])).item() == pytest.approx(-1 / 3)  # one of three squares empty
    assert giou_loss(unit, torch.tensor([2.0, 0, 3, 1])).item() == pytest.approx(4 / 3)
    assert giou(unit, torch.tensor([1.0, 1, 2, 2])).item() == pytest.approx(-0.5)  # touching corners: 2 of 4 empty
    assert giou(unit, torch.tensor([0.0, 0, 2, 1])).item() == pytest.approx(0.5)  # one inside the other: IoU


def test_distance_overlap_of_boxes_worked_by_hand():
    unit = torch.tensor([0.0, 0, 1, 1])
    assert diou(unit, torch.tensor([2.0, 0, 3, 1])).item() == pytest.approx(-4 / 10)  # 2² over 3² + 1²
    assert diou(unit, torch.tensor([0.0, 0, 2, 1])).item() == pytest.approx(0.5 - 0.25 / 5)
    same_centre = torch.tensor([0.25, 0.25, 0.75, 0.75])
    assert diou(unit, same_centre).item() == iou(unit, same_centre).item() == 0.25


def test_complete_overlap_of_boxes_worked_by_hand():
    wide, tall = torch.tensor([0.0, 1, 3, 2]), torch.tensor([1.0, 0, 2, 3])  # a cross: IoU 1 of 5, one centre
    v = 4 / math.pi**2 * (math.atan(3) - math.atan(1 / 3)) ** 2
    assert ciou(wide, tall).item() == pytest.approx(0.2 - v / (1 - 0.2 + v) * v)
    small, large = torch.tensor([0.0, 0, 2, 1]), torch.tensor([0.0, 0, 4, 2])
    assert ciou(small, large).item() == pytest.approx(diou(small, large).item())  # one shape


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_order_and_bounds_of_the_overlaps(seed):
    a, b = random_boxes(500, seed), random_boxes(500, seed + 50)
    plain = iou(a, b)
    for values in (giou(a, b), diou(a, b)):
        assert bool((values <= plain + 1e-12).all())
        assert bool((values > -1).all())
    assert bool((ciou(a, b) <= diou(a, b) + 1e-12).all())


def test_losses_are_means_of_what_is_missing():
    a, b = random_boxes(50, 5), random_boxes(50, 6)
    for loss, overlap in ((giou_loss, giou), (diou_loss, diou), (ciou_loss, ciou)):
        assert loss(a, b).item() == pytest.approx((1 - overlap(a, b)).mean().item())
        assert loss(b, b).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("overlap", [iou, giou, diou])
def test_gradients_equal_finite_differences(overlap):
    for a, b in (
        (random_boxes(6, 8), random_boxes(6, 9)),
        (random_boxes(6, 8), random_boxes(6, 9) + 2),  # disjoint
        (random_boxes(6, 8) * 1e-7, random_boxes(6, 9) * 1e-7 + 1e-8),
    ):
        scale = float(b.abs().max())
        inputs = (a.requires_grad_(), b.requires_grad_())
        assert torch.autograd.gradcheck(overlap, inputs, eps=1e-7 * scale, atol=1e-4 / scale, rtol=1e-4)


def test_gradient_of_complete_overlap_equals_finite_differences_with_its_weight_held():
    a, b = random_boxes(30, 10).requires_grad_(), random_boxes(30, 11)

    def shape_price(boxes):
        angles = [torch.atan((x[:, 2] - x[:, 0]) / (x[:, 3] - x[:, 1])) for x in (boxes, b)]
        return 4 / math.pi**2 * (angles[0] - angles[1]) ** 2

    v = shape_price(a)
    weight = (v / (1 - iou(a, b) + v)).detach()
    (found,) = torch.autograd.grad(ciou(a, b).sum(), a)
    with torch.no_grad():
        for coordinate, step in enumerate(torch.eye(4, dtype=torch.float64) * 1e-6):
            ends = [diou(a + sign * step, b) - weight * shape_price(a + sign * step) for sign in (1, -1)]
            assert torch.allclose(found[:, coordinate], (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", [giou_loss, diou_loss])
def test_disjoint_boxes_are_pulled_together(loss):
    pred = torch.tensor([0.0, 0.0, 0.2, 0.2], requires_grad=True)
    target = torch.tensor([0.6, 0.6, 0.9, 0.9])
    loss(pred, target).backward()
    assert bool((pred.grad[2:] < 0).all())  # descending moves the right and lower sides towards the target
    (plain,) = torch.autograd.grad(iou(pred, target), pred)
    assert not plain.any()  # which IoU itself does not


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_no_box_makes_a_value_or_gradient_that_is_no_number(overlap, dtype):
    a, b = (boxes.requires_grad_() for boxes in extreme_pairs(dtype))
    values = overlap(a, b)
    values.sum().backward()
    assert bool(values.isfinite().all())
    assert bool(a.grad.isfinite().all())
    assert bool(b.grad.isfinite().all())
    assert values.min().item() >= -2 - 1e-6
    assert values.max().item() <= 1 + 1e-6


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_nothing_overlaps_nothing_by_zero(overlap):
    point = torch.tensor([0.3, 0.4, 0.3, 0.4], requires_grad=True)
    value = overlap(point, point.detach())
    value.backward()
    assert value.item() == 0
    assert not point.grad.any()


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_a_box_that_is_no_number_stays_none(overlap):
    """A network that has blown up must be noticed, not scored."""
    broken = torch.tensor([0.1, 0.1, math.nan, 0.5])
    assert math.isnan(overlap(broken, torch.tensor([0.0, 0, 1, 1])).item())


def test_reversed_corners_are_an_empty_box_to_the_measure_and_put_in_order_by_the_losses():
    target, turned = torch.tensor([0.2, 0.2, 0.6, 0.6]), torch.tensor([0.6, 0.6, 0.2, 0.2])
    assert iou(turned, target).item() == area(turned).item() == 0
    assert giou_loss(turned, target).item() == diou_loss(turned, target).item() == ciou_loss(turned, target).item() == 0
    assert order_corners(turned).tolist() == target.tolist()
    assert order_corners(torch.tensor([0.6, 0.2, 0.2, 0.6])).tolist() == target.tolist()


@pytest.mark.parametrize("loss", [giou_loss, diou_loss, ciou_loss])
def test_descent_brings_a_line_a_turned_a_far_and_a_large_box_to_their_target(loss):
    starts = [[0.3, 0.35, 0.3, 0.45], [0.9, 0.8, 0.1, 0.7], [0.7, 0.7, 0.7, 0.9], [0.0, 0.0, 1.0, 1.0]]
    found, target = torch.tensor(starts, requires_grad=True), torch.tensor([0.2, 0.3, 0.6, 0.5])
    optimiser = torch.optim.Adam([found])
    for step in range(300):
        optimiser.param_groups[0]["lr"] = 0.1 * (1 - step / 300)
        optimiser.zero_grad()
        loss(found, target).backward()
        optimiser.step()
    assert iou(order_corners(found.detach()), target).min().item() > 0.95


@pytest.mark.parametrize("seed", [0, 1])
def test_boxes_keep_their_meaning_through_every_conversion(seed):
    boxes = random_boxes(100, seed)
    assert torch.allclose(to_corners(to_centre(boxes)), boxes)
    assert torch.allclose(flip_boxes(flip_boxes(boxes)), boxes)
    assert torch.equal(clip_boxes(boxes), boxes)
    assert torch.equal(order_corners(boxes), boxes)
    assert torch.allclose(area(flip_boxes(boxes)), area(boxes))


def test_conversions_worked_by_hand():
    box = torch.tensor([0.1, 0.2, 0.4, 0.6])
    assert to_centre(box).tolist() == pytest.approx([0.25, 0.4, 0.3, 0.4])
    assert flip_boxes(box).tolist() == pytest.approx([0.6, 0.2, 0.9, 0.6])
    assert clip_boxes(torch.tensor([-0.1, 0.2, 1.3, 0.6])).tolist() == pytest.approx([0, 0.2, 1, 0.6])
    assert centre_offset(box).item() == pytest.approx(math.hypot(0.25, 0.1))


def test_pixels_are_rounded_down_after_clipping_and_x_goes_with_the_width():
    box = torch.tensor([-0.1, 0.26, 0.5, 1.7], dtype=torch.float64)
    assert to_pixels(box, (100, 60)).tolist() == [0, 26, 30, 100]
    assert to_pixels(box, (100, 60)).dtype == torch.int64


def test_flipped_box_is_the_box_of_the_flipped_mask():
    mask = torch.zeros(12, 20, dtype=torch.bool)
    mask[2:7, 3:15] = True
    assert torch.allclose(flip_boxes(box_of_mask(mask)), box_of_mask(mask.flip(1)))


def test_box_of_a_mask_holds_its_last_pixel():
    mask = torch.zeros(10, 20, dtype=torch.bool)
    mask[3:6, 4:10] = True
    assert box_of_mask(mask).tolist() == [0.2, 0.3, 0.5, 0.6]
    assert box_of_mask(mask.numpy()).tolist() == [0.2, 0.3, 0.5, 0.6]
    assert box_of_mask(torch.ones(3, 5, dtype=torch.bool)).tolist() == [0, 0, 1, 1]
    dots = torch.zeros(10, 10, dtype=torch.bool)
    dots[2, 7] = dots[8, 1] = True  # pieces count together
    assert box_of_mask(dots).tolist() == [0.1, 0.2, 0.8, 0.9]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: box_of_mask(torch.zeros(4, 5, dtype=torch.bool)), r"mask of shape \(4, 5\) has no pixel set"),
        (lambda: box_of_mask(torch.ones(4, 5)), r"mask must be \[H, W\] of bool, got torch.float32"),
        (lambda: box_of_mask(np.ones((1, 4, 5), dtype=bool)), r"of shape \(1, 4, 5\)"),
        (lambda: area(torch.zeros(3)), r"boxes must have shape \[..., 4\].*got \(3,\)"),
        (lambda: area([0, 0, 1, 1]), "boxes must be a torch.Tensor .* got list"),
        (lambda: iou(torch.zeros(3, 4), torch.zeros(2, 5)), r"b must have shape \[..., 4\].*got \(2, 5\)"),
        (lambda: iou(torch.zeros(3, 4), torch.zeros(2, 4)), r"a and b must pair up.*\(3, 4\) and \(2, 4\)"),
        (lambda: iou_matrix(torch.zeros(4), torch.zeros(2, 4)), r"a must have shape \[number, 4\], got \(4,\)"),
        (lambda: to_pixels(torch.zeros(4), (10,)), r"size must be \(height, width\)"),
        (lambda: to_pixels(torch.zeros(4), (10, 0)), "width must be at least 1, got 0"),
    ],
)
def test_what_is_no_box_or_mask_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_every_public_name_says_where_it_is_explained():
    for name, value in vars(module).items():
        if callable(value) and getattr(value, "__module__", "") == module.__name__ and not name.startswith("_"):
            assert "Explained in chapter" in value.__doc__, name
