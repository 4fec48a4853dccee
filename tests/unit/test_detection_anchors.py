"""Anchors: shape overlap against boxes on one corner, k-means against clusters that are known."""

import pytest
import torch

from spikelab.detection import (
    COCO_ANCHORS,
    COCO_TINY_ANCHORS,
    COCO_YOLOV2_ANCHORS,
    VOC_ANCHORS,
    VOC_TINY_ANCHORS,
    VOC_YOLOV2_ANCHORS,
    best_anchor,
    best_shape_iou,
    head_layout,
    iou,
    kmeans_anchors,
    shape_iou,
)

SETS = [
    COCO_ANCHORS,
    COCO_TINY_ANCHORS,
    COCO_YOLOV2_ANCHORS,
    VOC_ANCHORS,
    VOC_TINY_ANCHORS,
    VOC_YOLOV2_ANCHORS,
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def log_normal_sizes(n, seed=0):
    """Widths and heights as photographs have them: many small, few large."""
    noise = torch.randn(n, 2, generator=seeded(seed), dtype=torch.float64)
    return (4.3 + noise @ torch.tensor([[0.9, 0.7], [0.0, 0.5]], dtype=torch.float64)).exp().clamp(4, 416)


def test_shape_overlap_of_boxes_worked_by_hand():
    sizes = COCO_ANCHORS.at(416)[[0, 2, 4, 5, 6, 7, 8]].double()  # without (16, 30) and (30, 61)
    square = torch.tensor([[20.0, 20.0]], dtype=torch.float64)
    found = shape_iou(square, sizes)[0]
    assert found[1].item() == pytest.approx(400 / 759)  # (33, 23): the chapter's .527
    assert found[0].item() == pytest.approx(130 / 400)  # (10, 13), nearest by Euclid: .325
    assert torch.cdist(square, sizes).argmin() == 0
    assert best_anchor(square, sizes).tolist() == [1]
    assert best_shape_iou(square, sizes).item() == pytest.approx(400 / 759)
    other = torch.tensor([[90.0, 90.0]], dtype=torch.float64)
    found = shape_iou(other, sizes)[0]
    assert best_anchor(other, sizes).tolist() == [4]
    assert found[4].item() == pytest.approx(0.78, abs=0.005)  # (116, 90)
    assert found[3].item() == pytest.approx(0.54, abs=0.005)  # (59, 119): the nearest area
    assert found[6].item() == pytest.approx(0.07, abs=0.005)  # (373, 326): the nearest aspect ratio


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shape_overlap_is_that_of_boxes_with_one_centre_in_any_unit(seed):
    wh, anchors = log_normal_sizes(30, seed), log_normal_sizes(5, seed + 50)
    centred = iou(torch.cat((-wh, wh), 1)[:, None], torch.cat((-anchors, anchors), 1))
    assert torch.allclose(shape_iou(wh, anchors), centred)
    assert torch.allclose(shape_iou(wh / 416, anchors / 416), centred)
    assert torch.equal(best_anchor(2 * wh, 2 * anchors), best_anchor(wh, anchors))


@pytest.mark.parametrize("distance", ["iou", "euclidean"])
@pytest.mark.parametrize("centre", ["mean", "median"])
def test_kmeans_finds_clusters_that_are_there(distance, centre):
    true = torch.tensor([[20.0, 30.0], [60.0, 40.0], [150.0, 220.0]])
    noise = 1 + 0.05 * (torch.rand(40, 3, 2, generator=seeded()) - 0.5)
    wh = (true * noise).flatten(0, 1)
    found = [kmeans_anchors(wh, 3, distance=distance, centre=centre, generator=seeded(seed)) for seed in range(6)]
    best = max(found, key=lambda anchors: best_shape_iou(wh, anchors).mean())
    assert torch.allclose(best, true, rtol=0.02)
    average = wh.unflatten(0, (40, 3)).mean(0) if centre == "mean" else wh.unflatten(0, (40, 3)).quantile(0.5, 0)
    assert torch.allclose(best, average)


def test_kmeans_is_seeded_scales_with_the_boxes_and_sorts_by_area():
    wh = log_normal_sizes(150)
    found = kmeans_anchors(wh, 6, generator=seeded(3))
    assert torch.equal(found, kmeans_anchors(wh, 6, generator=seeded(3)))
    assert torch.allclose(kmeans_anchors(wh / 416, 6, generator=seeded(3)) * 416, found)
    assert found.prod(1).diff().min() > 0
    state = torch.get_rng_state()
    kmeans_anchors(wh, 2, generator=seeded())
    assert torch.equal(torch.get_rng_state(), state)


def test_more_anchors_fit_better_and_euclid_neglects_the_small_boxes():
    wh = log_normal_sizes(300)
    small = wh.prod(1) < wh.prod(1).quantile(0.25)
    fits = [best_shape_iou(wh, kmeans_anchors(wh, k, generator=seeded(1))).mean().item() for k in (1, 3, 5, 9)]
    assert fits == sorted(fits)
    by_overlap, by_euclid = (
        sum(best_shape_iou(wh[small], kmeans_anchors(wh, 9, distance=d, generator=seeded(s))).mean() for s in range(3))
        for d in ("iou", "euclidean")
    )
    assert by_overlap / 3 > by_euclid / 3 + 0.03


def test_kmeans_with_as_many_anchors_as_boxes_returns_the_boxes():
    wh = torch.tensor([[10.0, 10.0], [40.0, 12.0], [90.0, 80.0], [10.0, 10.0]])
    assert torch.equal(kmeans_anchors(wh, 3, generator=seeded()), wh[:3])


@pytest.mark.parametrize("anchors", SETS, ids=lambda anchors: str(len(anchors.sizes)))
def test_published_anchors_are_sorted_fit_their_picture_and_scale_with_it(anchors):
    sizes = anchors.at(anchors.picture)
    assert sizes.prod(1).diff().min() > 0
    assert sizes.max() <= anchors.picture
    assert torch.allclose(anchors.at(208) * 2, sizes)
    assert torch.allclose(anchors.at((208, 416))[:, 1] * 2, sizes[:, 1])  # height 208: only heights halve
    assert torch.allclose(anchors.at((208, 416))[:, 0], sizes[:, 0])


def test_layout_gives_the_largest_anchors_to_the_widest_cells():
    layout = head_layout(COCO_ANCHORS.at(416).flip(0), 20)
    assert layout.strides == (32, 16, 8)
    assert layout.anchors[0].tolist() == [[116, 90], [156, 198], [373, 326]]
    assert layout.anchors[2].tolist() == [[10, 13], [16, 30], [33, 23]]
    assert layout.channels == (75, 75, 75)
    assert layout.grids(416) == [(13, 13), (26, 26), (52, 52)]
    assert layout.grids((96, 160)) == [(3, 5), (6, 10), (12, 20)]
    turned = head_layout(COCO_ANCHORS.at(416), 20, strides=(8, 16, 32))
    assert turned.anchors[0].tolist() == layout.anchors[2].tolist()


def test_wrong_input_is_named():
    wh = torch.rand(10, 2) + 1
    for bad, message in [
        (lambda: kmeans_anchors(wh, 11, generator=seeded()), "k = 11 different boxes, got 10"),
        (lambda: kmeans_anchors(wh[:0], 1, generator=seeded()), "k = 1 different boxes, got 0"),
        (lambda: kmeans_anchors(wh, 0, generator=seeded()), "k must be at least 1"),
        (lambda: kmeans_anchors(wh, 2, distance="l1", generator=seeded()), "distance must be one of 'iou', 'euclid"),
        (lambda: kmeans_anchors(wh, 2, centre="mode", generator=seeded()), "centre must be one of"),
        (lambda: kmeans_anchors(wh - 2, 2, generator=seeded()), "wh must be positive.*x1 - x0"),
        (lambda: shape_iou(torch.rand(3, 4), wh), r"wh must have shape \[number, 2\]"),
        (lambda: shape_iou(wh, wh * torch.nan), "anchors must be finite"),
        (lambda: head_layout(wh, 20), "got .32, 16, 8. for 10 anchors"),
        (lambda: head_layout(wh, 20, strides=(8, 8)), "must differ"),
        (lambda: head_layout(wh[:9], 20).grids(100), "multiple of every stride"),
        (lambda: COCO_ANCHORS.at((1, 2, 3)), "one side or"),
    ]:
        with pytest.raises(ValueError, match=message):
            bad()
