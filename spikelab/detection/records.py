"""What is in a picture, and what was found in it: one record of each for every picture.

Explained in chapter 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from spikelab.validation import require_count

EDGE = 1e-4
"""How far beyond the picture's edge, in shares, rounding may have put a box."""


class Objects(NamedTuple):
    """The true objects of one picture, G of them; G may be 0.

    Attributes:
        boxes: ``[G, 4]``, corners, half-open.
        labels: ``[G]`` int64, classes from 0.
        difficult: ``[G]`` bool, objects that count neither as found nor as missed; ``None``: none is.
    """

    boxes: torch.Tensor
    labels: torch.Tensor
    difficult: torch.Tensor | None = None

    @classmethod
    def none(cls) -> Objects:
        """Return the record of a picture without an object."""
        return cls(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))


class Detections(NamedTuple):
    """What a detector found in one picture, N boxes in any order; N may be 0.

    Attributes:
        boxes: ``[N, 4]``, corners, half-open.
        scores: ``[N]``, how sure; only their order matters.
        labels: ``[N]`` int64, classes from 0.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor

    @classmethod
    def none(cls) -> Detections:
        """Return the record of a picture in which nothing was found."""
        return cls(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


def check_objects(
    objects: Objects, *, num_classes: int | None = None, in_shares: bool = False, source: str = "objects"
) -> Objects:
    """Return a picture's objects, with ``difficult`` filled in, or raise if they cannot be what is in a picture.

    Args:
        objects: the record.
        num_classes: C; labels must lie in 0 to C - 1.
        in_shares: boxes must have an area and lie in the picture, 0 to 1; rounding beyond its edge is cut off.
        source: what to call the record in a message, for example the picture's file.
    Returns:
        The same objects.
    Raises:
        ValueError: naming the record and its first wrong box: no corners, not finite, corners swapped, outside the
            picture, a label that is no class, or lists of different lengths.

    Explained in chapter 10.
    """
    boxes = _boxes(source, objects.boxes)
    labels = _labels(source, objects.labels, len(boxes), num_classes)
    difficult = objects.difficult
    if difficult is None:
        difficult = torch.zeros(len(boxes), dtype=torch.bool, device=labels.device)
    if not isinstance(difficult, torch.Tensor) or difficult.dtype != torch.bool or difficult.shape != labels.shape:
        raise ValueError(f"{source}.difficult must be [{len(boxes)}] of bool, one for each box, got {_told(difficult)}")
    if in_shares and len(boxes):
        outside = ((boxes < -EDGE) | (boxes > 1 + EDGE)).any(-1)
        _refuse(
            source, boxes, outside, "reaches beyond the picture, 0 to 1 (clip_boxes cuts it off; are these pixels?)"
        )
        boxes = boxes.clamp(0, 1)
        _refuse(source, boxes, (boxes[:, :2] >= boxes[:, 2:]).any(-1), "has no area in the picture")
    return Objects(boxes, labels, difficult)


def check_detections(
    detections: Detections, *, num_classes: int | None = None, source: str = "detections"
) -> Detections:
    """Return a picture's detections, or raise if they cannot be ranked or compared.

    Args:
        detections: the record.
        num_classes: C; labels must lie in 0 to C - 1.
        source: what to call the record in a message.
    Raises:
        ValueError: naming the record and what is wrong: a score that is NaN or infinite, a box that is, swapped
            corners, a label that is no class, or lists of different lengths.

    Explained in chapter 10.
    """
    boxes = _boxes(source, detections.boxes)
    check_scores(detections.scores, len(boxes), f"{source}.scores")
    return Detections(boxes, detections.scores, _labels(source, detections.labels, len(boxes), num_classes))


def check_scores(scores: Any, count: int, name: str = "scores") -> torch.Tensor:
    """Return ``scores [count]``, or raise if there are more or fewer, or one has no place in an order."""
    if not isinstance(scores, torch.Tensor) or not scores.is_floating_point() or scores.shape != (count,):
        raise ValueError(f"{name} must be [{count}] of floating-point numbers, one for each box, got {_told(scores)}")
    wrong = ~torch.isfinite(scores)
    if wrong.any():
        raise ValueError(
            f"{name} must be finite, but {int(wrong.sum())} of {count} are NaN or infinite: they have no place in an "
            "order (did the network's training diverge?)"
        )
    return scores


def check_pictures(
    detections: Sequence[Detections], objects: Sequence[Objects], num_classes: int
) -> tuple[list[Detections], list[Objects]]:
    """Return both lists checked, one record for each picture in each.

    Raises:
        ValueError: if the lists differ in length or are empty, or a record is wrong; the message gives its index.
    """
    require_count("num_classes", num_classes)
    if len(detections) != len(objects) or not len(objects):
        raise ValueError(
            "detections and objects must hold one record for each picture, and at least one, "
            f"got {len(detections)} and {len(objects)}"
        )
    return (
        [check_detections(one, num_classes=num_classes, source=f"detections[{i}]") for i, one in enumerate(detections)],
        [check_objects(one, num_classes=num_classes, source=f"objects[{i}]") for i, one in enumerate(objects)],
    )


def _boxes(source: str, boxes: Any) -> torch.Tensor:
    if not isinstance(boxes, torch.Tensor) or boxes.dim() != 2 or boxes.shape[-1] != 4:
        raise ValueError(f"{source}.boxes must be [number, 4] of corners (no box: [0, 4]), got {_told(boxes)}")
    _refuse(source, boxes, ~torch.isfinite(boxes).all(-1), "is not finite")
    swapped = (boxes[:, :2] > boxes[:, 2:]).any(-1)
    _refuse(source, boxes, swapped, "has its corners swapped: x0 ≤ x1 and y0 ≤ y1 (order_corners mends it)")
    return boxes


def _labels(source: str, labels: Any, count: int, num_classes: int | None) -> torch.Tensor:
    if not isinstance(labels, torch.Tensor) or labels.dtype != torch.int64 or labels.shape != (count,):
        raise ValueError(f"{source}.labels must be [{count}] of int64, one for each box, got {_told(labels)}")
    if count and num_classes is not None and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f"{source}.labels must lie in 0 to {num_classes - 1}, got {int(labels.min())} to {int(labels.max())}"
        )
    return labels


def _refuse(source: str, boxes: torch.Tensor, wrong: torch.Tensor, because: str) -> None:
    if wrong.any():
        first = int(wrong.nonzero()[0])
        box = ", ".join(f"{side:g}" for side in boxes[first].tolist())
        raise ValueError(f"{source}.boxes[{first}] = [{box}] {because}")


def _told(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return type(value).__name__
