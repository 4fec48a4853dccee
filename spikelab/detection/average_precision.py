r"""Average precision: one number for many boxes, and why there are three of it.

Precision is the share of detections so far that are right, recall the share of objects found so far. Going down the
ranking draws a curve; its envelope is the best precision at this recall or a higher one. Average precision is

* ``"voc07"``: the mean of the envelope at the eleven recalls 0, .1 … 1,
* ``"area"``: the area under the envelope, VOC's since 2010,
* ``"coco101"``: the mean of the envelope at the 101 recalls 0, .01 … 1, as pycocotools computes it,

where recall that is never reached has precision 0. All take as number of objects what the annotations hold, found or
not. Say which one a number is: the same detections differ by points.

Explained in chapter 10. Source: Everingham et al., IJCV 2010; Lin et al., ECCV 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from spikelab.detection.matching import Matches, PooledDetections, PooledObjects, match, pool
from spikelab.detection.metrics import Estimate
from spikelab.detection.records import Detections, Objects
from spikelab.validation import require_choice, require_count

FLAVOURS = ("voc07", "area", "coco101")
COCO_DETECTIONS = 100
"""Detections of one class in one picture that COCO's matching looks at."""

_COCO_RECALLS = tuple(np.linspace(0.0, 1.0, 101).tolist())
_VALUES_AT_ONCE = 4_000_000


class PrecisionRecall(NamedTuple):
    """The curve: precision and recall [N] after each detection that counts, best score first."""

    precision: torch.Tensor
    recall: torch.Tensor


class ClassResult(NamedTuple):
    """One class's average precision and what it was made of.

    Attributes:
        name: the class.
        ap: average precision, 0 to 1.
        num_objects: that had to be found, without difficult ones.
        num_difficult: objects that count neither way.
        num_detections: that count, right or wrong.
        num_hits: that are right.
        curve: precision and recall after each of them.
        scores: of each of them ``[num_detections]``.
    """

    name: str
    ap: float
    num_objects: int
    num_difficult: int
    num_detections: int
    num_hits: int
    curve: PrecisionRecall
    scores: torch.Tensor


class DetectionScore(NamedTuple):
    """Mean average precision and all that must be said with it.

    Attributes:
        mean: over the classes that have objects to find.
        classes: one result for each of these.
        left_out: names of the classes that have none, or only difficult ones.
        flavour: of the average.
        matching: rule of matching.
        threshold: of the IoU.
        max_detections: of one class in one picture, or ``None``.
        num_pictures: how many.
    """

    mean: float
    classes: tuple[ClassResult, ...]
    left_out: tuple[str, ...]
    flavour: str
    matching: str
    threshold: float
    max_detections: int | None
    num_pictures: int

    def summary(self) -> dict[str, Any]:
        """Return plain numbers and words, without curves, for a result file."""
        told = {name: value for name, value in self._asdict().items() if name != "classes"}
        kept = ("ap", "num_objects", "num_difficult", "num_detections", "num_hits")
        per_class = {one.name: {name: getattr(one, name) for name in kept} for one in self.classes}
        return {**told, "left_out": list(self.left_out), "classes": per_class}


def precision_recall_curve(hits: torch.Tensor | Sequence[int], num_objects: int) -> PrecisionRecall:
    """Return precision and recall after each detection.

    Args:
        hits: of each detection, best score first ``[N]``: 1 right, 0 wrong; -1 does not count and is left out.
        num_objects: how many there were to find, found or not.
    Returns:
        Both, float64.
    Raises:
        ValueError: if there is no object, or more are hit than there are.

    Explained in chapter 10.
    """
    counted = _counted(hits, num_objects)
    right = counted.cumsum(0)
    return PrecisionRecall(right / torch.arange(1, len(right) + 1), right / num_objects)


def precision_envelope(precision: torch.Tensor) -> torch.Tensor:
    """Return at each place of a curve ``[..., N]`` the best precision there or further on. Explained in chapter 10."""
    return precision.flip(-1).cummax(-1).values.flip(-1) if precision.shape[-1] else precision


def average_precision(hits: torch.Tensor | Sequence[int], num_objects: int, flavour: str) -> float:
    """Return the average precision of one class.

    Args:
        hits: of each detection, best score first ``[N]``: 1 right, 0 wrong; -1 does not count. N may be 0.
        num_objects: how many there were to find, found or not.
        flavour: ``"voc07"``, ``"area"`` or ``"coco101"``. A recall of exactly a tenth reaches VOC07's point there;
            widely copied code, whose .3 is .30000000000000004, sees it only beyond.
    Returns:
        0 to 1.
    Raises:
        ValueError: if there is no object (the class has no average precision), more are hit than there are, or the
            flavour is unknown.

    Explained in chapter 10.
    """
    require_choice("flavour", flavour, FLAVOURS)
    counted = _counted(hits, num_objects)
    return float(_average(counted, torch.ones_like(counted), torch.tensor(float(num_objects)).double(), flavour))


def evaluate_detections(
    detections: Sequence[Detections],
    objects: Sequence[Objects],
    class_names: Sequence[str],
    *,
    flavour: str = "voc07",
    matching: str | None = None,
    threshold: float = 0.5,
    inclusive: bool = False,
    max_detections: int | None = None,
) -> DetectionScore:
    """Return the mean average precision of a detector on a test set.

    Args:
        detections: one record for each picture.
        objects: one record for each picture, boxes in the same unit.
        class_names: C names; a label is an index into them.
        flavour: ``"voc07"``, ``"area"`` or ``"coco101"``.
        matching: ``"voc"`` or ``"coco"``; ``None``: COCO's for ``"coco101"``, VOC's otherwise.
        threshold: of the IoU.
        inclusive: boxes are in whole pixels whose last row and column belong to them (VOC's + 1 in every width). From
            half-open boxes on the same pixels the same overlaps come out without.
        max_detections: of one class in one picture the best so many count; ``None``: 100 with COCO's matching, all with
            VOC's.
    Returns:
        The mean, each class, and which classes are left out because there is nothing of them to find. A class with
        objects and without detections has 0. A picture may have no object, no detection, or neither.
    Raises:
        ValueError: if a record is wrong (a NaN score, swapped corners, a label that is no class), or no class has an
            object to find.

    Explained in chapter 10.
    """
    require_choice("flavour", flavour, FLAVOURS)
    matching = ("coco" if flavour == "coco101" else "voc") if matching is None else matching
    if max_detections is None and matching == "coco":
        max_detections = COCO_DETECTIONS
    names = tuple(class_names)
    found, true = pool(detections, objects, len(names), max_detections=max_detections)
    matches = match(found, true, matching=matching, threshold=threshold, inclusive=inclusive)
    counts = objects_to_find(true, len(names))
    results = tuple(
        _class_result(label, name, found, true, matches, flavour) for label, name in enumerate(names) if counts[label]
    )
    return DetectionScore(
        sum(one.ap for one in results) / len(results),
        results,
        tuple(name for label, name in enumerate(names) if not counts[label]),
        flavour,
        matching,
        threshold,
        max_detections,
        len(objects),
    )


def mean_ap_interval(
    detections: Sequence[Detections],
    objects: Sequence[Objects],
    class_names: Sequence[str],
    *,
    base: Sequence[Detections] | None = None,
    num: int = 500,
    seed: int = 0,
    **options: Any,
) -> Estimate:
    """Return the mean average precision, or its gain over another detector's, with a 95 % interval over pictures.

    The interval is 1.96 standard deviations of the number's value in test sets drawn anew from these pictures, to both
    sides. (Quantiles of these values would lie too high: with a picture twice in the set the envelope catches more
    luck.)

    Args:
        detections: one record for each picture.
        objects: one record for each picture.
        class_names: C names.
        base: another detector's; the gain over it is then estimated, both on the same draws, so that what makes a
            picture hard for both cancels.
        num: how often the pictures are drawn anew, with replacement; a class that is not among those drawn is left out
            of that draw's mean.
        seed: of these draws.
        options: of ``evaluate_detections``.
    Returns:
        The mean as ``evaluate_detections`` gives it, or the difference of both; its interval; the number of pictures.
    Raises:
        ValueError: as ``evaluate_detections``.

    Explained in chapter 10. Source: Efron and Tibshirani, 1993.
    """
    require_count("num", num, minimum=2)
    pictures = len(objects)
    drawn = torch.randint(max(pictures, 1), (num, pictures), generator=torch.Generator().manual_seed(seed))
    weights = torch.zeros(num, pictures, dtype=torch.float64)
    weights.scatter_add_(1, drawn, torch.ones_like(weights))
    value, means = _resampled(detections, objects, class_names, weights, options)
    if base is not None:
        base_value, base_means = _resampled(base, objects, class_names, weights, options)
        value, means = value - base_value, means - base_means
    reach = 1.96 * float(means[means.isfinite()].std())
    return Estimate(value, value - reach, value + reach, pictures)


def _resampled(
    detections: Sequence[Detections],
    objects: Sequence[Objects],
    class_names: Sequence[str],
    weights: torch.Tensor,
    options: dict[str, Any],
) -> tuple[float, torch.Tensor]:
    """Mean average precision, and the same [R] with each picture so many times as each row of weights says."""
    score = evaluate_detections(detections, objects, class_names, **options)
    found, true = pool(detections, objects, len(class_names), max_detections=score.max_detections)
    inclusive = options.get("inclusive", False)
    matches = match(found, true, matching=score.matching, threshold=score.threshold, inclusive=inclusive)
    total, classes = weights.new_zeros(len(weights)), weights.new_zeros(len(weights))
    for label in range(len(class_names)):
        mine = ((found.labels == label) & (matches.hit >= 0)).nonzero()[:, 0]
        shown = true.picture[(true.labels == label) & ~true.difficult]
        hits = matches.hit[mine].double()
        for rows in torch.arange(len(weights)).split(max(1, _VALUES_AT_ONCE // max(1, len(mine)))):
            weight, to_find = weights[rows][:, found.picture[mine]], weights[rows][:, shown].sum(1)
            total[rows] += _average(hits * weight, weight, to_find.clamp(min=1), score.flavour) * (to_find > 0)
            classes[rows] += to_find > 0
    return score.mean, total / classes


def objects_to_find(true: PooledObjects, num_classes: int) -> list[int]:
    """Return how many objects of each class count; raise if there is none of any."""
    counts = torch.bincount(true.labels[~true.difficult], minlength=num_classes).tolist()
    if not any(counts):
        raise ValueError(
            "objects hold nothing to find (no object, or only difficult ones): of nothing there is no average precision"
        )
    return counts


def _class_result(
    label: int, name: str, found: PooledDetections, true: PooledObjects, matches: Matches, flavour: str
) -> ClassResult:
    counts = (found.labels == label) & (matches.hit >= 0)
    hits, difficult = matches.hit[counts], true.difficult[true.labels == label]
    to_find = int((~difficult).sum())
    return ClassResult(
        name,
        average_precision(hits, to_find, flavour),
        to_find,
        int(difficult.sum()),
        len(hits),
        int(hits.sum()),
        precision_recall_curve(hits, to_find),
        found.scores[counts],
    )


def _average(hits: torch.Tensor, weights: torch.Tensor, num_objects: torch.Tensor, flavour: str) -> torch.Tensor:
    """Average precision [...] of rankings [..., N], each detection counted so many times as its weight says."""
    right, so_far = hits.cumsum(-1), weights.cumsum(-1)
    envelope = precision_envelope(right / so_far.clamp(min=1))
    if flavour == "area":
        return (hits * envelope).sum(-1) / num_objects
    if flavour == "voc07":
        # Whole numbers on both sides: is the recall a tenth of the objects?
        reached, points = 10 * right, torch.arange(11.0, dtype=torch.float64) * num_objects[..., None]
    else:
        reached = right / num_objects[..., None]
        points = right.new_tensor(_COCO_RECALLS).expand(*right.shape[:-1], -1)
    at = torch.searchsorted(reached.contiguous(), points.contiguous())
    return torch.nn.functional.pad(envelope, (0, 1)).gather(-1, at).mean(-1)


def _counted(hits: torch.Tensor | Sequence[int], num_objects: int) -> torch.Tensor:
    """The hits [N] that count, in float64."""
    require_count("num_objects", num_objects)
    hits = torch.as_tensor(hits).detach().cpu()
    if hits.dim() != 1 or (hits.numel() and not torch.isin(hits, torch.tensor([-1, 0, 1], dtype=hits.dtype)).all()):
        raise ValueError(f"hits must be [N] of 1, 0 and -1, best score first, got {hits.tolist()!r:.80}")
    counted = hits[hits >= 0].double()
    if counted.sum() > num_objects:
        raise ValueError(
            f"hits must be at most num_objects = {num_objects}, got {int(counted.sum())}: each object is found once, "
            "and all of them count, found or not"
        )
    return counted
