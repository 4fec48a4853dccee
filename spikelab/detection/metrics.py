r"""How well boxes fit, how sure that is, and how well a box would fit that never looks at the picture.

All take the IoU of each picture, ``boxes.iou(predicted, true)``; mIoU is their mean over pictures. Intervals are 95 %.

Explained in chapter 09.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from spikelab.detection.boxes import iou
from spikelab.statistics import wilson_interval
from spikelab.validation import require_between, require_count, require_tensor, require_unit_interval

RESAMPLE_AT_ONCE = 4_000_000
FINEST_STEP = 1 / 1024


class Estimate(NamedTuple):
    """A number measured on n pictures, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


def mean_iou(ious: torch.Tensor, *, num: int = 2000, seed: int = 0) -> Estimate:
    """Return the mean IoU with a bootstrap interval over pictures.

    Args:
        ious: IoU of each picture ``[N]``, 0 to 1.
        num: how often the N pictures are drawn anew, with replacement.
        seed: of these draws.
    Returns:
        Mean, 2.5 and 97.5 % quantiles of the resampled means, N.
    Raises:
        ValueError: if there is no picture, or an IoU is NaN or outside 0 to 1.

    Explained in chapter 09. Source: Efron and Tibshirani, 1993.
    """
    return _bootstrap(_checked("ious", ious), num, seed)


def paired_gain(ious: torch.Tensor, base_ious: torch.Tensor, *, num: int = 2000, seed: int = 0) -> Estimate:
    """Return how much mean IoU one localizer gains over another on the same pictures.

    Each draw takes a picture with both its IoUs: what makes a picture hard for both cancels, and the interval is
    several times narrower than that of two separate means.

    Args:
        ious: IoU of each picture ``[N]``, 0 to 1.
        base_ious: the same of what it is compared with, for example a constant box.
        num: how often the N pictures are drawn anew, with replacement.
        seed: of these draws.
    Returns:
        Mean difference, its interval, N.
    Raises:
        ValueError: if the lengths differ, there is no picture, or an IoU is NaN or outside 0 to 1.

    Explained in chapter 09. Source: Efron and Tibshirani, 1993.
    """
    return _bootstrap(_differences(ious, base_ious), num, seed)


def success(ious: torch.Tensor, threshold: float) -> Estimate:
    """Return the share of pictures whose IoU is above a threshold, strictly, with its Wilson interval.

    Args:
        ious: IoU of each picture ``[N]``, 0 to 1.
        threshold: usually .5 or .75.
    Returns:
        Share, interval, N.
    Raises:
        ValueError: if there is no picture, an IoU is NaN or outside 0 to 1, or ``threshold`` is.

    Explained in chapter 09.
    """
    ious = _checked("ious", ious)
    right = int((ious > require_between("threshold", threshold, 0.0, 1.0)).sum())
    return Estimate(right / len(ious), *wilson_interval(right, len(ious)), len(ious))


def iou_histogram(ious: torch.Tensor, bins: int = 20) -> torch.Tensor:
    """Count the pictures in equal bins of IoU from 0 to 1.

    Args:
        ious: IoU of each picture ``[N]``, 0 to 1.
        bins: how many bins; a bin holds its lower end, the last one also 1.
    Returns:
        ``[bins]`` int64, summing to N.
    Raises:
        ValueError: if there is no picture, or an IoU is NaN or outside 0 to 1.

    Explained in chapter 09.
    """
    ious = _checked("ious", ious)
    inner = torch.arange(1, require_count("bins", bins), dtype=torch.float64) / bins
    return torch.bincount(torch.bucketize(ious, inner, right=True), minlength=bins)


def by_quartile(
    values: torch.Tensor,
    ious: torch.Tensor,
    base_ious: torch.Tensor | None = None,
    *,
    num: int = 2000,
    seed: int = 0,
) -> list[Estimate]:
    """Return the mean IoU, or the gain over a baseline, in each quarter of the pictures.

    Args:
        values: what the pictures are ranked by ``[N]``, for example ``boxes.area(true)`` or
            ``boxes.centre_offset(true)``; of equal values the earlier picture ranks lower.
        ious: IoU of each picture ``[N]``, 0 to 1.
        base_ious: if given, each quarter's paired gain over these is returned instead of its mean.
        num: how often pictures are drawn anew for an interval.
        seed: of these draws.
    Returns:
        Four estimates, from the quarter with the smallest values to that with the largest; sizes differ by 1 at most.
    Raises:
        ValueError: if the lengths differ, there are fewer than four pictures, or an IoU is NaN or outside 0 to 1.

    Explained in chapter 09.
    """
    scores = _checked("ious", ious) if base_ious is None else _differences(ious, base_ious)
    require_tensor("values", values)
    if values.dim() != 1 or len(values) != len(scores):
        raise ValueError(f"values must hold one number per picture [{len(scores)}], got {tuple(values.shape)}")
    if len(scores) < 4:
        raise ValueError(f"ious must hold at least four pictures for four quarters, got {len(scores)}")
    quarters = values.detach().cpu().argsort(stable=True).tensor_split(4)
    return [_bootstrap(scores[quarter], num, seed) for quarter in quarters]


def constant_boxes(train_boxes: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the boxes a localizer would answer that never looks, fitted to training boxes.

    Args:
        train_boxes: true boxes of the training pictures ``[N, 4]``, corners in shares.
    Returns:
        ``"mean"`` and ``"median"`` of each coordinate, and ``"best"``, the box found to have the highest mean IoU on
        these boxes by moving one side at a time from each of the two and from the whole picture; each ``[4]`` float64.
    Raises:
        ValueError: if there is no box, or one is not finite.

    Explained in chapter 09.
    """
    require_tensor("train_boxes", train_boxes)
    if train_boxes.dim() != 2 or train_boxes.shape[1] != 4 or not len(train_boxes):
        raise ValueError(f"train_boxes must have shape [N, 4] with at least one box, got {tuple(train_boxes.shape)}")
    boxes = train_boxes.detach().cpu().double()
    mean, median = boxes.mean(0), boxes.quantile(0.5, 0)
    starts = (median, mean, boxes.new_tensor([0.0, 0.0, 1.0, 1.0]))
    best = max((_climb(start, boxes) for start in starts), key=lambda found: float(iou(found, boxes).mean()))
    return {"mean": mean, "median": median, "best": best}


def skill(miou: float, baseline: float) -> float:
    r"""Return how much of the way from a baseline to perfect boxes was covered.

    .. math:: \frac{\mathrm{mIoU} - b}{1 - b}

    Args:
        miou: mean IoU, 0 to 1.
        baseline: b, mean IoU of the best constant box on the same pictures, from 0 to below 1.
    Returns:
        1 for perfect boxes, 0 for no better than the baseline, negative for worse.
    Raises:
        ValueError: if ``miou`` lies outside 0 to 1 or ``baseline`` leaves nothing to gain.

    Explained in chapter 09.
    """
    miou = require_between("miou", miou, 0.0, 1.0, "a share; 63.2 % is 0.632")
    baseline = require_between("baseline", baseline, 0.0, 1.0, "a share; 63.2 % is 0.632")
    if baseline == 1:
        raise ValueError("baseline must be below 1, got 1: a perfect baseline leaves nothing to gain")
    return (miou - baseline) / (1 - baseline)


def _climb(box: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Move one side at a time, while it helps, by steps that halve when nothing does."""
    score = iou(box, boxes).mean()
    step = 1 / 16
    while step >= FINEST_STEP:
        moves = torch.cat((torch.eye(4), -torch.eye(4))).to(boxes) * step
        scores = iou((box + moves)[:, None], boxes).mean(1)
        if scores.max() > score:
            box, score = box + moves[scores.argmax()], scores.max()
        else:
            step /= 2
    return box


def _checked(name: str, ious: Any) -> torch.Tensor:
    require_unit_interval(name, require_tensor(name, ious))
    if ious.dim() != 1 or not len(ious):
        raise ValueError(f"{name} must hold one IoU per picture [N] and at least one, got shape {tuple(ious.shape)}")
    return ious.detach().cpu().double()


def _differences(ious: torch.Tensor, base_ious: torch.Tensor) -> torch.Tensor:
    ious, base_ious = _checked("ious", ious), _checked("base_ious", base_ious)
    if len(ious) != len(base_ious):
        raise ValueError(f"base_ious must be of the same {len(ious)} pictures as ious, got {len(base_ious)}")
    return ious - base_ious


def _bootstrap(scores: torch.Tensor, num: int, seed: int) -> Estimate:
    require_count("num", num)
    n = len(scores)
    generator = torch.Generator().manual_seed(seed)
    means, rows = [], max(1, RESAMPLE_AT_ONCE // n)
    for start in range(0, num, rows):
        drawn = torch.randint(n, (min(rows, num - start), n), generator=generator)
        means.append(scores[drawn].mean(1))
    low, high = torch.cat(means).quantile(scores.new_tensor([0.025, 0.975])).tolist()
    return Estimate(float(scores.mean()), low, high, n)
