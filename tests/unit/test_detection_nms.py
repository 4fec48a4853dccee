"""Suppression: against the rule written as a loop, the chain of the chapter, and what may not be ranked."""

import importlib
import math

import pytest
import torch

from spikelab.detection import batched_nms, iou, iou_matrix, nms, soft_nms

CHAIN = torch.tensor([[0.0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10]])
FALLING = torch.tensor([0.9, 0.8, 0.7])
ONE_CLASS = torch.zeros(3, dtype=torch.int64)


def crowd(seed, n=40, classes=3):
    g = torch.Generator().manual_seed(seed)
    corner = torch.rand(n, 2, generator=g) * 60
    boxes = torch.cat((corner, corner + 20 + 30 * torch.rand(n, 2, generator=g)), 1)
    scores = (torch.rand(n, generator=g) * 10).round() / 10  # many equal
    return boxes, scores, torch.randint(classes, (n,), generator=g)


def greedy_by_hand(boxes, scores, labels, threshold):
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i].item()):
        if all(labels[i] != labels[j] or iou(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
    return kept


def test_in_a_chain_a_suppressed_box_suppresses_nobody():
    overlap = iou_matrix(CHAIN, CHAIN)
    assert [overlap[0, 1].item(), overlap[1, 2].item()] == pytest.approx([0.54, 0.54], abs=0.005)
    assert overlap[0, 2].item() == pytest.approx(0.25)
    assert nms(CHAIN, FALLING, ONE_CLASS).tolist() == [0, 2]
    assert nms(CHAIN, FALLING.flip(0), ONE_CLASS).tolist() == [2, 0]
    assert nms(CHAIN, FALLING, torch.tensor([0, 1, 0])).tolist() == [0, 1, 2]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_greedy_equals_the_rule_written_as_a_loop(seed, threshold):
    boxes, scores, labels = crowd(seed)
    expected = greedy_by_hand(boxes, scores, labels, threshold)
    assert nms(boxes, scores, labels, threshold).tolist() == expected
    assert nms(boxes, scores, labels, threshold, max_detections=5).tolist() == expected[:5]


@pytest.mark.parametrize("seed", range(3))
def test_kept_boxes_do_not_overlap_and_each_dropped_one_overlaps_a_better_kept_one(seed):
    boxes, scores, labels = crowd(seed)
    kept = nms(boxes, scores, labels, 0.4)
    near = (iou_matrix(boxes, boxes) > 0.4) & (labels[:, None] == labels)
    assert not (near[kept][:, kept] & ~torch.eye(len(kept), dtype=torch.bool)).any()
    dropped = [i for i in range(len(boxes)) if i not in kept.tolist()]
    assert dropped
    for i in dropped:
        assert any(near[i, j] and scores[j] >= scores[i] for j in kept)
    assert scores[kept].diff().max() <= 0


def test_suppression_in_small_blocks_of_pairs_is_the_same(monkeypatch):
    boxes, scores, labels = crowd(5, n=80, classes=2)
    expected = nms(boxes, scores, labels, 0.3)
    monkeypatch.setattr(importlib.import_module("spikelab.detection.nms"), "PAIRS_AT_ONCE", 7)
    assert torch.equal(nms(boxes, scores, labels, 0.3), expected)


def test_a_long_chain_settles_as_the_loop_does():
    """Every second box stays: the worst case for asking again until nothing changes."""
    start = torch.arange(60.0)[:, None] * 4
    boxes = torch.cat((start, torch.zeros(60, 1), start + 10, torch.ones(60, 1)), 1)
    kept = nms(boxes, torch.linspace(1, 0, 60), torch.zeros(60, dtype=torch.int64), 0.4)
    assert kept.tolist() == list(range(0, 60, 2))


def test_soft_scores_worked_by_hand():
    ab, bc, ac = 7 / 13, 7 / 13, 4 / 16
    order, scores = soft_nms(CHAIN, FALLING, ONE_CLASS, method="linear", iou_threshold=0.3)
    assert order.tolist() == [0, 2, 1]  # C keeps .7 (IoU .25 with A is below .3), B falls twice
    assert scores.tolist() == pytest.approx([0.9, 0.7, 0.8 * (1 - ab) * (1 - bc)], rel=1e-5)
    order, scores = soft_nms(CHAIN, FALLING, ONE_CLASS, method="gaussian", sigma=0.5)
    assert order.tolist() == [0, 2, 1]
    c = 0.7 * math.exp(-(ac**2) / 0.5)
    b = 0.8 * math.exp(-(ab**2) / 0.5) * math.exp(-(bc**2) / 0.5)
    assert scores.tolist() == pytest.approx([0.9, c, b], rel=1e-5)
    order, _ = soft_nms(CHAIN, FALLING, torch.tensor([0, 1, 0]), method="gaussian")
    assert order.tolist()[:2] == [0, 1]  # another class is left alone


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_soft_suppression_drops_only_low_scores_and_keeps_single_boxes(method):
    boxes, scores, labels = crowd(1)
    order, lowered = soft_nms(boxes, scores, labels, method=method, score_threshold=0.05)
    assert lowered.diff().max() <= 0
    assert lowered.min() >= 0.05
    assert (lowered <= scores[order]).all()
    assert len(set(order.tolist())) == len(order)
    kept = nms(boxes, scores, labels, 0.0)
    assert soft_nms(boxes[kept], scores[kept], labels[kept], method=method, score_threshold=0.0)[1].tolist() == (
        pytest.approx(scores[kept].tolist())
    )
    assert soft_nms(boxes, scores, labels, method=method, max_detections=3)[0].tolist() == order[:3].tolist()


def test_no_box_is_no_detection():
    nothing = torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    assert nms(*nothing).shape == (0,)
    order, scores = soft_nms(*nothing)
    assert order.shape == scores.shape == (0,)
    found = batched_nms(torch.rand(2, 5, 4), torch.zeros(2, 5, 3))
    assert [len(one.scores) for one in found] == [0, 0]
    assert found[0].boxes.shape == (0, 4)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("best_class_only", [False, True])
def test_batch_gives_what_each_picture_alone_gives(seed, best_class_only):
    parts = [crowd(10 * seed + i, n=30) for i in range(3)]
    g = torch.Generator().manual_seed(seed)
    boxes, scores = torch.stack([part[0] for part in parts]), torch.rand(3, 30, 4, generator=g)
    scores[1] *= 0.1  # nothing above the threshold in the second picture but for a few
    found = batched_nms(
        boxes, scores, score_threshold=0.09, iou_threshold=0.4, max_detections=20, best_class_only=best_class_only
    )
    for i, one in enumerate(found):
        which, label = (scores[i] > 0.09).nonzero(as_tuple=True)
        if best_class_only:
            best = scores[i].argmax(1)[which] == label
            which, label = which[best], label[best]
        kept = nms(boxes[i][which], scores[i][which, label], label, 0.4)[:20]
        assert torch.equal(one.boxes, boxes[i][which[kept]])
        assert torch.equal(one.scores, scores[i][which, label][kept])
        assert torch.equal(one.labels, label[kept])


def test_batch_limits_candidates_and_can_be_soft():
    boxes, scores, _ = crowd(3)
    scores = scores[None, :, None]
    few = batched_nms(boxes[None], scores, max_candidates=4, iou_threshold=1.0)[0]
    assert few.scores.tolist() == scores.flatten().sort(descending=True).values[:4].tolist()
    soft = batched_nms(boxes[None], scores, method="gaussian", sigma=0.3, score_threshold=0.01)[0]
    order, lowered = soft_nms(
        boxes, scores[0, :, 0], torch.zeros(40, dtype=torch.int64), sigma=0.3, score_threshold=0.01
    )
    assert torch.allclose(soft.scores, lowered)
    assert torch.equal(soft.boxes[:3], boxes[order[:3]])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_without_a_place_in_an_order_are_refused(bad):
    scores = FALLING.clone()
    scores[1] = bad
    for rank in (nms, soft_nms):
        with pytest.raises(ValueError, match="1 of 3 are NaN or infinite"):
            rank(CHAIN, scores, ONE_CLASS)
    with pytest.raises(ValueError, match="scores must be finite"):
        batched_nms(CHAIN[None], scores[None, :, None])


def test_wrong_input_is_named():
    for bad, message in [
        (lambda: nms(CHAIN, FALLING[:2], ONE_CLASS), r"scores must be \[3\]"),
        (lambda: nms(CHAIN, FALLING, ONE_CLASS[:2]), "boxes and labels"),
        (lambda: nms(CHAIN, FALLING, ONE_CLASS, 1.5), r"iou_threshold must lie in \[0, 1\], got 1.5"),
        (lambda: nms(CHAIN, FALLING, ONE_CLASS, max_detections=0), "max_detections must be at least 1"),
        (lambda: soft_nms(CHAIN, FALLING, ONE_CLASS, method="greedy"), "method must be one of 'linear', 'gaussian'"),
        (lambda: soft_nms(CHAIN, -FALLING, ONE_CLASS), "scores must be 0 or more"),
        (lambda: soft_nms(CHAIN, FALLING, ONE_CLASS, sigma=0.0), "sigma must be positive"),
        (lambda: batched_nms(CHAIN, FALLING), r"\[B, M, 4\] and \[B, M, C\]"),
        (lambda: batched_nms(CHAIN[None], FALLING[None, :, None], method="hard"), "method must be one of 'greedy'"),
    ]:
        with pytest.raises(ValueError, match=message):
            bad()
