r"""YOLOv3's heads: from raw outputs to boxes, back, and the loss between.

A head answers for each cell (row i, column j) and anchor (a_w, a_h) with raw numbers t, and

.. math:: b_x = (\sigma(t_x) + j)\,s, \quad b_y = (\sigma(t_y) + i)\,s, \quad b_w = a_w e^{t_w}, \quad b_h = a_h e^{t_h}

are centre, width and height of a box in pixels of the network's picture, s the stride. σ(t_o) says how sure it is that
there is an object, σ(t_c) for each class that it is of that class, and a detection's score is their product.

A head's output is ``[B, A (5 + C), h, w]`` as a convolution gives it, or ``[B, A, 5 + C, h, w]``; in a spiking network
it is what its decoder made of the steps, for example the mean current.

Explained in chapters 10 and 12. Source: YOLOv3, arXiv:1804.02767, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from spikelab.detection.anchors import HeadLayout
from spikelab.detection.assign import RULES, Assignment, assign_targets
from spikelab.detection.boxes import ciou, clip_boxes, diou, giou, iou, iou_matrix, to_centre, to_corners
from spikelab.detection.nms import batched_nms
from spikelab.detection.records import Detections, Objects
from spikelab.validation import require_between, require_choice, require_non_negative

LARGEST_STRETCH = 1000.0
"""A box is at most this many times its anchor, so that an untrained head's exponential stays a number."""

NEAREST_BORDER = 1e-6
"""How near to a cell's border, in cells, an encoded centre may lie: on the border itself t would be infinite."""

BOX_LOSSES = ("giou", "ciou", "diou", "squared")
OBJECT_TARGETS = ("one", "iou", "giou")
REDUCTIONS = ("per_head", "per_object", "per_picture")
_OVERLAPS = {"giou": giou, "ciou": ciou, "diou": diou}


class LossWeights(NamedTuple):
    """What the three parts of the loss are multiplied by."""

    box: float = 1.0
    objectness: float = 1.0
    classes: float = 1.0


class LossOptions(NamedTuple):
    """Which YOLOv3 loss is meant.

    Attributes:
        rule: who answers for an object, ``"best"`` or ``"overlap"``; see ``assign_targets``.
        box: ``"giou"``, ``"ciou"`` or ``"diou"``, one less that overlap; or ``"squared"``, the paper's: squared errors
            of the centre in its cell and of t_w and t_h.
        object_target: what an answering prediction's objectness shall become: ``"one"``, or how well its box fits now,
            ``"iou"`` or ``"giou"`` (negative ones count as 0), through which no gradient goes.
        ignore_above: predictions that answer for no object but whose box overlaps one by more than this are not told
            that there is nothing; ``None``: all are told. (The paper's text compares the anchor, its code the box.)
        reduction: ``"per_head"``: in each head the mean over answering predictions (box), over them and classes
            (classes), over all predictions (objectness), then the sum over heads, as in SNN-YOLOv3's public code;
            ``"per_picture"``: sums of everything, divided by the number of pictures, as in the paper's code;
            ``"per_object"``: the same sums divided by the number of answering predictions in the batch, at least 1.
        weights: of the parts.
    """

    rule: str = "overlap"
    box: str = "giou"
    object_target: str = "iou"
    ignore_above: float | None = None
    reduction: str = "per_head"
    weights: LossWeights = LossWeights(3.54, 83.59, 9.35)


DEFAULT = LossOptions()
"""Public code's weights at 416 pixels and 20 classes, with the IoU as objectness target."""

YOLOV3_PAPER = LossOptions("best", "squared", "one", 0.5, "per_picture", LossWeights())
"""YOLOv3 as its paper has it. Its code ignores above .7 and weighs a box's error by 2 - its share of the picture."""


class YoloLoss(NamedTuple):
    """The loss, a scalar with a gradient, and its weighted parts, whose sum it is.

    Attributes:
        total: what to minimise.
        box: of the answering predictions' boxes.
        objectness: of all predictions.
        classes: of the answering predictions' classes.
        answering: how many predictions answer for an object, twice counted where two objects ask for one.
    """

    total: torch.Tensor
    box: torch.Tensor
    objectness: torch.Tensor
    classes: torch.Tensor
    answering: int


class Predictions(NamedTuple):
    """Every prediction of every head, M for each picture.

    Attributes:
        boxes: ``[B, M, 4]``, corners in pixels of the network's picture; heads, anchors, rows, columns in this order.
        scores: ``[B, M, C]``, objectness times class.
    """

    boxes: torch.Tensor
    scores: torch.Tensor


def public_code_options(size: int, num_classes: int) -> LossOptions:
    """Return the loss that SNN-YOLOv3's public code means for a picture side and a number of classes.

    Its weights are 3.54 for boxes, 64.3 for objectness at 320 pixels, in proportion to the side, and 37.4 for classes
    at 80, in proportion to their number. (What the code computes is not this: it multiplies objectness and classes by
    themselves once more.)

    Explained in chapter 12. Source: public code of paper 2.
    """
    weights = LossWeights(3.54, 64.3 * size / 320, 37.4 * num_classes / 80)
    return LossOptions("overlap", "giou", "giou", None, "per_head", weights)


def decode_boxes(raw: torch.Tensor, anchors: torch.Tensor, stride: float) -> torch.Tensor:
    """Turn one head's raw numbers into boxes.

    Args:
        raw: ``[..., A, 4 or more, h, w]``, t_x, t_y, t_w, t_h first.
        anchors: ``[A, 2]``, width and height in pixels.
        stride: width and height of a cell in pixels.
    Returns:
        ``[..., A, 4, h, w]``, corners in pixels. No side is longer than 1,000 times its anchor's.
    Raises:
        ValueError: if the shapes do not fit.

    Explained in chapter 10. Source: YOLOv3, arXiv:1804.02767, section 2.1.
    """
    if raw.dim() < 4 or raw.shape[-3] < 4 or anchors.shape != (raw.shape[-4], 2):
        raise ValueError(
            f"raw must be [..., A, 4 or more, h, w] and anchors [A, 2], got {tuple(raw.shape)} and "
            f"{tuple(anchors.shape)}"
        )
    rows, columns = raw.shape[-2:]
    x = raw[..., 0, :, :].sigmoid() + torch.arange(columns, device=raw.device)
    y = raw[..., 1, :, :].sigmoid() + torch.arange(rows, device=raw.device)[:, None]
    sides = _stretch(raw[..., 2:4, :, :]) * anchors.to(raw)[:, :, None, None]
    boxes = torch.cat((torch.stack((x, y), -3) * stride, sides), -3)
    return to_corners(boxes.movedim(-3, -1)).movedim(-1, -3)


def encode_boxes(boxes: torch.Tensor, place: torch.Tensor, anchors: torch.Tensor, stride: float) -> torch.Tensor:
    """Return the raw numbers that decode to given boxes.

    Args:
        boxes: ``[N, 4]``, corners in pixels, with an area.
        place: ``[N, 2]``, row and column of the cell that answers, in which the box's centre must lie.
        anchors: ``[N, 2]``, of each box the anchor that answers, in pixels.
        stride: width and height of a cell in pixels.
    Returns:
        ``[N, 4]``, t_x, t_y, t_w, t_h. A centre on its cell's border is moved a millionth of a cell inside.
    Raises:
        ValueError: if a centre lies outside its cell or a box has no area.

    Explained in chapter 10.
    """
    centre, sides = to_centre(boxes).split(2, -1)
    if boxes.numel() and sides.min() <= 0:
        raise ValueError("boxes must have an area: the logarithm of a side of 0 is no number")
    inside = centre / stride - place.flip(-1)
    if inside.numel() and not -1e-3 <= float(inside.min()) <= float(inside.max()) <= 1 + 1e-3:
        raise ValueError("place must be row and column of the cell in which each box's centre lies (see cells)")
    return torch.cat((inside.clamp(NEAREST_BORDER, 1 - NEAREST_BORDER).logit(), (sides / anchors).log()), -1)


def decode(heads: Sequence[torch.Tensor], layout: HeadLayout) -> Predictions:
    """Turn the raw outputs of all heads into boxes and scores.

    Args:
        heads: one output for each head of ``layout``.
        layout: the heads' anchors and strides.
    Returns:
        Boxes in pixels of the network's picture, not cut off at its edge, and scores.
    Raises:
        ValueError: if the heads do not fit the layout.

    Explained in chapters 10 and 12.
    """
    boxes, scores = [], []
    for raw, anchors, stride in zip(_checked(heads, layout), layout.anchors, layout.strides, strict=True):
        raw = raw.float()
        boxes.append(decode_boxes(raw, anchors, stride).movedim(2, -1).flatten(1, 3))
        sure = raw[:, :, 4:5].sigmoid() * raw[:, :, 5:].sigmoid()
        scores.append(sure.movedim(2, -1).flatten(1, 3))
    return Predictions(torch.cat(boxes, 1), torch.cat(scores, 1))


def detect(heads: Sequence[torch.Tensor], layout: HeadLayout, **options) -> list[Detections]:
    """Return what a batch's heads found: decoded, suppressed, cut off at the picture's edge, in shares of it.

    Args:
        heads: one output for each head of ``layout``.
        layout: the heads' anchors and strides.
        options: of ``batched_nms``.
    Returns:
        One record for each picture.
    Raises:
        ValueError: if the heads do not fit the layout, or a score is NaN.

    Explained in chapters 10 and 12.
    """
    with torch.no_grad():
        predictions = decode(heads, layout)
        rows, columns = heads[0].shape[-2:]
        sides = predictions.boxes.new_tensor([columns, rows, columns, rows]) * layout.strides[0]
        found = batched_nms(predictions.boxes / sides, predictions.scores, **options)
        return [one._replace(boxes=clip_boxes(one.boxes)) for one in found]


def yolo_loss(
    heads: Sequence[torch.Tensor],
    objects: Sequence[Objects],
    layout: HeadLayout,
    options: LossOptions = DEFAULT,
) -> YoloLoss:
    """Return YOLOv3's loss on a batch.

    Boxes by their overlap or by squared errors, objectness and classes by binary cross-entropy, each class on its own.
    Computed in float32. Where no picture holds an object, boxes and classes cost 0 and objectness is what is learnt.

    Args:
        heads: raw output of each head.
        objects: what is in each picture, boxes in shares of it; all of them teach.
        layout: the heads' anchors and strides.
        options: which loss; see ``LossOptions``, ``YOLOV3_PAPER`` and ``public_code_options``.
    Returns:
        Total and parts.
    Raises:
        ValueError: if heads, objects or options are wrong; see ``assign_targets``.

    Explained in chapter 12. Source: YOLOv3, arXiv:1804.02767; public code of paper 2.
    """
    _check(options)
    heads = [raw.float() for raw in _checked(heads, layout)]
    if len(objects) != len(heads[0]):
        raise ValueError(f"objects must hold one record for each of {len(heads[0])} pictures, got {len(objects)}")
    objects = [Objects(*(part.to(heads[0].device) for part in one[:2])) for one in objects]
    size = tuple(side * layout.strides[0] for side in heads[0].shape[-2:])
    assigned = assign_targets(objects, layout, size, rule=options.rule)
    true = [one.boxes.float() * one.boxes.new_tensor([size[1], size[0]] * 2).float() for one in objects]
    parts = torch.stack(
        [
            _head_loss(raw, anchors, stride, answers, true, options)
            for raw, anchors, stride, answers in zip(heads, layout.anchors, layout.strides, assigned, strict=True)
        ]
    ).sum(0)
    answering = sum(len(answers.labels) for answers in assigned)
    share = {"per_head": 1, "per_object": max(answering, 1), "per_picture": len(objects)}[options.reduction]
    parts = parts * parts.new_tensor(options.weights) / share
    return YoloLoss(parts.sum(), *parts.unbind(), answering)


def _head_loss(
    raw: torch.Tensor,
    anchors: torch.Tensor,
    stride: int,
    answers: Assignment,
    true: Sequence[torch.Tensor],
    options: LossOptions,
) -> torch.Tensor:
    """Box, objectness and class part of one head [3]: means if the reduction is per head, else sums."""
    boxes = decode_boxes(raw, anchors, stride).movedim(2, -1)
    raw = raw.movedim(2, -1)
    answer, answer_boxes = raw[answers.place], boxes[answers.place]
    target = raw.new_zeros(raw.shape[:-1])  # contiguous, whatever raw's strides are: it is looked at as a vector
    fit = _object_target(answer_boxes.detach(), answers.boxes, options.object_target)
    # Where two objects ask for one prediction the better fit counts, whatever their order.
    target.view(-1).scatter_reduce_(0, _flat(answers.place, target.shape), fit, "amax")
    told = _told(boxes.detach(), answers, true, options.ignore_above)
    objectness = cross_entropy(raw[..., 4], target, told, reduction="sum")
    kinds = torch.nn.functional.one_hot(answers.labels, raw.shape[-1] - 5).to(raw)
    classes = cross_entropy(answer[:, 5:], kinds, reduction="sum")
    if options.box == "squared":
        box = _squared_errors(answer, answers, anchors, stride).sum()
    else:
        box = (1 - _OVERLAPS[options.box](answer_boxes, answers.boxes)).sum()
    if options.reduction == "per_head":
        count = max(len(kinds), 1)
        box, objectness, classes = box / count, objectness / told.sum().clamp(min=1), classes / (count * kinds.shape[1])
    return torch.stack((box, objectness, classes))


def _squared_errors(answer: torch.Tensor, answers: Assignment, anchors: torch.Tensor, stride: int) -> torch.Tensor:
    place = torch.stack((answers.row, answers.column), 1)
    wanted = encode_boxes(answers.boxes, place, anchors.to(answer)[answers.anchor], stride)
    centre = answer[:, :2].sigmoid() - wanted[:, :2].sigmoid()
    return torch.cat((centre, answer[:, 2:4] - wanted[:, 2:]), 1).square()


def _object_target(boxes: torch.Tensor, true: torch.Tensor, kind: str) -> torch.Tensor:
    """What the objectness of each answering prediction shall become [P]."""
    if kind == "one":
        return boxes.new_ones(len(boxes))
    return (iou if kind == "iou" else giou)(boxes, true).clamp(min=0)


def _told(
    boxes: torch.Tensor, answers: Assignment, true: Sequence[torch.Tensor], ignore_above: float | None
) -> torch.Tensor:
    """1 for the predictions whose objectness is corrected, 0 for those left alone [B, A, h, w]."""
    told = boxes.new_ones(boxes.shape[:-1])
    if ignore_above is None:
        return told
    for i, objects in enumerate(true):
        if len(objects):
            near = iou_matrix(boxes[i].flatten(0, -2), objects).amax(1) > ignore_above
            told[i] = (~near).view_as(told[i]).to(told)
    told[answers.place] = 1
    return told


def _stretch(raw: torch.Tensor) -> torch.Tensor:
    return raw.clamp(max=math.log(LARGEST_STRETCH)).exp()


def _flat(place: tuple[torch.Tensor, ...], shape: torch.Size) -> torch.Tensor:
    """Index into the flattened tensor."""
    index = torch.zeros_like(place[0])
    for along, side in zip(place, shape, strict=True):
        index = index * side + along
    return index


def _checked(heads: Sequence[torch.Tensor], layout: HeadLayout) -> list[torch.Tensor]:
    """Heads as [B, A, 5 + C, h, w]."""
    if len(heads) != len(layout.anchors):
        raise ValueError(f"heads must be {len(layout.anchors)} outputs, one for each stride, got {len(heads)}")
    checked, depth = [], 5 + layout.num_classes
    for i, (raw, anchors, channels) in enumerate(zip(heads, layout.anchors, layout.channels, strict=True)):
        if raw.dim() == 4 and raw.shape[1] == channels:
            raw = raw.unflatten(1, (len(anchors), depth))
        if raw.dim() != 5 or raw.shape[1:3] != (len(anchors), depth):
            raise ValueError(
                f"heads[{i}] must be [B, {channels}, h, w] or [B, {len(anchors)}, {depth}, h, w] for {len(anchors)} "
                f"anchors and {layout.num_classes} classes, got {tuple(raw.shape)}"
            )
        checked.append(raw)
    pictures = {
        (len(raw), *(side * stride for side in raw.shape[-2:]))
        for raw, stride in zip(checked, layout.strides, strict=True)
    }
    if len(pictures) != 1:
        shapes = ", ".join(str(tuple(raw.shape)) for raw in checked)
        raise ValueError(f"heads must be of one batch and one picture size at strides {layout.strides}, got {shapes}")
    return checked


def _check(options: LossOptions) -> None:
    for name, allowed in (
        ("rule", RULES),
        ("box", BOX_LOSSES),
        ("object_target", OBJECT_TARGETS),
        ("reduction", REDUCTIONS),
    ):
        require_choice(name, getattr(options, name), allowed)
    for name, weight in zip(LossWeights._fields, options.weights, strict=True):
        require_non_negative(f"weights.{name}", weight)
    if options.ignore_above is not None:
        require_between("ignore_above", options.ignore_above, 0.0, 1.0)
