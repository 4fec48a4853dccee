r"""What a detector gets wrong: which class it takes for which, and which kind of mistake costs how much.

The kinds, in the spirit of TIDE, for a detection that is wrong:

* ``"duplicate"``: it overlaps an object of its class enough, but a better detection has that object,
* ``"localisation"``: right class, but the overlap is too small (at least .1),
* ``"class"``: it overlaps an object of another class enough,
* ``"both"``: another class, and too small an overlap (above .1),
* ``"background"``: no object overlaps it by more than .1,

and ``"missed"`` for an object that no detection found and that no localisation or class mistake points at. The first
that fits is taken.

Explained in chapter 10. Source: Bolya et al., ECCV 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from spikelab.detection.average_precision import (
    DetectionScore,
    average_precision,
    evaluate_detections,
    objects_to_find,
)
from spikelab.detection.matching import Matches, PooledDetections, PooledObjects, best_overlap, match, overlaps, pool
from spikelab.detection.records import Detections, Objects
from spikelab.statistics import confusion_matrix
from spikelab.validation import require_between

KINDS = ("localisation", "class", "both", "duplicate", "background", "missed")


class Mistakes(NamedTuple):
    """How often each kind occurs, and what it costs.

    Attributes:
        counts: by kind, all classes together.
        gains: by kind, by how much mean average precision would rise if all mistakes of this kind, and no other, were
            mended: wrong boxes moved, classes corrected (where the object is still free, otherwise the detection goes),
            duplicates and detections of nothing removed, missed objects no longer asked for. Gains do not add up.
        score: mean average precision as it is.
    """

    counts: dict[str, int]
    gains: dict[str, float]
    score: DetectionScore


def confusion_with_background(
    detections: Sequence[Detections],
    objects: Sequence[Objects],
    num_classes: int,
    *,
    score_threshold: float = 0.25,
    threshold: float = 0.5,
) -> torch.Tensor:
    """Count how often each class was taken for each, for nothing, and nothing for it.

    Best score first, each detection takes the free object of its class that it overlaps most; those left over then take
    free objects of any class in the same way. What is left then is nothing taken for something, and something missed.
    Difficult objects do not count, nor do detections left over that fall on one.

    Args:
        detections: one record for each picture.
        objects: one record for each picture.
        num_classes: C.
        score_threshold: only detections that score at least this are counted.
        threshold: IoU that a detection and its object must reach.
    Returns:
        ``[C + 1, C + 1]`` int64; row: true class, column: detected class; the last row and column are background.
        The corner, background for background, is 0.
    Raises:
        ValueError: if a record is wrong or an option out of range.

    Explained in chapter 10.
    """
    require_between("score_threshold", score_threshold, 0.0, 1.0)
    found, true = pool(detections, objects, num_classes)
    found = PooledDetections(*(part[found.scores >= score_threshold] for part in found))
    same = match(found, true, matching="coco", threshold=threshold)
    rest = (same.hit == 0).nonzero()[:, 0]
    taken = torch.zeros(len(true.labels), dtype=torch.bool)
    taken[same.objects[same.hit != 0]] = True
    left = (~taken).nonzero()[:, 0]
    # One class for all: what is left is matched whatever it is.
    blind_found = PooledDetections(*(part[rest] for part in found))._replace(labels=torch.zeros_like(rest))
    blind_true = PooledObjects(*(part[left] for part in true))._replace(labels=torch.zeros_like(left))
    other = match(blind_found, blind_true, matching="coco", threshold=threshold)
    hit, which = same.hit.clone(), same.objects.clone()
    hit[rest] = other.hit
    which[rest] = torch.where(other.objects >= 0, left[other.objects], -1) if len(left) else -1
    counted = hit >= 0
    background = torch.tensor(num_classes)
    labels = torch.cat((true.labels, background[None]))
    missed = ~true.difficult
    missed[which[which >= 0]] = False
    rows = torch.cat((labels[which[counted]], true.labels[missed]))
    columns = torch.cat((found.labels[counted], background.expand(int(missed.sum()))))
    return confusion_matrix(rows, columns, num_classes + 1)


def sort_mistakes(
    detections: Sequence[Detections],
    objects: Sequence[Objects],
    class_names: Sequence[str],
    *,
    background: float = 0.1,
    **options: Any,
) -> Mistakes:
    """Sort a detector's mistakes into kinds, and say what mending each kind would gain.

    Args:
        detections: one record for each picture.
        objects: one record for each picture.
        class_names: C names.
        background: IoU below which a detection and an object have nothing to do with each other.
        options: of ``evaluate_detections``: flavour, matching, threshold and so on.
    Returns:
        Counts, gains and the score. Difficult objects, and detections on them, take no part.
    Raises:
        ValueError: as ``evaluate_detections``, or if ``background`` is not below the threshold.

    Explained in chapter 10. Source: Bolya et al., ECCV 2020.
    """
    score = evaluate_detections(detections, objects, class_names, **options)
    if not 0 <= background < score.threshold:
        raise ValueError(f"background must lie between 0 and the threshold {score.threshold:g}, got {background:g}")
    inclusive = options.get("inclusive", False)
    found, true = pool(detections, objects, len(class_names), max_detections=score.max_detections)
    matches = match(found, true, matching=score.matching, threshold=score.threshold, inclusive=inclusive)
    kind, target = _kinds(found, true, matches, score, background, inclusive)
    hit = torch.zeros(len(true.labels), dtype=torch.bool)
    hit[matches.objects[matches.hit == 1]] = True
    pointed_at = hit.clone()
    pointed_at[target[target >= 0]] = True
    missed = ~true.difficult & ~pointed_at
    to_find = torch.tensor(objects_to_find(true, len(class_names)))
    counts, gains = {}, {}
    for i, name in enumerate(KINDS[:-1]):
        counts[name] = int((kind == i).sum())
        labels, hits = _mended(found, true, matches.hit, kind == i, target, hit)
        gains[name] = _mean(labels, hits, to_find, to_find, score.flavour) - score.mean
    counts["missed"] = int(missed.sum())
    asked = to_find - torch.bincount(true.labels[missed], minlength=len(to_find))
    gains["missed"] = _mean(found.labels, matches.hit, to_find, asked, score.flavour) - score.mean
    return Mistakes(counts, gains, score)


def _kinds(
    found: PooledDetections,
    true: PooledObjects,
    matches: Matches,
    score: DetectionScore,
    background: float,
    inclusive: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Kind of each detection's mistake [N], -1: none, and the object that it should have hit, -1: none."""
    count = len(found.scores)
    detection, object_, overlap = overlaps(found, true, same_class=False, inclusive=inclusive)
    easy = ~true.difficult[object_]
    right = found.labels[detection] == true.labels[object_]
    (same, its_own), (other, strange) = (
        best_overlap(detection[chosen], object_[chosen], overlap[chosen], count)
        for chosen in (easy & right, easy & ~right)
    )
    reaches = torch.gt if score.matching == "voc" else torch.ge
    # From the last kind that fits to the first: each overwrites what was said before.
    kind = torch.full((count,), KINDS.index("both"))
    kind[other <= background] = KINDS.index("background")
    kind[reaches(other, score.threshold)] = KINDS.index("class")
    kind[same >= max(background, torch.finfo(same.dtype).tiny)] = KINDS.index("localisation")
    kind[reaches(same, score.threshold)] = KINDS.index("duplicate")
    kind[matches.hit != 0] = -1
    target = torch.full((count,), -1)
    for name, which in (("localisation", its_own), ("class", strange)):
        of_kind = kind == KINDS.index(name)
        target[of_kind] = which[of_kind]
    return kind, target


def _mended(
    found: PooledDetections,
    true: PooledObjects,
    hits: torch.Tensor,
    wrong: torch.Tensor,
    target: torch.Tensor,
    hit: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels and outcomes with some detections mended: the best one for each free object right, the others gone."""
    labels, hits = found.labels.clone(), hits.clone()
    hits[wrong] = -1
    pointing = (wrong & (target >= 0)).nonzero()[:, 0]
    pointing = pointing[~hit[target[pointing]]]
    first = torch.full((len(hit),), len(hits)).scatter_reduce_(0, target[pointing], pointing, "amin")
    first = first[first < len(hits)]
    hits[first] = 1
    labels[first] = true.labels[target[first]]
    return labels, hits


def _mean(labels: torch.Tensor, hits: torch.Tensor, to_find: torch.Tensor, asked: torch.Tensor, flavour: str) -> float:
    """Mean over the classes that have objects; one of which none is asked for any more is perfect."""
    aps = [
        average_precision(hits[labels == label], int(asked[label]), flavour) if asked[label] else 1.0
        for label in to_find.nonzero()[:, 0].tolist()
    ]
    return sum(aps) / len(aps)
