r"""Non-maximum suppression: of the boxes that say the same, the best one stays.

Greedy: from the best score down, a box stays unless it overlaps one of its class that stayed already by more than the
threshold. A box that was itself suppressed suppresses nobody. Soft: no box goes, but its score falls the more, the more
it overlaps a better one, so that a second object close by survives with a lower score.

Scores must be numbers: a NaN has no place in an order, and is refused.

Explained in chapter 10.
"""

from __future__ import annotations

import torch

from spikelab.detection.boxes import iou
from spikelab.detection.records import Detections, check_scores
from spikelab.validation import require_between, require_choice, require_count, require_positive

METHODS = ("greedy", "linear", "gaussian")
PAIRS_AT_ONCE = 1_000_000


def nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor,
    iou_threshold: float = 0.5,
    *,
    max_detections: int | None = None,
) -> torch.Tensor:
    """Return which boxes of a picture stay, greedily and each class for itself.

    Args:
        boxes: ``[N, 4]``, corners in any unit; N may be 0.
        scores: ``[N]``.
        labels: ``[N]`` int64.
        iou_threshold: a box goes whose IoU with a better one that stays is above this, strictly.
        max_detections: how many stay at most, all classes together; ``None``: no limit.
    Returns:
        Indices ``[K]`` int64 of those that stay, best first; of equal scores the earlier one.
    Raises:
        ValueError: if a score is NaN or infinite, lengths differ, or the threshold lies outside [0, 1].

    Explained in chapter 10.
    """
    _check(boxes, scores, labels, iou_threshold, max_detections)
    keep = _stays(boxes, scores, labels, iou_threshold)
    order = _best_first(scores)
    return order[keep[order]][:max_detections]


def soft_nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor,
    *,
    method: str = "gaussian",
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    score_threshold: float = 0.001,
    max_detections: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Lower the scores of boxes that overlap better ones of their class, instead of dropping them.

    The best box is taken, every other of its class gets its score times a factor, and again among those left:

    .. math:: \text{linear: } 1 - \mathrm{IoU} \text{ if } \mathrm{IoU} \ge N_t, \qquad
              \text{gaussian: } e^{-\mathrm{IoU}^2 / \sigma}

    Args:
        boxes: ``[N, 4]``, corners in any unit; N may be 0.
        scores: ``[N]``, 0 or more.
        labels: ``[N]`` int64.
        method: ``"linear"`` or ``"gaussian"``.
        iou_threshold: N_t of the linear method.
        sigma: of the gaussian method.
        score_threshold: boxes whose score falls below this go.
        max_detections: how many stay at most.
    Returns:
        Indices ``[K]`` int64, best new score first, and the new scores ``[K]``.
    Raises:
        ValueError: if a score is NaN, infinite or negative, lengths differ, or an option is out of range.

    Explained in chapter 10. Source: Bodla et al., Soft-NMS, ICCV 2017.
    """
    _check(boxes, scores, labels, iou_threshold, max_detections)
    require_choice("method", method, METHODS[1:])
    require_positive("sigma", sigma)
    if len(scores) and scores.min() < 0:
        raise ValueError(f"scores must be 0 or more, got {float(scores.min()):g}: a factor would raise a negative one")
    left, taken, order = scores.clone(), [], []
    waiting = left >= score_threshold
    while waiting.any() and (max_detections is None or len(order) < max_detections):
        best = int(torch.where(waiting, left, -1.0).argmax())
        order.append(best)
        taken.append(left[best].clone())
        waiting[best] = False
        rivals = (waiting & (labels == labels[best])).nonzero()[:, 0]
        overlap = iou(boxes[best], boxes[rivals]).to(left)
        if method == "linear":
            factor = torch.where(overlap >= iou_threshold, 1 - overlap, torch.ones_like(overlap))
        else:
            factor = (-overlap.square() / sigma).exp()
        left[rivals] *= factor
        waiting &= left >= score_threshold
    return (
        torch.tensor(order, dtype=torch.int64, device=boxes.device),
        torch.stack(taken) if taken else left[:0],
    )


def batched_nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    *,
    score_threshold: float = 0.01,
    iou_threshold: float = 0.5,
    method: str = "greedy",
    sigma: float = 0.5,
    best_class_only: bool = False,
    max_candidates: int = 1000,
    max_detections: int = 100,
) -> list[Detections]:
    """Turn a batch's predictions into what was found in each picture.

    Args:
        boxes: of every prediction ``[B, M, 4]``, corners in any unit.
        scores: of every class ``[B, M, C]``.
        score_threshold: predictions must score more than this. Average precision needs the low ones too.
        iou_threshold: of the suppression, each class for itself.
        method: ``"greedy"``, or soft: ``"linear"`` or ``"gaussian"``.
        sigma: of ``"gaussian"``.
        best_class_only: a prediction counts for its best class alone, as in SNN-YOLOv3's public code; otherwise for
            every class above the threshold.
        max_candidates: best of a picture's candidates that take part in the suppression.
        max_detections: of a picture, at most, all classes together.
    Returns:
        One record for each picture, best score first; a picture in which nothing scores enough has an empty one.
    Raises:
        ValueError: if a score is NaN or infinite, shapes do not fit or an option is out of range.

    Explained in chapters 10 and 12.
    """
    if boxes.dim() != 3 or boxes.shape[-1] != 4 or scores.dim() != 3 or scores.shape[:2] != boxes.shape[:2]:
        raise ValueError(
            f"boxes and scores must be [B, M, 4] and [B, M, C], got {tuple(boxes.shape)} and {tuple(scores.shape)}"
        )
    require_choice("method", method, METHODS)
    require_between("iou_threshold", iou_threshold, 0.0, 1.0)
    require_count("max_candidates", max_candidates)
    require_count("max_detections", max_detections)
    check_scores(scores.flatten(), scores.numel())
    num_classes = scores.shape[-1]
    if best_class_only:
        best, label = scores.max(-1, keepdim=True)
        scores = torch.full_like(scores, -torch.inf).scatter(-1, label, best)
    flat = scores.flatten(1)
    top, index = flat.topk(min(max_candidates, flat.shape[1]), sorted=True)
    # topk may mix up equal scores; the earlier prediction comes first.
    index = index.gather(1, _ranked(top, index))
    top = flat.gather(1, index)
    enough = top > score_threshold
    picture, place = enough.nonzero(as_tuple=True)
    index, top = index[picture, place], top[picture, place]
    label = index % num_classes
    candidates = boxes[picture, index // num_classes]
    if method == "greedy":
        keep = _stays(candidates, top, picture * num_classes + label, iou_threshold)
        picture, candidates, top, label = picture[keep], candidates[keep], top[keep], label[keep]
    found = []
    for i in range(len(boxes)):
        one = Detections(*(part[picture == i] for part in (candidates, top, label)))
        if method != "greedy":
            kept, lowered = soft_nms(
                *one, method=method, iou_threshold=iou_threshold, sigma=sigma, score_threshold=score_threshold,
                max_detections=max_detections,
            )  # fmt: skip
            one = Detections(one.boxes[kept], lowered, one.labels[kept])
        found.append(Detections(*(part[:max_detections] for part in one)))
    return found


def _stays(boxes: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, threshold: float) -> torch.Tensor:
    """Which boxes [N] of bool stay, greedily and each group for itself.

    A box stays if none that stays suppresses it. Starting from "all stay" and asking again until nothing changes, the
    first k of an order are right after k rounds at the latest, usually after three or four for all.
    """
    better, worse = _rivals(boxes, scores, groups, threshold)
    keep = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    while True:
        after = torch.ones_like(keep)
        after[worse[keep[better]]] = False
        if torch.equal(after, keep):
            return keep
        keep = after


def _rivals(
    boxes: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, threshold: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of boxes of one group, the better first, that overlap by more than a threshold."""
    order = _best_first(scores)
    order = order[groups[order].argsort(stable=True)]
    sizes = torch.unique_consecutive(groups[order], return_counts=True)[1]
    ends = torch.repeat_interleave(sizes.cumsum(0), sizes)
    behind = ends - 1 - torch.arange(len(order), device=order.device)
    better, worse = [order[:0]], [order[:0]]
    for part in _parts(behind):
        count = behind[part]
        first = torch.repeat_interleave(torch.arange(part.start, part.stop, device=order.device), count)
        before = torch.repeat_interleave(count.cumsum(0) - count, count)
        second = first + 1 + torch.arange(len(first), device=order.device) - before
        over = iou(boxes[order[first]], boxes[order[second]]) > threshold
        better.append(order[first[over]])
        worse.append(order[second[over]])
    return torch.cat(better), torch.cat(worse)


def _parts(counts: torch.Tensor) -> list[slice]:
    """Cut a list into slices whose counts sum to little more than what is done at once."""
    if not len(counts):
        return []
    block = (counts.cumsum(0) - counts) // PAIRS_AT_ONCE
    ends = torch.unique_consecutive(block, return_counts=True)[1].cumsum(0).tolist()
    return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _best_first(scores: torch.Tensor) -> torch.Tensor:
    return scores.argsort(descending=True, stable=True)


def _ranked(top: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Order [B, K] by falling score, equal ones by rising index."""
    by_index = index.argsort(1)
    return by_index.gather(1, top.gather(1, by_index).argsort(dim=1, descending=True, stable=True))


def _check(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor,
    iou_threshold: float,
    max_detections: int | None,
) -> None:
    if boxes.dim() != 2 or boxes.shape[1] != 4 or labels.shape != boxes.shape[:1]:
        raise ValueError(f"boxes and labels must be [N, 4] and [N], got {tuple(boxes.shape)} and {tuple(labels.shape)}")
    check_scores(scores, len(boxes))
    require_between("iou_threshold", iou_threshold, 0.0, 1.0)
    if max_detections is not None:
        require_count("max_detections", max_detections)
