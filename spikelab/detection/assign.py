r"""Target assignment: which of a detector's predictions answers for which object.

A cell owns the objects whose centre lies in it; which of its anchors answers is decided by shape. The paper of YOLOv3
gives each object one anchor of all heads, the one that fits best. The public code of SNN-YOLOv3 gives it every anchor
of every head whose shape overlap is above .2, between three and four of nine, so an object is learnt several times and
found several times.

Explained in chapters 10 and 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from spikelab.detection.anchors import HeadLayout, shape_iou
from spikelab.detection.boxes import to_centre
from spikelab.detection.records import Objects, check_objects
from spikelab.validation import require_between, require_choice, require_count

RULES = ("best", "overlap")


class Assignment(NamedTuple):
    """The predictions of one head that answer for an object, P of them; P may be 0.

    Two objects may ask for one prediction; it then occurs twice.

    Attributes:
        picture: ``[P]`` int64, in the batch.
        anchor: ``[P]`` int64, of this head.
        row: ``[P]`` int64, of the cell.
        column: ``[P]`` int64, of the cell.
        boxes: ``[P, 4]``, corners in pixels of the network's picture.
        labels: ``[P]`` int64.
        objects: ``[P]`` int64, which object, counted through the batch.
    """

    picture: torch.Tensor
    anchor: torch.Tensor
    row: torch.Tensor
    column: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor
    objects: torch.Tensor

    @property
    def place(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Index into a head's output ``[B, A, h, w, ...]``."""
        return self.picture, self.anchor, self.row, self.column


def cells(boxes: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
    """Return the cell in which each box's centre lies.

    Args:
        boxes: ``[N, 4]``, corners in shares of the picture.
        grid: rows and columns of the cells.
    Returns:
        ``[N, 2]`` int64, row and column. A centre on a border belongs to the cell right of or below it, one on the
        picture's far edge to the last cell.

    Explained in chapter 10.
    """
    rows, columns = (require_count("grid", side) for side in grid)
    centre = to_centre(boxes)[..., :2].flip(-1)
    counts = centre.new_tensor([rows, columns])
    return (centre * counts).floor().clamp(min=torch.zeros_like(counts), max=counts - 1).long()


def best_anchor(wh: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Return which anchor overlaps each box most when both lie on one corner.

    Args:
        wh: widths and heights ``[N, 2]``.
        anchors: ``[K, 2]`` in the same unit.
    Returns:
        ``[N]`` int64; of anchors that fit equally well the first.

    Explained in chapter 10.
    """
    return shape_iou(wh, anchors).argmax(1)


def assign_targets(
    objects: Sequence[Objects],
    layout: HeadLayout,
    size: int | Sequence[int],
    *,
    rule: str = "best",
    threshold: float = 0.2,
) -> list[Assignment]:
    """Say which predictions answer for which objects of a batch.

    All objects given take part; leave ``difficult`` ones out before if they shall not teach.

    Args:
        objects: what is in each picture, boxes in shares of it.
        layout: the heads' anchors and strides.
        size: side of the network's picture in pixels, or its (height, width).
        rule: ``"best"``, the paper's: one anchor of all heads for each object; or ``"overlap"``, that of SNN-YOLOv3's
            public code: every anchor of every head whose shape overlap is above ``threshold``, which may be none.
        threshold: of ``"overlap"``, strictly.
    Returns:
        One assignment for each head.
    Raises:
        ValueError: if a box has no area, swapped corners or lies outside its picture, a label is no class, the rule
            is unknown, or a stride does not divide the picture's sides; the message names the picture.

    Explained in chapters 10 and 12. Source: YOLOv3, arXiv:1804.02767, section 2.1; public code of paper 2.
    """
    require_choice("rule", rule, RULES)
    require_between("threshold", threshold, 0.0, 1.0)
    grids = layout.grids(size)
    objects = [
        check_objects(one, num_classes=layout.num_classes, in_shares=True, source=f"objects[{i}]")
        for i, one in enumerate(objects)
    ]
    if not objects:
        raise ValueError("objects must hold one record for each picture of the batch, got none")
    boxes = torch.cat([one.boxes.float() for one in objects])
    labels = torch.cat([one.labels for one in objects])
    counts = torch.tensor([len(one.boxes) for one in objects], device=labels.device)
    picture = torch.repeat_interleave(torch.arange(len(objects), device=labels.device), counts)
    rows, columns = grids[0]
    sides = boxes.new_tensor([columns * layout.strides[0], rows * layout.strides[0]])
    pixels = boxes * sides.repeat(2)
    claimed = _claims(pixels[:, 2:] - pixels[:, :2], layout, rule, threshold)
    assigned = []
    for grid, claim in zip(grids, claimed, strict=True):
        which, anchor = claim.nonzero(as_tuple=True)
        row, column = cells(boxes[which], grid).unbind(-1)
        assigned.append(Assignment(picture[which], anchor, row, column, pixels[which], labels[which], which))
    return assigned


def _claims(wh: torch.Tensor, layout: HeadLayout, rule: str, threshold: float) -> Sequence[torch.Tensor]:
    """Which object claims which anchor, [G, A] of bool for each head."""
    anchors = torch.cat(layout.anchors).to(wh)
    per_head = [len(of_head) for of_head in layout.anchors]
    if not len(wh):
        return wh.new_zeros((0, len(anchors)), dtype=torch.bool).split(per_head, 1)
    overlap = shape_iou(wh, anchors)
    if rule == "overlap":
        return (overlap > threshold).split(per_head, 1)
    return torch.nn.functional.one_hot(overlap.argmax(1), len(anchors)).bool().split(per_head, 1)
