r"""Who found what: detections of a whole test set matched to its objects, by two rules.

Detections are taken in order of score over all pictures. ``"voc"``: each looks at the object of its class in its
picture that it overlaps most, and at no other; if the IoU is above the threshold, strictly, it is a hit, unless a
better detection hit that object already. ``"coco"``: each takes, of the objects not taken yet, the one it overlaps
most, if the IoU reaches the threshold. An object marked ``difficult`` counts neither way: it is not among the objects
that must be found, and what hits it is neither right nor wrong.

Explained in chapter 10. Source: Everingham et al., IJCV 2010; Lin et al., ECCV 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from spikelab.detection.boxes import iou
from spikelab.detection.records import Detections, Objects, check_pictures
from spikelab.validation import require_between, require_choice, require_count

MATCHINGS = ("voc", "coco")
PAIRS_AT_ONCE = 1_000_000
NEARLY_ONE = 1 - 1e-10
"""COCO's code asks for no more than this, so that rounding cannot make a perfect box a miss."""


class PooledDetections(NamedTuple):
    """The detections of all pictures [N], best score first, of equal scores in the order given."""

    picture: torch.Tensor
    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor


class PooledObjects(NamedTuple):
    """The objects of all pictures [G], in the order given."""

    picture: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor
    difficult: torch.Tensor


class Matches(NamedTuple):
    """Outcome for each pooled detection [N].

    Attributes:
        hit: int64: 1 right, 0 wrong, -1 does not count.
        objects: int64: which pooled object it hit or, not counting, fell on; -1: none.
    """

    hit: torch.Tensor
    objects: torch.Tensor


def pool(
    detections: Sequence[Detections],
    objects: Sequence[Objects],
    num_classes: int,
    *,
    max_detections: int | None = None,
) -> tuple[PooledDetections, PooledObjects]:
    """Put the records of all pictures together and rank the detections.

    Args:
        detections: one record for each picture.
        objects: one record for each picture.
        num_classes: C.
        max_detections: of one class in one picture only the best so many are kept; ``None``: all.
    Returns:
        Both, on the processor, boxes and scores in float64.
    Raises:
        ValueError: if a record is wrong, see ``check_objects`` and ``check_detections``, or the lists do not fit.

    Explained in chapter 10.
    """
    found, true = check_pictures(detections, objects, num_classes)
    boxes, scores, labels = (torch.cat([part.detach().cpu() for part in parts]) for parts in zip(*found, strict=True))
    pooled = PooledDetections(_pictures([one.boxes for one in found]), boxes.double(), scores.double(), labels)
    pooled = _take(pooled, pooled.scores.argsort(descending=True, stable=True))
    if max_detections is not None:
        require_count("max_detections", max_detections)
        group = pooled.picture * num_classes + pooled.labels
        pooled = _take(pooled, (_rank_in_group(group) < max_detections).nonzero()[:, 0])
    boxes, labels, difficult = (torch.cat([part.detach().cpu() for part in parts]) for parts in zip(*true, strict=True))
    return pooled, PooledObjects(_pictures([one.boxes for one in true]), boxes.double(), labels, difficult)


def match(
    found: PooledDetections,
    true: PooledObjects,
    *,
    matching: str = "voc",
    threshold: float = 0.5,
    inclusive: bool = False,
) -> Matches:
    """Decide for each detection whether it is right, wrong, or does not count.

    Args:
        found: from ``pool``.
        true: from ``pool``.
        matching: ``"voc"`` or ``"coco"``.
        threshold: of the IoU.
        inclusive: boxes are in whole pixels whose last row and column belong to them (VOC's + 1 in every width).
    Returns:
        The outcome of each detection.
    Raises:
        ValueError: if an option is out of range, or ``inclusive`` is asked of boxes in shares.

    Explained in chapter 10.
    """
    require_choice("matching", matching, MATCHINGS)
    require_between("threshold", threshold, 0.0, 1.0)
    if inclusive and len(true.boxes) and true.boxes.max() <= 1:
        raise ValueError("inclusive is for boxes in whole pixels, but no object's corner is above 1: these are shares")
    detection, object_, overlap = overlaps(found, true, inclusive=inclusive)
    rule = _match_voc if matching == "voc" else _match_coco
    return rule(detection, object_, overlap, len(found.scores), true.difficult, threshold)


def match_detections(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    objects: torch.Tensor,
    difficult: torch.Tensor | None = None,
    threshold: float = 0.5,
    *,
    matching: str = "voc",
    inclusive: bool = False,
) -> torch.Tensor:
    """Match the detections of one picture and one class.

    Args:
        boxes: detected ``[N, 4]``, corners.
        scores: ``[N]``.
        objects: true boxes ``[G, 4]``.
        difficult: ``[G]`` bool; ``None``: no object is.
        threshold: of the IoU: above it for ``"voc"``, at least it for ``"coco"``.
        matching: ``"voc"`` or ``"coco"``.
        inclusive: as for ``match``.
    Returns:
        ``[N]`` int64 in the order of ``boxes``: 1 right, 0 wrong, -1 does not count.
    Raises:
        ValueError: if a box or a score is wrong; see ``check_detections`` and ``check_objects``.

    Explained in chapter 10.
    """
    labels = [torch.zeros(len(part), dtype=torch.int64) for part in (boxes, objects)]
    found, true = pool([Detections(boxes, scores, labels[0])], [Objects(objects, labels[1], difficult)], 1)
    hit = match(found, true, matching=matching, threshold=threshold, inclusive=inclusive).hit
    order = scores.detach().cpu().double().argsort(descending=True, stable=True)
    return torch.empty_like(hit).scatter_(0, order, hit)


def overlaps(
    found: PooledDetections, true: PooledObjects, *, same_class: bool = True, inclusive: bool = False
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return each pair of a detection and an object of one picture, and its IoU.

    Args:
        found: from ``pool``.
        true: from ``pool``.
        same_class: only pairs of one class.
        inclusive: as for ``match``.
    Returns:
        Index of the detection, index of the object, IoU, ``[P]`` each; detections in their order, the objects of each
        in theirs.

    Explained in chapter 10.
    """
    classes = 1 + int(max((labels.max() for labels in (found.labels, true.labels) if len(labels)), default=0))
    wanted, held = (one.picture * classes + one.labels if same_class else one.picture for one in (found, true))
    order = held.argsort(stable=True)
    held = held[order]
    first = torch.searchsorted(held, wanted)
    counts = torch.searchsorted(held, wanted, right=True) - first
    detection = torch.repeat_interleave(torch.arange(len(wanted)), counts)
    within = torch.arange(len(detection)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    object_ = order[first[detection] + within]
    parts = zip(detection.split(PAIRS_AT_ONCE), object_.split(PAIRS_AT_ONCE), strict=True)
    shared = [iou(found.boxes[d], true.boxes[o], inclusive=inclusive) for d, o in parts]
    return detection, object_, torch.cat(shared)


def best_overlap(
    detection: torch.Tensor, object_: torch.Tensor, overlap: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return of each of ``count`` detections its highest IoU, 0 without a pair, and the first such object, or -1."""
    best = overlap.new_zeros(count).scatter_reduce_(0, detection, overlap, "amax")
    first = torch.full((count,), len(overlap))
    at = (overlap == best[detection]).nonzero()[:, 0]
    first.scatter_reduce_(0, detection[at], at, "amin")
    which = torch.full((count,), -1)
    has = first < len(overlap)
    which[has] = object_[first[has]]
    return best, which


def _match_voc(
    detection: torch.Tensor,
    object_: torch.Tensor,
    overlap: torch.Tensor,
    count: int,
    difficult: torch.Tensor,
    threshold: float,
) -> Matches:
    best, which = best_overlap(detection, object_, overlap, count)
    on = ((best > threshold) & (which >= 0)).nonzero()[:, 0]
    looked_at = which[on]
    earliest = torch.full((len(difficult),), count).scatter_reduce_(0, looked_at, on, "amin")
    hit = torch.zeros(count, dtype=torch.int64)
    hit[on] = (earliest[looked_at] == on).long()
    hit[on[difficult[looked_at]]] = -1
    return Matches(hit, torch.where(hit != 0, which, -1))


def _match_coco(
    detection: torch.Tensor,
    object_: torch.Tensor,
    overlap: torch.Tensor,
    count: int,
    difficult: torch.Tensor,
    threshold: float,
) -> Matches:
    """Take free objects one detection after the other; of equal IoUs the later object, difficult ones only last."""
    enough = overlap >= min(threshold, NEARLY_ONE)
    pairs = zip(*(part[enough].tolist() for part in (detection, object_, overlap)), strict=True)
    hard, taken, choices = difficult.tolist(), set(), {}
    for which, candidate, shared in pairs:
        choices.setdefault(which, []).append((not hard[candidate], shared, candidate))
    hit, matched = torch.zeros(count, dtype=torch.int64), torch.full((count,), -1)
    for which, candidates in choices.items():
        free = [choice for choice in candidates if choice[2] not in taken]
        if free:
            counts, _, candidate = max(free)
            taken.add(candidate)
            hit[which], matched[which] = (1 if counts else -1), candidate
    return Matches(hit, matched)


def _pictures(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.repeat_interleave(torch.arange(len(parts)), torch.tensor([len(part) for part in parts]))


def _rank_in_group(group: torch.Tensor) -> torch.Tensor:
    """How many of a group stand before each in the list."""
    order = group.argsort(stable=True)
    sizes = torch.unique_consecutive(group[order], return_counts=True)[1]
    starts = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order)) - starts)


def _take(pooled: PooledDetections, index: torch.Tensor) -> PooledDetections:
    return PooledDetections(*(part[index] for part in pooled))
