"""Mistakes: one scene with one of each kind, and what must hold for any detector."""

import pytest
import torch
from detection_fixtures import names, random_test_set

from spikelab.detection import (
    Detections,
    Objects,
    confusion_with_background,
    evaluate_detections,
    sort_mistakes,
)

# Two dogs (0), a cat (1), a cow (2) that nobody sees.
SCENE = Objects(
    torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]]), torch.tensor([0, 0, 1, 2])
)
FOUND = {
    "right": ([0.0, 0, 10, 10], 0.9, 0),
    "duplicate": ([0.0, 0, 10, 9], 0.8, 0),
    "localisation": ([20.0, 0, 30, 4], 0.7, 0),  # IoU .4 with the second dog
    "class": ([40.0, 0, 50, 10], 0.6, 2),  # the cat, taken for a cow
    "both": ([40.0, 0, 50, 3], 0.5, 0),  # IoU .3 with the cat, taken for a dog
    "background": ([80.0, 0, 90, 10], 0.4, 1),
}


def detections(*kinds):
    boxes, scores, labels = zip(*(FOUND[kind] for kind in kinds), strict=True)
    return Detections(torch.tensor(boxes), torch.tensor(scores), torch.tensor(labels))


@pytest.mark.parametrize("options", [{"flavour": "area"}, {"flavour": "coco101"}])
def test_each_kind_is_told_from_the_others(options):
    found = sort_mistakes([detections(*FOUND)], [SCENE], names(3), **options)
    assert found.counts == {
        "localisation": 1,
        "class": 1,
        "both": 1,
        "duplicate": 1,
        "background": 1,
        "missed": 1,  # the cow: no mistake points at it, but one at the cat and at the second dog
    }
    for kind in FOUND:
        alone = sort_mistakes([detections(kind)], [SCENE], names(3), **options).counts
        expected = {"right": None, "duplicate": None}.get(kind, kind)  # alone, the duplicate is the one that hits
        assert [name for name, count in alone.items() if count and name != "missed"] == ([expected] if expected else [])


def test_gains_worked_by_hand():
    """Area flavour: dogs rank right, duplicate, localisation, both; cat and cow have one wrong box each."""
    found = sort_mistakes([detections(*FOUND)], [SCENE], names(3), flavour="area")
    assert found.score.mean == pytest.approx((1 / 2 + 0 + 0) / 3)
    dogs_with_second = (1 + 2 / 3) / 2
    assert found.gains["localisation"] == pytest.approx((dogs_with_second - 1 / 2) / 3)
    assert found.gains["class"] == pytest.approx(1 / 3)  # the cat, before its wrong box
    assert found.gains["both"] == pytest.approx(0)
    assert found.gains["duplicate"] == pytest.approx(0)
    assert found.gains["background"] == pytest.approx(0)
    assert found.gains["missed"] == pytest.approx(1 / 3)  # no cow is asked for any more


def test_a_mended_box_on_an_object_that_was_found_goes():
    objects = Objects(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([0]))
    boxes = torch.tensor([[0.0, 0, 10, 4], [0, 0, 10, 10], [0, 0, 10, 3]])
    found = Detections(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 0, 0]))
    mended = sort_mistakes([found], [objects], names(1), flavour="area")
    assert mended.counts["localisation"] == 2
    assert mended.score.mean == pytest.approx(1 / 2)
    assert mended.gains["localisation"] == pytest.approx(1 / 2)


def test_difficult_objects_take_no_part():
    scene = SCENE._replace(difficult=torch.tensor([False, True, True, False]))
    found = sort_mistakes([detections(*FOUND)], [scene], names(3), flavour="area")
    assert found.counts == {
        "localisation": 0,
        "class": 0,
        "both": 0,
        "duplicate": 1,
        "background": 4,
        "missed": 1,
    }
    on_it = Detections(torch.tensor([[20.0, 0, 30, 10]]), torch.tensor([0.9]), torch.tensor([0]))
    quiet = sort_mistakes([on_it], [scene], names(3), flavour="area").counts
    assert quiet == dict.fromkeys(quiet, 0) | {"missed": 2}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("flavour", ["voc07", "coco101"])
def test_kinds_cover_every_wrong_detection_and_mending_never_hurts(seed, flavour):
    given = random_test_set(seed, pictures=10, difficult=0.2)
    found = sort_mistakes(*given, names(3), flavour=flavour)
    score = evaluate_detections(*given, names(3), flavour=flavour)
    assert found.score.mean == score.mean
    wrong = sum(one.num_detections - one.num_hits for one in score.classes)
    assert sum(found.counts.values()) - found.counts["missed"] == wrong
    assert found.counts["missed"] <= sum(one.num_objects - one.num_hits for one in score.classes)
    assert all(-1e-12 <= gain <= 1 - score.mean + 1e-12 for gain in found.gains.values())
    assert max(found.gains.values()) > 0.02


def test_a_perfect_detector_makes_no_mistake_and_a_silent_one_misses_everything():
    _, objects = random_test_set(0, pictures=5)
    perfect = [Detections(one.boxes, torch.ones(len(one.labels)), one.labels) for one in objects]
    found = sort_mistakes(perfect, objects, names(3))
    assert found.score.mean == pytest.approx(1)
    assert set(found.counts.values()) == {0}
    assert all(gain == pytest.approx(0) for gain in found.gains.values())
    silent = sort_mistakes([Detections.none()] * 5, objects, names(3))
    assert silent.counts == dict.fromkeys(silent.counts, 0) | {"missed": sum(len(one.labels) for one in objects)}
    assert silent.gains["missed"] == pytest.approx(1)


def test_confusion_worked_by_hand():
    counts = confusion_with_background([detections(*FOUND)], [SCENE], 3)
    assert counts.tolist() == [
        [1, 0, 0, 1],  # a dog found, a dog missed
        [0, 0, 1, 0],  # the cat taken for a cow
        [0, 0, 0, 1],  # the cow missed
        [3, 1, 0, 0],  # nothing taken for a dog (duplicate, too small, neither) and for a cat
    ]
    sure = confusion_with_background([detections(*FOUND)], [SCENE], 3, score_threshold=0.65)
    assert sure[3].tolist() == [2, 0, 0, 0]
    assert sure[1].tolist() == [0, 0, 0, 1]


def test_right_class_goes_before_better_overlap_of_another():
    """A rider and a horse overlap each other; the rider's box fits the horse better than its own object."""
    objects = Objects(torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8]]), torch.tensor([0, 1]))
    rider = Detections(torch.tensor([[0.0, 0, 10, 8]]), torch.tensor([0.9]), torch.tensor([0]))
    assert confusion_with_background([rider], [objects], 2).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_confusion_counts_every_object_and_every_sure_detection_once(seed):
    found, objects = random_test_set(seed, pictures=8, difficult=0.2)
    counts = confusion_with_background(found, objects, 3, score_threshold=0.5)
    to_find = torch.cat([one.labels[~one.difficult] for one in objects])
    assert counts[:3].sum(1).tolist() == torch.bincount(to_find, minlength=3).tolist()
    sure = torch.cat([one.labels[one.scores >= 0.5] for one in found])
    assert (counts[:, :3].sum(0) <= torch.bincount(sure, minlength=3)).all()
    easy = [one._replace(difficult=None) for one in objects]
    every = confusion_with_background(found, easy, 3, score_threshold=0.5)
    assert every[:, :3].sum(0).tolist() == torch.bincount(sure, minlength=3).tolist()
    assert every[3, 3] == 0


def test_confusion_of_nothing_and_wrong_options():
    nothing = confusion_with_background([Detections.none()], [Objects.none()], 2)
    assert nothing.tolist() == [[0] * 3] * 3
    assert confusion_with_background([Detections.none()], [SCENE], 3)[:, 3].tolist() == [2, 1, 1, 0]
    assert confusion_with_background([detections("right")], [Objects.none()], 3)[3].tolist() == [1, 0, 0, 0]
    with pytest.raises(ValueError, match="score_threshold must lie in"):
        confusion_with_background([detections("right")], [SCENE], 3, score_threshold=25)
    with pytest.raises(ValueError, match=r"background must lie between 0 and the threshold 0.5, got 0.6"):
        sort_mistakes([detections("right")], [SCENE], names(3), background=0.6)
