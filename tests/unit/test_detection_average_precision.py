"""Average precision: against pycocotools, the VOC rules written as loops, and cases worked by hand."""

import contextlib
import io
import itertools
import math

import numpy as np
import pytest
import torch
from detection_fixtures import names, random_test_set
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from spikelab.detection import (
    Detections,
    Objects,
    average_precision,
    evaluate_detections,
    from_coco,
    from_voc,
    iou,
    match_detections,
    mean_ap_interval,
    precision_envelope,
    precision_recall_curve,
    to_coco,
    to_voc,
)

FLAVOURS = ("voc07", "area", "coco101")
BY_HAND = [1, 0, 1, 1, 0]  # of four objects
A, B = [1, 1, 1, 1, 1, 1, 0, 1, 0, 0], [1, 0, 1, 0, 1, 1, 1, 1, 1, 1]  # of eight


def box(x0, y0, x1, y1):
    return torch.tensor([[x0, y0, x1, y1]], dtype=torch.float64)


def found(boxes, scores, labels=None):
    labels = [0] * len(scores) if labels is None else labels
    return Detections(torch.as_tensor(boxes, dtype=torch.float64), torch.tensor(scores), torch.tensor(labels))


def there(boxes, labels=None, difficult=None):
    labels = [0] * len(boxes) if labels is None else labels
    difficult = None if difficult is None else torch.tensor(difficult)
    return Objects(torch.as_tensor(boxes, dtype=torch.float64), torch.tensor(labels), difficult)


def rankings(seed, count):
    g = torch.Generator().manual_seed(seed)
    for _ in range(count):
        hits = torch.randint(2, (int(torch.randint(1, 60, (1,), generator=g)),), generator=g)
        yield hits, max(1, int(hits.sum()) + int(torch.randint(20, (1,), generator=g)))


# --- the number -------------------------------------------------------------------------------------------------------


def test_flavours_of_the_example_worked_by_hand():
    """Precisions at the hits 1, 2/3, 3/4, so the envelope is 1, 3/4, 3/4, at recalls 1/4, 2/4, 3/4 of four objects."""
    curve = precision_recall_curve(BY_HAND, 4)
    assert curve.precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 3 / 4, 3 / 5])
    assert curve.recall.tolist() == pytest.approx([1 / 4, 1 / 4, 2 / 4, 3 / 4, 3 / 4])
    assert precision_envelope(curve.precision).tolist() == pytest.approx([1, 3 / 4, 3 / 4, 3 / 4, 3 / 5])
    assert average_precision(BY_HAND, 4, "area") == pytest.approx((1 + 3 / 4 + 3 / 4) / 4)
    assert average_precision(BY_HAND, 4, "voc07") == pytest.approx((3 * 1 + 5 * 3 / 4) / 11)
    assert average_precision(BY_HAND, 4, "coco101") == pytest.approx((26 * 1 + 50 * 3 / 4) / 101)
    assert [round(100 * average_precision(BY_HAND, 4, flavour), 1) for flavour in FLAVOURS] == [61.4, 62.5, 62.9]


def test_flavours_disagree_on_one_hit_of_a_hundred_and_on_which_detector_is_better():
    assert [round(100 * average_precision([1], 100, flavour), 1) for flavour in FLAVOURS] == [9.1, 1.0, 2.0]
    a, b = ([round(100 * average_precision(hits, 8, flavour), 1) for flavour in FLAVOURS] for hits in (A, B))
    assert a == [80.7, 85.9, 85.6]
    assert b == [83.6, 82.5, 82.6]


def test_wrong_ways_give_the_numbers_that_the_chapter_names():
    right = torch.tensor(BY_HAND, dtype=torch.float64).cumsum(0)
    precision, recall = right / torch.arange(1, 6), right / 4
    step = torch.diff(recall, prepend=torch.zeros(1, dtype=torch.float64))
    assert (precision * step).sum().item() == pytest.approx(0.6042, abs=5e-5)  # no envelope
    assert precision[torch.tensor(BY_HAND) == 1].mean().item() == pytest.approx(0.8056, abs=5e-5)  # missed forgotten
    first = [precision[(recall >= i / 10).nonzero()[0, 0]].item() if i < 8 else 0.0 for i in range(11)]
    assert sum(first) / 11 == pytest.approx(0.5909, abs=5e-5)  # precision at the point, not the best from there
    assert average_precision(BY_HAND, 4, "voc07") * 11 / 10 == pytest.approx(0.6750)
    assert average_precision(BY_HAND, 3, "voc07") == pytest.approx(0.8409, abs=5e-5)  # only objects that were found
    assert average_precision(BY_HAND, 3, "area") == pytest.approx(0.8333, abs=5e-5)
    assert average_precision([1], 1, "area") == 1  # one of a hundred, by that mistake


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_perfect_is_one_nothing_is_zero_and_what_comes_last_costs_nothing(flavour):
    assert average_precision([1] * 7, 7, flavour) == pytest.approx(1)
    assert average_precision([], 7, flavour) == 0
    assert average_precision([0, 0, 0], 7, flavour) == 0
    for hits, count in rankings(1, 15):
        value = average_precision(hits, count, flavour)
        assert 0 <= value <= 1
        assert average_precision(torch.cat((hits, torch.zeros(1000))), count, flavour) == pytest.approx(value)
        ignored = torch.stack((hits, torch.full_like(hits, -1)), 1).flatten()
        assert average_precision(ignored, count, flavour) == pytest.approx(value)
        assert average_precision(hits, count + 5, flavour) <= value + 1e-12  # more to find


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_hit_moved_up_never_lowers_the_average(flavour):
    for hits, count in rankings(2, 15):
        swaps = ((hits[:-1] == 0) & (hits[1:] == 1)).nonzero()[:, 0].tolist()
        for i in swaps:
            moved = hits.clone()
            moved[i], moved[i + 1] = 1, 0
            assert average_precision(moved, count, flavour) >= average_precision(hits, count, flavour) - 1e-12


def test_flavours_equal_their_definitions_on_random_rankings():
    """Envelope by definition: the best precision at this recall or more; in fractions, so that tenths are exact."""
    for hits, count in rankings(0, 40):
        right = hits.cumsum(0).tolist()
        points = [(r, r / (n + 1)) for n, r in enumerate(right)]
        elevenths = [max([p for r, p in points if 10 * r >= i * count], default=0) for i in range(11)]
        assert average_precision(hits, count, "voc07") == pytest.approx(sum(elevenths) / 11)
        steps = [max([p for r, p in points if r >= k], default=0) for k in range(1, count + 1)]
        assert average_precision(hits, count, "area") == pytest.approx(sum(steps) / count)


def test_area_and_101_points_are_close_and_eleven_points_are_not():
    eleven, fine = [], []
    for hits, count in rankings(5, 150):
        values = [100 * average_precision(hits, count, flavour) for flavour in FLAVOURS]
        eleven.append(values[0] - values[1])
        fine.append(values[2] - values[1])
    assert np.abs(fine).max() < 2
    assert 3 < np.abs(eleven).max() < 12
    assert np.sqrt(np.square(eleven).mean()) > 1


def test_a_recall_of_three_tenths_reaches_the_fourth_point():
    """Widely copied code asks for a recall of np.arange(0, 1.1, .1)[3], which is more than .3."""
    hits = [1, 1, 1]
    assert average_precision(hits, 10, "voc07") == pytest.approx(4 / 11)
    assert sum(point <= 0.3 for point in np.arange(0.0, 1.1, 0.1)) == 3


def test_impossible_counts_are_refused():
    for bad, message in [
        (lambda: average_precision([1, 1], 1, "area"), "at most num_objects = 1, got 2"),
        (lambda: average_precision([1], 0, "area"), "num_objects must be at least 1"),
        (lambda: average_precision([1], 1, "map"), "flavour must be one of 'voc07', 'area', 'coco101'"),
        (lambda: average_precision([0.5], 1, "area"), "of 1, 0 and -1"),
        (lambda: average_precision([[1]], 1, "area"), "of 1, 0 and -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            bad()


# --- coordinates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "without"), [(8, 0.556), (16, 0.579), (32, 0.590), (128, 0.597)])
def test_a_quarter_of_the_width_away_is_six_tenths_unless_the_one_is_forgotten(side, without):
    true = box(0, 0, side, side)
    shifted = true + torch.tensor([side / 4, 0, side / 4, 0])
    assert iou(true, shifted).item() == pytest.approx(0.6)
    assert iou(to_voc(true), to_voc(shifted), inclusive=True).item() == pytest.approx(0.6)
    wrong = iou(to_voc(true), to_voc(shifted)).item()  # VOC's numbers read as half-open
    assert wrong == pytest.approx(without, abs=5e-4)


def test_formats_turn_into_each_other():
    corners = torch.tensor([[4.0, 6.0, 20.0, 10.0], [0.0, 0.0, 1.0, 1.0]])
    assert to_voc(corners).tolist() == [[5, 7, 20, 10], [1, 1, 1, 1]]
    assert to_coco(corners).tolist() == [[4, 6, 16, 4], [0, 0, 1, 1]]
    assert torch.equal(from_voc(to_voc(corners)), corners)
    assert torch.equal(from_coco(to_coco(corners)), corners)


# --- matching ---------------------------------------------------------------------------------------------------------


def test_matching_worked_by_hand():
    """A dog found twice, a difficult one, and nothing."""
    objects = torch.cat((box(0, 0, 10, 10), box(30, 0, 40, 10)))
    boxes = torch.cat((box(1, 0, 11, 10), box(0, 0, 10, 9), box(30, 0, 40, 10), box(60, 0, 70, 10)))
    scores, difficult = torch.tensor([0.6, 0.9, 0.7, 0.5]), torch.tensor([False, True])
    assert match_detections(boxes, scores, objects, difficult).tolist() == [0, 1, -1, 0]
    assert match_detections(boxes, scores, objects).tolist() == [0, 1, 1, 0]
    turned = match_detections(boxes.flip(0), scores.flip(0), objects, difficult)
    assert turned.tolist() == [0, -1, 1, 0]


def test_voc_looks_at_the_best_object_only_and_coco_takes_the_next_free_one():
    objects = torch.cat((box(0, 0, 10, 10), box(2, 0, 12, 10)))
    boxes = torch.cat((box(0, 0, 10, 10), box(0.5, 0, 10.5, 10)))
    scores = torch.tensor([0.9, 0.8])
    assert match_detections(boxes, scores, objects).tolist() == [1, 0]
    assert match_detections(boxes, scores, objects, matching="coco").tolist() == [1, 1]


def test_voc_wants_more_than_the_threshold_and_coco_as_much():
    half = box(0, 0, 10, 5)
    for matching, hit in (("voc", 0), ("coco", 1)):
        assert match_detections(half, torch.tensor([0.9]), box(0, 0, 10, 10), matching=matching).tolist() == [hit]
        perfect = match_detections(half, torch.tensor([0.9]), half, threshold=1.0, matching=matching)
        assert perfect.tolist() == [hit]


def test_counting_the_last_pixel_can_decide():
    """Half-open 19 of 38 columns: exactly one half; with a pixel more 20 of 39."""
    boxes, objects = box(0, 0, 19, 9), box(0, 0, 38, 9)
    score = torch.tensor([0.9])
    assert match_detections(boxes, score, objects).tolist() == [0]
    assert match_detections(boxes, score, objects, inclusive=True).tolist() == [1]
    # on the same pixels both conventions see the same
    assert match_detections(to_voc(boxes), score, to_voc(objects), inclusive=True).tolist() == [0]
    with pytest.raises(ValueError, match="these are shares"):
        match_detections(boxes / 38, score, objects / 38, inclusive=True)


def voc_by_hand(detections, objects, label, inclusive=False):
    """The VOC rules, one detection after the other: hits in order of score, and how many objects count."""
    ranked = sorted(
        (
            (-s, i, k)
            for i, one in enumerate(detections)
            for k, (s, c) in enumerate(zip(one.scores.tolist(), one.labels.tolist(), strict=True))
            if c == label
        ),
    )
    used, hits = set(), []
    for _, i, k in ranked:
        best, which = -1.0, None
        for j, c in enumerate(objects[i].labels.tolist()):
            if c == label:
                shared = iou(detections[i].boxes[k], objects[i].boxes[j], inclusive=inclusive).item()
                if shared > best:
                    best, which = shared, j
        if best <= 0.5:
            hits.append(0)
        elif not objects[i].difficult[which]:
            hits.append(int((i, which) not in used))
            used.add((i, which))
    to_find = sum(int(((one.labels == label) & ~one.difficult).sum()) for one in objects)
    return hits, to_find


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_test_set_by_voc_rules_equals_the_rules_written_as_loops(seed):
    detections, objects = random_test_set(seed, pictures=6, difficult=0.3, distinct_scores=seed != 2)
    for flavour in ("voc07", "area"):
        score = evaluate_detections(detections, objects, names(3), flavour=flavour)
        assert (score.flavour, score.matching, score.max_detections) == (flavour, "voc", None)
        for label, one in enumerate(score.classes):
            hits, to_find = voc_by_hand(detections, objects, label)
            assert (one.num_objects, one.num_detections, one.num_hits) == (to_find, len(hits), sum(hits))
            assert one.ap == pytest.approx(average_precision(hits, to_find, flavour))
            assert one.curve.recall.shape == one.scores.shape == (len(hits),)
        assert score.mean == pytest.approx(np.mean([one.ap for one in score.classes]))


# --- against pycocotools ----------------------------------------------------------------------------------------------


def pycocotools_precision(detections, objects, classes, thresholds):
    """Interpolated precision [thresholds, 101, classes] with at most 100 detections."""
    numbers, annotations = itertools.count(1), []
    for picture, one in enumerate(objects):
        for corners, label in zip(one.boxes, one.labels.tolist(), strict=True):
            x, y, w, h = to_coco(corners).tolist()
            annotations.append(
                {"id": next(numbers), "image_id": picture, "category_id": label, "bbox": [x, y, w, h], "area": w * h}
                | {"iscrowd": 0}
            )
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": picture} for picture in range(len(objects))],
        "categories": [{"id": label, "name": str(label)} for label in range(classes)],
        "annotations": annotations,
    }
    rows = [
        {"image_id": picture, "category_id": label, "bbox": to_coco(corners).tolist(), "score": score}
        for picture, one in enumerate(detections)
        for corners, score, label in zip(one.boxes, one.scores.tolist(), one.labels.tolist(), strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(rows), "bbox")
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
        run.params.iouThrs = np.array(thresholds)
        run.evaluate()
        run.accumulate()
    return run.eval["precision"][:, :, :, 0, -1]


@pytest.mark.parametrize("seed", range(5))
def test_ap_equals_pycocotools_on_random_detections(seed):
    thresholds = [0.5, 0.75, 0.95]
    detections, objects = random_test_set(seed, pictures=20, classes=4, distinct_scores=seed % 2 == 0)
    expected = pycocotools_precision(detections, objects, 4, thresholds).mean(1)
    for threshold, aps in zip(thresholds, expected, strict=True):
        score = evaluate_detections(detections, objects, names(4), flavour="coco101", threshold=threshold)
        assert [one.ap for one in score.classes] == pytest.approx(aps, abs=1e-6)
        assert score.mean == pytest.approx(aps.mean(), abs=1e-6)
        assert (score.matching, score.max_detections) == ("coco", 100)
    assert expected[0].mean() > 0.2  # something is found


def test_ap_equals_pycocotools_where_more_than_100_detections_fill_a_picture():
    g = torch.Generator().manual_seed(0)
    objects = [there(torch.cat([box(10.0 * i, 0, 10 * i + 9, 9) for i in range(8)]), [0, 1] * 4)] * 2
    many = []
    for _ in range(2):
        copies = torch.randint(8, (260,), generator=g)
        boxes = objects[0].boxes[copies] + torch.rand(260, 4, generator=g)
        many.append(Detections(boxes, torch.rand(260, generator=g).double(), copies % 2))
    expected = pycocotools_precision(many, objects, 2, [0.5]).mean(1)[0]
    score = evaluate_detections(many, objects, names(2), flavour="coco101")
    assert [one.ap for one in score.classes] == pytest.approx(expected, abs=1e-6)
    assert [one.num_detections for one in score.classes] == [200, 200]
    fewer = evaluate_detections(many, objects, names(2), flavour="coco101", max_detections=10)
    assert [one.num_detections for one in fewer.classes] == [20, 20]


# --- a whole test set -------------------------------------------------------------------------------------------------


def test_empty_pictures_and_classes_without_objects_have_defined_results():
    objects = [there(box(0, 0, 9, 9), [0]), Objects.none(), there(box(0, 0, 9, 9), [2], [True])]
    detections = [found(box(0, 0, 9, 9), [0.9]), found(box(0, 0, 5, 5), [0.8], [1]), Detections.none()]
    for flavour in FLAVOURS:
        score = evaluate_detections(detections, objects, ["dog", "cat", "cow", "emu"], flavour=flavour)
        assert score.mean == pytest.approx(1)
        assert [one.name for one in score.classes] == ["dog"]
        assert score.left_out == ("cat", "cow", "emu")  # never there, only difficult, never there
        nothing = evaluate_detections([Detections.none()] * 3, objects, names(4), flavour=flavour)
        assert nothing.mean == 0
        assert (nothing.classes[0].num_detections, nothing.classes[0].num_objects) == (0, 1)
    for empty in ([Objects.none()] * 3, [there(box(0, 0, 9, 9), [2], [True])] * 3):
        with pytest.raises(ValueError, match=r"hold nothing to find.*only difficult"):
            evaluate_detections(detections, empty, names(4))


def test_a_second_box_costs_a_difficult_object_does_not_and_classes_do_not_mix():
    dog = there(torch.cat((box(0, 0, 9, 9), box(20, 0, 29, 9))), [0, 0], [False, True])
    alone = evaluate_detections([found(box(0, 0, 9, 9), [0.5])], [dog], ["dog"])
    assert alone.mean == pytest.approx(1)
    assert alone.classes[0].num_difficult == 1
    twice = found(torch.cat((box(0, 0, 9, 9), box(0, 0, 9, 8))), [0.5, 0.9])
    assert evaluate_detections([twice], [dog], ["dog"]).classes[0].num_detections == 2
    assert evaluate_detections([twice], [dog], ["dog"], flavour="area").mean == pytest.approx(1)  # the first one hits
    on_difficult = found(torch.cat((box(0, 0, 9, 9), box(20, 0, 29, 9))), [0.5, 0.9])
    assert evaluate_detections([on_difficult], [dog], ["dog"], flavour="area").mean == pytest.approx(1)
    cat = found(box(0, 0, 9, 9), [0.9], [1])
    assert evaluate_detections([cat], [dog], ["dog", "cat"]).mean == 0


def test_summary_is_plain_and_names_the_flavour():
    detections, objects = random_test_set(0, pictures=4)
    summary = evaluate_detections(detections, objects, [*names(3), "emu"], flavour="area").summary()
    assert (summary["flavour"], summary["matching"], summary["num_pictures"]) == ("area", "voc", 4)
    assert summary["left_out"] == ["emu"]
    assert set(summary["classes"]["class 1"]) == {"ap", "num_objects", "num_difficult", "num_detections", "num_hits"}
    assert summary["mean"] == pytest.approx(np.mean([one["ap"] for one in summary["classes"].values()]))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_score_does_not_depend_on_unit_or_order_of_pictures_and_boxes(flavour):
    detections, objects = random_test_set(3, pictures=8)
    plain = evaluate_detections(detections, objects, names(3), flavour=flavour).mean
    shares = [one._replace(boxes=one.boxes / 200) for one in detections]
    assert evaluate_detections(
        shares, [one._replace(boxes=one.boxes / 200) for one in objects], names(3), flavour=flavour
    ).mean == pytest.approx(plain)
    mixed = [Detections(*(part.flip(0) for part in one)) for one in detections[::-1]]
    assert evaluate_detections(mixed, objects[::-1], names(3), flavour=flavour).mean == pytest.approx(plain)


def test_wrong_records_are_named():
    good, scene = found(box(0, 0, 9, 9), [0.9]), there(box(0, 0, 9, 9))
    for one, truth, message in [
        (good._replace(scores=torch.tensor([math.nan])), scene, r"detections\[1\].scores.*1 of 1 are NaN"),
        (good._replace(scores=torch.tensor([1])), scene, r"detections\[1\].scores must be \[1\] of floating"),
        (good._replace(boxes=box(9, 0, 0, 9)), scene, r"detections\[1\].boxes\[0\] = \[9, 0, 0, 9\].*swapped"),
        (good._replace(labels=torch.tensor([4])), scene, r"detections\[1\].labels must lie in 0 to 1, got 4 to 4"),
        (good, scene._replace(boxes=box(0, 9, 9, 0)), r"objects\[1\].boxes\[0\] = \[0, 9, 9, 0\].*order_corners"),
        (good, scene._replace(boxes=box(0, math.inf, 9, math.inf)), r"objects\[1\].boxes\[0\].*not finite"),
        (good, scene._replace(labels=torch.tensor([-1])), r"objects\[1\].labels must lie in 0 to 1, got -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            evaluate_detections([good, one], [scene, truth], names(2))
    for bad, message in [
        (lambda: evaluate_detections([good], [scene, scene], names(1)), "each picture.*got 1 and 2"),
        (lambda: evaluate_detections([], [], names(1)), "at least one"),
        (lambda: evaluate_detections([good], [scene], []), "num_classes must be at least 1"),
        (lambda: evaluate_detections([good], [scene], names(1), flavour="ap50"), "flavour must be one of"),
        (lambda: evaluate_detections([good], [scene], names(1), matching="tide"), "matching must be one of"),
        (lambda: evaluate_detections([good], [scene], names(1), threshold=50), r"threshold must lie in \[0, 1\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            bad()


@pytest.mark.slow
def test_thousands_of_pictures_take_seconds():
    """As many detections as VOC2007 val would give; 250,000 in about a second on one core."""
    g = torch.Generator().manual_seed(0)
    detections, objects = [], []
    for _ in range(2508):
        corner = torch.rand(103, 2, generator=g)
        boxes = torch.cat((corner, corner + 0.05 + torch.rand(103, 2, generator=g)), 1)
        labels = torch.randint(20, (103,), generator=g)
        detections.append(Detections(boxes[:100], torch.rand(100, generator=g), labels[:100]))
        objects.append(Objects(boxes[100:], labels[100:]))
    for flavour in ("area", "coco101"):
        score = evaluate_detections(detections, objects, names(20), flavour=flavour)
        assert sum(one.num_detections for one in score.classes) == 250_800
        assert 0 < score.mean < 0.1


# --- how sure ---------------------------------------------------------------------------------------------------------


def test_interval_holds_the_mean_shrinks_with_pictures_and_is_seeded():
    few = random_test_set(0, pictures=15)
    many = [part * 4 for part in few]
    narrow, wide = (mean_ap_interval(*part, names(3), flavour="area", num=100) for part in (many, few))
    assert wide.value == pytest.approx(evaluate_detections(*few, names(3), flavour="area").mean)
    assert wide.low < wide.value < wide.high
    assert (wide.n, narrow.n) == (15, 60)
    assert (narrow.high - narrow.low) / (wide.high - wide.low) == pytest.approx(0.5, abs=0.15)
    assert mean_ap_interval(*few, names(3), flavour="area", num=100) == wide
    assert mean_ap_interval(*few, names(3), flavour="area", num=100, seed=1) != wide


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_interval_of_drawn_pictures_is_that_of_test_sets_with_these_pictures(flavour):
    """A picture drawn twice counts as two pictures that look alike."""
    detections, objects = random_test_set(4, pictures=10)
    estimate = mean_ap_interval(detections, objects, names(3), flavour=flavour, num=10, seed=7)
    drawn = torch.randint(10, (10, 10), generator=torch.Generator().manual_seed(7)).tolist()
    means = [
        evaluate_detections([detections[i] for i in row], [objects[i] for i in row], names(3), flavour=flavour).mean
        for row in drawn
    ]
    assert estimate.high - estimate.value == pytest.approx(1.96 * np.std(means, ddof=1))
    assert estimate.value - estimate.low == pytest.approx(1.96 * np.std(means, ddof=1))


def test_gain_over_another_detector_is_paired():
    detections, objects = random_test_set(2, pictures=20)
    worse = [one._replace(boxes=one.boxes + 2) for one in detections]
    alone = mean_ap_interval(detections, objects, names(3), flavour="area", num=100)
    gain = mean_ap_interval(detections, objects, names(3), flavour="area", num=100, base=worse)
    base = evaluate_detections(worse, objects, names(3), flavour="area").mean
    assert gain.value == pytest.approx(alone.value - base)
    assert gain.high - gain.low < alone.high - alone.low
    same = mean_ap_interval(detections, objects, names(3), num=20, base=detections)
    assert same[:3] == (0, 0, 0)
